"""Measure PSNR and seconds per megapixel of contenders on the same pictures."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from benchmarking.entries import Entry
from benchmarking.timing import alternating
from moeisr_plugin.data.scaled_set import Sample, ScaledSet
from moeisr_plugin.evaluation.measuring import Measures

PROTOCOL = "benchmark"
Row = dict[str, Any]


def measure_front(entries: Sequence[Entry], test_set: ScaledSet, repeats: int) -> Iterator[list[Row]]:
    """Yield, after each picture, the rows of all entries, in their order.

    Each picture is enlarged once by each entry for its PSNR. Then all of them enlarge it `repeats` times, in
    alternating order. The minimum of the repeats counts, for the time of the CPU and for the wall clock.

    Args:
        entries: the contenders, on a CPU.
        test_set: the pictures.
        repeats: number of timed runs.
    """
    measures = Measures(PROTOCOL, None)
    per_picture: list[list[Row]] = [[] for _ in entries]
    for index in range(len(test_set)):
        sample = test_set[index]
        rows = [_first(entry, sample, measures) for entry in entries]
        for order in alternating(len(entries), repeats):
            for number in order:
                cpu, wall = seconds_of(entries[number], sample.lr, sample.size)
                rows[number]["cpu_seconds"] = min(cpu, rows[number].get("cpu_seconds", cpu))
                rows[number]["wall_seconds"] = min(wall, rows[number].get("wall_seconds", wall))
        for row, kept in zip(rows, per_picture, strict=True):
            kept.append(row)
        yield [_averaged(entry, kept) for entry, kept in zip(entries, per_picture, strict=True)]


def seconds_of(entry: Entry, lr: Tensor, size: tuple[int, int]) -> tuple[float, float]:
    """Return the seconds of the CPU, of all threads, and of the wall clock that an entry takes."""
    with entry.contender.context():
        wall, cpu = time.perf_counter(), time.process_time()
        entry.contender.decode(entry.contender.encode(lr), size)
        return time.process_time() - cpu, time.perf_counter() - wall


def _first(entry: Entry, sample: Sample, measures: Measures) -> Row:
    """Enlarge a picture without a clock, which also warms up, and measure its PSNR."""
    with entry.contender.context():
        picture = entry.contender.decode(entry.contender.encode(sample.lr), sample.size)
    height, width = sample.size
    row: Row = {"picture": sample.name, "height": height, "width": width}
    if tuple(picture.shape[2:]) != sample.size:
        found = "x".join(map(str, picture.shape[:1:-1]))
        raise ValueError(
            f"{entry.contender.name}: made {found} pixels of {sample.name}, not {width}x{height}"
        )
    return {**row, "psnr": measures.psnr(picture.float(), sample) if entry.trained else None}


def _averaged(entry: Entry, pictures: Sequence[Row]) -> Row:
    """Return the row of an entry: means of PSNR, and seconds of all pictures per megapixel of them."""
    megapixels = sum(each["height"] * each["width"] for each in pictures) / 1e6
    psnrs = [each["psnr"] for each in pictures if each["psnr"] is not None]
    contender = entry.contender
    return {
        "network": contender.name,
        "code": contender.code,
        "precision": contender.precision,
        "budget": entry.budget,
        "ours": entry.is_ours,
        "psnr": sum(psnrs) / len(psnrs) if psnrs else None,
        "psnr_is": "measured" if psnrs else None,
        "cpu_seconds_per_megapixel": sum(each["cpu_seconds"] for each in pictures) / megapixels,
        "wall_seconds_per_megapixel": sum(each["wall_seconds"] for each in pictures) / megapixels,
        "pictures": list(pictures),
    }
