"""Arbitrary-scale super-resolution by a mixture of implicit decoders, as a plugin for BasicSR.

Importing this package mends what keeps BasicSR from running on today's stack, and registers the plugin's
archs, losses, datasets, models and metrics with the toolbox. Import it before ``basicsr``.
"""

__version__ = "0.1.0"

from moeisr_plugin import compat

compat.apply()

from moeisr_plugin import archs, data, losses, metrics, models  # noqa: E402
from moeisr_plugin.upscaler import Upscaler  # noqa: E402

__all__ = ["Upscaler", "__version__", "archs", "data", "losses", "metrics", "models"]
