"""Training and validation of an implicit network with the trainer of the toolbox."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import OWN_NETWORKS
from moeisr_plugin.checkpoints.network import default_entry, located, save_checkpoint, without_pretrained
from moeisr_plugin.checkpoints.provenance import passed_on, starting_from
from moeisr_plugin.losses.names import SCORE_LOSSES
from moeisr_plugin.metrics.routing_health import depth_difficulty_correlation, mean_confidence
from moeisr_plugin.models.acceleration import CUDA_GRAPH_MODES, accelerate, allow_tf32, without_autotuning
from moeisr_plugin.models.averaging import bias_corrected_decay, update_average
from moeisr_plugin.models.batches import Batch, scores_of_whole_batch, unsynchronised
from moeisr_plugin.models.distillation import Distillation, kept_outputs
from moeisr_plugin.models.freezing import freeze, is_below, learning_experts
from moeisr_plugin.models.optimisers import apply_rates, build_optimiser, build_scheduler, parameter_groups
from moeisr_plugin.models.resumable import ResumableModel
from moeisr_plugin.models.throughput import Throughput
from moeisr_plugin.models.training_step import TrainingStep
from moeisr_plugin.models.transfer import copy_encoder
from moeisr_plugin.models.validation import EnlargedPicture, MetricValues, dataset_label, validate
from moeisr_plugin.render.routing_report import share_per_depth
from moeisr_plugin.render.saved_pictures import save_experts, save_picture
from moeisr_plugin.utils import processes

TOOLBOX_SCHEDULES = frozenset({"MultiStepLR", "MultiStepRestartLR", "CosineAnnealingRestartLR"})
"""Schedules of the toolbox. Its MultiStepLR replaces that of torch."""


@MODEL_REGISTRY.register()
class ImplicitSRModel(ResumableModel):
    """Model that trains on sampled queries and validates on whole pictures at several scales.

    Options in addition to those of SRModel:

    - ``train.encoder_from``: weights of a network whose encoder is copied at the start of the training.
      Checkpoints record the file.
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

    def __init__(self, opt: dict[str, Any]) -> None:
        path = opt["path"]
        start = path.get("pretrain_network_g")
        # A resumed training may still start its network anew.
        ignored = path.get("ignore_resume_networks") or ()
        resumes = bool(path.get("resume_state")) and "network_g" not in ignored
        if start and not resumes:
            path["pretrain_network_g"] = start = str(located(start))
            if path.get("param_key_g") is None:
                path["param_key_g"] = default_entry(start)
        self.provenance = self._provenance(opt, start, resumes=resumes) if opt["is_train"] else {}
        if resumes:  # its weights are in the checkpoint
            opt = {**opt, "network_g": without_pretrained(opt["network_g"])}
        super().__init__(opt)

    @staticmethod
    def _provenance(opt: Mapping[str, Any], start: str | None, *, resumes: bool) -> dict[str, Any]:
        """Return the entries of checkpoints about the weights that the training starts from."""
        if resumes:
            return passed_on(start) if start else {}
        pretrained = (opt["network_g"].get("encoder") or {}).get("pretrained")
        copied = (opt.get("train") or {}).get("encoder_from")
        return starting_from(start, pretrained or (str(located(copied)) if copied else None))

    def init_training_settings(self) -> None:
        train_opt = self.opt["train"]
        if train_opt.get("perceptual_opt"):
            raise ValueError(
                "train.perceptual_opt: a perceptual loss needs whole patches and training sees single "
                "queries; remove it"
            )
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
        super().init_training_settings()
        self.distillation: Distillation | None = None
        if distillation := train_opt.get("distillation_opt"):
            self.distillation = Distillation(distillation, self._bare(self.net_g), device=self.device)
            accelerate(self.distillation.teacher.net, channels_last=train_opt.get("channels_last", False))
        if self.ema_decay > 0:
            accelerate(self.net_g_ema, channels_last=train_opt.get("channels_last", False))
        step_options = ("precision", "clip_grad_norm", "max_bad_steps")
        given = {key: train_opt[key] for key in step_options if train_opt.get(key) is not None}
        self.training_step = TrainingStep(self.optimizer_g, self.device, **given)
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

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move the network to the device and wrap it in DistributedDataParallel for several processes.

        The wrapper must search for unused parameters if phases of the training have some: the mapper during
        random routing, all others when only the mapper learns.
        """
        train_opt = self.opt.get("train") or {}
        if self.is_train:
            freeze(net, train_opt.get("freeze", []))
            accelerate(
                net,
                channels_last=train_opt.get("channels_last", False),
                compiled=train_opt.get("compile", False),
            )
        if train_opt.get("random_gates_iter") or train_opt.get("mapper_alone_iter"):
            self.opt.setdefault("find_unused_parameters", True)
        if self.opt["dist"] and self.device.type == "cpu":
            unused = self.opt.get("find_unused_parameters", False)
            return DistributedDataParallel(net, find_unused_parameters=unused)
        return super().model_to_device(net)

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
        self.optimizer_g.zero_grad()
        if current_iter > self.mapper_alone_after:
            self._freeze_all_but_mapper()
        at_random = current_iter <= self.random_gates_iter
        distillation = None if current_iter > self.mapper_alone_after else self.distillation
        batch = Batch(self.lq, self.coord, self.cell, self.gt)
        losses, scores = self._add_gradients(batch, at_random=at_random, distillation=distillation)
        if at_random:
            # A compiled network gives zero gradients, for which an optimiser would still decay the weights.
            self._bare(self.net_g).mapper.zero_grad(set_to_none=True)
        taken = self.training_step.take(losses.values())
        if taken and self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
            self._correct_mapper_average(current_iter - self.random_gates_iter)

        self.log_dict = self.reduce_loss_dict(losses)
        self.throughput.step_done(len(self.lq) * self.opt["world_size"])
        if current_iter % self.opt["logger"]["print_freq"] == 0:
            self.log_dict.update(self.training_step.log())
            self.log_dict.update(self.throughput.take())
            self.log_dict.update(
                self._routing_log(processes.gather_batches(scores), processes.gather_batches(self.lq))
            )

    def _correct_mapper_average(self, learnt_iter: int) -> None:
        """Remove the initial mapper from its average, in iteration `learnt_iter` of its training.

        The weights from the time of random routing would stay in the average for thousands of iterations.
        """
        if self.random_gates_iter and learnt_iter > 0:
            mapper = self._bare(self.net_g).mapper
            update_average(self.net_g_ema.mapper, mapper, bias_corrected_decay(self.ema_decay, learnt_iter))

    def _add_gradients(
        self, batch: Batch, *, at_random: bool, distillation: Distillation | None
    ) -> tuple[OrderedDict[str, Tensor], Tensor]:
        """Accumulate the gradients of a batch.

        Args:
            batch: the samples.
            at_random: route pixels to random experts and omit the losses of the scores.
            distillation: the loss of a teacher, if there is one.

        Returns:
            The losses, and the scores (B, J, h, w).
        """
        parts = batch.split(self.accumulate)
        score_losses = {} if at_random else self.score_losses
        # The balance loss is not a sum over the parts; it needs the scores of the whole batch.
        all_scores = self._scores_of_parts(parts) if score_losses and len(parts) > 1 else []
        query_losses: list[dict[str, Tensor]] = []
        of_scores: dict[str, Tensor] = {}
        scores = []
        for index, part in enumerate(parts):
            is_last = index + 1 == len(parts)
            with nullcontext() if is_last else unsynchronised(self.net_g):
                with self.training_step.autocast():
                    routing_options = self._random_routing(part.lr) if at_random else {}
                    with self._kept_latents(distillation) as latents:
                        decoding = self.net_g(part.lr, part.coord, part.cell, **routing_options)
                    of_queries = {"l_pix": self._query_loss(self.cri_pix, decoding.rgb, part.gt, batch)}
                    if distillation is not None:
                        target = distillation.teacher(part, latents)
                        loss = self._query_loss(distillation.criterion, decoding.rgb, target, batch)
                        of_queries["l_distill"] = loss
                    batch_scores = scores_of_whole_batch(index, decoding.scores, all_scores)
                    of_scores = {name: loss(batch_scores) for name, loss in score_losses.items()}
                self.training_step.backward(torch.stack([*of_queries.values(), *of_scores.values()]).sum())
            query_losses.append({name: loss.detach() for name, loss in of_queries.items()})
            scores.append(decoding.scores.detach())
        losses = OrderedDict(
            (name, torch.stack([of_part[name] for of_part in query_losses]).sum()) for name in query_losses[0]
        )
        losses.update(of_scores)
        return losses, torch.cat(scores)

    def _kept_latents(self, distillation: Distillation | None) -> AbstractContextManager[list[Tensor]]:
        """Return a context that collects the latents for a teacher; a compiled network gives none."""
        if distillation is None or not distillation.teacher.shares_latent or self.opt["train"].get("compile"):
            return nullcontext([])
        return kept_outputs(self._bare(self.net_g).encoder)

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

    def _query_loss(self, criterion: Any, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Return the contribution of a part to a loss of the queries, which is averaged over the processes.

        Args:
            criterion: the loss.
            rgb: outputs of the network for the part, (B of the part, Q, 3).
            target: (B of the part, Q, 3).
            batch: the whole batch.
        """
        is_sum = criterion.reduction == "sum"
        factor = processes.size() if is_sum else len(rgb) / len(batch.lr)
        return criterion(rgb, target) * factor

    @torch.no_grad()
    def _scores_of_parts(self, parts: list[Batch]) -> list[Tensor]:
        net = self._bare(self.net_g)
        with self.training_step.autocast():
            return [net.encode(part.lr).scores for part in parts]

    def _routing_log(self, scores: Tensor, lr: Tensor) -> dict[str, float]:
        if scores.shape[1] == 1:
            return {}
        net = self._bare(self.net_g)
        depths = [expert.depth for expert in net.expert_list]
        return {
            **share_per_depth(net, scores),
            "confidence": mean_confidence(scores).item(),
            "depth_corr": depth_difficulty_correlation(scores, depths, lr).item(),
        }

    def _bare(self, net: nn.Module) -> ImplicitNetwork:
        bare = self.get_bare_model(net)
        if not isinstance(bare, ImplicitNetwork):
            raise ValueError(
                f"network_g.type: ImplicitSRModel trains {OWN_NETWORKS}, not {type(bare).__name__}"
            )
        return bare

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the network and the training state, unless the last loss is Inf or NaN.

        At the end of the training (-1) always save the network; bad steps have not changed it.
        """
        if not self.training_step.loss_is_finite and current_iter != -1:
            get_root_logger().warning("Nothing is saved while the loss is Inf or NaN.")
            return
        with self.throughput.paused():
            super().save(epoch, current_iter)

    def validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        with without_autotuning(), self.throughput.paused() if self.is_train else nullcontext():
            super().validation(dataloader, current_iter, tb_logger, save_img)

    def dist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validate on one set; the processes share its pictures. The result equals that of one process."""
        label = dataset_label(dataloader.dataset.opt)  # type: ignore[attr-defined]
        net = self._bare(getattr(self, "net_g_ema", self.net_g))
        val_opt = self.opt["val"]
        keep = partial(self._save_pictures, net, label=label, current_iter=current_iter)
        validation = validate(
            net,
            dataloader,
            device=self.device,
            metrics=val_opt.get("metrics") or {},
            with_health=val_opt.get("routing_health", False),
            bar=self.opt["rank"] == 0 and val_opt.get("pbar", False),
            keep=keep if save_img else None,
        )
        for message in validation.too_small:  # must not stop the training
            get_root_logger().warning(f"Not measured: {message}")
        if validation.means:
            self._report(label, validation.means, validation.health, current_iter, tb_logger)

    def _report(
        self,
        label: str,
        means: MetricValues,
        health: MetricValues,
        current_iter: int | str,
        tb_logger: Any,
    ) -> None:
        self.metric_results = means
        self._initialize_best_metric_results(label)
        for metric, value in means.items():
            self._update_best_metric_result(label, metric, value, current_iter)
        self._log_validation_metric_values(current_iter, label, tb_logger)
        if health:
            get_root_logger().info(
                f"Routing {label}: " + ", ".join(f"{name} {value:.4f}" for name, value in health.items())
            )
        if tb_logger:
            for name, value in health.items():
                tb_logger.add_scalar(f"routing/{label}/{name}", value, current_iter)

    def _save_pictures(
        self, net: ImplicitNetwork, enlarged: EnlargedPicture, *, label: str, current_iter: int | str
    ) -> None:
        """Save a picture and, for a mixture of experts, its expert map in a folder per data set and scale."""
        suffix = current_iter if self.is_train else (self.opt["val"].get("suffix") or self.opt["name"])
        stem = Path(self.opt["path"]["visualization"], label, f"{enlarged.name}_{suffix}")
        save_picture(stem, enlarged.rgb)
        save_experts(stem, net, enlarged.encoding)

    @master_only
    def save_network(
        self,
        net: nn.Module | list[nn.Module],
        net_label: str,
        current_iter: int,
        param_key: str | list[str] = "params",
    ) -> None:
        """Save the networks atomically, with the hyper-parameters to rebuild them."""
        nets = [self._bare(n) for n in (net if isinstance(net, list) else [net])]
        keys = param_key if isinstance(param_key, list) else [param_key]
        checkpoint: dict[str, Any] = {
            key: {name: value.cpu() for name, value in n.state_dict().items()}
            for key, n in zip(keys, nets, strict=True)
        }
        checkpoint["network_g"] = nets[0].hyper_parameters
        if self.is_train:
            checkpoint |= self.provenance
            checkpoint["iter"] = self.current_iter if current_iter == -1 else current_iter
        file_name = f"{net_label}_{'latest' if current_iter == -1 else current_iter}.pth"
        save_checkpoint(Path(self.opt["path"]["models"], file_name), checkpoint)
