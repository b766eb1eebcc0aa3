"""A GPU that is not there: tensors that say they lie on one, and are computed with on the processor.

It refuses what a GPU refuses, tensors of two devices in one operation, and counts how often the host would
wait for it. So that devices follow the inputs and that nothing waits where it need not shows on any machine.
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
# Operations whose results' sizes, or whose checks, the host has to read on a GPU.
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
    """A context in which ``GPU`` may be named as a device.

    Yields:
        How often the host waited, by the operation that made it.
    """
    if torch.cuda.is_available():
        torch.cuda.init()  # or torch would take what follows for it
    with pytest.MonkeyPatch.context() as patch, _Pretence() as pretence:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)  # it looks for a driver
        patch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU that is not there")
        patch.setattr(triton_backend, "_gpu_is_supported", lambda index: False)  # no kernel runs there
        patch.setattr(torch.Tensor, "pin_memory", _pinned)
        patch.setattr(torch.cuda, "synchronize", lambda device: pretence.waits.update(["synchronize"]))
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes a tensor here, then moves it
        try:
            yield pretence.waits
        finally:
            torch._C._set_only_lift_cpu_tensors(False)


class _Pretence(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        with self:
            result = func.decompose(*args, **kwargs)  # in inference mode operations made of others come whole
        if result is not NotImplemented:
            return result
        name = func._schema.name.removeprefix("aten::")
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        there = [t for t in tensors if isinstance(t, _OnGPU)]
        here = [t for t in tensors if not isinstance(t, _OnGPU) and t.ndim]
        if there and here and name not in _COPIES:
            raise AssertionError(f"{name} of tensors on two devices")
        on_gpu = bool(there)
        if kwargs.get("device") is not None:
            on_gpu = torch.device(kwargs["device"]).type != "cpu"
            kwargs["device"] = "cpu"
        between = name in _COPIES and (bool(there and here) or on_gpu != bool(there))
        masked = name.startswith("index") and any(t.dtype == torch.bool for t in there[1:])
        stays = kwargs.get("non_blocking") and all(hasattr(t, "is_pinned_there") for t in here)
        if (between and not stays) or masked or (there and name in _READ_BY_HOST):
            self.waits[name] += 1
        held = tree_map_only(_OnGPU, lambda t: t.held, (args, kwargs))
        result = func(*held[0], **held[1])
        written = _written(func, args, kwargs)
        if written is not None:
            return written
        return tree_map_only(Tensor, _OnGPU, result) if on_gpu else result


def _pinned(tensor: Tensor) -> Tensor:
    copy = tensor.clone()
    copy.is_pinned_there = True  # pyright: ignore[reportAttributeAccessIssue]
    return copy


class _OnGPU(Tensor):
    """A tensor that says it lies on the GPU. To torch's own code it lies on `meta`, which needs no driver."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]
    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "_OnGPU":
        with torch.inference_mode(False):  # or views of it could not be told from copies
            gpu = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=torch.device("meta"),
            )
        gpu.held = held.detach()
        return gpu

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        return GPU

    def tolist(self) -> Any:
        return self.cpu().tolist()  # torch's own does not know tensors of a class like this

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} of a tensor on the GPU outside the context of pretend_gpu")


def _written(func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """The argument that an operation writes its result to, if it does."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return args[position] if position < len(args) else kwargs[argument.name]
    return None


def from_gpu(tensor: Tensor) -> Tensor:
    """What a tensor holds there."""
    assert isinstance(tensor, _OnGPU), "computed on the processor"
    return tensor.held
