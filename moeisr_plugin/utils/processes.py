"""The processes that train together; a process by itself is a group of one."""

import gc
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if size() > 1 else 0


def leave_group() -> None:
    """Part from the other processes before the end of this one, all at once.

    No DistributedDataParallel may be in use any more: one that outlived its group would end the group's
    threads while it holds Python's lock, and wait for ever for a thread that needs it.
    """
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # it lies in cycles of references
        dist.barrier()
        dist.destroy_process_group()


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of the tensors of all processes, with gradients.

    Each process that goes on to compute the same loss of it gets, averaged over the processes as
    DistributedDataParallel does, the gradient of that loss.
    """
    return _Total.apply(tensor) if size() > 1 else tensor


class _Total(torch.autograd.Function):
    """torch.distributed.nn.functional.all_reduce, which torch is giving up without a public successor."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Total.forward(ctx, gradients[0])


def gather_batches(batch: Tensor) -> Tensor:
    """The batches (B, ...) of all processes as one, (processes · B, ...), without gradients.

    Batches are of the same shape in all processes.
    """
    if size() == 1:
        return batch.detach()
    batches = [torch.empty_like(batch) for _ in range(size())]
    dist.all_gather(batches, batch.detach().contiguous())
    return torch.cat(batches)


def gather_objects(value: Value) -> list[Value]:
    """The picklable values of all processes, in the order of their ranks."""
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    dist.all_gather_object(values, value)
    return values


def any_of(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process."""
    if size() == 1:
        return flag
    raised = torch.tensor(float(flag), device=device)
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return bool(raised.item())


def broadcast_from_first(find: Callable[[], Value]) -> Value:
    """What the first process finds, told to the others; a ValueError that it raises they raise as well."""
    if size() == 1:
        return find()
    told: list[Any] = [None, None]
    if rank() == 0:
        try:
            told[0] = find()
        except ValueError as error:
            told[1] = str(error)
    dist.broadcast_object_list(told)
    if told[1] is not None:
        raise ValueError(told[1])
    return told[0]
