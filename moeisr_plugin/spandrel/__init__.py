"""Networks of this package for programs that load their models by spandrel, such as chaiNNer and ComfyUI.

`install` adds the architecture to the registry of spandrel, whose `ModelLoader` then loads checkpoints.
Spandrel's models have one whole scale, which is chosen before loading.
"""

from moeisr_plugin.toolbox.importing import mend_torchvision_operators

try:
    mend_torchvision_operators()  # spandrel imports torchvision, also a CUDA build beside a CPU-only torch
    import spandrel  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'moeisr_plugin.spandrel needs the package {error.name}; install it with pip install ".[spandrel]"',
        name=error.name,
    ) from error

from moeisr_plugin.spandrel.architecture import ImplicitArch, install, load
from moeisr_plugin.spandrel.state_dicts import save

__all__ = ["ImplicitArch", "install", "load", "save"]
