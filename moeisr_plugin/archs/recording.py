"""Refuse that a record of operations freezes the routing of its example."""

import sys

import torch


def refuse_recording() -> None:
    """Check that operations are computed, and not recorded for later pictures.

    Raises:
        RuntimeError: `torch.jit.trace`, `torch.export`, `torch.onnx.export` or `make_fx` records them.
    """
    recorder = _recorder()
    if recorder is not None:
        raise RuntimeError(
            f"{recorder} would keep the routing of its example for every picture; export the network by "
            "'moeisr export WEIGHTS -o FOLDER', or record the modules of moeisr_plugin.exporting.networks, "
            "which route each picture anew"
        )


def _recorder() -> str | None:
    """Return what records operations, or None."""
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return "torch.jit.trace"
    is_exporting = getattr(torch.compiler, "is_exporting", None)  # since torch 2.7
    if is_exporting is not None and is_exporting():
        return "torch.export"
    if torch.compiler.is_compiling():  # torch.compile computes the groups of each picture
        return None
    # Only make_fx and export load this module, which takes long.
    proxies = sys.modules.get("torch.fx.experimental.proxy_tensor")
    if proxies is not None and proxies.get_proxy_mode() is not None:
        return "make_fx"
    return None
