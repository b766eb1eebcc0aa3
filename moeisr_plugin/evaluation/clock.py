"""Wall-clock time of devices that run asynchronously."""

import time

import torch


def now(device: torch.device) -> float:
    """Return the time in seconds after the device has finished its pending work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
