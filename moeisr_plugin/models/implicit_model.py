"""Building, validation and checkpoints of an implicit network, as a model of the toolbox."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import OWN_NETWORKS
from moeisr_plugin.checkpoints.network import default_entry, located, save_checkpoint, without_pretrained
from moeisr_plugin.checkpoints.provenance import passed_on, starting_from
from moeisr_plugin.models.acceleration import accelerate
from moeisr_plugin.models.distillation import DEEPEST
from moeisr_plugin.models.freezing import freeze
from moeisr_plugin.models.resumable import ResumableModel
from moeisr_plugin.models.validation import EnlargedPicture, MetricValues, dataset_label, validate
from moeisr_plugin.models.viewed_pictures import ViewedPictures
from moeisr_plugin.render.saved_pictures import save_experts, save_picture
from moeisr_plugin.utils.log_lines import wrapped


class ImplicitModel(ResumableModel):
    """Model that builds, validates and saves an implicit network; subclasses train it.

    Attributes:
        provenance: entries of checkpoints about the weights that the training starts from.
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
        train_opt = opt.get("train") or {}
        teacher = (train_opt.get("distillation_opt") or {}).get("teacher", DEEPEST)
        teacher = None if teacher == DEEPEST else str(located(teacher))
        if resumes and start:
            return passed_on(start, teacher)
        pretrained = (opt["network_g"].get("encoder") or {}).get("pretrained")
        copied = train_opt.get("encoder_from")
        return starting_from(start, pretrained or (str(located(copied)) if copied else None), teacher)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move the network to the device and wrap it in DistributedDataParallel for several processes.

        The wrapper must search for unused parameters if phases of the training have some: the mapper during
        random routing, all others when only the mapper learns.
        """
        train_opt = self.opt.get("train") or {}
        if self.is_train and isinstance(net, ImplicitNetwork):  # not a discriminator
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

    def _bare(self, net: nn.Module) -> ImplicitNetwork:
        bare = self.get_bare_model(net)
        if not isinstance(bare, ImplicitNetwork):
            raise ValueError(
                f"network_g.type: ImplicitSRModel trains {OWN_NETWORKS}, not {type(bare).__name__}"
            )
        return bare

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
        number = (self.opt.get("logger") or {}).get("tb_pictures", 1)
        viewed = ViewedPictures(tb_logger, number, net, label, current_iter)

        def keep(enlarged: EnlargedPicture) -> None:
            viewed.add(enlarged)
            if save_img:
                self._save_pictures(net, enlarged, label=label, current_iter=current_iter)

        validation = validate(
            net,
            dataloader,
            device=self.device,
            metrics=val_opt.get("metrics") or {},
            with_health=val_opt.get("routing_health", False),
            bar=self.opt["rank"] == 0 and val_opt.get("pbar", False),
            keep=keep if save_img or tb_logger else None,
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
            numbers = [f"{name}: {value:.4f}" for name, value in health.items()]
            get_root_logger().info(wrapped(f"Routing {label}:", numbers))
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
        """Save networks atomically, the implicit one with the hyper-parameters to rebuild it."""
        nets = [self.get_bare_model(n) for n in (net if isinstance(net, list) else [net])]
        keys = param_key if isinstance(param_key, list) else [param_key]
        checkpoint: dict[str, Any] = {
            key: {name: value.cpu() for name, value in n.state_dict().items()}
            for key, n in zip(keys, nets, strict=True)
        }
        if net_label == "net_g":
            checkpoint["network_g"] = self._bare(nets[0]).hyper_parameters
            checkpoint |= self.provenance
        if self.is_train:
            checkpoint["iter"] = self.current_iter if current_iter == -1 else current_iter
        file_name = f"{net_label}_{'latest' if current_iter == -1 else current_iter}.pth"
        save_checkpoint(Path(self.opt["path"]["models"], file_name), checkpoint)
