"""Make an LMDB for training from folders of pictures, in the layout of the toolbox.

Pictures are stored whole or, with --crop-size, as overlapping sub-images. For DIV2K use --crop-size 480
--step 240 for HR, and half of both for x2. Pictures are stored without loss as RGB PNGs of 8 or 16 bits. The
tool writes to OUT.lmdb.partial, verifies the content, and renames it to OUT.lmdb. To continue an interrupted
run, run the same command again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from moeisr_plugin.commands.counts import parse_positive
from moeisr_plugin.commands.programs import run_program
from moeisr_plugin.data.lmdb_recipe import BadPictureError, Recipe
from moeisr_plugin.data.lmdb_writing import Summary, write_lmdb
from moeisr_plugin.data.sub_images import SubImages

PROGRAM = "create_lmdb"


def main(argv: Sequence[str] | None = None) -> int:
    """Make the LMDB.

    Returns:
        The exit status: 0 on success; 2 for wrong input, after one line on stderr; 130 after an interruption.
        With --debug, exceptions are raised instead.
    """
    args = _parser().parse_args(argv)
    interrupted = "interrupted; run the command again to continue"
    return run_program(PROGRAM, lambda: _make_lmdb(args), debug=args.debug, interrupted=interrupted)


def _make_lmdb(args: argparse.Namespace) -> int:
    try:
        summary = write_lmdb(
            args.out,
            Recipe(args.folders, args.recursive, _sub_images(args), args.compress_level),
            skip_bad_pictures=args.skip_bad_pictures,
            threads=args.threads,
            progress=sys.stderr.isatty(),
        )
    except BadPictureError as error:
        raise ValueError(f"{error}; or add --skip-bad-pictures") from error
    _print_notes(summary)
    print(f"{args.out}: {len(summary.keys)} pictures, written and verified")
    return 0


def _sub_images(args: argparse.Namespace) -> SubImages | None:
    if args.crop_size is None:
        if args.step is not None or args.thresh_size is not None:
            raise ValueError("--step and --thresh-size need sub-images; add --crop-size")
        return None
    step = max(1, args.crop_size // 2) if args.step is None else args.step
    return SubImages(args.crop_size, step, args.thresh_size or 0)


def _print_notes(summary: Summary) -> None:
    """Print skipped pictures, dropped alpha and unusual keys on stderr."""
    notes = summary.skipped.copy()
    if summary.skipped:
        notes.append(f"{len(summary.skipped)} bad pictures were skipped")
    if summary.transparent:
        notes.append(f"alpha was dropped from {summary.transparent} pictures")
    odd = sum("." in key or not key.isascii() for key in summary.keys)
    if odd:
        notes.append(f"{odd} keys contain a dot or are not ASCII; datasets of the toolbox cannot read them")
    for note in notes:
        print(f"{PROGRAM}: {note}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="one or more folders of pictures"
    )
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="OUT.lmdb", help="output LMDB")
    parser.add_argument(
        "--recursive", action="store_true", help="include subfolders; their names become part of the keys"
    )
    parser.add_argument("--crop-size", type=int, metavar="N", help="cut sub-images of NxN pixels")
    parser.add_argument(
        "--step",
        type=int,
        metavar="N",
        help="distance between sub-images in pixels (default: half of the crop size)",
    )
    parser.add_argument(
        "--thresh-size",
        type=int,
        metavar="N",
        help="cut a last sub-image at the edge if more than N pixels remain (default: 0)",
    )
    parser.add_argument(
        "--compress-level",
        type=int,
        choices=range(10),
        default=1,
        metavar="N",
        help="compression level of the PNGs, 0 to 9 (default: %(default)s, as in the toolbox)",
    )
    parser.add_argument(
        "--skip-bad-pictures", action="store_true", help="report and skip bad pictures instead of stopping"
    )
    parser.add_argument(
        "--threads",
        type=parse_positive,
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="number of decoding threads (default: %(default)s)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
