"""Train with the toolbox's own pipeline and everything that this package registers.

    python -m moeisr_plugin.train -opt options/train/NAME.yml [--check] [--auto_resume] [--launcher pytorch]

Experiments, logs and checkpoints are written below the current directory.
"""

import os
import sys

from moeisr_plugin.commands.programs import DEBUG_HINT, run_program
from moeisr_plugin.utils.allocator import keep_freed_memory
from moeisr_plugin.utils.missing import toolbox_needed
from moeisr_plugin.utils.torch_memory import require_memory_for_torch


def main(root: str | None = None) -> None:
    """Train as the command line says; write below `root`, by default the current directory."""
    status = run_program(
        "train",
        lambda: _train(root or os.getcwd()),
        debug="--debug" in sys.argv,
        hint=DEBUG_HINT,
        memory_remedy="lower batch_size_per_gpu, lr_size or sample_q, or close other programs",
    )
    if status:
        sys.exit(status)


def _train(root: str) -> int:
    require_memory_for_torch()
    with toolbox_needed("training"):
        from basicsr.train import train_pipeline

        keep_freed_memory()
        train_pipeline(root)
    return 0


# Spawned data workers import this file, and must not start another training.
if __name__ == "__main__":
    main()
