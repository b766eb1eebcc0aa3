"""Training and validation of an implicit network with the trainer of the toolbox."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from moeisr_plugin.archs import routing
from moeisr_plugin.data.whole_patches import as_picture
from moeisr_plugin.losses.names import SCORE_LOSSES
from moeisr_plugin.models.acceleration import CUDA_GRAPH_MODES, accelerate, allow_tf32, without_autotuning
from moeisr_plugin.models.averaging import bias_corrected_decay, update_average
from moeisr_plugin.models.batches import Batch, scores_of_whole_batch, unsynchronised
from moeisr_plugin.models.distillation import Distillation, distillation_of
from moeisr_plugin.models.freezing import is_below, learning_experts
from moeisr_plugin.models.implicit_model import ImplicitModel
from moeisr_plugin.models.memory import peak_gpu_memory
from moeisr_plugin.models.optimisers import apply_rates, build_optimiser, build_scheduler, parameter_groups
from moeisr_plugin.models.output_losses import OutputLosses, Share, weights_of_vgg_named
from moeisr_plugin.models.replay import KeptBatch, latents, replay_of
from moeisr_plugin.models.routing_log import routing_log
from moeisr_plugin.models.throughput import Throughput
from moeisr_plugin.models.training_step import step_of
from moeisr_plugin.models.transfer import copy_encoder
from moeisr_plugin.utils import processes

TOOLBOX_SCHEDULES = frozenset({"MultiStepLR", "MultiStepRestartLR", "CosineAnnealingRestartLR"})
"""Schedules of the toolbox. Its MultiStepLR replaces that of torch."""


@MODEL_REGISTRY.register()
class ImplicitSRModel(ImplicitModel):
    """Model that trains on sampled queries and validates on whole pictures at several scales.

    Options in addition to those of SRModel:

    - ``train.encoder_from``: weights of a network whose encoder is copied at the start of the training.
      Checkpoints record the file.
    - ``train.perceptual_opt``, ``train.tv_opt``, ``train.frequency_opt``: losses of whole patches, with
      ``datasets.train.sample_q: all``; see :class:`OutputLosses`.
    - ``train.balance_opt``: balance loss; omit it for a network with one expert.
    - ``train.cost_opt``: loss that penalises the depth of the chosen experts; omit it for one expert.
    - ``train.distillation_opt``: loss between the outputs and those of a ``teacher``, which gets no gradient.
      It is ``deepest``, the deepest expert of this network in its current state, or a file of weights, whose
      deepest expert is used. The loss is not used while only the mapper learns.
    - ``train.random_gates_iter``: number of first iterations in which each LR pixel is routed to one random
      expert. The mapper does not learn, and the losses of its scores are not used.
    - ``train.mapper_alone_iter``: number of last iterations in which only the mapper learns. It then chooses
      between experts that do not change any more.
    - ``train.freeze``: parts that do not learn, such as ``[encoder, experts.3]``. A frozen encoder keeps no
      graph. Random routing uses only experts that learn.
    - ``train.accumulate``: number of parts of a batch, to save memory. An iteration is still one step of the
      optimiser with the gradient of the whole batch.
    - ``train.replay_batches``: number of batches to keep and to train on again; see :mod:`.replay`.
    - ``train.precision``, ``train.clip_grad_norm``, ``train.max_bad_steps``: see :class:`TrainingStep`.
    - ``path.param_key_g``: entry of ``path.pretrain_network_g``. By default the averaged weights where there
      are some.
    - ``train.channels_last``, ``train.compile``, ``train.tf32``: see :mod:`.acceleration`.
    - ``train.optim_g`` and ``train.scheduler``: see :mod:`.optimisers`.
    - ``train.optim_g.rates``: factors of the learning rate by part, such as ``{encoder: 0.1}``. They hold in
      every iteration, the warm-up and the lowest rate of the schedule included.
    - ``val.routing_health``: report the quality of the routing on each validation set.
    - ``datasets.val*.protocol``: protocol of the metrics of this set.
    """

    def init_training_settings(self) -> None:
        train_opt = self.opt["train"]
        self.score_losses = {
            f"l_{name}": build_loss(train_opt[f"{name}_opt"]).to(self.device)
            for name in SCORE_LOSSES
            if train_opt.get(f"{name}_opt")
        }
        self.random_gates_iter = train_opt.get("random_gates_iter", 0)
        alone = train_opt.get("mapper_alone_iter", 0)
        self.mapper_alone_after = train_opt["total_iter"] - alone if alone else math.inf
        self.accumulate = train_opt.get("accumulate", 1)
        if (encoder := train_opt.get("encoder_from")) and not self.opt["path"].get("pretrain_network_g"):
            # A resumed training has pretrain_network_g, too.
            copy_encoder(encoder, self._bare(self.net_g))
        self.learning_experts = learning_experts(self._bare(self.net_g).experts)
        allow_tf32(train_opt.get("tf32"))
        with weights_of_vgg_named(train_opt):
            super().init_training_settings()
        self.output_losses = OutputLosses(train_opt, pixel=self.cri_pix, perceptual=self.cri_perceptual)
        self.distillation = distillation_of(train_opt, self._bare(self.net_g), device=self.device)
        self.replay = replay_of(self.opt)
        if self.ema_decay > 0:
            accelerate(self.net_g_ema, channels_last=train_opt.get("channels_last", False))
        self.training_step = step_of(train_opt, self.optimizer_g, self.device)
        self.throughput = Throughput()

    def setup_optimizers(self) -> None:
        """Set up the optimiser as the toolbox does, with one log line for all frozen parts."""
        options = dict(self.opt["train"]["optim_g"])
        groups = parameter_groups(self._bare(self.net_g), options.pop("rates", None) or {})
        self.optimizer_g = self.get_optimizer(options.pop("type"), groups, **options)
        self.optimizers.append(self.optimizer_g)
        if frozen := self.opt["train"].get("freeze"):
            get_root_logger().info(f"Frozen: {', '.join(frozen)}.")

    def get_optimizer(self, optim_type: str, params: list[Any], lr: float, **kwargs: Any) -> Optimizer:
        return build_optimiser(optim_type, params, lr=lr, **kwargs)

    def setup_schedulers(self) -> None:
        options = dict(self.opt["train"]["scheduler"])
        name = options.pop("type")
        if name in TOOLBOX_SCHEDULES:
            super().setup_schedulers()
        else:
            self.schedulers = [build_scheduler(name, optimiser, **options) for optimiser in self.optimizers]

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the learning rate. Recursive schedules continue from their own rate, not from the warm-up's."""
        self._set_lr([scheduler.get_last_lr() for scheduler in self.schedulers])
        super().update_learning_rate(current_iter, warmup_iter)
        for optimiser in self.optimizers:
            apply_rates(optimiser)

    def model_ema(self, decay: float = 0.999) -> None:
        """Update the average of the weights in one call for all parameters."""
        update_average(self.net_g_ema, self._bare(self.net_g), decay)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        super().feed_data(data)
        if self.is_train and "coord" in data:
            self.coord = data["coord"].to(self.device)
            self.cell = data["cell"].to(self.device)
            self.throughput.batch_arrived()

    def optimize_parameters(self, current_iter: int) -> None:
        losses, scores = self._learn(current_iter)
        self._finish_iteration(current_iter, losses, scores)

    def _batch(self) -> Batch:
        self.output_losses.check_targets(self.gt)
        return Batch(self.lq, self.coord, self.cell, self.gt)

    def _learn(self, current_iter: int) -> tuple[OrderedDict[str, Tensor], Tensor]:
        """Take a step of the network. Return the losses, and the scores (B, J, h, w)."""
        self.optimizer_g.zero_grad()
        if current_iter > self.mapper_alone_after:
            self._freeze_all_but_mapper()
        kept = self.replay.of(current_iter) if self.replay else None
        if kept is not None:
            self.lq, self.coord, self.cell, self.gt = kept.batch
        at_random = current_iter <= self.random_gates_iter
        distillation = None if current_iter > self.mapper_alone_after else self.distillation
        losses, scores = self._add_gradients(
            self._batch(), at_random=at_random, distillation=distillation, kept=kept
        )
        if at_random:
            # A compiled network gives zero gradients, for which an optimiser would still decay the weights.
            self._bare(self.net_g).mapper.zero_grad(set_to_none=True)
        taken = self.training_step.take(losses.values())
        if taken and self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
            self._correct_mapper_average(current_iter - self.random_gates_iter)
        return losses, scores

    def _finish_iteration(self, current_iter: int, losses: OrderedDict[str, Tensor], scores: Tensor) -> None:
        """Collect what an iteration logs."""
        self.log_dict = self.reduce_loss_dict(losses)
        self.throughput.step_done(len(self.lq) * self.opt["world_size"])
        if current_iter % self.opt["logger"]["print_freq"] == 0:
            self.log_dict.update(self.training_step.log())
            self.log_dict.update(self.throughput.take())
            self.log_dict.update(peak_gpu_memory(self.device))
            net, of_all = self._bare(self.net_g), processes.gather_batches
            self.log_dict.update(routing_log(net, of_all(scores), of_all(self.lq)))

    def _correct_mapper_average(self, learnt_iter: int) -> None:
        """Remove the initial mapper from its average, in iteration `learnt_iter` of its training.

        The weights from the time of random routing would stay in the average for thousands of iterations.
        """
        if self.random_gates_iter and learnt_iter > 0:
            mapper = self._bare(self.net_g).mapper
            update_average(self.net_g_ema.mapper, mapper, bias_corrected_decay(self.ema_decay, learnt_iter))

    def _add_gradients(
        self, batch: Batch, *, at_random: bool, distillation: Distillation | None, kept: KeptBatch | None
    ) -> tuple[OrderedDict[str, Tensor], Tensor]:
        """Accumulate the gradients of a batch.

        Args:
            batch: the samples.
            at_random: route pixels to random experts and omit the losses of the scores.
            distillation: the loss of a teacher, if there is one.
            kept: what is known of the batch from an earlier iteration.

        Returns:
            The losses, and the scores (B, J, h, w).
        """
        encoder, parts = self._bare(self.net_g).encoder, batch.split(self.accumulate)
        collect = self._needs_latents(distillation)
        score_losses = {} if at_random else self.score_losses
        # The balance loss is not a sum over the parts; it needs the scores of the whole batch.
        all_scores = self._scores_of_parts(parts) if score_losses and len(parts) > 1 else []
        output_losses: list[dict[str, Tensor]] = []
        of_scores: dict[str, Tensor] = {}
        scores = []
        for index, part in enumerate(parts):
            is_last = index + 1 == len(parts)
            with nullcontext() if is_last else unsynchronised(self.net_g):
                with self.training_step.autocast():
                    routing_options = self._random_routing(part.lr) if at_random else {}
                    with latents(encoder, kept, collect=collect) as of_encoder:
                        decoding = self.net_g(part.lr, part.coord, part.cell, **routing_options)
                    outputs, share = as_picture(decoding.rgb, part.gt), Share(part, batch)
                    of_outputs = self._losses_of_outputs(outputs, part.gt, share)
                    constant = None
                    if distillation is not None:
                        target, constant = distillation.target(part, of_encoder, kept)
                        loss = distillation.criterion(outputs, as_picture(target, part.gt))
                        of_outputs["l_distill"] = share(distillation.criterion, loss)
                    batch_scores = scores_of_whole_batch(index, decoding.scores, all_scores)
                    of_scores = {name: loss(batch_scores) for name, loss in score_losses.items()}
                self.training_step.backward(torch.stack([*of_outputs.values(), *of_scores.values()]).sum())
            if self.replay is not None and kept is None:
                self.replay.keep(part, of_encoder[0], constant)
            output_losses.append({name: loss.detach() for name, loss in of_outputs.items()})
            scores.append(decoding.scores.detach())
        losses = OrderedDict(
            (name, torch.stack([of_part[name] for of_part in output_losses]).sum())
            for name in output_losses[0]
        )
        losses.update(of_scores)
        return losses, torch.cat(scores)

    def _needs_latents(self, distillation: Distillation | None) -> bool:
        """Return whether the latents are used again; a compiled network does not give them."""
        shares = distillation is not None and distillation.teacher.shares_latent
        return (shares or self.replay is not None) and not self.opt["train"].get("compile")

    def _random_routing(self, lr: Tensor) -> dict[str, Any]:
        """Return the arguments that make the network route LR pixels, (B, 3, h, w), to random experts."""
        if self.opt["train"].get("compile") in CUDA_GRAPH_MODES:
            # A CUDA graph needs constant shapes, and the sizes of groups vary.
            return {"gate": partial(routing.random_gates, among=self.learning_experts)}
        return {"choice": routing.random_choice(lr, self.learning_experts)}

    def _freeze_all_but_mapper(self) -> None:
        """Disable the gradients of all other parameters; optimisers skip parameters without one."""
        # DistributedDataParallel accepts this because it searches for unused parameters in every step.
        for name, parameter in self._bare(self.net_g).named_parameters():
            if not is_below(name, ["mapper"]):
                parameter.requires_grad_(False)

    def _losses_of_outputs(self, outputs: Tensor, targets: Tensor, share: Share) -> dict[str, Tensor]:
        """Return the losses of a part of the batch; see :class:`OutputLosses`."""
        return self.output_losses(outputs, targets, share)

    @torch.no_grad()
    def _scores_of_parts(self, parts: list[Batch]) -> list[Tensor]:
        net = self._bare(self.net_g)
        with self.training_step.autocast():
            return [net.encode(part.lr).scores for part in parts]

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        if self.replay is not None and current_iter != -1:
            self.replay.save(self.opt["path"]["training_states"])
        super().save_training_state(epoch, current_iter)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        if self.replay is not None:
            folder = Path(self.opt["path"]["resume_state"]).parent
            self.replay.load(folder, iteration=resume_state["iter"], device=self.device)
        super().resume_training(resume_state)

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the network and the training state, unless the last loss is Inf or NaN.

        At the end of the training (-1) always save the network; bad steps have not changed it.
        """
        if not self._losses_are_finite() and current_iter != -1:
            get_root_logger().warning("Nothing is saved while the loss is Inf or NaN.")
            return
        with self.throughput.paused():
            super().save(epoch, current_iter)

    def _losses_are_finite(self) -> bool:
        return self.training_step.loss_is_finite

    def validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        with without_autotuning(), self.throughput.paused() if self.is_train else nullcontext():
            super().validation(dataloader, current_iter, tb_logger, save_img)
