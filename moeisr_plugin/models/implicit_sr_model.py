"""Training and validating an implicit network with the toolbox's trainer."""

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
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from moeisr_plugin import processes
from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.checkpoints import ORIGIN, save_checkpoint
from moeisr_plugin.metrics.routing_health import depth_difficulty_correlation, mean_confidence
from moeisr_plugin.models.acceleration import CUDA_GRAPH_MODES, accelerate, allow_tf32, without_autotuning
from moeisr_plugin.models.averaging import add_to_average, correction
from moeisr_plugin.models.batches import Batch, of_whole_batch, unsynchronised
from moeisr_plugin.models.freezing import freeze, is_below, learning_experts
from moeisr_plugin.models.optimisers import build_optimiser, build_scheduler
from moeisr_plugin.models.resumable import ResumableModel
from moeisr_plugin.models.throughput import Throughput
from moeisr_plugin.models.training_step import TrainingStep
from moeisr_plugin.models.validation import Enlarged, Figures, dataset_label, validate
from moeisr_plugin.routing_report import share_per_depth
from moeisr_plugin.saved_pictures import save_experts, save_picture
from moeisr_plugin.tensor_files import read_tensor_file

SCORE_LOSSES = ("balance", "cost")
"""The losses of the mapper's scores, each by its options, as ``train.balance_opt``."""

TOOLBOX_SCHEDULES = frozenset({"MultiStepLR", "MultiStepRestartLR", "CosineAnnealingRestartLR"})
"""The schedules that the toolbox has itself; torch's MultiStepLR is one of its own."""


@MODEL_REGISTRY.register()
class ImplicitSRModel(ResumableModel):
    """Trains on sampled queries, validates on whole pictures at any number of scales.

    Options beyond the toolbox's SRModel:

    - ``train.balance_opt``: the balance loss; none for a network with one expert.
    - ``train.cost_opt``: what the mapper pays for depth; likewise.
    - ``train.random_gates_iter``: for so many iterations each LR pixel is dealt to one expert at random, and
      no other is asked; neither the mapper's choice nor the losses of its scores count as yet.
    - ``train.mapper_alone_iter``: for so many iterations at the end nothing but the mapper learns: experts
      that no longer change are easier to choose from.
    - ``train.freeze``: parts that do not learn, such as ``[encoder, experts.3]``. No graph is kept for a
      frozen encoder, and pixels that are dealt at random go to learning experts alone.
    - ``train.accumulate``: walk through each batch in so many parts, which takes less memory. An iteration
      is one step of the optimiser on one batch all the same, and its gradient is the batch's.
    - ``train.precision``, ``train.clip_grad_norm``, ``train.max_bad_steps``: see :class:`TrainingStep`.
    - ``train.channels_last``, ``train.compile``, ``train.tf32``: see :mod:`.acceleration`.
    - ``train.optim_g`` and ``train.scheduler``: any that suits of torch.optim and its lr_scheduler.
    - ``val.routing_health``: report how good the routing is, on each validation set.
    - ``datasets.val*.protocol``: the protocol of this set's metrics.
    """

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
        start = self.opt["path"].get("pretrain_network_g")
        self.origin = read_tensor_file(start).get(ORIGIN) if start else None
        self.learning_experts = learning_experts(self._bare(self.net_g).experts)
        allow_tf32(train_opt.get("tf32"))
        super().init_training_settings()
        if self.ema_decay > 0:
            accelerate(self.net_g_ema, channels_last=train_opt.get("channels_last", False))
        step_options = ("precision", "clip_grad_norm", "max_bad_steps")
        given = {key: train_opt[key] for key in step_options if train_opt.get(key) is not None}
        self.training_step = TrainingStep(self.optimizer_g, self.device, **given)
        self.throughput = Throughput()

    def setup_optimizers(self) -> None:
        """As the toolbox's, but of frozen parts it logs one line."""
        options = dict(self.opt["train"]["optim_g"])
        learning = [parameter for parameter in self.net_g.parameters() if parameter.requires_grad]
        self.optimizer_g = self.get_optimizer(options.pop("type"), learning, **options)
        self.optimizers.append(self.optimizer_g)
        if frozen := self.opt["train"].get("freeze"):
            get_root_logger().info(f"Frozen: {', '.join(frozen)}.")

    def get_optimizer(self, optim_type: str, params: list[Parameter], lr: float, **kwargs: Any) -> Optimizer:
        return build_optimiser(optim_type, params, lr=lr, **kwargs)

    def setup_schedulers(self) -> None:
        options = dict(self.opt["train"]["scheduler"])
        name = options.pop("type")
        if name in TOOLBOX_SCHEDULES:
            super().setup_schedulers()
        else:
            self.schedulers = [build_scheduler(name, optimiser, **options) for optimiser in self.optimizers]

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Sets the learning rate; schedules that go on from the last one do not see that of the warm-up."""
        self._set_lr([scheduler.get_last_lr() for scheduler in self.schedulers])
        super().update_learning_rate(current_iter, warmup_iter)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """To the device and, in several processes, into a wrapper that averages gradients.

        The wrapper must be told that the mapper has no gradient while gates are random, and nothing else
        has one when the mapper learns alone.
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
        """As the toolbox's, but of all parameters by one call."""
        add_to_average(self.net_g_ema, self._bare(self.net_g), decay)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        super().feed_data(data)
        if self.is_train and "coord" in data:
            self.coord = data["coord"].to(self.device)
            self.cell = data["cell"].to(self.device)
            self.throughput.batch_arrived()

    def optimize_parameters(self, current_iter: int) -> None:
        self.optimizer_g.zero_grad()
        if current_iter > self.mapper_alone_after:
            self._hold_all_but_the_mapper()
        at_random = current_iter <= self.random_gates_iter
        losses, scores = self._add_gradients(Batch(self.lq, self.coord, self.cell, self.gt), at_random)
        if at_random:
            # Its gradients are 0 in a compiled network; an optimiser would count steps and let it decay.
            self._bare(self.net_g).mapper.zero_grad(set_to_none=True)
        taken = self.training_step.take(losses.values())
        if taken and self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
            self._begin_average_of_mapper(current_iter - self.random_gates_iter)

        self.log_dict = self.reduce_loss_dict(losses)
        self.throughput.step_done(len(self.lq) * self.opt["world_size"])
        if current_iter % self.opt["logger"]["print_freq"] == 0:
            self.log_dict.update(self.training_step.log())
            self.log_dict.update(self.throughput.take())
            self.log_dict.update(self._routing_log(processes.joined(scores), processes.joined(self.lq)))

    def _begin_average_of_mapper(self, learnt_iter: int) -> None:
        """Lets the mapper's average begin when the mapper begins to learn, so many iterations ago.

        What it was while gates were random would stay in its average for thousands of iterations.
        """
        if self.random_gates_iter and learnt_iter > 0:
            mapper = self._bare(self.net_g).mapper
            add_to_average(self.net_g_ema.mapper, mapper, correction(self.ema_decay, learnt_iter))

    def _add_gradients(self, batch: Batch, at_random: bool) -> tuple[OrderedDict[str, Tensor], Tensor]:
        """Adds a batch's gradients to the parameters'; gives its losses and its scores, (B, J, h, w).

        Args:
            at_random: pixels are dealt to the experts at random; there is no loss of the scores.
        """
        parts = batch.split(self.accumulate)
        score_losses = {} if at_random else self.score_losses
        # The balance of a batch is not the sum of its parts', so their scores must be known beforehand.
        ahead = self._scores_ahead(parts) if score_losses and len(parts) > 1 else []
        losses: OrderedDict[str, Tensor] = OrderedDict()
        pixel_losses, scores = [], []
        for index, part in enumerate(parts):
            is_last = index + 1 == len(parts)
            with nullcontext() if is_last else unsynchronised(self.net_g):
                with self.training_step.autocast():
                    dealt = self._dealt_at_random(part.lr) if at_random else {}
                    decoding = self.net_g(part.lr, part.coord, part.cell, **dealt)
                    losses["l_pix"] = self._pixel_loss(decoding.rgb, part, batch)
                    of_batch = of_whole_batch(index, decoding.scores, ahead)
                    losses.update({name: loss(of_batch) for name, loss in score_losses.items()})
                self.training_step.backward(torch.stack(list(losses.values())).sum())
            pixel_losses.append(losses["l_pix"].detach())
            scores.append(decoding.scores.detach())
        losses["l_pix"] = torch.stack(pixel_losses).sum()
        return losses, torch.cat(scores)

    def _dealt_at_random(self, lr: Tensor) -> dict[str, Any]:
        """What makes the network deal the pixels of LR pictures, (B, 3, h, w), to its experts at random."""
        among = self.learning_experts
        if self.opt["train"].get("compile") in CUDA_GRAPH_MODES:
            # Groups are of another size each time, a graph is of one.
            return {"gate": partial(routing.random_gates, among=among)}
        return {"choice": routing.random_choice(lr, among)}

    def _hold_all_but_the_mapper(self) -> None:
        """Spares the other parameters' gradients; an optimiser passes over those without one."""
        # The wrapper for several processes allows this only as it looks for unused parameters at each step.
        for name, parameter in self._bare(self.net_g).named_parameters():
            if not is_below(name, ["mapper"]):
                parameter.requires_grad_(False)

    def _pixel_loss(self, rgb: Tensor, part: Batch, batch: Batch) -> Tensor:
        """What a part adds to the pixel loss of a batch, of which processes take the mean."""
        assert self.cri_pix is not None  # the toolbox insists on one where there is no perceptual loss
        summed = self.cri_pix.reduction == "sum"
        share = processes.size() if summed else len(part.lr) / len(batch.lr)
        return self.cri_pix(rgb, part.gt) * share

    @torch.no_grad()
    def _scores_ahead(self, parts: list[Batch]) -> list[Tensor]:
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

    def _bare(self, net: nn.Module) -> ImplicitSR:
        bare = self.get_bare_model(net)
        if not isinstance(bare, ImplicitSR):
            raise ValueError(
                f"network_g.type: ImplicitSRModel trains LIIF, LTE, MoEISRLIIF or MoEISRLTE, not "
                f"{type(bare).__name__}"
            )
        return bare

    def save(self, epoch: int, current_iter: int) -> None:
        """Saves the network and the training's state, but not while the loss is no number.

        At the end the network is saved in any case, as the last step that was taken has left it.
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
        """Validate on one set, its pictures shared among the processes, with the result of one process."""
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
        for told in validation.too_small:  # no reason to lose a training
            get_root_logger().warning(f"Not measured: {told}")
        if validation.means:
            self._report(label, validation.means, validation.health, current_iter, tb_logger)

    def _report(
        self,
        label: str,
        means: Figures,
        health: Figures,
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
        self, net: ImplicitSR, enlarged: Enlarged, *, label: str, current_iter: int | str
    ) -> None:
        """The picture and, of a mixture, its expert map, in a folder per data set and scale."""
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
        """Save the networks, whole or not at all, with what it takes to rebuild them."""
        nets = [self._bare(n) for n in (net if isinstance(net, list) else [net])]
        keys = param_key if isinstance(param_key, list) else [param_key]
        checkpoint: dict[str, Any] = {
            key: {name: value.cpu() for name, value in n.state_dict().items()}
            for key, n in zip(keys, nets, strict=True)
        }
        checkpoint["network_g"] = nets[0].hyper_parameters
        if self.is_train and self.origin is not None:
            checkpoint[ORIGIN] = self.origin
        if self.is_train:
            checkpoint["iter"] = self.current_iter if current_iter == -1 else current_iter
        file_name = f"{net_label}_{'latest' if current_iter == -1 else current_iter}.pth"
        save_checkpoint(Path(self.opt["path"]["models"], file_name), checkpoint)
