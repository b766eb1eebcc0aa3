"""Scales in the names of folders, such as X1.60_X2.00."""

import re

Scale = tuple[float, float]
"""Vertical and horizontal."""

_NUMBER = r"(\d+(?:\.\d+)?)"
_SCALES = re.compile(rf"[xX]{_NUMBER}(?:(_?)[xX]{_NUMBER})?$")


def names_scale(name: str, scale: Scale, *, orders_differ: bool = True) -> bool:
    """Return whether a name ends in a scale: x2, LRbicx2.5, X1.60, X1.60_X2.00 or x2x3.5.

    Numbers with two digits or more after the point may be rounded.

    Args:
        name: the name of a folder.
        scale: the scale.
        orders_differ: either of two numbers may be the vertical one, because authors differ, and the sizes of
            the pictures decide. Otherwise X1.60_X2.00 begins with the vertical scale (as in ArbSR), and
            x2x1.6 with the horizontal one (as on the command line here).
    """
    match = _SCALES.search(name)
    if match is None:
        return False
    first, separator, second = match.groups()
    second = second or first
    orders = [(first, second), (second, first)]  # (vertical, horizontal) each
    if not orders_differ:
        orders = orders[:1] if separator else orders[1:]
    return any(_equals(one, scale[0]) and _equals(other, scale[1]) for one, other in orders)


def states_scale(name: str) -> bool:
    """Return whether a name ends in a scale."""
    return _SCALES.search(name) is not None


def is_scale(name: str) -> bool:
    """Return whether a name is a scale and nothing else."""
    return _SCALES.fullmatch(name) is not None


def scale_label(scale: Scale) -> str:
    """Format a scale (vertical, horizontal) as on the command line, horizontal first."""
    return f"{scale[0]:g}" if scale[0] == scale[1] else f"{scale[1]:g}x{scale[0]:g}"


def _equals(text: str, scale: float) -> bool:
    digits = len(text.partition(".")[2])
    return abs(float(text) - scale) <= (0.5 * 10**-digits + 1e-9 if digits >= 2 else 1e-6)
