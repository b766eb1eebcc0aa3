"""What `--budget` asks for: a share of what routing can spend, or MACs per output pixel."""

import argparse
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moeisr_plugin.archs.implicit_sr import ImplicitSR


@dataclass(frozen=True)
class Share:
    """A share of the way from all pixels by the shallowest expert, 0, to all by the deepest, 1."""

    spent: float

    def of(
        self, net: "ImplicitSR", lr_size: tuple[int, int], size: tuple[int, int], layers: int = 1
    ) -> float:
        """This share, whatever is enlarged."""
        return self.spent


@dataclass(frozen=True)
class MacsPerPixel:
    """MACs per output pixel that the decoder may execute, the mapper's included, the encoder's not."""

    macs: float

    def of(
        self, net: "ImplicitSR", lr_size: tuple[int, int], size: tuple[int, int], layers: int = 1
    ) -> float:
        """The share that it is in enlarging (h, w) to (H, W), at most 1.

        Args:
            net: what enlarges.
            lr_size: of the picture.
            size: of the output.
            layers: how many are decoded for it; colour and alpha share what is allowed.

        Raises:
            ValueError: if all by the shallowest expert take more.
        """
        from moeisr_plugin.render.complexity import executed_macs, extreme_workloads  # parsing needs no torch

        bounds = [layers * executed_macs(net, work) for work in extreme_workloads(net, lr_size, size)]
        lowest, highest, allowed = bounds[0], bounds[-1], self.macs * math.prod(size)
        if allowed < lowest:
            raise ValueError(
                f"--budget {self.macs:g}mac: decoding takes {math.ceil(lowest / math.prod(size))} MACs per "
                "output pixel or more here; allow that many, or give a share between 0 and 1"
            )
        return 1.0 if allowed >= highest else (allowed - lowest) / (highest - lowest)


Budget = Share | MacsPerPixel


def parse_budget(text: str) -> Budget:
    """Reads ``0.4``, a share, or ``20000mac``, MACs per output pixel."""
    number = text.lower().removesuffix("mac")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if number != text.lower() and math.isfinite(value) and value > 0:
        return MacsPerPixel(value)
    if number == text.lower() and 0 <= value <= 1:
        return Share(value)
    raise argparse.ArgumentTypeError(
        f"'{text}' is no budget; write a share from 0 to 1 (0.4) or MACs per output pixel (20000mac)"
    )
