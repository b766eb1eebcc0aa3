"""One step of an optimiser: in what precision, how far at most, and not at all where numbers break."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ReduceOp
from torch.optim import Optimizer

from moeisr_plugin.ops.precision import PRECISIONS

_STATE_KEY = "training_step"


class TrainingStoppedError(ValueError):
    """Training cannot go on; the message is one line with the remedy."""


class TrainingStep:
    """Takes the steps of an optimiser.

    A step whose loss or gradient is Inf or NaN is skipped, in all processes alike. What is counted, and the
    scale of float16's gradients, travel in the optimiser's state_dict, as they mean nothing without it.

    Args:
        optimiser: whose steps are taken.
        device: where its parameters are.
        precision: float32, or bfloat16 or float16 for what autocast deems safe in 16 bits. Parameters and
            the optimiser's state are in float32 in either case. Gradients of float16 are scaled, so that
            small ones do not become zero.
        clip_grad_norm: largest norm of the gradient of all parameters together; unbounded if not given.
        max_bad_steps: stop after so many skipped steps in a row. float16's scale begins at 65536 and is
            halved by each, which alone can take 16.

    Attributes:
        skipped_steps: since the training began.
        bad_steps: skipped in a row until now.
        loss_is_finite: of the last step, so that the network can be trusted.
        grad_norm: of the last step, before it was clipped.

    Raises:
        ValueError: an option out of range, in one line that names it.
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
        optimiser.register_load_state_dict_pre_hook(self._take_state)

    def autocast(self) -> torch.autocast:
        """The context to compute losses in."""
        enabled = self.precision != "float32"
        return torch.autocast(self.device.type, dtype=PRECISIONS[self.precision], enabled=enabled)

    def backward(self, loss: Tensor) -> None:
        """Adds to the gradients."""
        self._scaler.scale(loss).backward()

    def take(self, losses: Iterable[Tensor]) -> bool:
        """Moves the parameters along the gradients, unless a loss or a gradient is not finite.

        Args:
            losses: scalars, those of the gradients.

        Returns:
            Whether the parameters moved.

        Raises:
            TrainingStoppedError: after too many steps in a row that were not finite.
        """
        self._scaler.unscale_(self.optimiser)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.clip_grad_norm or math.inf)
        loss = torch.stack([loss.detach() for loss in losses]).sum()
        finite = self._everywhere(torch.stack([loss, norm]).isfinite())
        # Read at once, as a GPU keeps the host waiting for each reading.
        loss_is_finite, gradient_is_finite, self.grad_norm = torch.cat([finite, norm[None]]).tolist()
        self.loss_is_finite = bool(loss_is_finite)
        taken = self.loss_is_finite and bool(gradient_is_finite)
        if taken:
            self._scaler.step(self.optimiser)
        self._scaler.update()
        self._count(taken)
        return taken

    def log(self) -> dict[str, float]:
        """How the steps go."""
        return {"skipped_steps": self.skipped_steps, "grad_norm": self.grad_norm}

    def _everywhere(self, flags: Tensor) -> Tensor:
        """Flags that hold in all processes, 0 or 1."""
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
                "(train.max_bad_steps); the last checkpoint is sound: resume it with a lower "
                "train.optim_g.lr, with train.clip_grad_norm, or in train.precision: float32"
            )

    def _add_state(self, optimiser: Optimizer, state: dict[str, Any]) -> None:
        state[_STATE_KEY] = {
            "scaler": self._scaler.state_dict(),
            "skipped_steps": self.skipped_steps,
            "bad_steps": self.bad_steps,
        }

    def _take_state(self, optimiser: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        """What the optimiser is to load; a state saved without these numbers leaves them as they are."""
        ours = state.get(_STATE_KEY)
        if ours is None:
            return state
        self.skipped_steps, self.bad_steps = ours["skipped_steps"], ours["bad_steps"]
        if ours["scaler"] and self._scaler.is_enabled():  # empty where it was saved in another precision
            self._scaler.load_state_dict(ours["scaler"])
        return {key: value for key, value in state.items() if key != _STATE_KEY}
