"""Make an LMDB for training from folders of pictures, in the toolbox's layout.

Pictures are stored whole or, with --crop-size, as overlapping sub-images: --crop-size 480 --step 240 for
DIV2K's HR, half of both for its x2. All become RGB PNGs of 8 or 16 bits, without loss. OUT.lmdb appears once
everything in it has been read back; until then it is OUT.lmdb.partial, and an interrupted run, started again,
goes on there.
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
    """Makes the LMDB.

    Returns:
        0; 2 for input that cannot be used, after one line on stderr; 130 if interrupted or terminated. With
        --debug the exception itself comes through.
    """
    args = _parser().parse_args(argv)
    again = "interrupted; run it again to go on"
    return run_program(PROGRAM, lambda: _make_lmdb(args), debug=args.debug, interrupted=again)


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
    _tell(summary)
    print(f"{args.out}: {len(summary.keys)} pictures, read back and found right")
    return 0


def _sub_images(args: argparse.Namespace) -> SubImages | None:
    if args.crop_size is None:
        if args.step is not None or args.thresh_size is not None:
            raise ValueError("--step and --thresh-size cut sub-images; add --crop-size")
        return None
    step = max(1, args.crop_size // 2) if args.step is None else args.step
    return SubImages(args.crop_size, step, args.thresh_size or 0)


def _tell(summary: Summary) -> None:
    """Says on stderr what one may not expect of the LMDB."""
    notes = summary.skipped.copy()
    if summary.skipped:
        notes.append(f"{len(summary.skipped)} bad pictures are left out")
    if summary.transparent:
        notes.append(f"alpha is dropped from {summary.transparent} pictures")
    odd = sum("." in key or not key.isascii() for key in summary.keys)
    if odd:
        notes.append(f"{odd} keys have a dot or are not ASCII, which the toolbox's own datasets cannot read")
    for note in notes:
        print(f"{PROGRAM}: {note}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="pictures, one folder or more"
    )
    parser.add_argument(
        "-o", dest="out", type=Path, required=True, metavar="OUT.lmdb", help="the LMDB to make"
    )
    parser.add_argument(
        "--recursive", action="store_true", help="subfolders too, their names part of the keys"
    )
    parser.add_argument("--crop-size", type=int, metavar="N", help="cut sub-images of NxN pixels")
    parser.add_argument(
        "--step",
        type=int,
        metavar="N",
        help="pixels from one sub-image to the next (default: half of their size)",
    )
    parser.add_argument(
        "--thresh-size",
        type=int,
        metavar="N",
        help="cut a last sub-image, flush with the edge, if more than N pixels are left over (default: 0)",
    )
    parser.add_argument(
        "--compress-level",
        type=int,
        choices=range(10),
        default=1,
        metavar="N",
        help="of the PNGs, 0 to 9 (default: %(default)s, the toolbox's)",
    )
    parser.add_argument(
        "--skip-bad-pictures", action="store_true", help="name them and leave them out, instead of stopping"
    )
    parser.add_argument(
        "--threads",
        type=parse_positive,
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="pictures decoded at a time (default: %(default)s)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
