"""Compare a training step (forward and backward) of the package with the plain reference."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarking.contenders import PACKAGE, PLAIN, Network
from benchmarking.number_formats import matrix_precision
from benchmarking.rendering import Row
from benchmarking.timing import alternating, peak_bytes
from moeisr_plugin.archs import reference, routing
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.evaluation.clock import now

Mix = Callable[[ImplicitSR, Encoding, Tensor, Tensor], Tensor]
# Gates without noise, unlike in training, so that both codes compute the same.
_GATE = partial(torch.softmax, dim=1)
RANDOM_ROUTING = "package, random routing"
"""Training with `train.random_gates_iter`: one random expert decodes each pixel instead of all."""


@dataclass(frozen=True)
class Batch:
    """The sizes of a batch: samples, LR pixels along a side, queries per sample."""

    samples: int = 16
    lr_size: int = 48
    queries: int = 2304

    @property
    def label(self) -> str:
        return f"{self.samples}x{self.lr_size}x{self.queries}"


def parse_batch(text: str) -> Batch:
    """Parse ``16x48x2304``."""
    try:
        samples, lr_size, queries = map(int, text.split("x"))
    except ValueError:
        samples = lr_size = queries = 0
    if min(samples, lr_size, queries) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a batch; give SAMPLESxLR_SIZExQUERIES")
    return Batch(samples, lr_size, queries)


def random_queries(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return LR patches (B, 3, h, h), coordinates (B, Q, 2) and cells (B, 2) of scales from 1 to 4."""
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(batch.samples, 3, batch.lr_size, batch.lr_size, generator=generator)
    coord = torch.rand(batch.samples, batch.queries, 2, generator=generator) * 2 - 1
    scale = 1 + 3 * torch.rand(batch.samples, 1, generator=generator)
    cell = (2 / (batch.lr_size * scale)).repeat(1, 2)  # (B, 2)
    return lr.to(device), coord.to(device), cell.to(device)


def measure_training(networks: list[Network], batch: Batch, repeats: int, device: torch.device) -> list[Row]:
    """Return a row per network and code in float32, with the seconds of decoder step and whole step.

    The plain reference has no random routing, because one-hot gates would save it no work.
    """
    lr, coord, cell = random_queries(batch, device)
    codes: dict[str, Mix] = {
        PLAIN: lambda net, encoding, coord, cell: reference.soft_mixture(
            net, encoding, coord, cell, _GATE(encoding.scores)
        ),
        PACKAGE: lambda net, encoding, coord, cell: net.mix(encoding, coord, cell, gate=_GATE),
        RANDOM_ROUTING: lambda net, encoding, coord, cell: net.dispatch(
            encoding,
            coord,
            cell,
            routed=net.route(routing.random_choice(lr, range(len(net.experts))), coord),
        ),
    }
    steps, rows = [], []
    with matrix_precision("float32"):
        for network in networks:
            net = network.net
            latent = net.encode(lr).latent.detach()
            for code, mix in codes.items():
                if code == RANDOM_ROUTING and len(net.experts) == 1:
                    continue
                decoder = partial(_decoder_step, net, mix, lr, latent, coord, cell)
                whole = partial(_whole_step, net, mix, lr, coord, cell)
                decoder()
                memory = peak_bytes(whole, device)
                steps.append((decoder, whole))
                row = {"network": network.name, "code": code, "batch": batch.label}
                rows.append({**row, "runs": [], "peak_bytes": memory})
        for order in alternating(len(steps), repeats):
            for index in order:
                rows[index]["runs"].append([_seconds(step, device) for step in steps[index]])
    for row in rows:
        decoder_seconds, seconds = zip(*row["runs"], strict=True)
        row["decoder_seconds"], row["seconds"] = median(decoder_seconds), median(seconds)
    plain = {row["network"]: row for row in rows if row["code"] == PLAIN}
    for row in rows:
        beside = plain[row["network"]]
        row["decoder_times_plain"] = beside["decoder_seconds"] / row["decoder_seconds"]
        row["times_plain"] = beside["seconds"] / row["seconds"]
    return rows


def _decoder_step(net: ImplicitSR, mix: Mix, lr: Tensor, latent: Tensor, coord: Tensor, cell: Tensor) -> None:
    """Run mapper and mixture forward, and backward to the parameters and the latent."""
    latent = latent.clone().requires_grad_()
    _backward(net, mix(net, Encoding(lr, latent, net.mapper(latent)), coord, cell))


def _whole_step(net: ImplicitSR, mix: Mix, lr: Tensor, coord: Tensor, cell: Tensor) -> None:
    _backward(net, mix(net, net.encode(lr), coord, cell))


def _backward(net: ImplicitSR, rgb: Tensor) -> None:
    F.l1_loss(rgb, torch.zeros_like(rgb)).backward()
    net.zero_grad(set_to_none=True)


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    start = now(device)
    step()
    return now(device) - start
