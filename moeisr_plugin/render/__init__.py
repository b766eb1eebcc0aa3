"""Rendering: encode an image once, then decode any output grid."""

from moeisr_plugin.render.budget import within_budget
from moeisr_plugin.render.encoding import encode
from moeisr_plugin.render.engine import render, render_bands
from moeisr_plugin.render.expert_map import colour_experts, expert_map

__all__ = ["colour_experts", "encode", "expert_map", "render", "render_bands", "within_budget"]
