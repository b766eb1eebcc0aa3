"""Packaging of moeisr_plugin; the settings of its tools are in pyproject.toml."""

import os
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
    "shtab",
    "tifffile",
    "tqdm",
]

# BasicSR 1.4.2 does not install on Python 3.13: its setup.py fails with KeyError: '__version__'.
TRAINING = [
    'basicsr>=1.4.2; python_version < "3.13"',
    "torchvision>=0.19",
    "lmdb",
    "packaging",  # for basicsr on Python 3.12, see toolbox/importing.py
    "scikit-image",  # photographs of the quick start, the benchmarks and the tests
]

# What moeisr_plugin.openmmlab imports.
OPENMMLAB = [
    *TRAINING,
    "torch>=2.6",  # its replacement of `getattr` in weights_only files
    "mmengine>=0.10.7",
    "addict",
]

# The folder `options` of a checkout, as a part of the installed package.
OPTION_FILES = "moeisr_plugin.option_files"


def version() -> str:
    """Read `__version__` without importing the package, whose dependencies may not be installed yet."""
    text = (ROOT / "moeisr_plugin/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise ValueError('moeisr_plugin/__init__.py: no line __version__ = "..."')
    return found.group(1)


def long_description() -> str:
    """Return README.md for a package index, where relative links and pictures lead nowhere.

    With the address of the repository in MOEISR_REPOSITORY, they become absolute. Otherwise pictures are left
    out, and links become plain text.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    home = os.environ.get("MOEISR_REPOSITORY", "").rstrip("/")
    relative = r"\((?!https?:|#)([^)\s]+)\)"
    if home:
        text = re.sub(rf"(!\[[^\]]*\]){relative}", rf"\1({home}/raw/HEAD/\2)", text)
        return re.sub(rf"(?<!!)(\[[^\]]*\]){relative}", rf"\1({home}/blob/HEAD/\2)", text)
    text = re.sub(rf"!\[[^\]]*\]{relative}\n*", "", text)
    return re.sub(rf"\[([^\]]*)\]{relative}", r"\1", text)


setup(
    name="moeisr_plugin",
    version=version(),
    description="Arbitrary-scale super-resolution by a mixture of implicit decoders, as a plugin for BasicSR",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    author="The moeisr_plugin developers",
    keywords=["super-resolution", "upscaling", "arbitrary-scale", "implicit", "LIIF", "LTE", "BasicSR"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: End Users/Desktop",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Graphics :: Graphics Conversion",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    project_urls={
        "Paper": "https://arxiv.org/abs/2311.12077",
        "BasicSR": "https://github.com/XPixelGroup/BasicSR",
        **({"Source": os.environ["MOEISR_REPOSITORY"]} if os.environ.get("MOEISR_REPOSITORY") else {}),
    },
    python_requires=">=3.10",
    packages=[*find_packages(include=["moeisr_plugin", "moeisr_plugin.*"]), OPTION_FILES],
    package_dir={OPTION_FILES: "options"},
    package_data={
        "moeisr_plugin": ["py.typed", "weights/*.safetensors", "weights/*.md", "weights/*.yml"],
        "moeisr_plugin.web": ["static/*"],
        OPTION_FILES: ["**/*.yml", "openmmlab/*.py"],
    },
    install_requires=ENLARGING,
    extras_require={
        "train": TRAINING,
        "openmmlab": OPENMMLAB,
        "heic": ["pillow-heif"],
        "onnx": ["onnx", "onnxscript", "onnxruntime"],  # onnxruntime only runs the exported files
        "spandrel": ["spandrel>=0.4"],
        "web": ["fastapi>=0.110", "uvicorn>=0.29", "scikit-image"],  # the last for pictures to try
        "video": ["av>=18"],  # writes rotations since 18, which needs Python 3.11
        "docs": ["mkdocs-material>=9.6"],
        "dev": [
            "httpx",
            "jsonschema",
            "model-index",
            "pytest",
            "pytest-xdist",
            "pyvips[binary]",
            "ruff",
            "pyright",
            "selenium",
        ],
    },
    entry_points={"console_scripts": ["moeisr = moeisr_plugin.cli:main"]},
)
