"""Format numbers."""


def giga(number: float, spec: str) -> str:
    """Format a number in billions by a format specification such as ``.3g``."""
    return f"{number / 1e9:{spec}}"
