"""Test with the toolbox's own pipeline and everything that this package registers.

    python -m moeisr_plugin.test -opt options/test/NAME.yml [--check]

Results and logs are written below the current directory.
"""

import os
import sys

import moeisr_plugin  # noqa: F401  # isort: skip  (installs the import hook)
from basicsr.test import test_pipeline

from moeisr_plugin.commands.programs import DEBUG_HINT, run_program


def main() -> None:
    """Test as the command line says."""
    status = run_program(
        "test",
        lambda: test_pipeline(os.getcwd()) or 0,
        debug="--debug" in sys.argv,
        hint=DEBUG_HINT,
        memory_remedy="close other programs, or test on smaller pictures",
    )
    if status:
        sys.exit(status)


# Spawned data workers import this file, and must not start another test.
if __name__ == "__main__":
    main()
