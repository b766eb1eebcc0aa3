"""Models, registered with the toolbox's MODEL_REGISTRY."""

from moeisr_plugin.models.implicit_sr_model import ImplicitSRModel

__all__ = ["ImplicitSRModel"]
