"""The parts of a network that compute with 8-bit codes when it renders on a CPU."""

from dataclasses import dataclass

import torch
from torch import nn

from moeisr_plugin.archs import fast_path
from moeisr_plugin.archs.embeddings import LIIFEmbedding
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.render.calibration import synthetic_pictures
from moeisr_plugin.render.int8_encoder import with_int8_convolutions
from moeisr_plugin.render.int8_experts import Int8Experts


@dataclass(frozen=True)
class Int8Parts:
    """Replacements for parts of a network, made from its weights.

    Attributes:
        encoder: replaces the encoder.
        mapper: replaces the mapper.
        experts: evaluates the experts, or None if they compute in float32.
    """

    encoder: nn.Module
    mapper: nn.Module
    experts: Int8Experts | None


@torch.inference_mode()
def int8_parts(net: ImplicitNetwork) -> Int8Parts:
    """Convert a network.

    Experts are converted if they have the LIIF embedding and the folded evaluation serves them.

    Args:
        net: the network, in float32 on a CPU. It is not changed.

    Raises:
        ValueError: a weight or an activation is not finite.
    """
    for name, parameter in net.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"{name} contains NaN or Inf; the weights are damaged")
    encoder, latent = with_int8_convolutions(net.encoder, synthetic_pictures().sub(0.5).div(0.5))
    latent = net.refine(latent)
    mapper, _ = with_int8_convolutions(net.mapper, latent)
    experts = None
    if isinstance(net, ImplicitSR) and type(net.embedding) is LIIFEmbedding and fast_path.serves(net):
        experts = Int8Experts(net, latent)
    return Int8Parts(encoder, mapper, experts)


def int8_in_use(net: ImplicitNetwork) -> Int8Parts | None:
    """Return the 8-bit parts of a network that renders with them, on a CPU."""
    return net.int8 if next(net.parameters()).device.type == "cpu" else None
