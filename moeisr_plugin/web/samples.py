"""Pictures to try the page with: three photographs that scikit-image ships."""

from importlib import resources
from importlib.util import find_spec
from pathlib import Path

FILES = {"astronaut": "astronaut.png", "cat": "chelsea.png", "coffee": "coffee.png"}
"""Name on the page, and file in the folder of scikit-image."""


def sample_files() -> dict[str, Path]:
    """Return the files by name. Empty if scikit-image is not installed."""
    if find_spec("skimage") is None:
        return {}
    folder = Path(str(resources.files("skimage") / "data"))
    found = {name: folder / file for name, file in FILES.items()}
    return {name: path for name, path in found.items() if path.is_file()}
