"""A model of the toolbox with exact resume at any iteration."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor

from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.data.sample_order import Position, position_after
from moeisr_plugin.models.interruption import Interruption
from moeisr_plugin.models.optimisers import optimiser_settings, schedule_settings, settle_optimiser
from moeisr_plugin.models.random_state import random_state, set_random_state
from moeisr_plugin.utils import processes

OPTIMISERS = ("optim_g", "optim_d")
"""The options of the optimisers, in their order in a model and in its states."""


def validates_several_sets(record: logging.LogRecord) -> bool:
    """Drop a warning of the toolbox's trainer, which does not know that these models support several sets."""
    return "Multiple validation datasets are *only* supported" not in str(record.msg)


class ResumableModel(SRModel):
    """Model that saves the complete state of a training, and saves and exits on SIGTERM or SIGINT.

    Attributes:
        current_iter: the current iteration.
        saved_iter: the last saved iteration.
        validated_iter: the last validated iteration.
        ended: whether all iterations are done.
    """

    def init_training_settings(self) -> None:
        self.current_iter = self.saved_iter = self.validated_iter = 0
        self.ended = False
        self._end_is_validated = False
        get_root_logger().addFilter(validates_several_sets)
        self.interruption = Interruption()
        self._first_position = Position(epoch=0, consumed=0)
        self._batch_order: tuple[Tensor, Tensor] | None = None  # epochs and order indices, (B,) each
        self._order_is_known = True
        super().init_training_settings()

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Start an iteration, or end the training if a process received a signal.

        Raises:
            SystemExit: with status 0, after the previous iteration is saved.
        """
        self.interruption.install_handlers()
        if processes.any_of(self.interruption.signal_name is not None, self.device):
            self._end_interrupted()
        super().update_learning_rate(current_iter, warmup_iter)
        self.current_iter = current_iter

    def _end_interrupted(self) -> None:
        epoch = self._position().epoch
        if self.saved_iter == self.current_iter:
            self.save_training_state(epoch, self.current_iter)  # it may have been validated since
        else:
            self.save(epoch, self.current_iter)
        get_root_logger().info(
            f"Ended by {self.interruption.signal_name or 'a signal to another process'}: iteration "
            f"{self.saved_iter} is saved; run the same command with --auto_resume to continue."
        )
        for name in ("net_g", "net_d"):  # see `processes.leave_group`
            if hasattr(self, name):
                setattr(self, name, self.get_bare_model(getattr(self, name)))
        processes.leave_group()
        raise SystemExit(0)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        super().feed_data(data)
        if self.is_train:
            self._order_is_known = "order_index" in data
            if self._order_is_known:
                self._batch_order = data["epoch"], data["order_index"]

    def _position(self) -> Position:
        """Return the position in the sample order; the first one if the dataset does not report it."""
        if self._batch_order is None:
            return self._first_position
        return position_after(*self._batch_order, self.opt["world_size"])

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the networks, then the state. At the end (-1) also save the networks as `latest`.

        A state file implies valid networks of its iteration. So delete the stale state of an earlier attempt
        before overwriting its networks.
        """
        if current_iter == -1:
            if self.saved_iter != self.current_iter:  # needed to continue with a larger total_iter
                self.save(self._position().epoch, self.current_iter)
            self.ended = True
            self._end_is_validated = self.validated_iter == self.current_iter
            self.interruption.restore_handlers()  # everything is saved
        elif self.opt["rank"] == 0:
            self._state_path(current_iter).unlink(missing_ok=True)
        super().save(epoch, current_iter)

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Save the state for an exact resume atomically.

        Raises:
            CheckpointError: the file cannot be written.
        """
        if current_iter == -1:
            return
        random_states = processes.gather_objects(random_state(self._cuda_devices()))
        if self.opt["rank"] == 0:
            state = {
                "epoch": epoch,
                "iter": current_iter,
                **({"consumed": self._position().consumed} if self._order_is_known else {}),
                "manual_seed": self.opt["manual_seed"],
                "random": random_states,
                "best_metric_results": getattr(self, "best_metric_results", {}),
                "owes_validation": self._validates_at(current_iter) and self.validated_iter != current_iter,
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
                "kinds": self._kinds(),
                "freeze": self._frozen(),
                "rates": self._parts_with_rates(),
            }
            save_checkpoint(self._state_path(current_iter), state)
        self.saved_iter = current_iter

    def _frozen(self) -> list[str]:
        """The parts that do not learn."""
        return sorted(self.opt["train"].get("freeze", []))

    def _parts_with_rates(self) -> list[str]:
        """The parts with a learning rate of their own, in the order of the parameter groups."""
        return list(self.opt["train"]["optim_g"].get("rates") or {})

    def _kinds(self) -> dict[str, list[str]]:
        """Return the class names of the optimisers and schedules."""
        parts = {"optim_g": self.optimizers, "scheduler": self.schedulers}
        return {key: [type(each).__name__ for each in objects] for key, objects in parts.items()}

    def _state_path(self, current_iter: int) -> Path:
        return Path(self.opt["path"]["training_states"], f"{current_iter}.state")

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Resume from a training state of this model or of the toolbox.

        Schedules and learning rates keep their progress, but use the settings of the current option file.

        Raises:
            ValueError: the state has another optimiser, another schedule, other frozen parts or other parts
                with a learning rate of their own, or is of a model with or without a discriminator.
        """
        saved_networks, networks = len(resume_state["optimizers"]), len(self.optimizers)
        if saved_networks != networks:
            raise ValueError(
                f"model_type: trains {networks} networks, but the training state is of {saved_networks}; "
                "change it back, or start from the weights by path.pretrain_network_g"
            )
        for key, kinds in self._kinds().items():
            saved_kinds = resume_state.get("kinds", {}).get(key, kinds)  # missing in states of the toolbox
            keys = [key] * networks if key == "scheduler" else OPTIMISERS
            for name, kind, saved_kind in zip(keys, kinds, saved_kinds, strict=False):
                if saved_kind != kind:
                    raise ValueError(
                        f"train.{name}.type: is {kind}, but the training state is of {saved_kind}; "
                        "change it back, or start again without --auto_resume"
                    )
        saved_frozen = resume_state.get("freeze", self._frozen())  # states of the toolbox tell none
        if saved_frozen != self._frozen():
            raise ValueError(
                f"train.freeze: is {self._frozen()}, but the training state has {saved_frozen}; set it back, "
                "or start anew without --auto_resume"
            )
        saved_parts, parts = resume_state.get("rates", []), self._parts_with_rates()
        if saved_parts != parts:
            raise ValueError(
                f"train.optim_g.rates: is for {parts}, but the training state has {saved_parts}; "
                "set them back, or start anew without --auto_resume"
            )
        self._check_fit(resume_state)
        named = self.opt["train"]["scheduler"]
        schedules = [schedule_settings(scheduler, named) for scheduler in self.schedulers]
        groups = [optimiser_settings(optimiser) for optimiser in self.optimizers]
        super().resume_training(resume_state)
        changed: list[str] = []
        for scheduler, own in zip(self.schedulers, schedules, strict=True):
            saved = scheduler.state_dict()
            changed += [f"scheduler.{key}" for key in named if key in own and own[key] != saved[key]]
            scheduler.load_state_dict({**saved, **own})
        parts = zip(OPTIMISERS, self.optimizers, self.schedulers, groups, strict=False)
        for key, optimiser, scheduler, own in parts:
            changed += [f"{key}.{option}" for option in settle_optimiser(optimiser, scheduler, own)]
        for key in dict.fromkeys(changed):
            get_root_logger().info(f"train.{key} has changed since the last save.")
        self.current_iter = self.saved_iter = resume_state["iter"]
        self._first_position = Position(resume_state["epoch"], resume_state.get("consumed", 0))
        metrics = set((self.opt.get("val") or {}).get("metrics") or {})
        best = resume_state.get("best_metric_results", {})
        self.best_metric_results = {label: best[label] for label in best if set(best[label]) == metrics}
        if self._validates_at(self.current_iter):
            if resume_state.get("owes_validation"):
                self._validate_again()
            elif "owes_validation" in resume_state:
                self.validated_iter = self.current_iter
        random_states = resume_state.get("random", [])
        if len(random_states) == self.opt["world_size"]:
            set_random_state(random_states[self.opt["rank"]], self._cuda_devices())
        if lost := self._lost(resume_state):
            get_root_logger().warning(
                f"The resumed training will differ from an uninterrupted one: {'; '.join(lost)}."
            )

    def _check_fit(self, resume_state: Mapping[str, Any]) -> None:
        """Raise ValueError if the state of an optimiser is of parameters of other shapes.

        Only a network that is started anew can differ, see `path.ignore_resume_networks`.
        """
        for optimiser, saved in zip(self.optimizers, resume_state["optimizers"], strict=False):
            own = [p.shape for group in optimiser.param_groups for p in group["params"]]
            ids = [index for group in saved["param_groups"] for index in group["params"]]
            moments = (saved["state"].get(index, {}) for index in ids)
            shapes = [
                next((v.shape for v in each.values() if isinstance(v, Tensor) and v.ndim), None)
                for each in moments
            ]
            fits = len(own) == len(shapes) and all(
                shape in (None, wanted) for shape, wanted in zip(shapes, own, strict=True)
            )
            if not fits:
                raise ValueError(
                    "path.resume_state: its optimiser was of another network; start from its weights by "
                    "path.pretrain_network_g instead"
                )

    def _lost(self, resume_state: Mapping[str, Any]) -> list[str]:
        """Return what cannot be restored."""
        lost = []
        if "consumed" not in resume_state:
            lost.append("the training state does not hold the position in the order of the samples")
        elif not self.opt.get("sample_order"):
            lost.append(
                "this script orders the samples by itself and starts the epoch again; train by "
                "moeisr_plugin.train"
            )
        saved, present = len(resume_state.get("random", [])), self.opt["world_size"]
        if saved != present:
            lost.append(
                f"the training state has random states for {saved} processes, but there are {present}"
            )
        return lost

    def validation(
        self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        if self.is_train and self.ended:  # the toolbox passes an iteration after the last one
            if self._end_is_validated:
                return
            current_iter = self.current_iter
        super().validation(dataloader, current_iter, tb_logger, save_img)
        if self.is_train:
            self.validated_iter = self.current_iter

    def _validates_at(self, current_iter: int) -> bool:
        val_opt = self.opt.get("val")
        return bool(val_opt) and "val_freq" in val_opt and current_iter % val_opt["val_freq"] == 0

    def _validate_again(self) -> None:
        """Run the validation that the interruption prevented; the toolbox saves before it validates."""
        for phase, dataset_opt in self.opt["datasets"].items():
            if phase.split("_")[0] == "val":
                loader = build_dataloader(build_dataset(dataset_opt), dataset_opt)
                self.validation(loader, self.current_iter, None, self.opt["val"].get("save_img", False))

    def _cuda_devices(self) -> list[int]:
        """Return the GPUs whose random generators this process uses."""
        if self.device.type != "cuda":
            return []
        return [torch.cuda.current_device()] if self.opt["dist"] else list(range(self.opt["num_gpu"]))
