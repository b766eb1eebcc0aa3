"""`moeisr convert`: weights of the published LIIF and LTE code, made ours."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "convert",
        help="make weights of the published LIIF and LTE code ours",
        description="Make a file of weights saved by the published code of LIIF or LTE, with EDSR, RDN or "
        "SwinIR as its encoder, a checkpoint that all commands here take.",
    )
    parser.add_argument("source", type=Path, metavar="SRC", help="the published file")
    parser.add_argument("target", type=Path, metavar="DST", help="the checkpoint to write")
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    return parser


def run(args: argparse.Namespace) -> int:
    """Converts one file.

    Returns:
        0.

    Raises:
        ValueError: what is given cannot be converted, or DST exists.
    """
    from moeisr_plugin.checkpoints import save_checkpoint  # parsing needs no torch
    from moeisr_plugin.published import convert_published

    if args.target.exists() and not args.overwrite:
        raise ValueError(f"{args.target}: exists already; choose another name or add --overwrite")
    checkpoint = convert_published(args.source)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(args.target, checkpoint)
    network_g = checkpoint["network_g"]
    print(f"{args.target}: {network_g['type']} on {network_g['encoder']['type']}")
    return 0
