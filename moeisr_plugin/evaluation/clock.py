"""Time, where devices answer before their work is done."""

import time

import torch


def now(device: torch.device) -> float:
    """Seconds, once the device has done its work; a GPU answers before it has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
