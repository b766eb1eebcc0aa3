"""The options `--device`, `--precision` and `--threads`."""

import argparse
import re

from moeisr_plugin.commands.counts import parse_positive

WITHOUT_TF32 = {"cpu": "a CPU", "mps": "a GPU of Apple"}


def add_device(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--device",
        type=parse_device,
        default="auto",
        metavar="DEVICE",
        help="where to compute: auto, cpu, cuda (an NVIDIA or AMD GPU), cuda:1 (the second GPU) or mps (the "
        "GPU of a Mac) (default: auto, which takes a cuda GPU if there is one)",
    )


def add_threads(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--threads",
        type=parse_positive,
        metavar="N",
        help="number of CPU threads (default: one per CPU core)",
    )


def parse_device(text: str) -> str:
    """Parse ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``. The device need not exist."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"'{text}' is not a device; give auto, cpu, cuda, cuda:1 or mps")
    return text


def add_precision(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--precision",
        choices=("float32", "tf32", "bfloat16", "float16", "int8"),
        default="float32",
        help="precision of the computation; 16 bits, int8 on a CPU and tf32 on an NVIDIA GPU are faster on "
        "hardware that supports them, at a small loss of quality (default: %(default)s)",
    )


def chosen_device(args: argparse.Namespace, local_rank: int | None = None) -> str | None:
    """Return the device given by `--device`, or None for `auto`.

    Args:
        args: the options.
        local_rank: number of this process among several of its machine. With `auto` they share its GPUs.

    Raises:
        ValueError: this machine lacks the device, or `--precision` needs a GPU and there is none.
    """
    import torch  # not needed for parsing

    if args.device.startswith("cuda"):
        _check_gpu(args.device, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    if args.device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("--device mps: PyTorch finds no GPU of Apple; omit --device or give --device cpu")
    if getattr(args, "precision", None) == "tf32":
        if args.device in WITHOUT_TF32:
            raise ValueError(
                f"--precision tf32: {WITHOUT_TF32[args.device]} does not support it; omit --precision or "
                f"--device {args.device}"
            )
        if not torch.cuda.is_available():
            raise ValueError("--precision tf32: PyTorch finds no GPU; omit --precision")
    if args.device == "auto" and local_rank is not None and torch.cuda.is_available():
        return f"cuda:{local_rank % torch.cuda.device_count()}"
    return None if args.device == "auto" else args.device


def _check_gpu(device: str, count: int) -> None:
    """Raise `ValueError` if PyTorch finds fewer GPUs than the device needs."""
    if count == 0:
        raise ValueError(f"--device {device}: PyTorch finds no GPU; omit --device or give --device cpu")
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        found = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ValueError(f"--device {device}: PyTorch finds {found}; give one of these")


def use_threads(count: int | None) -> None:
    """Limit the CPU threads of the computation. None keeps the default."""
    import torch  # not needed for parsing

    if count is not None:
        torch.set_num_threads(count)
