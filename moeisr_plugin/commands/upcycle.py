"""`moeisr upcycle`: make a mixture of experts from a network with one expert."""

import argparse

from moeisr_plugin.commands.counts import parse_count
from moeisr_plugin.commands.weights_file import FORMATS, check_target
from moeisr_plugin.utils.arguments import parse_path
from moeisr_plugin.utils.atomic import prepared_folder
from moeisr_plugin.utils.torch_memory import require_memory_for_torch

DESCRIPTION = """Make the checkpoint of a mixture of experts from a LIIF or LTE, of this package or saved by
the published code. The encoder and an expert of the same depth and width are copied. The other experts get
copies of the first layers. Their last layers are solved by ridge regression on sample patches. The mapper is
new. Train the experts and the mapper before use."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "upcycle", help="make a mixture of experts from a network with one expert", description=DESCRIPTION
    )
    parser.add_argument("weights", type=parse_path, metavar="WEIGHTS", help="weights of a LIIF or LTE")
    parser.add_argument(
        "-o",
        "--output",
        type=parse_path,
        required=True,
        metavar="DST",
        help=f"the checkpoint to write, {FORMATS}",
    )
    parser.add_argument(
        "--depths",
        nargs="+",
        type=parse_count,
        required=True,
        metavar="D",
        help="number of linear layers of each expert, increasing, such as 2 3 4 5",
    )
    parser.add_argument(
        "--width", type=parse_count, metavar="N", help="width of the experts (default: that of WEIGHTS)"
    )
    parser.add_argument(
        "--pictures", type=parse_path, required=True, metavar="FOLDER", help="pictures for the sample patches"
    )
    parser.add_argument(
        "--patches",
        type=parse_count,
        default=128,
        metavar="N",
        help="number of sample patches (default: 128)",
    )
    parser.add_argument(
        "--lr-size",
        type=parse_count,
        default=24,
        metavar="N",
        help="lr_size of the sample patches: rows and columns of their LR, at most those of the smallest "
        "picture (default: 24)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of patches and mapper (default: 0)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint of the mixture and print the initialisation of each expert.

    Returns:
        0.

    Raises:
        ValueError, OSError: an argument cannot be used, or DST exists.
    """
    require_memory_for_torch()
    from moeisr_plugin.checkpoints.network import save_checkpoint  # keeps torch out of parsing
    from moeisr_plugin.models.upcycling import upcycle

    check_target(args.output, overwrite=args.overwrite)
    with prepared_folder(args.output.parent):
        checkpoint, starts = upcycle(
            args.weights,
            args.pictures,
            depths=args.depths,
            width=args.width,
            seed=args.seed,
            patches=args.patches,
            lr_size=args.lr_size,
        )
        save_checkpoint(args.output, checkpoint)
    print(f"{args.output}: {checkpoint['network_g']['type']}")
    for start in starts:
        plain = f", {start.l1_of_copy:.4f} as a plain copy" if start.l1_of_copy else ""
        print(f"  depth {start.depth}: {start.how}; L1 from the source {start.l1:.4f}{plain}")
    return 0
