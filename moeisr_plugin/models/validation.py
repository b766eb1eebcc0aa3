"""Measuring a network on a validation set, its pictures shared among the processes."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import torch
from basicsr.metrics import calculate_metric
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.metrics import TooSmallError
from moeisr_plugin.metrics.toolbox_image import toolbox_image
from moeisr_plugin.render.routing_report import routing_health
from moeisr_plugin.utils import processes

MetricValues = dict[str, float]
"""Metrics of a picture or means of them, by name."""


class EnlargedPicture(NamedTuple):
    """A picture of a validation set as a network enlarges it."""

    name: str
    encoding: Encoding
    rgb: Tensor  # (1, 3, H, W), nominally in [0, 1]


class Validation(NamedTuple):
    """What a validation set yields, the same in all processes."""

    means: MetricValues  # of the metrics; empty if there is nothing to measure
    health: MetricValues  # means of the routing's; empty if not asked for
    too_small: list[str]  # pictures that could not be measured, and why


def validate(
    net: ImplicitSR,
    dataloader: DataLoader,
    *,
    device: torch.device,
    metrics: Mapping[str, Mapping[str, Any]],
    with_health: bool,
    bar: bool,
    keep: Callable[[EnlargedPicture], None] | None,
) -> Validation:
    """Enlarges every picture and measures it against its HR.

    Args:
        net: it is left in the mode that it was in.
        dataloader: of a ScaleValidationDataset, a picture at a time.
        device: the network's.
        metrics: their options by name, as the toolbox's `val.metrics`.
        with_health: of mixtures judge the routing, too, by the first metric.
        bar: show a progress bar.
        keep: is given each enlarged picture.
    """
    dataset_opt = dataloader.dataset.opt  # type: ignore[attr-defined]
    was_training = net.training
    net.eval()
    means: list[MetricValues] = []
    health: list[MetricValues] = []
    too_small: list[str] = []
    pictures = tqdm(_own_share(dataloader), desc=dataset_label(dataset_opt), unit="image", disable=not bar)
    for data in pictures:
        encoding = render.encode(net, data["lq"].to(device))
        size = _output_size(data)
        rgb = render.render(net, encoding, size)
        if keep is not None:
            keep(EnlargedPicture(_name(data), encoding, rgb))
        if "gt" not in data or not metrics:
            continue
        measure = partial(_measure, data=data, dataset_opt=dataset_opt)
        try:
            means.append({name: measure(rgb, options) for name, options in metrics.items()})
        except TooSmallError as error:
            too_small.append(f"{data['gt_path'][0]}: {error}")
            continue
        if with_health and len(net.experts) > 1:
            first, options = next(iter(metrics.items()))
            judge = partial(measure, options=options)
            health.append(routing_health(net, encoding, size, judge, routed=means[-1][first]))
    net.train(was_training)
    return Validation(
        _means(_dealt_back(processes.gather_objects(means))),
        _means(_dealt_back(processes.gather_objects(health))),
        list(chain.from_iterable(processes.gather_objects(too_small))),
    )


def dataset_label(dataset_opt: Mapping[str, Any]) -> str:
    """What results and pictures of a validation set are filed under: its name, and its scale if stated."""
    scale = dataset_opt.get("scale")
    if scale is None:
        return dataset_opt["name"]
    axes = scale if isinstance(scale, list | tuple) else [scale]
    return f"{dataset_opt['name']}/x{'x'.join(f'{s:g}' for s in axes)}"


def _own_share(dataloader: DataLoader) -> DataLoader:
    """Every so many-th picture of a validation set, dealt like cards to the processes."""
    if processes.size() == 1:
        return dataloader
    pictures: Any = dataloader.dataset
    own = Subset(pictures, range(processes.rank(), len(pictures), processes.size()))
    return DataLoader(own, batch_size=1, generator=torch.Generator())


def _dealt_back(shares: list[list[MetricValues]]) -> list[MetricValues]:
    """The figures of all processes, in the order of one if every picture has some."""
    rounds = zip_longest(*shares)
    return [figures for dealt in rounds for figures in dealt if figures is not None]


def _measure(
    rgb: Tensor, options: Mapping[str, Any], *, data: Mapping[str, Any], dataset_opt: Mapping[str, Any]
) -> float:
    """A metric by the data set's own scale and protocol, unless the metric's options say otherwise."""
    own = {"scale": _scale(data), "protocol": dataset_opt.get("protocol", "div2k")}
    images = {"img": toolbox_image(rgb), "img2": toolbox_image(data["gt"])}
    return float(calculate_metric(images, {**own, **options}))


def _name(data: Mapping[str, Any]) -> str:
    return data["name"][0] if "name" in data else Path(data["lq_path"][0]).stem


def _scale(data: Mapping[str, Any]) -> tuple[float, float]:
    """The scale of a batch with one picture, in y and x."""
    scale_y, scale_x = data["scale"].flatten().tolist()
    return scale_y, scale_x


def _output_size(data: Mapping[str, Any]) -> tuple[int, int]:
    """The size of the HR picture; from the scale where there is none."""
    if "gt" in data:
        return data["gt"].shape[-2], data["gt"].shape[-1]
    scale_y, scale_x = _scale(data)
    return round(data["lq"].shape[-2] * scale_y), round(data["lq"].shape[-1] * scale_x)


def _means(figures: list[MetricValues]) -> MetricValues:
    return {name: sum(f[name] for f in figures) / len(figures) for name in (figures[0] if figures else ())}
