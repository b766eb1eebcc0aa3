"""Training models, registered in the MODEL_REGISTRY of the toolbox."""

from moeisr_plugin.models.implicit_sr_model import ImplicitSRModel
from moeisr_plugin.models.implicit_srgan_model import ImplicitSRGANModel

__all__ = ["ImplicitSRGANModel", "ImplicitSRModel"]
