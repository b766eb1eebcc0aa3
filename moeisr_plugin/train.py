"""Trains with the toolbox's own pipeline, everything of this package being registered.

    python -m moeisr_plugin.train -opt options/train/NAME.yml [--auto_resume] [--launcher pytorch]

Experiments, logs and checkpoints go below the current directory.
"""

import os

import moeisr_plugin  # noqa: F401  # isort: skip  (mends basicsr, registers; `python train.py` needs it)
from basicsr.train import train_pipeline


def main() -> None:
    """Trains as the command line says."""
    train_pipeline(os.getcwd())


# Spawned data workers import this file, and must not start another training.
if __name__ == "__main__":
    main()
