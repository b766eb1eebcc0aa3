"""Writing files so that a path never holds half of one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def appearing_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name once it is complete and on the disk; until then it has a hidden one."""
    part = path.with_name(f".{secrets.token_hex(6)}.part")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
