"""A simulated GPU: its tensors report the device ``cuda:0``, but are computed on the CPU.

Like a GPU, it refuses operations on tensors of two devices. It also counts how often the host would wait for
a GPU. So both can be tested on any machine.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from moeisr_plugin.render import triton_backend

GPU = torch.device("cuda", 0)
# Operations for which the host reads from a GPU, for the size of the result or for a check.
_READ_BY_HOST = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave",
}
_COPIES = {"_to_copy", "copy_"}


@contextmanager
def pretend_gpu() -> Iterator[Counter[str]]:
    """Context in which ``GPU`` can be used as a device.

    Yields:
        The number of waits of the host by operation, updated as operations run.
    """
    if torch.cuda.is_available():
        torch.cuda.init()  # before the patches below
    with pytest.MonkeyPatch.context() as patch, _SimulatedMode() as mode:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)  # needs a driver
        patch.setattr(torch.cuda, "get_device_name", lambda device: "simulated GPU")
        patch.setattr(triton_backend, "_gpu_is_supported", lambda index: False)  # Triton kernels cannot run
        patch.setattr(torch.Tensor, "pin_memory", _pinned)
        patch.setattr(torch.cuda, "synchronize", lambda device: mode.waits.update(["synchronize"]))
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor creates on the CPU, then copies
        try:
            yield mode.waits
        finally:
            torch._C._set_only_lift_cpu_tensors(False)


class _SimulatedMode(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        with self:
            result = func.decompose(*args, **kwargs)  # inference mode does not decompose them
        if result is not NotImplemented:
            return result
        name = func._schema.name.removeprefix("aten::")
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        on_device = [t for t in tensors if isinstance(t, _OnGPU)]
        on_cpu = [t for t in tensors if not isinstance(t, _OnGPU) and t.ndim]
        if on_device and on_cpu and name not in _COPIES:
            raise AssertionError(f"{name} of tensors on two devices")
        on_gpu = bool(on_device)
        if kwargs.get("device") is not None:
            on_gpu = torch.device(kwargs["device"]).type != "cpu"
            kwargs["device"] = "cpu"
        between = name in _COPIES and (bool(on_device and on_cpu) or on_gpu != bool(on_device))
        masked = name.startswith("index") and any(t.dtype == torch.bool for t in on_device[1:])
        stays = kwargs.get("non_blocking") and all(hasattr(t, "is_pinned_copy") for t in on_cpu)
        if (between and not stays) or masked or (on_device and name in _READ_BY_HOST):
            self.waits[name] += 1
        cpu_args = tree_map_only(_OnGPU, lambda t: t.data_on_cpu, (args, kwargs))
        result = func(*cpu_args[0], **cpu_args[1])
        written = _written(func, args, kwargs)
        if written is not None:
            return written
        return tree_map_only(Tensor, _OnGPU, result) if on_gpu else result


def _pinned(tensor: Tensor) -> Tensor:
    copy = tensor.clone()
    copy.is_pinned_copy = True  # pyright: ignore[reportAttributeAccessIssue]
    return copy


class _OnGPU(Tensor):
    """Tensor that reports the device GPU. For torch's C++ code it is on `meta`, which needs no driver."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]
    data_on_cpu: Tensor

    @staticmethod
    def __new__(cls, data_on_cpu: Tensor) -> "_OnGPU":
        with torch.inference_mode(False):  # otherwise autograd cannot track views
            gpu = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
                cls,
                data_on_cpu.shape,
                strides=data_on_cpu.stride(),
                storage_offset=data_on_cpu.storage_offset(),
                dtype=data_on_cpu.dtype,
                device=torch.device("meta"),
            )
        gpu.data_on_cpu = data_on_cpu.detach()
        return gpu

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        return GPU

    def tolist(self) -> Any:
        return self.cpu().tolist()  # the method of Tensor does not support this class

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} of a tensor on the GPU outside the context of pretend_gpu")


def _written(func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """Return the argument that an in-place operation writes to, or None."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return args[position] if position < len(args) else kwargs[argument.name]
    return None


def from_gpu(tensor: Tensor) -> Tensor:
    """Return the data of a tensor on the GPU as a CPU tensor."""
    assert isinstance(tensor, _OnGPU), "not on the GPU"
    return tensor.data_on_cpu
