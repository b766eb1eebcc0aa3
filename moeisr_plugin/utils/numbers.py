"""Format numbers."""

import math


def giga(number: float, spec: str) -> str:
    """Format a number in billions by a format specification such as ``.3g``."""
    return f"{number / 1e9:{spec}}"


def plain(number: float, digits: int = 4) -> str:
    """Format a number with some significant digits and without an exponent, such as 0.00005 or 1,235."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(number))), 0)
    text = f"{number:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
