"""Remarks for readers of an evaluation."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from moeisr_plugin.evaluation.results import BICUBIC, Evaluation
from moeisr_plugin.metrics import PROTOCOLS
from moeisr_plugin.metrics.psnr_ssim import LUMA_RANGE

GREY = "Grey counts as three equal channels"
"""Begin of the note on grey pictures."""


def grey_note(evaluation: Evaluation, scale: str, is_grey: Sequence[bool]) -> list[str]:
    """Return a note on grey pictures that a protocol on luma counts as RGB, if there are any.

    Args:
        evaluation: has the records of bicubic enlargement.
        scale: the scale whose figures the note states.
        is_grey: whether each measured picture of this scale is grey.
    """
    if not any(is_grey) or not PROTOCOLS[evaluation.protocol].luma:
        return []
    psnrs = [
        record.figures["psnr"]
        for record in evaluation.records
        if (record.weights, record.scale) == (BICUBIC, scale)
    ]
    return [_on_grey(sum(is_grey), len(is_grey), scale, sum(psnrs) / len(psnrs))]


def grey_sentence(report: Mapping[str, Any]) -> str | None:
    """Return the note of a JSON report on grey pictures, with the figures of bicubic; None if it has none."""
    note = next((note for note in report.get("notes", ()) if note.startswith(GREY)), "")
    counted = re.search(r"in (\d+) of (\d+) HR pictures", note)
    if counted is None:
        return None
    row = next(row for row in report["averages"] if row["weights"] == BICUBIC)
    psnr = math.inf if row["psnr"] is None else row["psnr"]
    return _on_grey(int(counted[1]), int(counted[2]), row["scale"], psnr)


def _on_grey(grey: int, pictures: int, scale: str, psnr: float) -> str:
    more = -20 * math.log10(LUMA_RANGE)  # dB: luma of RGB spans this share of the range of grey
    return (
        f"{GREY} in {grey} of {pictures} HR pictures; by luma that gives {more:.2f} dB more than comparing "
        f"the grey itself, as evaluations in MATLAB do: bicubic at ×{scale} has {psnr:.2f} dB, against "
        f"{psnr - more * grey / pictures:.2f} dB."
    )


def rounding_note(protocol: str, names: Sequence[str]) -> list[str]:
    """Return a note on pictures of other methods, which are rounded where those of networks are not."""
    if not names or PROTOCOLS[protocol].rounded:
        return []
    return [f"Pictures of {', '.join(names)} are measured as saved; those of networks are not rounded."]
