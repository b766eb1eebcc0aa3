"""Validation of a network on a data set, distributed over the processes."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import torch
from basicsr.metrics import calculate_metric
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.metrics import TooSmallError
from moeisr_plugin.metrics.toolbox_image import toolbox_image
from moeisr_plugin.render.routing_report import routing_health
from moeisr_plugin.utils import processes
from moeisr_plugin.utils.progress import Bar

MetricValues = dict[str, float]
"""Metrics of a picture, or their means, by name."""


class EnlargedPicture(NamedTuple):
    """An enlarged picture of a validation set."""

    name: str
    encoding: Encoding
    rgb: Tensor  # (1, 3, H, W), nominally in [0, 1]


class Validation(NamedTuple):
    """Results on a validation set, equal in all processes."""

    means: MetricValues  # means of the metrics; empty without metrics or HR
    health: MetricValues  # means of the routing health; empty if not requested
    too_small: list[str]  # messages on pictures too small for a metric


def validate(
    net: ImplicitNetwork,
    dataloader: DataLoader,
    *,
    device: torch.device,
    metrics: Mapping[str, Mapping[str, Any]],
    with_health: bool,
    bar: bool,
    keep: Callable[[EnlargedPicture], None] | None,
) -> Validation:
    """Enlarge every picture and compare it with its HR.

    Args:
        net: the network; its training mode is restored.
        dataloader: loader of a ScaleValidationDataset with batch size 1.
        device: device of the network.
        metrics: options of the metrics by name, as in `val.metrics` of the toolbox.
        with_health: also compute the routing health of mixtures with the first metric.
        bar: show a progress bar.
        keep: called with each enlarged picture.
    """
    dataset_opt = dataloader.dataset.opt  # type: ignore[attr-defined]
    was_training = net.training
    net.eval()
    means: list[MetricValues] = []
    health: list[MetricValues] = []
    too_small: list[str] = []
    pictures = Bar(_shard(dataloader), desc=dataset_label(dataset_opt), unit="image", disable=not bar)
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
        if with_health and net.num_experts > 1:
            first, options = next(iter(metrics.items()))
            judge = partial(measure, options=options)
            health.append(routing_health(net, encoding, size, judge, routed=means[-1][first]))
    net.train(was_training)
    return Validation(
        _means(_interleave(processes.gather_objects(means))),
        _means(_interleave(processes.gather_objects(health))),
        list(chain.from_iterable(processes.gather_objects(too_small))),
    )


def dataset_label(dataset_opt: Mapping[str, Any]) -> str:
    """Return the label of the results of a validation set: its name, and its scale if given."""
    scale = dataset_opt.get("scale")
    if scale is None:
        return dataset_opt["name"]
    axes = scale if isinstance(scale, list | tuple) else [scale]
    return f"{dataset_opt['name']}/x{'x'.join(f'{s:g}' for s in axes)}"


def _shard(dataloader: DataLoader) -> DataLoader:
    """Return a loader of the pictures of this process; pictures alternate between the processes."""
    if processes.size() == 1:
        return dataloader
    pictures: Any = dataloader.dataset
    own = Subset(pictures, range(processes.rank(), len(pictures), processes.size()))
    return DataLoader(own, batch_size=1, generator=torch.Generator())


def _interleave(shards: list[list[MetricValues]]) -> list[MetricValues]:
    """Merge the values of all processes in the order of the pictures, if each picture has values."""
    return [values for row in zip_longest(*shards) for values in row if values is not None]


def _measure(
    rgb: Tensor, options: Mapping[str, Any], *, data: Mapping[str, Any], dataset_opt: Mapping[str, Any]
) -> float:
    """Compute a metric; the defaults of its scale and protocol are those of the data set."""
    defaults = {"scale": _scale(data), "protocol": dataset_opt.get("protocol", "div2k")}
    images = {"img": toolbox_image(rgb), "img2": toolbox_image(data["gt"])}
    return float(calculate_metric(images, {**defaults, **options}))


def _name(data: Mapping[str, Any]) -> str:
    return data["name"][0] if "name" in data else Path(data["lq_path"][0]).stem


def _scale(data: Mapping[str, Any]) -> tuple[float, float]:
    """Return the scale (y, x) of a batch with one picture."""
    scale_y, scale_x = data["scale"].flatten().tolist()
    return scale_y, scale_x


def _output_size(data: Mapping[str, Any]) -> tuple[int, int]:
    """Return (height, width) of the HR picture, or the size from the scale without HR."""
    if "gt" in data:
        return data["gt"].shape[-2], data["gt"].shape[-1]
    scale_y, scale_x = _scale(data)
    return round(data["lq"].shape[-2] * scale_y), round(data["lq"].shape[-1] * scale_x)


def _means(values: list[MetricValues]) -> MetricValues:
    return {name: sum(v[name] for v in values) / len(values) for name in (values[0] if values else ())}
