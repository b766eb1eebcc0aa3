"""Encoder and decoder as programs of torch.export, with free sizes."""

import contextlib
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from moeisr_plugin.archs.encoders.encoder_interface import convolution_halo
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.exporting.networks import ExportedDecoder, ExportedEncoder, exportable

# Sizes of the examples, all different, so that no size is taken for another one.
_LR_SIZE, _ROWS, _COLUMNS, _SIZE = (22, 27), 13, 11, (53, 59)
_IMAGE = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
_PIXELS = {0: torch.export.Dim.DYNAMIC}


class Graph(NamedTuple):
    """One exported network.

    Attributes:
        program: the program of torch.export.
        inputs: names of its inputs, and of their axes of free size, None for others.
        outputs: likewise for its outputs.
    """

    program: ExportedProgram
    inputs: dict[str, list[str | None]]
    outputs: dict[str, list[str | None]]


class Graphs(NamedTuple):
    """The two exported networks of a network, see :mod:`moeisr_plugin.exporting.networks`.

    Attributes:
        encoder: from an LR image to latent and scores.
        decoder: from these and output pixels to colours.
        context: LR pixels around a tile that its latent and scores depend on; None if it is unbounded.
    """

    encoder: Graph
    decoder: Graph
    context: int | None


def exported(net: ImplicitNetwork) -> Graphs:
    """Export a network.

    Args:
        net: LIIF, LTE or a mixture on one of them, in float32 or float16, on the CPU.

    Raises:
        ValueError: the network cannot be exported; one line with the remedy.
    """
    routed = exportable(net)
    dtype = next(routed.encoder.parameters()).dtype
    lr = torch.zeros(1, 3, *_LR_SIZE, dtype=dtype)
    latent = torch.zeros(1, routed.refined_channels, *_LR_SIZE, dtype=dtype)
    scores = torch.zeros(1, len(routed.experts), *_LR_SIZE, dtype=dtype)
    grid = (torch.arange(_ROWS), torch.arange(_COLUMNS), torch.tensor(_SIZE), torch.tensor(_LR_SIZE))
    image = [None, None, "height", "width"]
    encoder = _program(ExportedEncoder(routed), (lr,), (_IMAGE,), type(routed.encoder).__name__)
    decoder = _program(
        ExportedDecoder(routed),
        (lr, latent, scores, *grid, torch.zeros(2, dtype=torch.long)),
        (_IMAGE, _IMAGE, _IMAGE, _PIXELS, _PIXELS, None, None, None),
        "the decoder",
    )
    return Graphs(
        Graph(encoder, {"lr": image}, {"latent": image, "scores": image}),
        Graph(
            decoder,
            {
                **dict.fromkeys(("lr", "latent", "scores"), image),
                "rows": ["rows"],
                "columns": ["columns"],
                **{key: [None] for key in ("size", "lr_size", "origin")},
            },
            {"rgb": [None, None, "rows", "columns"]},
        ),
        _context(routed),
    )


def _program(
    module: nn.Module, example: tuple[Tensor, ...], dynamic_shapes: tuple[object, ...], name: str
) -> ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(module.eval(), example, dynamic_shapes=dynamic_shapes)
    except Exception as error:  # torch raises errors of many types
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"torch.export cannot export {name} with free sizes ({reason[:200]}); choose a network on "
            "EDSREncoder or RDNEncoder"
        ) from error


def _context(net: ImplicitSR) -> int | None:
    """Return the LR pixels around a tile that its latent and its scores depend on."""
    halo = getattr(net.encoder, "halo", None)
    if not isinstance(halo, int):
        return None
    with contextlib.suppress(ValueError):
        return halo + convolution_halo(net.mapper)
    return None
