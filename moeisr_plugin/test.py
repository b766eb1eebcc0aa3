"""Test with the toolbox's own pipeline and everything that this package registers.

    python -m moeisr_plugin.test -opt options/test/NAME.yml [--check]

Results and logs are written below the current directory.
"""

import os
import sys

from moeisr_plugin.utils.messages import errors_in_one_line
from moeisr_plugin.utils.missing import toolbox_needed


def main() -> None:
    """Test as the command line says."""
    with errors_in_one_line("test", debug="--debug" in sys.argv), toolbox_needed("testing"):
        from basicsr.test import test_pipeline

        test_pipeline(os.getcwd())


# Spawned data workers import this file, and must not start another test.
if __name__ == "__main__":
    main()
