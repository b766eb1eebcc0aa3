"""`moeisr upscale`: enlarge pictures to any scale or size."""

import argparse
import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.commands.budgets import parse_budget
from moeisr_plugin.commands.counts import parse_positive
from moeisr_plugin.commands.devices import add_device, add_precision, chosen_device
from moeisr_plugin.commands.jobs import Job, passed_over, plan_jobs
from moeisr_plugin.commands.sizes import output_size, parse_scale, parse_target
from moeisr_plugin.commands.weights import TRAINED
from moeisr_plugin.pictures import (
    MAX_PIXELS,
    WRITABLE,
    Picture,
    PictureError,
    check_format_fits,
    read_picture,
    upright,
    write_bands,
    write_picture,
    writes_in_bands,
)
from moeisr_plugin.utils.messages import one_line

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import EncodedPicture, Upscaler

DESCRIPTION = """Enlarge pictures to any scale or size, keeping bit depth, transparency, colour profile and
EXIF. Widths and heights are those of the picture as displayed. Outputs are PNG, which loses nothing,
whatever the input, unless --format or the suffix of OUT says otherwise. PNG and TIFF are written while they
are rendered and may be larger than memory; other formats must fit into it."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "upscale", help="enlarge pictures to any scale or size", description=DESCRIPTION
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT", help="a picture, or a folder of pictures"
    )
    parser.add_argument(
        "-o",
        dest="out",
        metavar="OUT",
        help="output file (for one picture) or folder; by default photo.jpg becomes photo_x3.7.png beside "
        "it, and the folder photos becomes photos_x3.7",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--scale",
        type=parse_scale,
        metavar="S",
        help="3.7, or 2x3.5 for twice the width and 3.5 times the height; at least 1",
    )
    target.add_argument(
        "--size",
        type=parse_target,
        metavar="WIDTHxHEIGHT",
        help="exact output size in pixels; 1920x or x1080 keep the shape",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help=f"{TRAINED} (default: {DEFAULT})")
    add_device(parser)
    add_precision(parser)
    parser.add_argument(
        "--budget",
        type=parse_budget,
        metavar="B",
        help="what decoding may cost: a share from 0, all by the shallowest expert, to 1, the deepest; "
        "or 20000mac, MACs per output pixel (default: each pixel by the expert that suits it best)",
    )
    parser.add_argument(
        "--expert-map",
        action="store_true",
        help="also write <output>_experts.png: the expert chosen for each input pixel, in colours",
    )
    parser.add_argument("--format", choices=WRITABLE, help="format of the outputs (default: png)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out pictures whose outputs exist, as of a run broken off",
    )
    parser.add_argument(
        "--max-pixels",
        type=parse_positive,
        default=MAX_PIXELS,
        metavar="N",
        help="largest input, and largest output in a format other than PNG and TIFF, in pixels "
        "(default: %(default)s)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Enlarges every input; one that fails does not stop the others.

    Returns:
        0, or 1 if some of several pictures failed.

    Raises:
        ValueError, OSError: what was asked for cannot be done, or the only picture failed.
    """
    target = args.scale or args.size
    jobs = plan_jobs(
        args.inputs, args.out, label=target.label, suffix=args.format, expert_map=args.expert_map
    )
    for told in filter(None, map(passed_over, args.inputs)):
        tqdm.write(f"moeisr upscale: {told}", file=sys.stderr)
    planned = len(jobs)
    if args.skip_existing:
        jobs = [job for job in jobs if not all(target.exists() for target in job.targets)]
        _tell(f"{planned - len(jobs)} of {planned} pictures are there already")
    if not jobs:
        return 0
    upscaler = _load_upscaler(args)
    if planned == 1:
        _tell(_enlarge(jobs[0], upscaler, args))
        return 0
    failures = 0
    for job in tqdm(jobs, unit="picture", disable=None):
        try:
            told = _enlarge(job, upscaler, args)
        except (ValueError, OSError, MemoryError, RuntimeError) as error:  # the last: a GPU out of memory
            if args.debug:
                raise
            failures += 1
            tqdm.write(f"moeisr upscale: {one_line(error)}", file=sys.stderr)
        else:
            _tell(told)
    if failures:
        print(f"moeisr upscale: {failures} of {len(jobs)} pictures failed", file=sys.stderr)
    return 1 if failures else 0


def _tell(written: str) -> None:
    """Says what was written, if anybody listens: the picture is there either way."""
    with suppress(OSError, UnicodeEncodeError):
        tqdm.write(written)


def _load_upscaler(args: argparse.Namespace) -> "Upscaler":
    from moeisr_plugin.upscaler import Upscaler  # parsing and planning need no torch

    return Upscaler(
        args.weights, device=chosen_device(args), precision=args.precision, progress=sys.stderr.isatty()
    )


def _enlarge(job: Job, upscaler: "Upscaler", args: argparse.Namespace) -> str:
    """Does one job and tells in a line what was written."""
    existing = [target for target in job.targets if target.exists()]
    if existing and not (args.overwrite or args.skip_existing):
        raise ValueError(f"{existing[0]}: exists already; choose another -o or add --overwrite")
    picture = read_picture(job.source, max_pixels=args.max_pixels)
    if picture.note is not None:
        tqdm.write(f"moeisr upscale: {job.source}: {picture.note}", file=sys.stderr)
    size = _stored_output_size(job, picture, args)
    check_format_fits(job.output, picture, size)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(job.output.parent, os.W_OK):  # told before the work is done
        raise ValueError(f"{job.output.parent}: may not be written into; choose another -o")
    _warn_of_little_room(job.output, picture, size)
    encoded = upscaler.encode(picture.pixels)
    if args.budget is not None:
        height, width = picture.pixels.shape[:2]
        share = args.budget.of(upscaler.net, (height, width), size, encoded.layers)
        encoded = encoded.within_budget(share)
    with _named(job.source):
        write_bands(job.output, encoded.render_bands(size=size), like=picture, size=size)
    if job.expert_map is not None:
        _write_expert_map(job.expert_map, picture, encoded)
    width, height = picture.oriented_size(size)
    return f"{job.output} {width}x{height}"


def _stored_output_size(job: Job, picture: Picture, args: argparse.Namespace) -> tuple[int, int]:
    """The (height, width) of the output before its EXIF orientation turns it."""
    max_pixels = sys.maxsize if writes_in_bands(job.output) else args.max_pixels
    height, width = picture.pixels.shape[:2]
    displayed = picture.oriented_size((height, width))
    with _named(job.source):
        output = output_size(args.scale or args.size, *displayed, max_pixels=max_pixels)
    return picture.oriented_size(output)


@contextmanager
def _named(source: Path) -> Iterator[None]:
    """Puts an input's name before what is said of it, unless that names a file already.

    Raises:
        ValueError: in place of any other.
    """
    try:
        yield
    except PictureError:
        raise
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _warn_of_little_room(path: Path, picture: Picture, size: tuple[int, int]) -> None:
    """Tells where the disk cannot hold the picture uncompressed, which may still do for a compressed one."""
    needed, free = math.prod(size) * picture.pixels[0, 0].nbytes, shutil.disk_usage(path.parent).free
    if needed > free:
        room = f"may take up to {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        tqdm.write(f"moeisr upscale: {path}: {room}", file=sys.stderr)


def _write_expert_map(path: Path, picture: Picture, encoded: "EncodedPicture") -> None:
    colours = encoded.expert_map()
    if colours is None:
        tqdm.write(f"moeisr upscale: {path}: not written, these weights have no mapper", file=sys.stderr)
    else:
        write_picture(path, Picture(upright(colours, picture.orientation)))
