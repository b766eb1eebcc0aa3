"""Report packages that only training needs and that are not installed."""

import sys

TRAINING_PACKAGES = ("basicsr", "torchvision", "mmengine", "lmdb", "skimage")
"""Packages of the extra `train`, by the names that they are imported by."""


def missing_package(user: str, name: str | None) -> str:
    """Return a line that says what needs a missing package, and how to install it."""
    remedy = 'install it with pip install "moeisr_plugin[train]"'
    if sys.version_info >= (3, 13):
        remedy += " on Python 3.10 to 3.12"
    return f"{user} needs BasicSR, but {name} is not installed; {remedy}"
