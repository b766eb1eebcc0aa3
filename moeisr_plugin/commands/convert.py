"""`moeisr convert`: import published LIIF and LTE weights, and change the file format of checkpoints."""

import argparse

from moeisr_plugin.commands.weights_file import FORMATS, check_target
from moeisr_plugin.utils.arguments import parse_path
from moeisr_plugin.utils.atomic import prepared_folder
from moeisr_plugin.utils.torch_memory import require_memory_for_torch


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "convert",
        help="import published LIIF and LTE weights; convert between .pth and .safetensors",
        description="Convert weights saved by the published code of LIIF or LTE, with the encoder EDSR, RDN "
        "or SwinIR, to a checkpoint of this package. A converted SwinIR pads pictures as the published test "
        "does. Or write a checkpoint of this package in another format. The suffix of DST sets the format.",
    )
    parser.add_argument("source", type=parse_path, metavar="SRC", help="published weights, or a checkpoint")
    parser.add_argument("target", type=parse_path, metavar="DST", help=f"checkpoint to write ({FORMATS})")
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    return parser


def run(args: argparse.Namespace) -> int:
    """Convert one file.

    Returns:
        0.

    Raises:
        ValueError: SRC cannot be converted, or DST exists.
    """
    require_memory_for_torch()
    from moeisr_plugin.checkpoints.liif_lte import checkpoint_from
    from moeisr_plugin.checkpoints.network import network_of, save_checkpoint  # keeps torch out of parsing

    check_target(args.target, overwrite=args.overwrite)
    checkpoint = checkpoint_from(args.source)
    network_of(checkpoint, args.source)  # raises if no command could load the result
    with prepared_folder(args.target.parent):
        save_checkpoint(args.target, checkpoint)
    network_g = checkpoint["network_g"]
    encoder = network_g["encoder"]
    padding = f", which pads as the {encoder['padding']} test does" if "padding" in encoder else ""
    print(f"{args.target}: {network_g['type']} on {encoder['type']}{padding}")
    return 0
