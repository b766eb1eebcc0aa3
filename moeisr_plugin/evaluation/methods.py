"""Measure one picture by each kind of method: bicubic enlargement, given pictures and networks."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.data.scaled_set import Sample, SampleReference
from moeisr_plugin.evaluation.measuring import (
    Measures,
    TimedPicture,
    decode_by,
    decoding_cost,
    enlarge_bicubic,
    enlarge_by,
    routing_figures,
    timed,
)
from moeisr_plugin.evaluation.other_pictures import OtherPictures
from moeisr_plugin.evaluation.results import BICUBIC, ORIGINAL, Record, Skipped
from moeisr_plugin.evaluation.sharing import Measured
from moeisr_plugin.metrics import TooSmallError
from moeisr_plugin.render.casting import require_finite
from moeisr_plugin.render.saved_pictures import save_experts, save_picture


@dataclass(frozen=True)
class Methods:
    """Measurements of one picture, with the settings of an evaluation. See `evaluate`.

    Attributes:
        measures: the measures of quality.
        images: folder for the enlarged pictures, or None.
        routing: whether routing health is measured.
        budgets: number of budgets.
        repeats: number of timed runs.
    """

    measures: Measures
    images: Path | None
    routing: bool
    budgets: int
    repeats: int

    def bicubic(self, place: SampleReference) -> Measured:
        """Measure bicubic interpolation. A picture that is too small is skipped."""
        sample = place.sample()
        picture, seconds = timed(
            partial(enlarge_bicubic, sample.lr, sample.size), sample.lr.device, self.repeats
        )
        try:
            figures = {**self.measures.all(picture, sample), "decode_seconds": seconds}
        except TooSmallError as error:
            where = sample.test_set.name, sample.test_set.label, sample.name
            return Measured(None, skipped=Skipped(*where, str(error)))
        if self.images is not None:
            save_picture(_stem(self.images / BICUBIC, sample), picture)
            save_picture(_stem(self.images / ORIGINAL, sample), sample.hr)
        return Measured(_record(BICUBIC, sample, figures))

    def pictures(self, name: str, other: OtherPictures, place: SampleReference) -> Measured:
        """Measure a picture of another method."""
        sample = place.sample()
        return Measured(_record(name, sample, self.measures.all(other.read(place), sample)))

    def warm_up(self, net: ImplicitNetwork) -> None:
        """Enlarge a small picture, because the first call is slower."""
        enlarge_by(net, torch.zeros(1, 3, 16, 16), (32, 32))

    def network(self, name: str, net: ImplicitNetwork, place: SampleReference) -> Measured:
        """Measure a network, and a mixture also within budgets.

        Raises:
            ValueError: the output is not finite.
        """
        sample = place.sample()
        enlarged = enlarge_by(net, sample.lr, sample.size, self.repeats)
        try:
            require_finite(net, enlarged.picture)
        except ValueError as error:
            raise ValueError(f"{name}: {error} ({place.label})") from None
        figures = self.measures.all(enlarged.picture, sample)
        figures |= decoding_cost(net, enlarged, sample.size)
        figures |= routing_figures(
            net, enlarged, sample, figures["psnr"], self.measures if self.routing else None
        )
        budgets = tuple(self._within_budgets(name, net, enlarged, sample))
        if self.images is not None:
            save_picture(_stem(self.images / name, sample), enlarged.picture)
            save_experts(_stem(self.images / name, sample), net, enlarged.encoding)
        return Measured(_record(name, sample, figures), budgets)

    def _within_budgets(
        self, name: str, net: ImplicitNetwork, enlarged: TimedPicture, sample: Sample
    ) -> Iterable[Record]:
        if net.num_experts == 1:
            return
        for budget in torch.linspace(0, 1, self.budgets, dtype=torch.float64).tolist():
            kept = render.within_budget(net, enlarged.encoding, budget)
            decoded = decode_by(net, kept, enlarged.encode_seconds, sample.size, self.repeats)
            figures = {"budget": budget, "psnr": self.measures.psnr(decoded.picture, sample)}
            yield _record(name, sample, {**figures, **decoding_cost(net, decoded, sample.size)})


def _record(weights: str, sample: Sample, figures: dict[str, float]) -> Record:
    test_set = sample.test_set
    return Record(weights, test_set.name, test_set.label, test_set.lr, sample.name, *sample.size, figures)


def _stem(folder: Path, sample: Sample) -> Path:
    return folder / f"{sample.test_set.name}_x{sample.test_set.label}" / sample.name
