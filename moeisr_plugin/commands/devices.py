"""Where a command computes, and in which numbers: `--device`, `--precision`."""

import argparse


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=("float32", "tf32", "bfloat16", "float16"),
        default="float32",
        help="numbers to compute in; 16 bits, or tf32 on an NVIDIA GPU, are faster where the hardware has "
        "them, and cost a little quality (default: %(default)s)",
    )


def chosen_device(args: argparse.Namespace) -> str | None:
    """The device asked for; None leaves the choice open.

    Raises:
        ValueError: a GPU is asked for and there is none, or numbers that only a GPU computes in are without
            one.
    """
    import torch  # parsing needs none

    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no GPU here; leave --device out or choose cpu")
    if getattr(args, "precision", None) == "tf32":
        if args.device == "cpu":
            raise ValueError(
                "--precision tf32: a CPU does not compute so; leave out one of it and --device cpu"
            )
        if not torch.cuda.is_available():
            raise ValueError("--precision tf32: PyTorch finds no GPU here; leave --precision out")
    return None if args.device == "auto" else args.device
