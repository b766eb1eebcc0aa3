"""Write the benchmark report as Markdown."""

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

Report = Mapping[str, Any]

_LEGEND = (
    "Seconds are medians. The time of the mapper counts as encoder time. *plain* decodes as published, with "
    "the same weights. *× LIIF* is the speed relative to the plain LIIF of the same run and precision, *× "
    "float32* relative to the plain LIIF in float32, and *× LTE* relative to the plain LTE. GMACs are "
    "counted during the run for decoder and mapper, and *of LIIF* is their share of those of the plain LIIF. "
    "*Peak* is the speed relative to a large matrix product in the same precision. *Overhead* is the share "
    "of decoder time outside matrix products. Memory is the peak increase of one run. *dB* is the PSNR "
    "against the same code in float32."
)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _times(factor: float) -> str:
    return f"{factor:.2f}×"


def _mebibytes(number: int) -> str:
    return f"{number / 2**20:,.0f} MiB"


# Heading, key of a row, and formatting function.
_RENDERING: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Network", "network", str),
    ("Code", "code", str),
    ("Precision", "precision", str),
    ("Seconds", "seconds", "{:.4g}".format),
    ("Encoder s", "encoder_seconds", "{:.4g}".format),
    ("Decoder s", "decoder_seconds", "{:.4g}".format),
    ("× LIIF", "times_plain_liif", _times),
    ("× float32", "times_plain_liif_float32", _times),
    ("× LTE", "times_plain_lte", _times),
    ("GMACs", "decoder_macs", lambda macs: f"{macs / 1e9:.4g}"),
    ("of LIIF", "macs_of_plain_liif", _percent),
    ("Peak", "peak_share", _percent),
    ("Overhead", "overhead_share", _percent),
    ("Memory", "peak_bytes", _mebibytes),
    ("dB", "decibels", "{:.1f}".format),
)
_TRAINING: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Network", "network", str),
    ("Code", "code", str),
    ("Threads", "threads", str),
    ("Decoder s", "decoder_seconds", "{:.4g}".format),
    ("× plain", "decoder_times_plain", _times),
    ("Step s", "seconds", "{:.4g}".format),
    ("× plain", "times_plain", _times),
    ("Memory", "peak_bytes", _mebibytes),
)
_ITERATIONS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Network", "network", str),
    ("Precision", "precision", str),
    ("Threads", "threads", str),
    ("Compiled", "compiled", lambda compiled: "yes" if compiled else "no"),
    ("Iterations/s", "iterations_per_s", "{:.2f}".format),
    ("Samples/s", "samples_per_s", "{:.0f}".format),
    ("Memory", "peak_bytes", _mebibytes),
)
_BUDGETS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Network", "network", str),
    ("Scale", "scale", "×{:g}".format),
    ("Budget", "budget", "{:.3f}".format),
    ("GMACs", "decoder_macs", lambda macs: f"{macs / 1e9:.4g}"),
    ("PSNR", "psnr", "{:.2f}".format),
)


def markdown(report: Report) -> str:
    """Return a table per case and number of threads, and tables of training and budgets if measured."""
    parts = ["# Benchmark", _machine_sentence(report), _weights_sentence(report), _LEGEND]
    for (case, threads), rows in groupby(report["rendering"], lambda row: (row["case"], row["threads"])):
        scale, width, height = case.split("x")
        parts.append(f"## ×{scale} of {width}×{height}, {_threads(threads)}")
        parts.append(_table(_RENDERING, list(rows)))
    if report["training"]:
        batch = report["training"][0]["batch"].split("x")
        parts.append("## Training step, forward and backward")
        parts.append(f"{batch[0]} samples of {batch[1]}×{batch[1]} LR pixels, {batch[2]} queries each.")
        parts.append(_table(_TRAINING, report["training"]))
    if report["iterations"]:
        parts.append("## Training iterations")
        parts.append("Batches as above; forward, backward and the step of Adam.")
        parts.append(_table(_ITERATIONS, report["iterations"]))
    if report["budgets"]:
        parts.append("## Within a budget")
        parts.append(_budgets_sentence(report["budgets"]))
        parts.append(_table(_BUDGETS, report["budgets"]))
    return "\n\n".join(parts) + "\n"


def _budgets_sentence(rows: list[Mapping[str, Any]]) -> str:
    pictures, dataset, protocol = (rows[0][key] for key in ("pictures", "dataset", "protocol"))
    return (
        f"Means over {pictures} pictures of {dataset}, PSNR by the protocol {protocol}. "
        "Budget 0 is the shallowest expert everywhere, 1 the deepest."
    )


def _table(columns: tuple[tuple[str, str, Callable[[Any], str]], ...], rows: list[Mapping[str, Any]]) -> str:
    """Return a Markdown table. Columns without any value are left out."""
    columns = tuple(column for column in columns if any(row.get(column[1]) is not None for row in rows))
    lines = [[heading for heading, _, _ in columns], ["---"] * len(columns)]
    lines += [["–" if row.get(key) is None else form(row[key]) for _, key, form in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine_sentence(report: Report) -> str:
    machine = report["machine"]
    names = [machine.get("gpu"), machine["cpu"], ", ".join(machine["cpu_flags"]), f"torch {machine['torch']}"]
    peaks = ", ".join(
        f"{each['precision']} {each['macs_per_second'] / 1e9:,.0f} GMAC/s"
        + (f" on {_threads(each['threads'])}" if len(report["gemm"]) > 1 else "")
        for each in report["gemm"]
    )
    return f"{'; '.join(filter(None, names))}. Large matrix products: {peaks}."


def _weights_sentence(report: Report) -> str:
    repeats = f"Median of {report['repeats']}."
    if report.get("channels_last"):
        repeats += " Convolution weights use the channels-last memory format."
    if not report["weights"]:
        return f"Weights are random. Encoder: {report['encoder']}. {repeats}"
    trained = ", ".join(report["weights"])
    return (
        f"Trained networks, each with its own encoder: {trained}. The other networks have random "
        f"weights and the encoder {report['encoder']}. {repeats}"
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
