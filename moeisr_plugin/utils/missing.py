"""Report packages that only training needs and that are not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRAINING_PACKAGES = ("basicsr", "torchvision", "lmdb", "skimage")
"""Packages of the extra `train`, by the names that they are imported by."""


class MissingToolboxError(ValueError):
    """A package of the extra `train` is not installed; the message is one line with the remedy."""


@contextmanager
def toolbox_needed(user: str) -> Iterator[None]:
    """Turn the failed import of a package of the extra `train` into a MissingToolboxError.

    Args:
        user: the program or class that needs the package, for the message.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in TRAINING_PACKAGES:
            raise
        raise MissingToolboxError(missing_package(user, error.name)) from error


def missing_package(user: str, name: str | None) -> str:
    """Return a line that says what needs a missing package, and how to install it."""
    remedy = 'install it with pip install ".[train]"'
    if sys.version_info >= (3, 13):
        remedy += " on Python 3.10 to 3.12"
    return f"{user} needs BasicSR, but {name} is not installed; {remedy}"
