"""Random states of a process as plain data, which can be loaded without executing code."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def random_state(cuda_devices: Sequence[int]) -> dict[str, Any]:
    """Return the states of the generators of Python, NumPy and torch, including the given GPUs."""
    numpy_state: Any = np.random.get_state(legacy=False)
    key = torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))
    version, internal, gauss = random.getstate()
    return {
        "python": {"version": version, "internal": list(internal), "gauss": gauss},
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": key}},
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device) for device in cuda_devices],
    }


def set_random_state(state: dict[str, Any], cuda_devices: Sequence[int]) -> None:
    """Restore the result of `random_state`, also from tensors on a GPU.

    GPUs without a saved state do not change.
    """
    python = state["python"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))
    key = state["numpy"]["state"]["key"].cpu().numpy().astype(np.uint32)
    np.random.set_state({**state["numpy"], "state": {**state["numpy"]["state"], "key": key}})
    torch.set_rng_state(state["torch"].cpu())
    for device, cuda_state in zip(cuda_devices, state["cuda"], strict=False):
        torch.cuda.set_rng_state(cuda_state.cpu(), device)
