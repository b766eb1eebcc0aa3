"""Measure the quality, time and cost of one enlarged picture."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.data.scaled_set import Sample
from moeisr_plugin.evaluation.clock import now
from moeisr_plugin.metrics import PROTOCOLS, calculate_psnr_protocol, calculate_ssim_protocol
from moeisr_plugin.metrics.lpips_distance import LpipsDistance
from moeisr_plugin.metrics.toolbox_image import toolbox_image
from moeisr_plugin.render.complexity import executed_macs, published_macs, workload
from moeisr_plugin.render.routing_report import routing_health, share_per_depth

Result = TypeVar("Result")


class TimedPicture(NamedTuple):
    """A picture enlarged by a network, with the time of both steps."""

    picture: Tensor  # (1, 3, H, W), nominally in [0, 1]
    encoding: Encoding
    encode_seconds: float
    decode_seconds: float


class Measures:
    """Quality measures of enlarged pictures.

    Args:
        protocol: protocol of PSNR and SSIM, a key of `metrics.PROTOCOLS`.
        lpips: LPIPS distance, or None to leave it out.

    Raises:
        ValueError: the protocol is unknown.
    """

    def __init__(self, protocol: str, lpips: LpipsDistance | None) -> None:
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {protocol!r}; give one of {', '.join(PROTOCOLS)}")
        self.protocol = protocol
        self.lpips = lpips

    def psnr(self, picture: Tensor, sample: Sample) -> float:
        """Return the PSNR of an enlarged picture (1, 3, H, W) in dB."""
        return calculate_psnr_protocol(
            toolbox_image(picture), toolbox_image(sample.hr), **self._border(sample)
        )

    def all(self, picture: Tensor, sample: Sample) -> dict[str, float]:
        """Return all measures of an enlarged picture (1, 3, H, W), by name.

        Raises:
            TooSmallError: the picture is too small for a measure.
        """
        pair = toolbox_image(picture), toolbox_image(sample.hr)
        figures = {
            "psnr": calculate_psnr_protocol(*pair, **self._border(sample)),
            "ssim": calculate_ssim_protocol(*pair, **self._border(sample)),
        }
        return figures if self.lpips is None else {**figures, "lpips": self.lpips(*pair)}

    def _border(self, sample: Sample) -> dict[str, Any]:
        return {"protocol": self.protocol, "scale": sample.test_set.scale}


def enlarge_bicubic(lr: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge (1, 3, h, w) with the bicubic kernel of MATLAB and Pillow (Keys, 1981, a = -1/2)."""
    # antialias=True sets a = -1/2 instead of -3/4. It has no other effect when enlarging.
    return F.interpolate(lr, size, mode="bicubic", antialias=True)


def enlarge_by(net: ImplicitNetwork, lr: Tensor, size: tuple[int, int], repeats: int = 1) -> TimedPicture:
    """Enlarge (1, 3, h, w) by a network on its device, and time encoding and decoding."""
    device = next(net.parameters()).device
    encoding, seconds = timed(partial(render.encode, net, lr.to(device)), device, repeats)
    return decode_by(net, encoding, seconds, size, repeats)


def decode_by(
    net: ImplicitNetwork, encoding: Encoding, encode_seconds: float, size: tuple[int, int], repeats: int
) -> TimedPicture:
    """Render an encoding, and time it."""
    picture, seconds = timed(partial(render.render, net, encoding, size), encoding.lr.device, repeats)
    return TimedPicture(picture, encoding, encode_seconds, seconds)


def decoding_cost(net: ImplicitNetwork, enlarged: TimedPicture, size: tuple[int, int]) -> dict[str, float]:
    """Return the seconds of both steps, and the MACs of decoder and mapper."""
    work = workload(net, render.expert_map(enlarged.encoding)[0], size)
    return {
        "encode_seconds": enlarged.encode_seconds,
        "decode_seconds": enlarged.decode_seconds,
        "decoder_macs_published": published_macs(net, work),
        "decoder_macs_executed": executed_macs(net, work),
    }


def routing_figures(
    net: ImplicitNetwork, enlarged: TimedPicture, sample: Sample, psnr: float, measures: Measures | None
) -> dict[str, float]:
    """Return the shares of the experts and, if measures are given, the routing health."""
    if net.num_experts == 1:
        return {}
    if measures is None:
        return share_per_depth(net, enlarged.encoding.scores)
    measure = partial(measures.psnr, sample=sample)
    health = routing_health(net, enlarged.encoding, sample.size, measure, routed=psnr)
    return {**health, **_macs_of_single_experts(net, sample)}


def _macs_of_single_experts(net: ImplicitNetwork, sample: Sample) -> dict[str, float]:
    """Return the executed MACs if one expert decodes all pixels: {"only_macs_d2": 1e9, ...}."""
    lr_size = sample.lr.shape[2:]
    works = [workload(net, torch.full(lr_size, expert), sample.size) for expert in range(net.num_experts)]
    return {
        f"only_macs_d{expert.depth}": executed_macs(net, work)
        for expert, work in zip(net.expert_list, works, strict=True)
    }


def timed(work: Callable[[], Result], device: torch.device, repeats: int) -> tuple[Result, float]:
    """Return the result and the median time in seconds. On a GPU, do one untimed run first."""

    def timed_once() -> tuple[Result, float]:
        start = now(device)
        result = work()
        return result, now(device) - start

    if device.type == "cuda":
        work()
    seconds = [timed_once()[1] for _ in range(repeats - 1)]
    result, last = timed_once()
    return result, statistics.median([*seconds, last])
