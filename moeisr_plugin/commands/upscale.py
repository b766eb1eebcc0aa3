"""`moeisr upscale`: enlarge pictures to any scale or size."""

import argparse
import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.commands.budgets import parse_budget
from moeisr_plugin.commands.counts import parse_positive
from moeisr_plugin.commands.devices import add_device, add_precision, chosen_device
from moeisr_plugin.commands.jobs import Job, ignored_files, plan_jobs
from moeisr_plugin.commands.memory import check_memory_of_input, check_memory_of_output
from moeisr_plugin.commands.programs import discard_stdout, failure_of
from moeisr_plugin.commands.sizes import displayed_output_size, parse_scale, parse_target
from moeisr_plugin.commands.streams import parse_input, read_input, streams_as_files
from moeisr_plugin.commands.targets import prepare_target
from moeisr_plugin.commands.weights import TRAINED
from moeisr_plugin.pictures import (
    MAX_PIXELS,
    WRITABLE,
    Picture,
    PictureError,
    check_format_fits,
    upright,
    write_bands,
    write_picture,
    writes_in_bands,
)
from moeisr_plugin.utils.leftovers import sweep
from moeisr_plugin.utils.messages import printable
from moeisr_plugin.utils.shortage import in_bytes

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import EncodedPicture, Upscaler

DESCRIPTION = """Enlarge pictures to any scale or size. Bit depth, transparency, colour profile and EXIF are
kept. Widths and heights refer to the picture as displayed. Outputs are PNG, unless --format or the suffix of
OUT gives another format. PNG and TIFF are written band by band and may be larger than memory. Other formats
must fit into memory."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "upscale", help="enlarge pictures to any scale or size", description=DESCRIPTION
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=parse_input,
        metavar="INPUT",
        help="picture, or folder of pictures; - for standard input",
    )
    parser.add_argument(
        "-o",
        dest="out",
        metavar="OUT",
        help="output file (for one picture), folder, or - for standard output (default: photo_x3.7.png "
        "beside photo.jpg, and photos_x3.7 beside the folder photos)",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--scale",
        type=parse_scale,
        metavar="S",
        help="scale of at least 1: 3.7, or 2x3.5 for width and height",
    )
    target.add_argument(
        "--size",
        type=parse_target,
        metavar="WIDTHxHEIGHT",
        help="output size in pixels; 1920x or x1080 keep the aspect ratio",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help=f"{TRAINED} (default: {DEFAULT})")
    add_device(parser)
    add_precision(parser)
    parser.add_argument(
        "--budget",
        type=parse_budget,
        metavar="B",
        help="cost of decoding: a share from 0 (shallowest expert everywhere) to 1 (deepest), or MACs per "
        "output pixel such as 20000mac (default: the mapper's routing)",
    )
    parser.add_argument(
        "--expert-map",
        action="store_true",
        help="also write <output>_experts.png, which shows the expert of each input pixel in colour",
    )
    parser.add_argument("--format", choices=WRITABLE, help="output format (default: png)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="skip pictures whose outputs exist, to continue an interrupted run",
    )
    parser.add_argument(
        "--max-pixels",
        type=parse_positive,
        default=MAX_PIXELS,
        metavar="N",
        help="limit in pixels of inputs, and of outputs other than PNG and TIFF (default: %(default)s)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Enlarge every input. If one of several fails, continue with the others.

    Returns:
        0, or 1 if some of several pictures failed.

    Raises:
        ValueError, OSError: the options cannot be used, or the only picture failed.
    """
    with streams_as_files(args) as args:
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    target = args.scale or args.size
    jobs = plan_jobs(
        args.inputs, args.out, label=target.label, suffix=args.format, expert_map=args.expert_map
    )
    for note in filter(None, map(ignored_files, args.inputs)):
        tqdm.write(f"moeisr upscale: {note}", file=sys.stderr)
    for folder in {target.parent for job in jobs for target in job.targets}:
        sweep(folder)
    planned = len(jobs)
    if args.skip_existing:
        jobs = [job for job in jobs if not all(os.path.exists(target) for target in job.targets)]
        _report(f"skipping {planned - len(jobs)} of {planned} pictures whose outputs exist")
    if not jobs:
        return 0
    upscaler = _load_upscaler(args)
    if planned == 1:
        _report(_enlarge(jobs[0], upscaler, args))
        return 0
    failures = 0
    for job in tqdm(jobs, unit="picture", disable=None):
        try:
            summary = _enlarge(job, upscaler, args)
        except Exception as error:
            message = failure_of(error, job.source)
            if args.debug or message is None:
                raise
            failures += 1
            tqdm.write(f"moeisr upscale: {message}", file=sys.stderr)
        else:
            _report(summary)
    if failures:
        print(f"moeisr upscale: {failures} of {len(jobs)} pictures failed", file=sys.stderr)
    return 1 if failures else 0


def _report(message: str) -> None:
    """Print a message. Ignore errors of the terminal, because the picture is already written."""
    try:
        tqdm.write(printable(message))
        sys.stdout.flush()
    except OSError:
        discard_stdout()


def _load_upscaler(args: argparse.Namespace) -> "Upscaler":
    from moeisr_plugin.upscaler import Upscaler  # keeps torch out of parsing and planning

    return Upscaler(
        args.weights, device=chosen_device(args), precision=args.precision, progress=sys.stderr.isatty()
    )


def _enlarge(job: Job, upscaler: "Upscaler", args: argparse.Namespace) -> str:
    """Run one job and return a one-line summary."""
    for target in job.targets:
        prepare_target(target)
    existing = [target for target in job.targets if target.exists()]
    if existing and not (args.overwrite or args.skip_existing):
        raise ValueError(f"{existing[0]}: already exists; choose another -o or add --overwrite")
    check_header = partial(check_memory_of_input, upscaler=upscaler)
    picture = read_input(job.source, max_pixels=args.max_pixels, check=check_header)
    if picture.note is not None:
        tqdm.write(f"moeisr upscale: {job.source}: {picture.note}", file=sys.stderr)
    size = _stored_output_size(job, picture, args)
    check_format_fits(job.output, picture, size)
    with _named(job.source):
        check_memory_of_output(job.output, picture, size, upscaler)
    _warn_of_low_disk_space(job.output, picture, size)
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
    """Return the (height, width) of the output as stored, before the EXIF orientation is applied."""
    max_pixels = sys.maxsize if writes_in_bands(job.output) else args.max_pixels
    height, width = picture.pixels.shape[:2]
    displayed = picture.oriented_size((height, width))
    with _named(job.source):
        output = displayed_output_size(args.scale or args.size, *displayed, max_pixels=max_pixels)
    return picture.oriented_size(output)


@contextmanager
def _named(source: Path) -> Iterator[None]:
    """Prefix the message of a ValueError with the name of the input.

    A PictureError passes unchanged, because its message names the file.
    """
    try:
        yield
    except PictureError:
        raise
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _warn_of_low_disk_space(path: Path, picture: Picture, size: tuple[int, int]) -> None:
    """Warn if the uncompressed picture exceeds the free disk space. The compressed one may still fit."""
    needed, free = math.prod(size) * picture.pixels[0, 0].nbytes, shutil.disk_usage(path.parent).free
    if needed > free:
        space = f"may need up to {in_bytes(needed)}, but {in_bytes(free)} are free"
        tqdm.write(f"moeisr upscale: {path}: {space}", file=sys.stderr)


def _write_expert_map(path: Path, picture: Picture, encoded: "EncodedPicture") -> None:
    colours = encoded.expert_map()
    if colours is None:
        tqdm.write(f"moeisr upscale: {path}: not written, because the network has no mapper", file=sys.stderr)
    else:
        write_picture(path, Picture(upright(colours, picture.orientation)))
