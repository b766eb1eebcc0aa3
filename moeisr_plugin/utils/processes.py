"""Collective operations of the training processes; a single process counts as a group of one."""

import gc
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


def size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the rank of this process, from 0."""
    return dist.get_rank() if size() > 1 else 0


def leave_group() -> None:
    """Destroy the process group, in all processes at once, before this process ends.

    Release every DistributedDataParallel first. A wrapper that outlives its group joins the threads of the
    group while it holds the GIL, which is a deadlock if such a thread needs the GIL.
    """
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # wrappers are in reference cycles
        dist.barrier()
        dist.destroy_process_group()


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, with gradients.

    If every process computes the same loss from the sum, the average over the processes
    (DistributedDataParallel) is the gradient of that loss.
    """
    return _Total.apply(tensor) if size() > 1 else tensor


class _Total(torch.autograd.Function):
    """Differentiable all_reduce; torch deprecates its own (torch.distributed.nn) without a successor."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Total.forward(ctx, gradients[0])


def gather_batches(batch: Tensor) -> Tensor:
    """Concatenate the batches (B, ...) of all processes to (processes · B, ...), without gradients.

    The batches must have the same shape in all processes.
    """
    if size() == 1:
        return batch.detach()
    batches = [torch.empty_like(batch) for _ in range(size())]
    dist.all_gather(batches, batch.detach().contiguous())
    return torch.cat(batches)


def gather_objects(value: Value) -> list[Value]:
    """Return the picklable values of all processes, in the order of the ranks."""
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    dist.all_gather_object(values, value)
    return values


def any_of(flag: bool, device: torch.device) -> bool:
    """Return whether the flag is set in any process."""
    if size() == 1:
        return flag
    raised = torch.tensor(float(flag), device=device)
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return bool(raised.item())


def broadcast_from_first(find: Callable[[], Value]) -> Value:
    """Call `find` in the first process and return its result in all of them.

    Raises:
        ValueError: `find` raised a ValueError; all processes raise it.
    """
    if size() == 1:
        return find()
    result: list[Any] = [None, None]  # value, error message
    if rank() == 0:
        try:
            result[0] = find()
        except ValueError as error:
            result[1] = str(error)
    dist.broadcast_object_list(result)
    if result[1] is not None:
        raise ValueError(result[1])
    return result[0]
