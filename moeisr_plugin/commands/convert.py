"""`moeisr convert`: weights of the published LIIF and LTE code made ours, and ours between file formats."""

import argparse
from pathlib import Path

SUFFIXES = (".pth", ".safetensors")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "convert",
        help="make published weights of LIIF and LTE ours; turn .pth into .safetensors and back",
        description="Make a file of weights saved by the published code of LIIF or LTE, with EDSR, RDN or "
        "SwinIR as its encoder, a checkpoint that all commands here take; or write a checkpoint of this "
        "package in another format. The suffix of DST chooses it.",
    )
    parser.add_argument("source", type=Path, metavar="SRC", help="the published file, or a checkpoint")
    parser.add_argument(
        "target", type=Path, metavar="DST", help=f"the checkpoint to write, {' or '.join(SUFFIXES)}"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    return parser


def run(args: argparse.Namespace) -> int:
    """Converts one file.

    Returns:
        0.

    Raises:
        ValueError: what is given cannot be converted, or DST exists.
    """
    from moeisr_plugin.checkpoints.liif_lte import checkpoint_from
    from moeisr_plugin.checkpoints.network import network_of, save_checkpoint  # parsing needs no torch

    if args.target.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{args.target}: no format of weights; end the name in {' or '.join(SUFFIXES)}")
    if args.target.exists() and not args.overwrite:
        raise ValueError(f"{args.target}: exists already; choose another name or add --overwrite")
    checkpoint = checkpoint_from(args.source)
    network_of(checkpoint, args.source)  # refuses what no command could use
    args.target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(args.target, checkpoint)
    network_g = checkpoint["network_g"]
    print(f"{args.target}: {network_g['type']} on {network_g['encoder']['type']}")
    return 0
