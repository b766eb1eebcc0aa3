"""Test with the toolbox's own pipeline and everything that this package registers.

    python -m moeisr_plugin.test -opt options/test/NAME.yml [--check]

Results and logs are written below the current directory.
"""

import os
import sys

from moeisr_plugin.commands.programs import DEBUG_HINT, run_program
from moeisr_plugin.utils.missing import toolbox_needed
from moeisr_plugin.utils.torch_memory import require_memory_for_torch


def main() -> None:
    """Test as the command line says."""
    status = run_program(
        "test",
        _test,
        debug="--debug" in sys.argv,
        hint=DEBUG_HINT,
        memory_remedy="close other programs, or test on smaller pictures",
    )
    if status:
        sys.exit(status)


def _test() -> int:
    require_memory_for_torch()
    with toolbox_needed("testing"):
        from basicsr.test import test_pipeline

        test_pipeline(os.getcwd())
    return 0


# Spawned data workers import this file, and must not start another test.
if __name__ == "__main__":
    main()
