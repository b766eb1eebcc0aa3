"""The arguments of tools/benchmark.py."""

import argparse
from functools import partial
from pathlib import Path

import torch

from benchmarking.cases import Case, parse_case
from benchmarking.contenders import ENCODERS, NETWORKS
from benchmarking.front_command import add_arguments
from benchmarking.number_formats import FLOATS, PRECISIONS
from benchmarking.training import Batch, parse_batch
from moeisr_plugin.commands.counts import parse_count
from moeisr_plugin.commands.devices import add_device


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command, with a description for its help."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_device(parser)
    parser.add_argument("--threads", nargs="+", type=parse_count, default=[1], metavar="N", help="default: 1")
    parser.add_argument("--encoder", choices=ENCODERS, default="EDSR", help="default: EDSR-baseline")
    parser.add_argument(
        "--cases",
        nargs="+",
        type=parse_case,
        default=[Case(4, (96, 96)), Case(8, (64, 64))],
        metavar="CASE",
        help="scale, width and height of LR (default: 4x96x96 8x64x64)",
    )
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, help="default: all; with --weights only LIIF"
    )
    parser.add_argument(
        "--plain",
        nargs="+",
        choices=NETWORKS,
        help="networks that the plain reference also runs (default: all)",
    )
    parser.add_argument(
        "--without-kernels",
        action="store_true",
        help="on a GPU: also run the package without Triton kernels",
    )
    parser.add_argument(
        "--channels-last",
        dest="order",
        action="store_const",
        const=torch.channels_last,
        default=torch.contiguous_format,
        help="use the channels-last memory format for convolution weights, also of plain networks",
    )
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, help="default: float32")
    parser.add_argument("--repeats", type=parse_count, default=5, metavar="N", help="timed runs (default: 5)")
    parser.add_argument(
        "--shares",
        action="append",
        type=parse_shares,
        default=[],
        metavar="NETWORK=S,S,...",
        help="shares of the experts, shallowest first; repeatable (default: the paper's mean depth)",
    )
    parser.add_argument(
        "--weights", nargs="+", type=Path, default=[], metavar="FILE", help="also measure trained networks"
    )
    parser.add_argument(
        "--training",
        nargs="?",
        type=parse_batch,
        const=Batch(),
        metavar="SAMPLESxLR_SIZExQUERIES",
        help=f"also measure a training step (default: {Batch().label})",
    )
    parser.add_argument(
        "--training-precisions",
        nargs="+",
        choices=FLOATS,
        default=[],
        help="with --training: also measure whole iterations in these precisions",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="with --training: also measure whole iterations, compiled and not compiled",
    )
    parser.add_argument(
        "--budgets",
        type=parse_budgets,
        metavar="N",
        help="also measure N budgets of the --weights on --pictures",
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="data set as for moeisr evaluate --data"
    )
    parser.add_argument("--beside-liif", type=Path, metavar="DIR", help="checkout of yinboc/liif")
    parser.add_argument("--beside-lmf", type=Path, metavar="DIR", help="checkout of HeZongyao/LMF")
    parser.add_argument(
        "--beside-edsr",
        action="store_true",
        help="also measure the toolbox's EDSR-baseline of the scale, which enlarges by PixelShuffle",
    )
    parser.add_argument(
        "--processes",
        type=partial(parse_count, least=2),
        metavar="N",
        help="instead, time moeisr upscale of --pictures by one process and by N, with --weights at --scale",
    )
    add_arguments(parser)
    parser.add_argument("-o", dest="out", type=Path, metavar="OUT", help="output folder")
    return parser


def parse_shares(text: str) -> tuple[str, list[float]]:
    """Parse ``MoEISRLIIF-s=0.4,0.3,0.2,0.1``."""
    name, _, numbers = text.partition("=")
    try:
        shares = [float(number) for number in numbers.split(",")]
    except ValueError:
        shares = []
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(f"'{text}': give NETWORK=0.4,0.3,0.2,0.1, with a sum of 1")
    return name, shares


def parse_budgets(text: str) -> int:
    """Parse a number of budgets: 0, or at least 2."""
    return 0 if text == "0" else parse_count(text, least=2)
