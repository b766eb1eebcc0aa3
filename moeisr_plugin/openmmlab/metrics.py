"""Metrics of the pictures that `ImplicitRestorer` predicts, per validation set and scale."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.registry import METRICS

from moeisr_plugin.metrics import PROTOCOLS, TooSmallError, calculate_psnr_protocol, calculate_ssim_protocol
from moeisr_plugin.metrics.routing_health import expert_shares
from moeisr_plugin.metrics.toolbox_image import toolbox_image

Values = dict[str, float]


class MeanMetric(BaseMetric):
    """Mean over the pictures of a set at a scale.

    Results are named ``SET/xSCALE/METRIC``. SET is left out for data that do not state it.
    """

    default_prefix = ""

    def process(self, data_batch: Mapping[str, Any], data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Measure the pictures of a batch. mmengine needs one result for each.

        Args:
            data_batch: batch of `ScaleValidationDataset` or `ScaleValidationSets`.
            data_samples: predictions of `ImplicitRestorer`.
        """
        for index, prediction in enumerate(data_samples):
            picture = {key: values[index] for key, values in data_batch.items()}
            self.results.append((_label(picture), self.measure(prediction, picture)))

    def measure(self, prediction: Mapping[str, Any], picture: Mapping[str, Any]) -> Values:
        """Return values of one picture by name, none if it cannot be measured."""
        raise NotImplementedError

    def compute_metrics(self, results: list[tuple[str, Values]]) -> Values:
        """Return the means over the pictures that have a value."""
        found = defaultdict(list)
        for label, values in results:
            for name, value in values.items():
                found[f"{label}/{name}"].append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}


class ProtocolMetric(MeanMetric):
    """A metric of a picture and its HR by a named protocol.

    Args:
        protocol: ``benchmark`` or ``div2k``; see `moeisr_plugin.metrics.psnr_ssim`.
        quantise: round to 8 bits first.
        collect: arguments of `mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: the protocol is unknown.
    """

    name: str
    calculate: Callable[..., float]

    def __init__(self, protocol: str = "div2k", quantise: bool = False, **collect: Any) -> None:
        super().__init__(**collect)
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {protocol!r}; give one of {', '.join(PROTOCOLS)}")
        self.options = {"protocol": protocol, "quantise": quantise}

    def measure(self, prediction: Mapping[str, Any], picture: Mapping[str, Any]) -> Values:
        if "gt" not in picture:
            raise ValueError(f"{type(self).__name__} needs HR pictures; set dataroot_gt of the data set")
        images = (toolbox_image(each[None]) for each in (prediction["rgb"], picture["gt"]))
        try:
            value = type(self).calculate(*images, scale=picture["scale"].tolist(), **self.options)
        except TooSmallError as error:  # must not stop the training
            MMLogger.get_current_instance().warning(f"Not measured: {picture['gt_path']}: {error}")
            return {}
        return {self.name: value}


@METRICS.register_module()
class ProtocolPSNR(ProtocolMetric):
    """PSNR in dB by a protocol of the publications; see :class:`ProtocolMetric`."""

    name = "psnr"
    calculate = staticmethod(calculate_psnr_protocol)


@METRICS.register_module()
class ProtocolSSIM(ProtocolMetric):
    """SSIM by a protocol of the publications; see :class:`ProtocolMetric`."""

    name = "ssim"
    calculate = staticmethod(calculate_ssim_protocol)


@METRICS.register_module()
class ExpertShares(MeanMetric):
    """Share of LR pixels that are routed to each expert, shallowest first, as ``share_0`` and so on."""

    def measure(self, prediction: Mapping[str, Any], picture: Mapping[str, Any]) -> Values:
        shares = expert_shares(prediction["scores"][None])
        return {f"share_{expert}": share for expert, share in enumerate(shares.tolist())}


def _label(picture: Mapping[str, Any]) -> str:
    """Return the set, if stated, and the scale, as in ``Set5/x2`` and ``Set5/x2x3.5``."""
    scale = "x" + "x".join(dict.fromkeys(f"{each:g}" for each in picture["scale"].tolist()))
    return f"{picture['set']}/{scale}" if "set" in picture else scale
