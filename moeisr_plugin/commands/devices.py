"""The options `--device` and `--precision`."""

import argparse


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute (default: the GPU if there is one)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=("float32", "tf32", "bfloat16", "float16"),
        default="float32",
        help="precision of the computation; 16 bits, and tf32 on an NVIDIA GPU, are faster on hardware that "
        "supports them, at a small loss of quality (default: %(default)s)",
    )


def chosen_device(args: argparse.Namespace) -> str | None:
    """Return the device given by `--device`, or None for `auto`.

    Raises:
        ValueError: `--device` or `--precision` needs a GPU and there is none.
    """
    import torch  # not needed for parsing

    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no GPU; omit --device or give --device cpu")
    if getattr(args, "precision", None) == "tf32":
        if args.device == "cpu":
            raise ValueError("--precision tf32: a CPU does not support it; omit --precision or --device cpu")
        if not torch.cuda.is_available():
            raise ValueError("--precision tf32: PyTorch finds no GPU; omit --precision")
    return None if args.device == "auto" else args.device
