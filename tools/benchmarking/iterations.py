"""Measure training iterations per second in several precisions, compiled or not."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any, cast

import torch
from torch.nn import functional as F

from benchmarking.contenders import Network
from benchmarking.number_formats import matrix_precision
from benchmarking.rendering import Row
from benchmarking.timing import alternating, peak_bytes
from benchmarking.training import Batch, random_queries
from moeisr_plugin.evaluation.clock import now
from moeisr_plugin.models.acceleration import accelerate
from moeisr_plugin.models.optimisers import build_optimiser
from moeisr_plugin.models.training_step import TrainingStep


def measure_iterations(
    networks: Sequence[Network],
    batch: Batch,
    precisions: Sequence[str],
    compiled: Sequence[bool],
    repeats: int,
    device: torch.device,
) -> list[Row]:
    """Return a row per network, precision and compilation mode. Iterations include the optimiser step."""
    if any(compiled):
        # torch counts all compiled networks as one function, and stops compiling at this limit.
        wanted, config = len(networks) * len(precisions), cast(Any, torch._dynamo.config)
        config.cache_size_limit = max(config.cache_size_limit, 2 * wanted)
    iterations: list[tuple[str, Callable[[], None]]] = []
    rows: list[Row] = []
    for network in networks:
        for precision in precisions:
            for is_compiled in compiled:
                iteration = _iteration(network, batch, precision, is_compiled, device)
                with matrix_precision(precision):
                    iteration()  # compiles, and creates the optimiser state
                    memory = peak_bytes(iteration, device)
                iterations.append((precision, iteration))
                row = {"network": network.name, "precision": precision, "compiled": is_compiled}
                rows.append({**row, "batch": batch.label, "runs": [], "peak_bytes": memory})
    for order in alternating(len(rows), repeats):
        for index in order:
            precision, iteration = iterations[index]
            with matrix_precision(precision):
                start = now(device)
                iteration()
                rows[index]["runs"].append(now(device) - start)
    for row in rows:
        row["iterations_per_s"] = 1 / median(row["runs"])
        row["samples_per_s"] = batch.samples * row["iterations_per_s"]
    return rows


def _iteration(
    network: Network, batch: Batch, precision: str, compiled: bool, device: torch.device
) -> Callable[[], None]:
    net = accelerate(copy.deepcopy(network.net).train(), compiled=compiled)
    optimiser = build_optimiser("Adam", list(net.parameters()), lr=1e-4)
    step = TrainingStep(optimiser, device, precision="float32" if precision == "tf32" else precision)
    lr, coord, cell = random_queries(batch, device)
    return partial(_iterate, net, step, lr, coord, cell)


def _iterate(
    net: torch.nn.Module, step: TrainingStep, lr: torch.Tensor, coord: torch.Tensor, cell: torch.Tensor
) -> None:
    step.optimiser.zero_grad()
    with step.autocast():
        rgb, scores = net(lr, coord, cell)
        loss = F.l1_loss(rgb, torch.zeros_like(rgb)) + scores.square().mean()
    step.backward(loss)
    step.take([loss])
