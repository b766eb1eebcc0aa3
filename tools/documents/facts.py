"""Sentences with numbers, each with a link to its source."""

import re
from collections.abc import Callable

from documents import speed
from documents.results import source_of
from documents.sources import SCALES, Sources
from moeisr_plugin.evaluation.notes import grey_sentence

PARITY, REVIEW = "parity.json", "parity_of_review.json"
FRONT = "front.json"


def listed(sources: Sources) -> str:
    """Return the list of README. A fact without measurements is left out."""
    facts: list[Callable[[Sources], str | None]] = [
        default_beside_its_source,
        faster_than_published,
        beside_fixed_scale,
        frames_on_a_gpu,
        parity,
        half_precision,
        grey_picture,
    ]
    return "\n".join(f"- {sentence}" for sentence in (fact(sources) for fact in facts) if sentence)


def default_beside_its_source(sources: Sources) -> str | None:
    """Compare the default network with the published LIIF of its encoder."""
    model = next(each for each in sources.models if each.is_default)
    measured, source = sources.measured(model, "Set14"), source_of(sources, model)
    if measured is None or source is None:
        return None
    rows = [(measured.row(scale), source.row(scale)) for scale in SCALES]
    behind = max(base["psnr"] - row["psnr"] for row, base in rows)
    cost = [100 * row["decoder_macs_executed"] / base["decoder_macs_published"] for row, base in rows]
    return (
        f"On Set14, `{model.name}` is at most {behind:.2f} dB below the published EDSR-LIIF, "
        f"and decodes with {min(cost):.0f} to {max(cost):.0f} % of its multiply-accumulates "
        f"({sources.link(measured.file)}, {sources.link(source.file, 'LIIF')})."
    )


def faster_than_published(sources: Sources) -> str:
    report = sources.benchmark(speed.CPU)
    smaller, larger = (
        speed.times_plain(report, name, "float32", "4x96x96") for name in ("MoEISRLIIF-s", "MoEISRLIIF-b")
    )
    return (
        f"At ×4 on one thread, a MoEISR-LIIF-s of published size is {smaller:.0f} times and a -b "
        f"{larger:.1f} times as fast as LIIF decoded as published ({sources.link(speed.CPU)})."
    )


def beside_fixed_scale(sources: Sources) -> str:
    """Compare the seconds on the pictures of a data set, which differ more than a single picture shows."""
    report = sources.benchmark(FRONT)
    seconds = {
        entry["network"]: entry["seconds_per_megapixel"]
        for entry in report["entries"]
        if entry["budget"] is None and entry["code"] in ("BasicSR", "package")
    }
    names = [name for name in seconds if name in ("MoEISR_LIIF_b", "MoEISR_LIIF_s")]
    listed = " and ".join(
        f"{seconds['EDSR'] / seconds[name]:.2g} times as long as `{name}`" for name in names
    )
    return (
        f"On {report['dataset']} at ×4 on one thread, BasicSR's EDSR with PixelShuffle takes {listed} "
        f"({sources.link(FRONT)})."
    )


def frames_on_a_gpu(sources: Sources) -> str:
    report = sources.benchmark(speed.TO_4K)
    seconds = speed.packaged(report, "MoEISRLIIF-s", "3x1280x720", "bfloat16")["seconds"]
    return (
        f"One {report['machine']['gpu']} enlarges {1 / seconds:.0f} frames a second from 720p to 4K with "
        f"MoEISR-LIIF-s in bfloat16 ({sources.link(speed.TO_4K)})."
    )


def parity(sources: Sources) -> str:
    """State the largest differences that this project and its review found."""
    liif, lte = (f"{_largest(sources, name):.0e}".replace("e-0", "e-") for name in ("liif", "lte"))
    return (
        f"Pictures in float32 differ from those of the published code by up to {liif} for LIIF and {lte} for "
        f"LTE, with colours from 0 to 1 ({_linked(sources)})."
    )


def half_precision(sources: Sources) -> str:
    samples = _largest(sources, "bfloat16_samples")
    return (
        f"In bfloat16 single samples are off by up to {samples:.1f} of 255, where rounding changes the "
        f"expert of a pixel ({_linked(sources)})."
    )


def _largest(sources: Sources, name: str) -> float:
    return max(sources.benchmark(file)[name] for file in (PARITY, REVIEW))


def _linked(sources: Sources) -> str:
    return f"{sources.link(PARITY, 'measured')}, {sources.link(REVIEW, 'reviewed')}"


def grey_picture(sources: Sources) -> str | None:
    """State how a grey picture of Set14 counts."""
    for name, report in sources.reports:
        figures = re.search(r"has ([\d.]+) dB, against ([\d.]+) dB", grey_sentence(report) or "")
        if report["dataset"] == "Set14" and figures:
            return (
                "The LIIF protocol counts the grey picture of Set14 as RGB, in every row. So bicubic at "
                f"×{SCALES[0]} has {figures[1]} dB, against {figures[2]} dB where grey is compared as grey, "
                f"as in MATLAB ({sources.link(name)})."
            )
    return None
