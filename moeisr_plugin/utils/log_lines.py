"""Lines of a training log that fit on a screen."""

from collections.abc import Iterable

WIDTH = 160
"""Characters of a line of a log, at most."""

STAMP = len("2026-11-24 08:00:00,000 INFO: ")
"""Characters that the log puts before the first line of a message."""

INDENT = "    "


def wrapped(head: str, parts: Iterable[str]) -> str:
    """Return a message of a head and parts, which go on to further lines where one is full.

    Args:
        head: the beginning.
        parts: texts that are not broken.
    """
    lines, room = [head], WIDTH - STAMP
    for part in parts:
        if len(lines[-1]) + 1 + len(part) > room:
            lines.append(INDENT + part)
            room = WIDTH
        else:
            lines[-1] += f" {part}"
    return "\n".join(lines)
