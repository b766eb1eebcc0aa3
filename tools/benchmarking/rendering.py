"""Measure seconds, MACs, memory and rounding errors of each contender when enlarging a picture."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarking.cases import Case
from benchmarking.contenders import PLAIN, Contender
from benchmarking.timing import alternating, matrix_share, peak_bytes
from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF
from moeisr_plugin.evaluation.clock import now
from moeisr_plugin.render import complexity

Row = dict[str, Any]


def measure(contenders: list[Contender], case: Case, lr: Tensor, repeats: int) -> Iterator[list[Row]]:
    """Yield, after each repeat, the rows of all contenders so far.

    Args:
        contenders: the contenders.
        case: the case.
        lr: (1, 3, h, w) in [0, 1], on the device of the contenders.
        repeats: number of timed runs per contender. Untimed runs for MACs, profile and memory precede them.
    """
    rows, pictures = zip(*(_count(contender, case, lr) for contender in contenders), strict=True)
    _add_decibels(rows, pictures)
    for order in alternating(len(contenders), repeats):
        for index in order:
            encoder_seconds, decoder_seconds = _time(contenders[index], case, lr)
            rows[index]["runs"].append([encoder_seconds, decoder_seconds])
        for row in rows:
            encoder_seconds, decoder_seconds = zip(*row["runs"], strict=True)
            row["seconds"] = median(map(sum, row["runs"]))
            row["encoder_seconds"] = median(encoder_seconds)
            row["decoder_seconds"] = median(decoder_seconds)
        _compare(rows)
        yield [
            {"case": case.label, "device": lr.device.type, "output": list(case.size), **row} for row in rows
        ]


def add_peak_share(rows: list[Row], peaks: Mapping[str, float]) -> None:
    """Add to each row the decoding speed relative to the peak of its precision in MACs per second."""
    for row in rows:
        row["peak_share"] = row["render_macs"] / row["decoder_seconds"] / peaks[row["precision"]]


def _count(contender: Contender, case: Case, lr: Tensor) -> tuple[Row, Tensor]:
    """Return the row without times, and the picture."""
    device, on_cpu = lr.device, lr.device.type == "cpu"
    with contender.context():
        encoded = contender.encode(lr)
        pictures: list[Tensor] = []
        macs = complexity.count_macs(lambda: pictures.append(contender.decode(encoded, case.size)))
        # Triton kernels fuse products with other work, so the overhead on a GPU is unknown.
        overhead = 1 - matrix_share(partial(contender.decode, encoded, case.size)) if on_cpu else None
        memory = peak_bytes(lambda: contender.decode(contender.encode(lr), case.size), device)
    row = {
        "network": contender.name,
        "code": contender.code,
        "precision": contender.precision,
        "runs": [],
        "render_macs": macs,
        "decoder_macs": macs,
        "overhead_share": overhead,
        "peak_bytes": memory,
        **_routing(contender, case, lr, macs),
    }
    return row, pictures[0].float()


def _routing(contender: Contender, case: Case, lr: Tensor, render_macs: int) -> Row:
    """Return the figures that follow from the expert map. Decoder MACs include those of the mapper."""
    network = contender.network
    if network is None:
        return {}
    net, choice = network.net, network.choice
    if choice is None:
        choice = render.expert_map(render.encode(net, lr))[0]
    work = complexity.workload(net, choice, case.size)
    whole = 4 * math.prod(case.size) * LIIF(encoder=net.encoder).expert_list[0].macs()
    row = {
        "type": network.type,
        "decoder_macs": render_macs + complexity.mapper_macs(net, case.lr_size),
        "published_macs": complexity.published_macs(net, work),
        "published_share": complexity.published_macs(net, work) / whole,
        "shares": [n / sum(work.lr_pixels) for n in work.lr_pixels],
    }
    if contender.code != PLAIN:
        row["predicted_macs"] = complexity.executed_macs(net, work)
    return row


def _time(contender: Contender, case: Case, lr: Tensor) -> tuple[float, float]:
    with contender.context():
        start = now(lr.device)
        encoded = contender.encode(lr)
        encoded_at = now(lr.device)
        contender.decode(encoded, case.size)
        return encoded_at - start, now(lr.device) - encoded_at


def _add_decibels(rows: Sequence[Row], pictures: Sequence[Tensor]) -> None:
    """Add the PSNR of each picture against that of the same code in float32."""
    exact = {
        (row["network"], row["code"]): picture
        for row, picture in zip(rows, pictures, strict=True)
        if row["precision"] == "float32"
    }
    for row, picture in zip(rows, pictures, strict=True):
        reference = exact.get((row["network"], row["code"]), picture)
        row["decibels"] = None if reference is picture else _decibels(picture, reference)


def _compare(rows: Sequence[Row]) -> None:
    """Add the speed and MACs of each row relative to the plain LIIF and the plain LTE."""
    plain = {(row["network"], row["precision"]): row for row in rows if row["code"] == PLAIN}
    for row in rows:
        precision = row["precision"]
        liif, exact_liif = plain.get(("LIIF", precision)), plain.get(("LIIF", "float32"))
        lte = plain.get(("LTE", precision)) if "LTE" in row.get("type", "") else None
        row["times_plain_liif"] = liif and liif["seconds"] / row["seconds"]
        row["times_plain_liif_float32"] = exact_liif and exact_liif["seconds"] / row["seconds"]
        row["times_plain_lte"] = lte and lte["seconds"] / row["seconds"]
        row["macs_of_plain_liif"] = liif and row["decoder_macs"] / liif["decoder_macs"]


def _decibels(picture: Tensor, exact: Tensor) -> float | None:
    """Return the PSNR of a picture in [0, 1] against another, or None if they are equal."""
    error = torch.mean((picture - exact).double() ** 2).item()
    return -10 * math.log10(error) if error else None
