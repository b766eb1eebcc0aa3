"""Register this package's classes and functions with the toolbox."""

import importlib
from types import ModuleType

PACKAGES = ("data", "models")
"""Packages whose modules register with the toolbox as they are imported."""


def register_all(toolbox: ModuleType) -> None:
    """Register our networks, losses, metrics, datasets and models.

    A package may be on its way in, if it was what imported the toolbox; it then registers on its own.
    """
    from basicsr.utils.registry import METRIC_REGISTRY

    from moeisr_plugin import losses
    from moeisr_plugin.archs.registry import register_with_toolbox
    from moeisr_plugin.metrics import calculate_psnr_protocol, calculate_ssim_protocol

    register_with_toolbox()
    for metric in (calculate_psnr_protocol, calculate_ssim_protocol):
        METRIC_REGISTRY.register(metric)
    for module in losses.MODULES.values():
        importlib.import_module(f"moeisr_plugin.losses.{module}")
    for package in PACKAGES:
        importlib.import_module(f"moeisr_plugin.{package}")
