"""Optimiser steps with mixed precision, gradient clipping and skipping of Inf and NaN."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ReduceOp
from torch.optim import Optimizer

from moeisr_plugin.ops.precision import PRECISIONS

_STATE_KEY = "training_step"


class TrainingStoppedError(ValueError):
    """Training cannot continue; the message is one line with the remedy."""


class TrainingStep:
    """Runs the steps of an optimiser.

    If a loss or gradient is Inf or NaN in any process, all processes skip the step. The state_dict of the
    optimiser includes the counters and the gradient scale of float16.

    Args:
        optimiser: the optimiser.
        device: device of its parameters.
        precision: float32, bfloat16 or float16. The latter two use autocast; parameters and optimiser state
            stay in float32. With float16, gradients are scaled to avoid underflow.
        clip_grad_norm: largest norm of the gradient of all parameters; unlimited if None.
        max_bad_steps: stop after this number of consecutive skipped steps. The scale of float16 starts at
            65536 and each skipped step halves it, so it may need 16 of them.

    Attributes:
        skipped_steps: number of skipped steps since the start of the training.
        bad_steps: number of consecutive skipped steps.
        loss_is_finite: whether the loss of the last step was finite.
        grad_norm: gradient norm of the last step, before clipping.

    Raises:
        ValueError: an option is out of range; one line with its name.
    """

    def __init__(
        self,
        optimiser: Optimizer,
        device: torch.device,
        *,
        precision: str = "float32",
        clip_grad_norm: float | None = None,
        max_bad_steps: int = 20,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"train.precision is {precision!r}; give {', '.join(PRECISIONS)}")
        if clip_grad_norm is not None and not clip_grad_norm > 0:
            raise ValueError(f"train.clip_grad_norm is {clip_grad_norm}; give a number above 0, or none")
        if max_bad_steps < 1:
            raise ValueError(f"train.max_bad_steps is {max_bad_steps}; give 1 or more")
        self.optimiser = optimiser
        self.device = device
        self.precision = precision
        self.clip_grad_norm = clip_grad_norm
        self.max_bad_steps = max_bad_steps
        self.skipped_steps = 0
        self.bad_steps = 0
        self.loss_is_finite = True
        self.grad_norm = 0.0
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        optimiser.register_state_dict_post_hook(self._add_state)
        optimiser.register_load_state_dict_pre_hook(self._extract_state)

    def autocast(self) -> torch.autocast:
        """Return the autocast context for computing losses."""
        enabled = self.precision != "float32"
        return torch.autocast(self.device.type, dtype=PRECISIONS[self.precision], enabled=enabled)

    def backward(self, loss: Tensor) -> None:
        """Scale the loss and accumulate its gradients."""
        self._scaler.scale(loss).backward()

    def take(self, losses: Iterable[Tensor]) -> bool:
        """Step the optimiser, unless a loss or a gradient is Inf or NaN.

        Args:
            losses: the scalar losses of the gradients.

        Returns:
            Whether the step was taken.

        Raises:
            TrainingStoppedError: after `max_bad_steps` consecutive skipped steps.
        """
        self._scaler.unscale_(self.optimiser)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.clip_grad_norm or math.inf)
        loss = torch.stack([loss.detach() for loss in losses]).sum()
        finite = self._in_all_processes(torch.stack([loss, norm]).isfinite())
        # One transfer: each read synchronises with the GPU.
        loss_is_finite, gradient_is_finite, self.grad_norm = torch.cat([finite, norm[None]]).tolist()
        self.loss_is_finite = bool(loss_is_finite)
        taken = self.loss_is_finite and bool(gradient_is_finite)
        if taken:
            self._scaler.step(self.optimiser)
        self._scaler.update()
        self._count(taken)
        return taken

    def log(self) -> dict[str, float]:
        """Return the numbers to log."""
        return {"skipped_steps": self.skipped_steps, "grad_norm": self.grad_norm}

    def _in_all_processes(self, flags: Tensor) -> Tensor:
        """Return which flags are set in all processes, as 0 or 1."""
        flags = flags.int()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(flags, ReduceOp.MIN)
        return flags

    def _count(self, taken: bool) -> None:
        self.bad_steps = 0 if taken else self.bad_steps + 1
        self.skipped_steps += not taken
        if self.bad_steps >= self.max_bad_steps:
            raise TrainingStoppedError(
                f"the loss or its gradient was Inf or NaN in {self.bad_steps} steps in a row "
                "(train.max_bad_steps); resume from the last checkpoint with a lower train.optim_g.lr, "
                "with train.clip_grad_norm, or with train.precision: float32"
            )

    def _add_state(self, optimiser: Optimizer, state: dict[str, Any]) -> None:
        state[_STATE_KEY] = {
            "scaler": self._scaler.state_dict(),
            "skipped_steps": self.skipped_steps,
            "bad_steps": self.bad_steps,
        }

    def _extract_state(self, optimiser: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        """Load our entry of a state, if present, and return the state without it."""
        ours = state.get(_STATE_KEY)
        if ours is None:
            return state
        self.skipped_steps, self.bad_steps = ours["skipped_steps"], ours["bad_steps"]
        if ours["scaler"] and self._scaler.is_enabled():  # empty if saved with another precision
            self._scaler.load_state_dict(ours["scaler"])
        return {key: value for key, value in state.items() if key != _STATE_KEY}


def step_of(train_opt: Mapping[str, Any], optimiser: Optimizer, device: torch.device) -> TrainingStep:
    """Return the steps of an optimiser, by the options of a training."""
    names = ("precision", "clip_grad_norm", "max_bad_steps")
    return TrainingStep(
        optimiser, device, **{key: train_opt[key] for key in names if train_opt.get(key) is not None}
    )
