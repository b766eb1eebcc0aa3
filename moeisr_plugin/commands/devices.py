"""Where a command computes: `--device`."""

import argparse


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )


def chosen_device(args: argparse.Namespace) -> str | None:
    """The device asked for; None leaves the choice open.

    Raises:
        ValueError: a GPU is asked for and there is none.
    """
    import torch  # parsing needs none

    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no GPU here; leave --device out or choose cpu")
    return None if args.device == "auto" else args.device
