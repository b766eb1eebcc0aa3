"""Rendering: encode an image once, then decode any output grid."""

from moeisr_plugin.render.budget import within_budget
from moeisr_plugin.render.clip_memory import ClipMemory
from moeisr_plugin.render.encoding import encode
from moeisr_plugin.render.engine import changed_bands, render, render_bands
from moeisr_plugin.render.expert_map import colour_experts, expert_map, expert_shares
from moeisr_plugin.render.scattered import render_at
from moeisr_plugin.render.window import Window, checked_window

__all__ = [
    "ClipMemory",
    "Window",
    "changed_bands",
    "checked_window",
    "colour_experts",
    "encode",
    "expert_map",
    "expert_shares",
    "render",
    "render_at",
    "render_bands",
    "within_budget",
]
