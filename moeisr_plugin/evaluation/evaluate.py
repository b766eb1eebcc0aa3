"""Measure networks, other methods and bicubic enlargement on a data set: quality, time, cost and routing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.data.scaled_set import Sample, SampleReference, Scale, ScaledSet, scale_label
from moeisr_plugin.evaluation.loading import load_networks
from moeisr_plugin.evaluation.machine import machine
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
from moeisr_plugin.evaluation.notes import grey_note, rounding_note
from moeisr_plugin.evaluation.other_pictures import OtherPictures, read_pictures
from moeisr_plugin.evaluation.results import BICUBIC, ORIGINAL, Evaluation, Record, Skipped
from moeisr_plugin.metrics import TooSmallError
from moeisr_plugin.metrics.lpips_distance import LpipsDistance
from moeisr_plugin.render.casting import require_finite, supported_precision, to_precision
from moeisr_plugin.render.saved_pictures import save_experts, save_picture
from moeisr_plugin.utils.progress import Bar


def evaluate(
    weights: Sequence[str | Path],
    folder: Path,
    scales: Iterable[Scale],
    *,
    protocol: str = "benchmark",
    lr: str = "auto",
    lr_folders: Sequence[Path] = (),
    lpips: bool = False,
    routing: bool = False,
    budgets: int = 0,
    repeats: int = 1,
    images: Path | None = None,
    pictures: Mapping[str, Path] | None = None,
    device: str | torch.device | None = None,
    precision: str = "float32",
    progress: bool | None = None,
) -> Evaluation:
    """Measure networks and bicubic interpolation on the same pictures.

    Grey pictures count as three equal channels. 16-bit pictures keep their precision. Alpha is dropped.
    Enlarged pictures are clipped, and rounded if the protocol is basicsr. Pictures smaller than the scale or
    than the border that the protocol crops are skipped. All inputs except the pixels are checked before the
    first picture is enlarged.

    Args:
        weights: checkpoints, or names of bundled networks.
        folder: the data set, as in `benchmark_options`.
        scales: (vertical, horizontal) each.
        protocol: a key of `metrics.PROTOCOLS`.
        lr: source of LR, as in `benchmark_options`.
        lr_folders: folders of LR pictures, one for each scale, or one for all as in `benchmark_options`.
        lpips: also measure LPIPS.
        routing: also measure routing health. This renders each picture two more times, and once more per
            expert.
        budgets: number of evenly spaced budgets from 0 to 1 at which mixtures are also measured: 0 for none,
            otherwise at least 2.
        repeats: number of timed runs, at least 1. The median is reported.
        images: folder for 8-bit pictures and expert maps, written to
            <network>/<data set>_x<scale>/<picture>.png and <picture>_experts.png. Originals are written under
            the name HR.
        pictures: folders of pictures that other methods enlarged, by the name of the method, as in
            `OtherPictures`.
        device: device of the networks. By default the GPU if there is one.
        precision: precision of the networks, as in :class:`~moeisr_plugin.upscaler.Upscaler`.
        progress: whether to show a progress bar. None shows it on terminals.

    Returns:
        The evaluation. Records are ordered by method (bicubic, then given pictures, then networks), scale and
        picture.

    Raises:
        ValueError: weights, pictures or numbers cannot be used. The message is one line.
    """
    scales = list(dict.fromkeys(scales))
    _check_numbers(scales, budgets, repeats)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    precision = supported_precision(precision, device)
    folders = _lr_folders(lr_folders, lr, scales)
    test_sets = [ScaledSet(folder, scale, lr, given) for scale, given in zip(scales, folders, strict=True)]
    networks, descriptions = load_networks(weights)
    others = read_pictures(pictures or {}, networks, test_sets)
    measures = Measures(protocol, LpipsDistance(device) if lpips else None)
    evaluation = Evaluation(
        dataset=test_sets[0].name,
        protocol=protocol,
        device=str(device),
        precision=precision,
        networks=descriptions,
        others=list(others),
        machine={**machine(device), "threads": torch.get_num_threads()},
        skipped=[
            Skipped(test_set.name, test_set.label, name, reason)
            for test_set in test_sets
            for name, reason in test_set.too_small.items()
        ],
        notes=list(dict.fromkeys(note for test_set in test_sets for note in test_set.notes())),
    )
    places = [SampleReference(test_set, index) for test_set in test_sets for index in range(len(test_set))]
    methods = len(others) + len(networks)
    with Bar(total=len(places) * (1 + methods), unit="picture", disable=_hidden(progress)) as bar:
        run = _Run(evaluation, measures, images, bar, routing=routing, budgets=budgets, repeats=repeats)
        usable = run.measure_bicubic(places)
        if not usable:
            raise ValueError(f"{folder}: every picture is too small; {evaluation.skipped[0].reason}")
        bar.total = len(places) + len(usable) * methods
        first = usable[0].test_set
        is_grey = [first.is_grey(place.index) for place in usable if place.test_set is first]
        evaluation.notes += grey_note(evaluation, first.label, is_grey)
        evaluation.notes += rounding_note(protocol, evaluation.others)
        for name, other in others.items():
            run.measure_pictures(name, other, usable)
        for name, net in networks.items():
            run.measure_network(name, to_precision(net, precision).to(device), usable)
            net.cpu()
    return evaluation


@dataclass(frozen=True)
class _Run:
    """Measure pictures, append the records to an evaluation, and advance a progress bar."""

    evaluation: Evaluation
    measures: Measures
    images: Path | None
    bar: Bar
    routing: bool
    budgets: int
    repeats: int

    def measure_bicubic(self, places: Iterable[SampleReference]) -> list[SampleReference]:
        """Measure bicubic interpolation, and return the places whose pictures are large enough."""
        usable = []
        for place in places:
            sample = place.sample()
            picture, seconds = timed(
                partial(enlarge_bicubic, sample.lr, sample.size), sample.lr.device, self.repeats
            )
            self.bar.update()
            try:
                figures = {**self.measures.all(picture, sample), "decode_seconds": seconds}
            except TooSmallError as error:
                where = sample.test_set.name, sample.test_set.label, sample.name
                self.evaluation.skipped.append(Skipped(*where, str(error)))
                continue
            usable.append(place)
            self.evaluation.records.append(_record(BICUBIC, sample, figures))
            if self.images is not None:
                save_picture(_stem(self.images / BICUBIC, sample), picture)
                save_picture(_stem(self.images / ORIGINAL, sample), sample.hr)
        return usable

    def measure_pictures(self, name: str, other: OtherPictures, places: Iterable[SampleReference]) -> None:
        """Measure the pictures of another method at usable places."""
        for place in places:
            sample = place.sample()
            figures = self.measures.all(other.read(place), sample)
            self.evaluation.records.append(_record(name, sample, figures))
            self.bar.update()

    def measure_network(self, name: str, net: ImplicitNetwork, places: Iterable[SampleReference]) -> None:
        """Measure a network on usable places."""
        enlarge_by(net, torch.zeros(1, 3, 16, 16), (32, 32))  # warm-up: the first call is slower
        for place in places:
            sample = place.sample()
            enlarged = enlarge_by(net, sample.lr, sample.size, self.repeats)
            try:
                require_finite(net, enlarged.picture)
            except ValueError as error:
                raise ValueError(f"{name}: {error} ({sample.name} at ×{sample.test_set.label})") from None
            figures = self.measures.all(enlarged.picture, sample)
            figures |= decoding_cost(net, enlarged, sample.size)
            figures |= routing_figures(
                net, enlarged, sample, figures["psnr"], self.measures if self.routing else None
            )
            self.evaluation.records.append(_record(name, sample, figures))
            self.evaluation.budgets += self._within_budgets(name, net, enlarged, sample)
            if self.images is not None:
                save_picture(_stem(self.images / name, sample), enlarged.picture)
                save_experts(_stem(self.images / name, sample), net, enlarged.encoding)
            self.bar.update()

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


def _lr_folders(given: Sequence[Path], lr: str, scales: Sequence[Scale]) -> list[Path | None]:
    """Return the folder of LR of each scale, None without one."""
    if not given:
        return [None] * len(scales)
    if lr not in ("auto", "given"):
        raise ValueError(f"downsample: is {lr}, but a folder of LR is given; omit one of them")
    if len(given) not in (1, len(scales)):
        raise ValueError(
            f"LR folders: {len(given)} for {len(scales)} scales; give one for each scale, or one folder with "
            "a folder for each scale, named as x2"
        )
    return list(given) if len(given) == len(scales) else [given[0]] * len(scales)


def _check_numbers(scales: Sequence[Scale], budgets: int, repeats: int) -> None:
    if not scales:
        raise ValueError("scales: none given; give at least one")
    labels = [scale_label(scale) for scale in scales]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"scales: {twice} occurs twice to six digits; remove one")
    if repeats < 1:
        raise ValueError(f"repeats: is {repeats}; give 1 or more")
    if budgets < 0 or budgets == 1:
        raise ValueError(f"budgets: is {budgets}; give 2 or more, or 0 for none")


def _stem(folder: Path, sample: Sample) -> Path:
    return folder / f"{sample.test_set.name}_x{sample.test_set.label}" / sample.name


def _hidden(progress: bool | None) -> bool | None:
    """Return the value of the argument `disable` of tqdm."""
    return None if progress is None else not progress
