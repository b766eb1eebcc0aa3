"""Adversarial training of an implicit network with the discriminators and losses of the toolbox."""

import warnings
from collections import OrderedDict
from typing import Any

import torch
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor

from moeisr_plugin.data.whole_patches import as_picture
from moeisr_plugin.models.implicit_sr_model import ImplicitSRModel
from moeisr_plugin.models.optimisers import build_optimiser
from moeisr_plugin.models.output_losses import Share
from moeisr_plugin.models.training_step import step_of


@MODEL_REGISTRY.register()
class ImplicitSRGANModel(ImplicitSRModel, SRGANModel):
    """ImplicitSRModel with a discriminator of whole patches (``datasets.train.sample_q: all``).

    Options in addition to those of ImplicitSRModel, as in SRGANModel:

    - ``network_d``: the discriminator, with ``path.pretrain_network_d`` and the like.
    - ``train.gan_opt``: the adversarial loss.
    - ``train.optim_d``: the optimiser of the discriminator. It follows ``train.scheduler``.
    - ``train.net_d_iters``: the network learns in every so many iterations, the discriminator in all.
    - ``train.net_d_init_iters``: number of first iterations in which only the discriminator learns.
    """

    def init_training_settings(self) -> None:
        self._outputs: list[Tensor] = []
        super().init_training_settings()
        self.discriminator_step = step_of(self.opt["train"], self.optimizer_d, self.device)

    def setup_optimizers(self) -> None:
        super().setup_optimizers()
        options = dict(self.opt["train"]["optim_d"])
        self.optimizer_d = build_optimiser(
            options.pop("type"), list(self.net_d.parameters()), key="train.optim_d", **options
        )
        self.optimizers.append(self.optimizer_d)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        with warnings.catch_warnings():
            # The schedule of the network runs on while only the discriminator learns.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            super().update_learning_rate(current_iter, warmup_iter)

    def optimize_parameters(self, current_iter: int) -> None:
        self._outputs = []
        if current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters:
            self.net_d.requires_grad_(False)
            losses, scores = self._learn(current_iter)
            self.net_d.requires_grad_(True)
        else:
            losses, scores = OrderedDict[str, Tensor](), self._generate()
        losses.update(self._learn_to_discriminate())
        self._finish_iteration(current_iter, losses, scores)
        if "grad_norm" in self.log_dict:
            log = self.discriminator_step.log()
            self.log_dict.update({f"{name}_d": value for name, value in log.items()})

    def _losses_of_outputs(self, outputs: Tensor, targets: Tensor, share: Share) -> dict[str, Tensor]:
        losses = super()._losses_of_outputs(outputs, targets, share)
        self._outputs.append(outputs.detach())
        # Not the wrapper for several processes, as the discriminator gets no gradient here.
        verdict = self.get_bare_model(self.net_d)(outputs)
        losses["l_g_gan"] = share(self.cri_gan, self.cri_gan(verdict, True, is_disc=False))
        return losses

    @torch.no_grad()
    def _generate(self) -> Tensor:
        """Enlarge the batch for the discriminator. Return the scores (B, J, h, w)."""
        net, scores = self._bare(self.net_g), []
        for part in self._batch().split(self.accumulate):
            with self.training_step.autocast():
                decoding = net(part.lr, part.coord, part.cell)
            self._outputs.append(as_picture(decoding.rgb, part.gt))
            scores.append(decoding.scores)
        return torch.cat(scores)

    def _learn_to_discriminate(self) -> dict[str, Tensor]:
        """Take a step of the discriminator. Return its losses and mean outputs."""
        self.optimizer_d.zero_grad()
        losses, means = {}, {}
        for name, pictures in (("real", self.gt), ("fake", torch.cat(self._outputs))):
            with self.discriminator_step.autocast():
                verdict: Any = self.net_d(pictures)
                loss = self.cri_gan(verdict, name == "real", is_disc=True)
            self.discriminator_step.backward(loss)
            losses[f"l_d_{name}"] = loss.detach()
            if isinstance(verdict, Tensor):  # one of several scales is a list
                means[f"out_d_{name}"] = verdict.detach().mean()
        self.discriminator_step.take(losses.values())
        return {**losses, **means}

    def _losses_are_finite(self) -> bool:
        return super()._losses_are_finite() and self.discriminator_step.loss_is_finite
