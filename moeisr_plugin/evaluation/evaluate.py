"""Measure networks, other methods and bicubic enlargement on a data set: quality, time, cost and routing."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.data.scaled_set import SampleReference, Scale, ScaledSet, scale_label
from moeisr_plugin.evaluation.loading import load_networks
from moeisr_plugin.evaluation.machine import machine
from moeisr_plugin.evaluation.measuring import Measures
from moeisr_plugin.evaluation.methods import Methods
from moeisr_plugin.evaluation.notes import grey_note, rounding_note
from moeisr_plugin.evaluation.other_pictures import OtherPictures, read_pictures
from moeisr_plugin.evaluation.results import BICUBIC, Evaluation, Skipped
from moeisr_plugin.evaluation.sharing import Measured, SharedMeasurements
from moeisr_plugin.metrics.lpips_distance import LpipsDistance
from moeisr_plugin.render.casting import supported_precision, to_precision
from moeisr_plugin.utils.progress import Bar
from moeisr_plugin.utils.team import Team


class _Inputs(NamedTuple):
    """What an evaluation needs, checked. Networks, descriptions and pictures are by name."""

    test_sets: list[ScaledSet]
    networks: dict[str, ImplicitNetwork]
    descriptions: dict[str, dict[str, Any]]
    others: dict[str, OtherPictures]
    measures: Measures


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
    team: Team | None = None,
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
        team: processes that share the pictures. None for this process alone.

    Returns:
        The evaluation. Records are ordered by method (bicubic, then given pictures, then networks), scale and
        picture. Only the leader of a team has records.

    Raises:
        ValueError: weights, pictures or numbers cannot be used. The message is one line.
        LeaderFailedError: the leader of the team has failed, and this process is another one.
    """
    team = team or Team()
    scales = list(dict.fromkeys(scales))

    def prepared() -> _Inputs:
        _check_numbers(scales, budgets, repeats)
        folders = _lr_folders(lr_folders, lr, scales)
        sets = [ScaledSet(folder, scale, lr, given) for scale, given in zip(scales, folders, strict=True)]
        networks, descriptions = load_networks(weights)
        others = read_pictures(pictures or {}, networks, sets)
        measures = Measures(protocol, LpipsDistance(where) if lpips else None)
        return _Inputs(sets, networks, descriptions, others, measures)

    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    test_sets, networks, descriptions, others, measures = team.first_at_leader("inputs", prepared)
    precision = supported_precision(precision, where)
    evaluation = Evaluation(
        dataset=test_sets[0].name,
        protocol=protocol,
        device=str(where),
        precision=precision,
        networks=descriptions,
        others=list(others),
        machine={
            **machine(where),
            "threads": torch.get_num_threads(),
            **({"processes": team.size} if team.size > 1 else {}),
        },
        skipped=[
            Skipped(test_set.name, test_set.label, name, reason)
            for test_set in test_sets
            for name, reason in test_set.too_small.items()
        ],
        notes=list(dict.fromkeys(note for test_set in test_sets for note in test_set.notes())),
    )
    methods = Methods(measures, images, routing=routing, budgets=budgets, repeats=repeats)
    places = [SampleReference(test_set, index) for test_set in test_sets for index in range(len(test_set))]
    count = len(others) + len(networks)
    hidden = True if not team.leads else None if progress is None else not progress
    with Bar(total=len(places) * (1 + count), unit="picture", disable=hidden) as bar:
        shared = SharedMeasurements(team, bar)
        shared.measure(BICUBIC, places, methods.bicubic)
        bicubic = shared.collected(BICUBIC, [BICUBIC])
        indices = team.shared("usable", lambda: _usable(folder, shared, bicubic[0], evaluation))
        usable = [places[index] for index in indices]
        bar.total = len(places) + len(usable) * count
        for name, other in others.items():
            shared.measure(name, usable, partial(methods.pictures, name, other))
        for name, net in networks.items():
            if team.failure is None:
                net = to_precision(net, precision).to(where)
                methods.warm_up(net)
                shared.measure(name, usable, partial(methods.network, name, net))
                net.cpu()
        measured = shared.collected("methods", [*others, *networks])
    if team.leads:
        shared.require_success()
        _complete(evaluation, usable, [*bicubic, *measured])
    return evaluation


def _usable(
    folder: Path, shared: SharedMeasurements, bicubic: Sequence[Measured], evaluation: Evaluation
) -> list[int]:
    """Return the indices of the places whose pictures are large enough.

    Raises:
        ValueError: there is none, or a process of the team has failed.
    """
    shared.require_success()
    indices = [index for index, each in enumerate(bicubic) if each.record is not None]
    if not indices:
        skipped = [*evaluation.skipped, *(each.skipped for each in bicubic if each.skipped is not None)]
        raise ValueError(f"{folder}: every picture is too small; {skipped[0].reason}")
    return indices


def _complete(
    evaluation: Evaluation, usable: Sequence[SampleReference], measured: Iterable[Iterable[Measured]]
) -> None:
    """Add the measurements of all methods to an evaluation, and the notes that follow from them."""
    for each in chain.from_iterable(measured):
        if each.record is not None:
            evaluation.records.append(each.record)
        if each.skipped is not None:
            evaluation.skipped.append(each.skipped)
        evaluation.budgets += each.budgets
    first = usable[0].test_set
    is_grey = [first.is_grey(place.index) for place in usable if place.test_set is first]
    evaluation.notes += grey_note(evaluation, first.label, is_grey)
    evaluation.notes += rounding_note(evaluation.protocol, evaluation.others)


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
