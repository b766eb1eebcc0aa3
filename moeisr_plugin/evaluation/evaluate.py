"""Measuring networks on a data set, beside bicubic enlargement: quality, cost, and who painted what."""

import hashlib
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.checkpoints.network import located, network_from
from moeisr_plugin.data.scaled_set import Sample, SampleReference, Scale, ScaledSet, scale_label
from moeisr_plugin.evaluation.clock import now
from moeisr_plugin.evaluation.machine import machine
from moeisr_plugin.metrics import PROTOCOLS, TooSmallError, calculate_psnr_protocol, calculate_ssim_protocol
from moeisr_plugin.metrics.lpips_distance import LpipsDistance
from moeisr_plugin.metrics.toolbox_image import toolbox_image
from moeisr_plugin.render.casting import require_numbers, to_precision
from moeisr_plugin.render.complexity import executed_macs, published_macs, workload
from moeisr_plugin.render.routing_report import routing_health, share_per_depth
from moeisr_plugin.render.saved_pictures import save_experts, save_picture

BICUBIC = "bicubic"
ORIGINAL = "HR"

Result = TypeVar("Result")


class Record(NamedTuple):
    """What was measured of one picture, enlarged by one network or by bicubic interpolation."""

    weights: str  # the network's name, or bicubic
    dataset: str
    scale: str
    lr: str  # where LR came from: given, matlab or pil
    picture: str
    height: int  # of HR
    width: int
    figures: dict[str, float]


class Skipped(NamedTuple):
    """A picture that is too small to be measured."""

    dataset: str
    scale: str
    picture: str
    reason: str


@dataclass
class Evaluation:
    """All that was measured.

    Attributes:
        networks: of each network its file, the file's SHA-256, type, encoder, hyper-parameters and number of
            parameters, by its name.
        machine: what it was measured on.
        budgets: of mixtures, with "budget" among the figures; see `render.within_budget`.
        notes: what a reader of the numbers should know.
    """

    dataset: str
    protocol: str
    device: str
    networks: dict[str, dict[str, Any]]
    precision: str = "float32"
    machine: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    budgets: list[Record] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Enlarged(NamedTuple):
    """A picture enlarged by a network, and the time it took."""

    picture: Tensor  # (1, 3, H, W), nominally in [0, 1]
    encoding: Encoding
    encode_seconds: float
    decode_seconds: float


class Measures:
    """The figures of merit of a picture.

    Args:
        protocol: of PSNR and SSIM.
        lpips: how LPIPS is measured; None leaves it out.

    Raises:
        ValueError: an unknown protocol.
    """

    def __init__(self, protocol: str, lpips: LpipsDistance | None) -> None:
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {protocol!r}; give one of {', '.join(PROTOCOLS)}")
        self.protocol = protocol
        self.lpips = lpips

    def psnr(self, picture: Tensor, sample: Sample) -> float:
        """PSNR of an enlarged picture (1, 3, H, W)."""
        return calculate_psnr_protocol(
            toolbox_image(picture), toolbox_image(sample.hr), **self._border(sample)
        )

    def all(self, picture: Tensor, sample: Sample) -> dict[str, float]:
        """Every figure of an enlarged picture (1, 3, H, W), by its name.

        Raises:
            TooSmallError: the picture is, for one of them.
        """
        pair = toolbox_image(picture), toolbox_image(sample.hr)
        figures = {
            "psnr": calculate_psnr_protocol(*pair, **self._border(sample)),
            "ssim": calculate_ssim_protocol(*pair, **self._border(sample)),
        }
        return figures if self.lpips is None else {**figures, "lpips": self.lpips(*pair)}

    def _border(self, sample: Sample) -> dict[str, Any]:
        return {"protocol": self.protocol, "scale": sample.test_set.scale}


def evaluate(
    weights: Sequence[str | Path],
    folder: Path,
    scales: Iterable[Scale],
    *,
    protocol: str = "benchmark",
    lr: str = "auto",
    lpips: bool = False,
    routing: bool = False,
    budgets: int = 0,
    repeats: int = 1,
    images: Path | None = None,
    device: str | torch.device | None = None,
    precision: str = "float32",
    progress: bool | None = None,
) -> Evaluation:
    """Measures networks and bicubic interpolation on the same pictures.

    Grey pictures count as three equal channels, 16-bit ones keep their precision, alpha is dropped. Networks'
    answers are clipped, not rounded, and so are bicubic ones. Pictures smaller than what the protocol leaves
    out of them are skipped. Everything but the pictures themselves is read before the first is enlarged.

    Args:
        weights: checkpoints, or names of networks that come with the package.
        folder: the data set, as in `benchmark_options`.
        scales: (vertical, horizontal) each.
        protocol: a key of `metrics.PROTOCOLS`.
        lr: where LR comes from, as in `benchmark_options`.
        lpips: measure LPIPS, too.
        routing: measure routing health, too; as slow as rendering each picture once more per expert, and
            twice.
        budgets: render with mixtures within so many budgets, too, evenly from 0 to 1; 0 for none, else 2 or
            more.
        repeats: of which seconds are the median, 1 or more.
        images: a folder for the enlarged pictures and expert maps, as
            <network>/<data set>_x<scale>/<picture>.png and <picture>_experts.png, 8 bits a channel; likewise
            the originals, as of a network HR.
        device: where networks compute; a GPU if there is one, by default.
        precision: of networks, as :class:`~moeisr_plugin.upscaler.Upscaler` takes it.
        progress: whether to show a progress bar; None shows it on terminals.

    Returns:
        The records in the order: bicubic, then each network; each scale; each picture.

    Raises:
        ValueError: weights, pictures or numbers that cannot be used; one line.
    """
    scales = list(dict.fromkeys(scales))
    _check_numbers(scales, budgets, repeats)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    test_sets = [ScaledSet(folder, scale, lr) for scale in scales]
    files = [located(given) for given in weights]
    networks = dict(zip(distinct_names(files), map(network_from, files), strict=True))
    measures = Measures(protocol, LpipsDistance(device) if lpips else None)
    evaluation = Evaluation(
        dataset=test_sets[0].name,
        protocol=protocol,
        device=str(device),
        precision=precision,
        networks={
            name: {"file": path.name, "sha256": sha256_of(path), **_description(net)}
            for path, (name, net) in zip(files, networks.items(), strict=True)
        },
        machine={**machine(device), "threads": torch.get_num_threads()},
        notes=list(dict.fromkeys(note for test_set in test_sets for note in test_set.notes())),
    )
    places = [SampleReference(test_set, index) for test_set in test_sets for index in range(len(test_set))]
    with tqdm(total=len(places) * (1 + len(networks)), unit="picture", disable=_hidden(progress)) as bar:
        run = _Run(evaluation, measures, images, bar, routing=routing, budgets=budgets, repeats=repeats)
        usable = run.measure_bicubic(places)
        if not usable:
            raise ValueError(f"{folder}: every picture is too small; {evaluation.skipped[0].reason}")
        bar.total = len(places) + len(usable) * len(networks)
        for name, net in networks.items():
            run.measure_network(name, to_precision(net, precision).to(device), usable)
            net.cpu()
    return evaluation


@dataclass(frozen=True)
class _Run:
    """Adds to an evaluation what it measures, and to a progress bar each picture."""

    evaluation: Evaluation
    measures: Measures
    images: Path | None
    bar: tqdm
    routing: bool
    budgets: int
    repeats: int

    def measure_bicubic(self, places: Iterable[SampleReference]) -> list[SampleReference]:
        """Gives those places whose pictures are large enough for the protocol."""
        usable = []
        for place in places:
            sample = place.sample()
            picture, seconds = _timed(
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

    def measure_network(self, name: str, net: ImplicitSR, places: Iterable[SampleReference]) -> None:
        enlarge_by(net, torch.zeros(1, 3, 16, 16), (32, 32))  # a first call is slower than all others
        for place in places:
            sample = place.sample()
            enlarged = enlarge_by(net, sample.lr, sample.size, self.repeats)
            try:
                require_numbers(net, enlarged.picture)
            except ValueError as error:
                raise ValueError(f"{name}: {error} ({sample.name} at ×{sample.test_set.label})") from None
            figures = self.measures.all(enlarged.picture, sample)
            figures |= _cost(net, enlarged, sample.size)
            figures |= _routing(
                net, enlarged, sample, figures["psnr"], self.measures if self.routing else None
            )
            self.evaluation.records.append(_record(name, sample, figures))
            self.evaluation.budgets += self._within_budgets(name, net, enlarged, sample)
            if self.images is not None:
                save_picture(_stem(self.images / name, sample), enlarged.picture)
                save_experts(_stem(self.images / name, sample), net, enlarged.encoding)
            self.bar.update()

    def _within_budgets(
        self, name: str, net: ImplicitSR, enlarged: Enlarged, sample: Sample
    ) -> Iterable[Record]:
        if len(net.experts) == 1:
            return
        for budget in torch.linspace(0, 1, self.budgets, dtype=torch.float64).tolist():
            kept = render.within_budget(net, enlarged.encoding, budget)
            decoded = decode_by(net, kept, enlarged.encode_seconds, sample.size, self.repeats)
            figures = {"budget": budget, "psnr": self.measures.psnr(decoded.picture, sample)}
            yield _record(name, sample, {**figures, **_cost(net, decoded, sample.size)})


def enlarge_bicubic(lr: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarges (1, 3, h, w) by the kernel of MATLAB and Pillow (Keys, 1981, a = -1/2).

    On common benchmarks the PSNR is up to 0.03 dB above what is published, whose pictures were rounded.
    """
    # With antialias=True PyTorch takes a = -1/2, else -3/4; the filter itself is the same for enlarging.
    return F.interpolate(lr, size, mode="bicubic", antialias=True)


def enlarge_by(net: ImplicitSR, lr: Tensor, size: tuple[int, int], repeats: int = 1) -> Enlarged:
    """Enlarges (1, 3, h, w) by a network, wherever that is, and takes the time of its two steps."""
    device = next(net.parameters()).device
    encoding, seconds = _timed(partial(render.encode, net, lr.to(device)), device, repeats)
    return decode_by(net, encoding, seconds, size, repeats)


def decode_by(
    net: ImplicitSR, encoding: Encoding, encode_seconds: float, size: tuple[int, int], repeats: int
) -> Enlarged:
    """Renders what was encoded, and takes the time."""
    picture, seconds = _timed(partial(render.render, net, encoding, size), encoding.lr.device, repeats)
    return Enlarged(picture, encoding, encode_seconds, seconds)


def distinct_names(weights: Sequence[Path]) -> list[str]:
    """Names to tell files of weights apart by: the stems, with as much of the paths as that takes.

    Raises:
        ValueError: one file is given twice.
    """
    if not weights:
        return []
    whole = [path.resolve() for path in weights]
    for paths in ([path.with_suffix("") for path in whole], whole):
        for depth in range(1, max(len(path.parts) for path in paths) + 1):
            names = ["_".join(path.parts[-depth:]) for path in paths]
            if len({BICUBIC, ORIGINAL, *names}) == 2 + len(names):
                return names
    raise ValueError(f"{max(weights, key=list(weights).count)}: given twice; name each file of weights once")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record(weights: str, sample: Sample, figures: dict[str, float]) -> Record:
    test_set = sample.test_set
    return Record(weights, test_set.name, test_set.label, test_set.lr, sample.name, *sample.size, figures)


def _cost(net: ImplicitSR, enlarged: Enlarged, size: tuple[int, int]) -> dict[str, float]:
    """Seconds of both steps, and the decoder's MACs, mapper included."""
    work = workload(net, render.expert_map(enlarged.encoding)[0], size)
    return {
        "encode_seconds": enlarged.encode_seconds,
        "decode_seconds": enlarged.decode_seconds,
        "decoder_macs_published": published_macs(net, work),
        "decoder_macs_executed": executed_macs(net, work),
    }


def _routing(
    net: ImplicitSR, enlarged: Enlarged, sample: Sample, psnr: float, measures: Measures | None
) -> dict[str, float]:
    """What a mixture's mapper chose and, where measures are given, what that is worth."""
    if len(net.experts) == 1:
        return {}
    if measures is None:
        return share_per_depth(net, enlarged.encoding.scores)
    measure = partial(measures.psnr, sample=sample)
    health = routing_health(net, enlarged.encoding, sample.size, measure, routed=psnr)
    return {**health, **_macs_of_single_experts(net, sample)}


def _macs_of_single_experts(net: ImplicitSR, sample: Sample) -> dict[str, float]:
    """What decoding executes if an expert paints everything: {"only_macs_d2": 1e9, ...}."""
    lr_size = sample.lr.shape[2:]
    works = [workload(net, torch.full(lr_size, expert), sample.size) for expert in range(len(net.experts))]
    return {
        f"only_macs_d{expert.depth}": executed_macs(net, work)
        for expert, work in zip(net.expert_list, works, strict=True)
    }


def _check_numbers(scales: Sequence[Scale], budgets: int, repeats: int) -> None:
    if not scales:
        raise ValueError("scales: none; give one at least")
    labels = [scale_label(scale) for scale in scales]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"scales: two are {twice} to six digits; give one of them")
    if repeats < 1:
        raise ValueError(f"repeats: {repeats}; give 1 or more")
    if budgets < 0 or budgets == 1:
        raise ValueError(f"budgets: {budgets}; give 2 or more, or 0 for none")


def _description(net: ImplicitSR) -> dict[str, Any]:
    return {
        "type": net.hyper_parameters["type"],
        "encoder": type(net.encoder).__name__,
        "network_g": net.hyper_parameters,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }


def _stem(folder: Path, sample: Sample) -> Path:
    return folder / f"{sample.test_set.name}_x{sample.test_set.label}" / sample.name


def _timed(work: Callable[[], Result], device: torch.device, repeats: int) -> tuple[Result, float]:
    """The result, and the median of the seconds it took; a GPU takes longer over what it does first."""

    def timed_once() -> tuple[Result, float]:
        start = now(device)
        result = work()
        return result, now(device) - start

    if device.type == "cuda":
        work()
    seconds = [timed_once()[1] for _ in range(repeats - 1)]
    result, last = timed_once()
    return result, statistics.median([*seconds, last])


def _hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable`."""
    return None if progress is None else not progress
