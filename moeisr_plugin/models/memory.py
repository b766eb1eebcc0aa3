"""The peak memory of a training on a GPU."""

import torch


def peak_gpu_memory(device: torch.device) -> dict[str, float]:
    """Return ``gpu_memory_gb``, the largest memory of tensors since the last call; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return {"gpu_memory_gb": peak / 1e9}
