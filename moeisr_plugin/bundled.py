"""The weights that come with the package."""

from importlib import resources
from pathlib import Path

DEFAULT = "MoEISR_LIIF_b"
"""The network that enlarges pictures unless another is named."""


def bundled_weights() -> dict[str, Path]:
    """The files by the names of their networks, which are the files' without the hash."""
    folder = Path(str(resources.files("moeisr_plugin") / "weights"))
    return {file.stem.rpartition("-")[0]: file for file in sorted(folder.glob("*.safetensors"))}
