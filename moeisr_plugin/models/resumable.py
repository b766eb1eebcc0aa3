"""A model of the toolbox's whose training can be stopped at any iteration and taken up exactly there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor

from moeisr_plugin import processes
from moeisr_plugin.checkpoints import save_checkpoint
from moeisr_plugin.data.sample_order import Position, position_after
from moeisr_plugin.models.interruption import Interruption
from moeisr_plugin.models.optimisers import optimiser_settings, schedule_settings, settle_optimiser
from moeisr_plugin.models.random_state import random_state, set_random_state


class ResumableModel(SRModel):
    """Saves and restores all that decides how a training goes on; ends it in order on SIGTERM or SIGINT.

    Attributes:
        current_iter: the iteration in progress or done last.
        saved_iter: the iteration saved last.
        validated_iter: the iteration validated last.
        ended: whether all iterations are done.
    """

    def init_training_settings(self) -> None:
        self.current_iter = self.saved_iter = self.validated_iter = 0
        self.ended = False
        self.interruption = Interruption()
        self._begun = Position(epoch=0, consumed=0)
        self._batch_place: tuple[Tensor, Tensor] | None = None
        super().init_training_settings()

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin an iteration, unless a signal asks to end the training.

        Raises:
            SystemExit: with 0, once the iteration before is saved.
        """
        self.interruption.listen()
        if processes.any_of(self.interruption.noted is not None, self.device):
            self._end_interrupted()
        super().update_learning_rate(current_iter, warmup_iter)
        self.current_iter = current_iter

    def _end_interrupted(self) -> None:
        epoch = self._position().epoch
        if self.saved_iter == self.current_iter:
            self.save_training_state(epoch, self.current_iter)  # its validation may have come since
        else:
            self.save(epoch, self.current_iter)
        get_root_logger().info(
            f"Ended by {self.interruption.noted or 'a signal to another process'}: iteration "
            f"{self.saved_iter} is saved; the same command with --auto_resume goes on from there."
        )
        self.net_g = self.get_bare_model(self.net_g)  # the wrapper must not outlive the group
        processes.leave()
        raise SystemExit(0)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        super().feed_data(data)
        if self.is_train and "place" in data:
            self._batch_place = data["epoch"], data["place"]

    def _position(self) -> Position:
        """How far training has come; where it began, of a dataset that does not tell its samples' places."""
        if self._batch_place is None:
            return self._begun
        return position_after(*self._batch_place, self.opt["world_size"])

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the networks, then the state; at the end of training (-1) the networks also as the latest.

        A state vouches for the networks of its iteration: one left by an earlier attempt goes before they do.
        """
        if current_iter == -1:
            if self.saved_iter != self.current_iter:  # else more iterations could not go on from here
                self.save(self._position().epoch, self.current_iter)
            self.ended = True
            self.interruption.ignore()  # nothing remains to be saved
        elif self.opt["rank"] == 0:
            self._state_path(current_iter).unlink(missing_ok=True)
        super().save(epoch, current_iter)

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Save all that an exact resume takes, whole or not at all.

        Raises:
            CheckpointError: if it cannot be written.
        """
        if current_iter == -1:
            return
        random_states = processes.gathered(random_state(self._cuda_devices()))
        if self.opt["rank"] == 0:
            state = {
                "epoch": epoch,
                "iter": current_iter,
                "consumed": self._position().consumed,
                "manual_seed": self.opt["manual_seed"],
                "random": random_states,
                "best_metric_results": getattr(self, "best_metric_results", {}),
                "owes_validation": self._validates_at(current_iter) and self.validated_iter != current_iter,
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
                "kinds": self._kinds(),
                "freeze": self._frozen(),
            }
            save_checkpoint(self._state_path(current_iter), state)
        self.saved_iter = current_iter

    def _frozen(self) -> list[str]:
        """The parts that do not learn."""
        return sorted(self.opt["train"].get("freeze", []))

    def _kinds(self) -> dict[str, list[str]]:
        """Of what classes the optimisers and schedules are."""
        parts = {"optim_g": self.optimizers, "scheduler": self.schedulers}
        return {key: [type(each).__name__ for each in of_key] for key, of_key in parts.items()}

    def _state_path(self, current_iter: int) -> Path:
        return Path(self.opt["path"]["training_states"], f"{current_iter}.state")

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a training state, of this model or of the toolbox's own.

        Schedules and learning rates go on from where they were, by the settings that the option file has now.

        Raises:
            ValueError: if the option file has another optimiser or schedule now, or freezes other parts.
        """
        for key, kinds in self._kinds().items():
            saved_kinds = resume_state.get("kinds", {}).get(key, kinds)  # states of the toolbox tell none
            if saved_kinds != kinds:
                raise ValueError(
                    f"train.{key}.type: is {kinds[0]}, but the training state has that of {saved_kinds[0]}; "
                    "set it back, or start anew without --auto_resume"
                )
        saved_frozen = resume_state.get("freeze", self._frozen())  # states of the toolbox tell none
        if saved_frozen != self._frozen():
            raise ValueError(
                f"train.freeze: is {self._frozen()}, but the training state has {saved_frozen}; set it back, "
                "or start anew without --auto_resume"
            )
        named = self.opt["train"]["scheduler"]
        schedules = [schedule_settings(scheduler, named) for scheduler in self.schedulers]
        groups = [optimiser_settings(optimiser) for optimiser in self.optimizers]
        super().resume_training(resume_state)
        changed: list[str] = []
        for scheduler, own in zip(self.schedulers, schedules, strict=True):
            saved = scheduler.state_dict()
            changed += [f"scheduler.{key}" for key in named if key in own and own[key] != saved[key]]
            scheduler.load_state_dict({**saved, **own})
        for optimiser, scheduler, own in zip(self.optimizers, self.schedulers, groups, strict=True):
            changed += [f"optim_g.{option}" for option in settle_optimiser(optimiser, scheduler, own)]
        for key in changed:
            get_root_logger().info(f"train.{key} is no longer what it was at the last save.")
        self.current_iter = self.saved_iter = resume_state["iter"]
        self._begun = Position(resume_state["epoch"], resume_state.get("consumed", 0))
        metrics = set((self.opt.get("val") or {}).get("metrics") or {})
        best = resume_state.get("best_metric_results", {})
        self.best_metric_results = {label: best[label] for label in best if set(best[label]) == metrics}
        if resume_state.get("owes_validation") and self._validates_at(self.current_iter):
            self._validate_again()
        random_states = resume_state.get("random", [])
        world_size = self.opt["world_size"]
        if len(random_states) == world_size:
            set_random_state(random_states[self.opt["rank"]], self._cuda_devices())
        else:
            get_root_logger().warning(
                f"The training state has random states for {len(random_states)} processes and there are "
                f"{world_size}: this will not be exactly what it had been without the break."
            )

    def validation(
        self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        if self.is_train and self.ended:  # the toolbox has counted on
            current_iter = self.current_iter
        super().validation(dataloader, current_iter, tb_logger, save_img)
        if self.is_train:
            self.validated_iter = self.current_iter

    def _validates_at(self, current_iter: int) -> bool:
        val_opt = self.opt.get("val")
        return bool(val_opt) and "val_freq" in val_opt and current_iter % val_opt["val_freq"] == 0

    def _validate_again(self) -> None:
        """Make up for the validation that the break prevented: the toolbox validates after it saves."""
        for phase, dataset_opt in self.opt["datasets"].items():
            if phase.split("_")[0] == "val":
                loader = build_dataloader(build_dataset(dataset_opt), dataset_opt)
                self.validation(loader, self.current_iter, None, self.opt["val"].get("save_img", False))

    def _cuda_devices(self) -> list[int]:
        """The GPUs whose random numbers this process uses."""
        if self.device.type != "cuda":
            return []
        return [torch.cuda.current_device()] if self.opt["dist"] else list(range(self.opt["num_gpu"]))
