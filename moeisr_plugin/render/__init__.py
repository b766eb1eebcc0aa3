"""Rendering: encode a picture once, decode any output grid."""

from moeisr_plugin.render.engine import encode, render
from moeisr_plugin.render.expert_map import colour_experts, expert_map

__all__ = ["colour_experts", "encode", "expert_map", "render"]
