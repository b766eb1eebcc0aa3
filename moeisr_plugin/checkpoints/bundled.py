"""The weights bundled with the package."""

from importlib import resources
from pathlib import Path

DEFAULT = "MoEISR_LIIF_b"
"""Name of the default network."""


def bundled_weights() -> dict[str, Path]:
    """Return the bundled files by network name, which is the file name without the hash."""
    folder = Path(str(resources.files("moeisr_plugin") / "weights"))
    return {file.stem.rpartition("-")[0]: file for file in sorted(folder.glob("*.safetensors"))}
