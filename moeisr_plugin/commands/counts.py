"""Whole numbers of the command line."""

import argparse


def parse_count(text: str, *, least: int = 1) -> int:
    """Reads a whole number of at least `least`."""
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least {least}")
    return int(text)


def parse_positive(text: str) -> int:
    """Reads a whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is no positive whole number")
    return int(text)
