"""The random states of a process, as plain data that can be loaded without running code."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def random_state(cuda_devices: Sequence[int]) -> dict[str, Any]:
    """The states of Python's, numpy's and torch's generators, those of the given GPUs included."""
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
    """Set what `random_state` gave; GPUs that it knew nothing of are left as they are."""
    python = state["python"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))
    key = state["numpy"]["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**state["numpy"], "state": {**state["numpy"]["state"], "key": key}})
    torch.set_rng_state(state["torch"])
    for device, cuda_state in zip(cuda_devices, state["cuda"], strict=False):
        torch.cuda.set_rng_state(cuda_state, device)
