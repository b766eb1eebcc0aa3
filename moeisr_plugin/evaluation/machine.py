"""Describe the hardware and versions of a measurement."""

import platform
from pathlib import Path
from typing import Any

import torch

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_fp16")


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the processor, the GPU (if it is the device) and versions. Host names are left out."""
    model, flags = _processor()
    described = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "cpu": model,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "device": device.type,
    }
    if device.type == "cuda":
        described |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return described


def _processor() -> tuple[str, set[str]]:
    """Return the processor model and its flags. Flags are known only on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return facts.get("model name") or platform.processor() or "unknown", set(facts.get("flags", "").split())
