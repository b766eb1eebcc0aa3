"""Training models, registered in the MODEL_REGISTRY of the toolbox."""

from moeisr_plugin.models.implicit_sr_model import ImplicitSRModel

__all__ = ["ImplicitSRModel"]
