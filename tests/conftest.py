"""Pictures and options that the tests share."""

import pytest
from PIL import Image
from skimage import data

import moeisr_plugin  # noqa: F401  before any test imports the toolbox


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder with two small photographs, of odd and non-square size."""
    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(data.astronaut()[40:143, 170:281]).save(folder / "astronaut.png")
    Image.fromarray(data.chelsea()[80:191, 100:197]).save(folder / "chelsea.png")
    return folder
