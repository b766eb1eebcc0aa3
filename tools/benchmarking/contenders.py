"""The contenders: this package, the plain reference and published code, in several precisions."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarking.cases import routed
from benchmarking.fixed_scale import FixedScaleEDSR
from benchmarking.number_formats import FLOATS, autocast, in_precision
from benchmarking.published_code import PublishedLIIF, PublishedLMLIIF
from moeisr_plugin import render
from moeisr_plugin.archs import reference
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.render import triton_backend

ENCODERS = {
    "EDSR": {"type": "EDSREncoder", "num_feat": 64, "num_block": 16},
    "RDN": {"type": "RDNEncoder", "num_feat": 64, "num_block": 16, "num_layer": 8, "num_grow_ch": 64},
    "SwinIR": {
        "type": "SwinIREncoder",
        "embed_dim": 180,
        "depths": [6] * 6,
        "num_heads": [6] * 6,
        "window_size": 8,
        "mlp_ratio": 2,
    },
    "tiny": {"type": "EDSREncoder", "num_feat": 4, "num_block": 1},
}
NETWORKS: dict[str, Callable[..., ImplicitSR]] = {
    "LIIF": LIIF,
    "MoEISRLIIF-b": MoEISRLIIF,
    "MoEISRLIIF-s": partial(MoEISRLIIF, hidden_dim=128),
    "LTE": LTE,
    "MoEISRLTE-b": MoEISRLTE,
    "MoEISRLTE-s": partial(MoEISRLTE, hidden_dim=128),
}
# Mean number of layers per pixel beyond those of the shallowest expert. It follows from the decoder FLOPs in
# Table 3 of the paper: with an EDSR encoder 68 and 27 % of LIIF, and 91.7 and 26.8 % of LTE.
MEAN_EXTRA_LAYERS = {
    "MoEISRLIIF-b": (0.68 * 345_856 - 149_248) / 256**2,
    "MoEISRLIIF-s": (0.27 * 345_856 - 74_624) / 128**2,
    "MoEISRLTE-b": (0.917 * 197_376 - 66_304) / 256**2,
    "MoEISRLTE-s": (0.268 * 197_376 - 33_152) / 128**2,
}
PACKAGE, PLAIN = "package", "plain"
WITHOUT_KERNELS = "package, without kernels"
"""The package on a GPU without Triton kernels."""
TOOLBOX = "BasicSR"


@dataclass(frozen=True)
class Network:
    """A network to measure.

    Attributes:
        name: name in the report.
        net: the network, in evaluation mode and on its device.
        choice: expert map (h, w) that replaces the routing of the mapper.
    """

    name: str
    net: ImplicitSR
    choice: Tensor | None = None

    @property
    def type(self) -> str:
        return self.net.hyper_parameters["type"]


@dataclass(frozen=True)
class Contender:
    """Code that enlarges pictures.

    Attributes:
        name: name of the network.
        code: `PACKAGE`, `WITHOUT_KERNELS`, `PLAIN`, `TOOLBOX` or the name of a repository.
        precision: one of `number_formats.PRECISIONS`.
        encode: maps an LR picture (1, 3, h, w) in [0, 1] to the input of `decode`.
        decode: maps the result and a size (H, W) to a picture (1, 3, H, W).
        context: context manager for both calls.
        network: the network, or None for published code.
    """

    name: str
    code: str
    precision: str
    encode: Callable[[Tensor], Any]
    decode: Callable[[Any, tuple[int, int]], Tensor]
    context: Callable[[], AbstractContextManager[None]]
    network: Network | None = None


def contenders(
    networks: list[Network],
    precisions: list[str],
    device: torch.device,
    *,
    plain: Collection[str] | None = None,
    without_kernels: bool = False,
    liif: Path | None = None,
    lmf: Path | None = None,
    fixed_scale: int | None = None,
) -> list[Contender]:
    """Return the contenders: each network in each precision, by the plain reference and the package.

    Only the package computes in int8.

    Args:
        networks: one or more networks that share an encoder.
        precisions: values of `number_formats.PRECISIONS`.
        device: device of the networks.
        plain: names of the networks that the plain reference runs. None means all.
        without_kernels: also run the package without Triton kernels.
        liif: checkout of yinboc/liif to run as well.
        lmf: checkout of HeZongyao/LMF to run as well.
        fixed_scale: scale of the toolbox's EDSR to run as well.

    Raises:
        ValueError: a folder is not a checkout.
    """
    others: list[tuple[str, str, PublishedLIIF | PublishedLMLIIF | FixedScaleEDSR]] = [
        *_published(networks, device, liif, lmf)
    ]
    if fixed_scale is not None:
        others.append((f"EDSR ×{fixed_scale}", TOOLBOX, FixedScaleEDSR(fixed_scale, device)))
    found = []
    for precision in precisions:
        for network in networks:
            if precision in FLOATS and (plain is None or network.name in plain):
                found.append(_plain(network, precision, device))
            found.append(_packaged(network, precision))
            if without_kernels:
                found.append(replace(found[-1], code=WITHOUT_KERNELS, context=triton_backend.without_kernels))
        for name, code, theirs in others if precision in FLOATS else []:
            context = partial(autocast, precision, device)
            found.append(Contender(name, code, precision, theirs.encode, theirs.decode, context))
    return found


def _packaged(network: Network, precision: str) -> Contender:
    net = in_precision(network.net, precision)
    return Contender(
        name=network.name,
        code=PACKAGE,
        precision=precision,
        encode=lambda lr: routed(render.encode(net, lr), network.choice),
        decode=partial(render.render, net),
        context=nullcontext,  # the network is already in this precision
        network=network,
    )


def _plain(network: Network, precision: str, device: torch.device) -> Contender:
    encode = torch.no_grad()(network.net.encode)
    return Contender(
        name=network.name,
        code=PLAIN,
        precision=precision,
        encode=lambda lr: routed(encode(lr), network.choice),
        decode=partial(reference.render, network.net),
        context=partial(autocast, precision, device),
        network=network,
    )


def _published(
    networks: list[Network], device: torch.device, liif: Path | None, lmf: Path | None
) -> list[tuple[str, str, PublishedLIIF | PublishedLMLIIF]]:
    encoder: nn.Module = networks[0].net.encoder
    found: list[tuple[str, str, PublishedLIIF | PublishedLMLIIF]] = []
    if liif is not None:
        ours = [network.net for network in networks if network.name == "LIIF"] or [LIIF(encoder=encoder)]
        found.append(("LIIF", "yinboc/liif", PublishedLIIF(liif, encoder, ours[0].experts[0], device)))
    if lmf is not None:
        found.append(("LM-LIIF", "HeZongyao/LMF", PublishedLMLIIF(lmf, encoder, device)))
    return found
