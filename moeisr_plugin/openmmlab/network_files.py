"""Write networks of a `Runner` in the format of this package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.openmmlab.restorer import ImplicitRestorer

_PREFIX = "network."


@HOOKS.register_module()
class NetworkFileHook(Hook):
    """Write ``net_g_ITERATION.pth`` with each checkpoint of the Runner, for ``moeisr upscale`` and others.

    It holds the weights, the averaged ones if there is an EMAHook, the hyper-parameters and the provenance.
    """

    priority = "LOW"  # after EMAHook, which adds its weights to the checkpoint

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Write the network of a checkpoint to the working folder.

        Raises:
            ValueError: the Runner trains something else than an `ImplicitRestorer`.
            CheckpointError: the file cannot be written.
        """
        model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not isinstance(model, ImplicitRestorer):
            raise ValueError(f"NetworkFileHook writes an ImplicitRestorer, not a {type(model).__name__}")
        iteration = checkpoint["meta"]["iter"]
        # EMAHook stores the averaged weights as `state_dict`, and the others, with a prefix, beside them.
        states = {"params": _below(_PREFIX, checkpoint["state_dict"])}
        if "ema_state_dict" in checkpoint:
            others = _below(f"module.{_PREFIX}", checkpoint["ema_state_dict"])
            states = {"params": others, "params_ema": states["params"]}
        content = {**states, "network_g": model.network.hyper_parameters, "iter": iteration}
        save_checkpoint(Path(runner.work_dir, f"net_g_{iteration}.pth"), content | model.provenance)


def _below(prefix: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights with this prefix, without it, on the CPU."""
    return {name[len(prefix) :]: value.cpu() for name, value in weights.items() if name.startswith(prefix)}
