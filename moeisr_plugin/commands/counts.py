"""Parse whole numbers on the command line."""

import argparse


def parse_count(text: str, *, least: int = 1) -> int:
    """Parse a whole number of at least `least`."""
    return _parse(text, least, f"whole number of at least {least}")


def parse_positive(text: str) -> int:
    """Parse a whole number above 0."""
    return _parse(text, 1, "positive whole number")


def _parse(text: str, least: int, expected: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"'{text}' is not a {expected}")
    return int(text)
