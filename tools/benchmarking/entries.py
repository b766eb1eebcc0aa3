"""What the front compares: this package at each budget and precision, and the methods of others."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarking.contenders import ENCODERS, PACKAGE, PLAIN, TOOLBOX, Contender
from benchmarking.fixed_scale import FixedScaleEDSR
from benchmarking.lerf import PublishedLeRF
from benchmarking.number_formats import FLOATS, autocast, in_precision
from benchmarking.onnx_engine import OnnxNetwork
from benchmarking.pcsr import PublishedPCSR, backbones_of
from benchmarking.published_code import PublishedLIIF, PublishedLMLIIF
from moeisr_plugin import render
from moeisr_plugin.archs import reference
from moeisr_plugin.archs.implicit_arch import LIIF
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.checkpoints.liif_lte import checkpoint_from
from moeisr_plugin.checkpoints.network import located, network_from, network_of
from moeisr_plugin.evaluation.loading import distinct_names
from moeisr_plugin.evaluation.measuring import enlarge_bicubic

BICUBIC, EDSR, LIIF_NAME, LM_LIIF = "bicubic", "EDSR", "LIIF", "LM-LIIF"
ONNX, LIIF_CODE = "ONNX Runtime", "yinboc/liif"


@dataclass(frozen=True)
class Peers:
    """The methods of others to measure. None leaves one out.

    Attributes:
        edsr: whether to measure the toolbox's EDSR of the scale.
        edsr_weights: its weights. Random ones without.
        liif: a file of a published LIIF, decoded plainly and by this package.
        liif_code: a checkout of yinboc/liif, which decodes `liif` as well.
        lmf, lmf_weights: a checkout of HeZongyao/LMF, and a file of its LM-LIIF. Random weights without.
        lerf: a checkout of ddlee-cn/LeRF-PyTorch.
        pcsr: a checkout of 3587jjh/PCSR.
        onnx: whether to measure the exported networks in ONNX Runtime.
    """

    edsr: bool = True
    edsr_weights: Path | None = None
    liif: Path | None = None
    liif_code: Path | None = None
    lmf: Path | None = None
    lmf_weights: Path | None = None
    lerf: Path | None = None
    pcsr: Path | None = None
    onnx: bool = False


@dataclass(frozen=True)
class Entry:
    """A contender of the front.

    Attributes:
        contender: the code.
        budget: the budget of a mixture, or None for the routing of its mapper.
        trained: whether it has trained weights, so that its PSNR counts.
    """

    contender: Contender
    budget: float | None = None
    trained: bool = True

    @property
    def is_ours(self) -> bool:
        return self.contender.code == PACKAGE


def entries(
    weights: Sequence[Path],
    precisions: Sequence[str],
    budgets: int,
    scale: float,
    device: torch.device,
    peers: Peers,
    threads: int,
) -> list[Entry]:
    """Return all contenders of a front.

    Args:
        weights: checkpoints of this package, or names of bundled networks.
        precisions: values of `number_formats.PRECISIONS`.
        budgets: number of evenly spaced budgets of each mixture, or 0.
        scale: the scale.
        device: the device.
        peers: the methods of others.
        threads: number of threads, for engines that have their own.

    Raises:
        ValueError: a file or a checkout cannot be used.
    """
    nets = dict(zip(distinct_names([located(path) for path in weights]), weights, strict=True))
    names = {_short(name, path): network_from(path).to(device).eval() for name, path in nets.items()}
    found = [Entry(_contender(BICUBIC, "torch", "float32", lambda lr: lr, enlarge_bicubic))]
    for name, net in names.items():
        found += _ours(name, net, precisions, budgets)
    if peers.onnx:
        for name, path in zip(names, weights, strict=True):
            exported = OnnxNetwork(str(path), threads)
            found.append(Entry(_contender(name, ONNX, "float32", exported.encode, exported.decode)))
    return found + list(_others(precisions, scale, device, peers))


def _short(name: str, path: Path) -> str:
    """Return the name of a bundled network as it was given, without the sum in the name of its file."""
    return str(path) if not path.exists() else name


def _contender(
    name: str, code: str, precision: str, encode: Any, decode: Any, context: Any = None
) -> Contender:
    return Contender(name, code, precision, encode, decode, context or nullcontext)


def _ours(name: str, net: ImplicitNetwork, precisions: Sequence[str], budgets: int) -> Iterator[Entry]:
    """Return a network with its own routing, then within budgets, in each precision."""
    shares = torch.linspace(0, 1, budgets, dtype=torch.float64).tolist() if net.num_experts > 1 else []
    for precision in precisions:
        cast = in_precision(net, precision)
        decode = partial(render.render, cast)
        encode = partial(render.encode, cast)
        yield Entry(_contender(name, PACKAGE, precision, encode, decode))
        for share in shares:
            within = partial(_encoded_within, cast, share)
            yield Entry(_contender(name, PACKAGE, precision, within, decode), budget=share)


def _encoded_within(net: ImplicitNetwork, share: float, lr: torch.Tensor) -> Any:
    return render.within_budget(net, render.encode(net, lr), share)


def _others(precisions: Sequence[str], scale: float, device: torch.device, peers: Peers) -> Iterator[Entry]:
    floats = [precision for precision in precisions if precision in FLOATS]
    contexts = {precision: partial(autocast, precision, device) for precision in floats}
    if peers.edsr:
        edsr = FixedScaleEDSR(int(scale), device, peers.edsr_weights)
        for precision, context in contexts.items():
            yield Entry(
                _contender(EDSR, TOOLBOX, precision, edsr.encode, edsr.decode, context),
                trained=peers.edsr_weights is not None,
            )
    if peers.liif is not None:
        yield from _liif(peers.liif, peers.liif_code, floats, device)
    if peers.lmf is not None:
        torch.manual_seed(0)
        encoder = LIIF(encoder=ENCODERS["EDSR"]).encoder
        lmf = PublishedLMLIIF(peers.lmf, encoder, device, peers.lmf_weights)
        for precision, context in contexts.items():
            yield Entry(
                _contender(LM_LIIF, "HeZongyao/LMF", precision, lmf.encode, lmf.decode, context),
                trained=peers.lmf_weights is not None,
            )
    if peers.lerf is not None:
        lerf = PublishedLeRF(peers.lerf)
        yield Entry(_contender("LeRF-G", "ddlee-cn/LeRF-PyTorch", "float32", lerf.encode, lerf.decode))
    for backbone in [] if peers.pcsr is None else backbones_of(peers.pcsr):
        assert peers.pcsr is not None
        pcsr = PublishedPCSR(peers.pcsr, backbone, device)
        name = f"{backbone.upper()}-PCSR"
        yield Entry(_contender(name, "3587jjh/PCSR", "float32", pcsr.encode, pcsr.decode))


def _liif(
    path: Path, checkout: Path | None, precisions: Sequence[str], device: torch.device
) -> Iterator[Entry]:
    """Return a published LIIF, decoded plainly, by its own code and by this package."""
    net = network_of(checkpoint_from(path), path).to(device).eval()
    if not isinstance(net, ImplicitSR):
        raise ValueError(f"{path}: is no LIIF")
    name = LIIF_NAME
    encode = torch.no_grad()(net.encode)
    yield Entry(_contender(name, PLAIN, "float32", encode, partial(reference.render, net)))
    if checkout is not None:
        theirs = PublishedLIIF(checkout, net.encoder, net.experts[0], device)
        yield Entry(_contender(name, LIIF_CODE, "float32", theirs.encode, theirs.decode))
    yield from _ours(name, net, precisions, 0)
