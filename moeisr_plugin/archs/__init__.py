"""Encoders and implicit decoders, registered with the toolbox's ARCH_REGISTRY."""

from moeisr_plugin.archs import implicit_arch
from moeisr_plugin.archs.encoders import (
    edsr_encoder_arch,
    rdn_encoder_arch,
    swinir_encoder_arch,
    toolbox_encoder_arch,
)

__all__ = [
    "edsr_encoder_arch",
    "implicit_arch",
    "rdn_encoder_arch",
    "swinir_encoder_arch",
    "toolbox_encoder_arch",
]
