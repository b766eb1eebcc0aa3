"""Run code in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from moeisr_plugin.utils import leftovers

ROOT = Path(__file__).parents[2]


def run_python(
    code: str, *arguments: str, first_path: str = "", **environment: str
) -> subprocess.CompletedProcess:
    """Run code in a new process that can import this package.

    Args:
        code: of Python.
        arguments: of the process.
        first_path: a folder to import from before all others.
        environment: further environment variables.
    """
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=settings_of(first_path, environment), capture_output=True, text=True, timeout=120
    )


def settings_of(first_path: str, environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process that imports this package; see `run_python` for the arguments."""
    path = os.pathsep.join(filter(None, [first_path, str(ROOT)]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **environment}


def path_of_a_killed_writer(folder: Path) -> Path:
    """Return the path of a temporary file as `kill -9` leaves it."""
    path = leftovers.temporary_path(folder)
    return path.with_name(path.name.replace(f"+{os.getpid()}-", "+999999999-"))
