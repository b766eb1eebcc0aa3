"""Tests with the toolbox's own pipeline, everything of this package being registered.

    python -m moeisr_plugin.test -opt options/test/NAME.yml

Results and logs go below the current directory.
"""

import os

import moeisr_plugin  # noqa: F401  # isort: skip  (mends basicsr, registers; `python test.py` needs it)
from basicsr.test import test_pipeline


def main() -> None:
    """Tests as the command line says."""
    test_pipeline(os.getcwd())


# Spawned data workers import this file, and must not start another test.
if __name__ == "__main__":
    main()
