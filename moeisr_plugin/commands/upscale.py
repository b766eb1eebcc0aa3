"""`moeisr upscale`: enlarge pictures to any scale or size."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.commands.budgets import parse_budget
from moeisr_plugin.commands.counts import parse_positive
from moeisr_plugin.commands.devices import add_device, add_precision, chosen_device
from moeisr_plugin.commands.enlarging import Settings, enlarge, prepare
from moeisr_plugin.commands.jobs import Job, plan_jobs
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import (
    AlreadyLargeError,
    parse_long_side,
    parse_scale,
    parse_short_side,
    parse_target,
)
from moeisr_plugin.commands.weights import TRAINED
from moeisr_plugin.pictures import MAX_PIXELS, WRITABLE
from moeisr_plugin.utils.messages import one_line

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import Upscaler

DESCRIPTION = """Enlarge pictures to any scale or size. Bit depth, transparency, colour profile and EXIF are
kept. Widths and heights refer to the picture as displayed. Outputs are PNG, unless --format or the suffix of
OUT gives another format. PNG and TIFF are written band by band and may be larger than memory. Other formats
must fit into memory. Outputs of earlier runs in a folder are left out: pictures whose name is that of another
picture and a label (a_x2.png beside a.jpg), and whose size is what the label says."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "upscale", help="enlarge pictures to any scale or size", description=DESCRIPTION
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT", help="picture, or folder of pictures"
    )
    parser.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="also enlarge the pictures of folders in a folder; the outputs lie in folders of the same names",
    )
    parser.add_argument(
        "-o",
        dest="out",
        metavar="OUT",
        help="output file (for one picture) or folder (default: photo_x3.7.png beside photo.jpg, and "
        "photos_x3.7 beside the folder photos)",
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
        help="output size in pixels; 1920x or x1080 keep the aspect ratio. Of several pictures, those that "
        "are as large already are skipped",
    )
    target.add_argument(
        "--long-side",
        dest="size",
        type=parse_long_side,
        metavar="N",
        help="length of the longer side of the output in pixels; keeps the aspect ratio",
    )
    target.add_argument(
        "--short-side",
        dest="size",
        type=parse_short_side,
        metavar="N",
        help="length of the shorter side of the output in pixels; keeps the aspect ratio",
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
    report = Report("moeisr upscale")
    settings = Settings(
        target=args.scale or args.size,
        budget=args.budget,
        max_pixels=args.max_pixels,
        replace=args.overwrite or args.skip_existing,
    )
    plan = plan_jobs(
        args.inputs,
        args.out,
        label=settings.target.label,
        suffix=args.format,
        expert_map=args.expert_map,
        recursive=args.recursive,
    )
    for note in plan.notes:
        report.note(note)
    jobs = _to_do(plan.jobs, report) if args.skip_existing else plan.jobs
    if not jobs:
        return 0
    upscaler = _load_upscaler(args)
    if not plan.is_batch:
        prepared = prepare(jobs[0], settings, report)
        enlarge(prepared, upscaler, settings, report)
        report.result(prepared.summary)
        return 0
    return _enlarge_all(jobs, upscaler, settings, report, debug=args.debug)


def _to_do(jobs: list[Job], report: Report) -> list[Job]:
    """Return the jobs whose outputs do not exist."""
    missing = [job for job in jobs if not all(target.exists() for target in job.targets)]
    report.result(f"skipping {len(jobs) - len(missing)} of {len(jobs)} pictures whose outputs exist")
    return missing


def _load_upscaler(args: argparse.Namespace) -> "Upscaler":
    from moeisr_plugin.upscaler import Upscaler  # keeps torch out of parsing and planning

    return Upscaler(
        args.weights, device=chosen_device(args), precision=args.precision, progress=sys.stderr.isatty()
    )


def _enlarge_all(
    jobs: Iterable[Job], upscaler: "Upscaler", settings: Settings, report: Report, *, debug: bool
) -> int:
    """Enlarge several pictures. A failure does not stop the others.

    Returns:
        0, or 1 if some pictures failed. Pictures that are as large already are no failures.
    """
    jobs = list(jobs)
    failures = large = 0
    for job in tqdm(jobs, unit="picture", disable=None):
        try:
            prepared = prepare(job, settings, report)
            enlarge(prepared, upscaler, settings, report)
        except AlreadyLargeError as error:
            large += 1
            report.note(f"skipping {one_line(error).rpartition(';')[0]}")
        except (ValueError, OSError, MemoryError, RuntimeError) as error:  # RuntimeError: GPU out of memory
            if debug:
                raise
            failures += 1
            report.error(one_line(error))
        else:
            report.result(prepared.summary)
    if large:
        report.note(f"{large} of {len(jobs)} pictures skipped, because they are as large already")
    if failures:
        report.error(f"{failures} of {len(jobs)} pictures failed")
    return 1 if failures else 0
