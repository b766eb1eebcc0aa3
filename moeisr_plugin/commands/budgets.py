"""Parse `--budget`: a share of the routing cost range, or MACs per output pixel."""

import argparse
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moeisr_plugin.archs.implicit_network import ImplicitNetwork


@dataclass(frozen=True)
class Share:
    """A share of the cost range.

    Attributes:
        share: 0 routes all pixels to the shallowest expert, 1 routes all to the deepest.
    """

    share: float

    def of(
        self,
        net: "ImplicitNetwork",
        lr_size: tuple[int, int],
        size: tuple[int, int],
        layers: int = 1,
        averaged: int = 1,
    ) -> float:
        """Return the share. It does not depend on the picture."""
        return self.share


@dataclass(frozen=True)
class MacsPerPixel:
    """Limit of executed MACs per output pixel. It covers decoder and mapper, but not the encoder."""

    macs: float

    def of(
        self,
        net: "ImplicitNetwork",
        lr_size: tuple[int, int],
        size: tuple[int, int],
        layers: int = 1,
        averaged: int = 1,
    ) -> float:
        """Convert the limit to a share of the cost range.

        Args:
            net: the network.
            lr_size: (h, w) of the input.
            size: (H, W) of the rendering.
            layers: number of decoded layers. Colour and alpha share the limit.
            averaged: number of rendered pixels that are averaged to one output pixel.

        Returns:
            The share, from 0 to 1.

        Raises:
            ValueError: the limit is below the cost of the shallowest expert everywhere.
        """
        from moeisr_plugin.render.complexity import executed_macs, extreme_workloads

        bounds = [layers * executed_macs(net, work) for work in extreme_workloads(net, lr_size, size)]
        pixels = math.prod(size) / averaged
        lowest, highest, allowed = bounds[0], bounds[-1], self.macs * pixels
        if allowed < lowest:
            raise ValueError(
                f"--budget {self.macs:g}mac: decoding needs at least {math.ceil(lowest / pixels)} "
                "MACs per output pixel here; raise the budget, or give a share from 0 to 1"
            )
        return 1.0 if allowed >= highest else (allowed - lowest) / (highest - lowest)


Budget = Share | MacsPerPixel


def parse_budget(text: str) -> Budget:
    """Parse ``0.4`` (a share) or ``20000mac`` (MACs per output pixel)."""
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
        f"'{text}' is not a budget; give a share from 0 to 1 (0.4) or MACs per output pixel (20000mac)"
    )
