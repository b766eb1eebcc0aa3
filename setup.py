"""Packaging of moeisr_plugin; the settings of its tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

# What `moeisr upscale`, `moeisr convert` and `Upscaler` import.
ENLARGING = [
    "torch>=2.4",
    "imagecodecs",
    "numpy",
    "opencv-python",
    "pillow",
    "pyyaml",
    "safetensors",
    "scipy",
    "tifffile",
    "tqdm",
]

# BasicSR 1.4.2 does not install on Python 3.13: its setup.py fails with KeyError: '__version__'.
TRAINING = [
    'basicsr>=1.4.2; python_version < "3.13"',
    "torchvision>=0.19",
    "mmengine>=0.10.7",
    "lmdb",
    "addict",  # of mmengine
    "packaging",
    "scikit-image",
]


def version() -> str:
    """Read `__version__` without importing the package, whose dependencies may not be installed yet."""
    text = (ROOT / "moeisr_plugin/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise ValueError('moeisr_plugin/__init__.py: no line __version__ = "..."')
    return found.group(1)


setup(
    name="moeisr_plugin",
    version=version(),
    description="Arbitrary-scale super-resolution by a mixture of implicit decoders, as a plugin for BasicSR",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    package_dir={"": "."},  # an editable install needs no import hook, which slows every start of Python
    packages=find_packages(include=["moeisr_plugin", "moeisr_plugin.*"]),
    package_data={"moeisr_plugin": ["py.typed", "weights/*.safetensors"]},
    install_requires=ENLARGING,
    extras_require={"train": TRAINING, "heic": ["pillow-heif"], "dev": ["pytest", "ruff", "pyright"]},
    entry_points={"console_scripts": ["moeisr = moeisr_plugin.cli:main"]},
)
