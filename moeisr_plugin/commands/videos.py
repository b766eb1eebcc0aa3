"""`moeisr upscale` of videos."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moeisr_plugin.commands.jobs import Job, names_file, refuse_collisions
from moeisr_plugin.commands.programs import failure_of
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import AlreadyLargeError
from moeisr_plugin.commands.streams import STANDARD
from moeisr_plugin.commands.video_run import VideoRun
from moeisr_plugin.utils.leftovers import sweep
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.video.formats import (
    CONTAINERS,
    coding_of,
    container_of,
    default_suffix,
    is_video_name,
)
from moeisr_plugin.video.library import require_av

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import Upscaler

KERNEL_CACHE = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
"""Limit of the kernels that PyTorch keeps on a CPU, one for each shape. Each frame has other shapes, and with
the default of 1024 the memory of small frames grows for thousands of frames."""

PICTURES_ONLY = {
    "window": "--window",
    "expert_map": "--expert-map",
    "keep_hidden_colour": "--keep-hidden-colour",
}
"""Options that videos do not have."""


def names_videos(inputs: Sequence[Path]) -> bool:
    """Return whether the inputs are videos.

    Raises:
        ValueError: some are, and others are not.
    """
    videos = [path for path in inputs if is_video_name(path) and not path.is_dir()]
    if videos and len(videos) < len(inputs):
        raise ValueError(f"{videos[0]} is a video; enlarge videos and pictures in two runs")
    return bool(videos)


def enlarge_videos(
    args: argparse.Namespace,
    inputs: Sequence[Path],
    report: Report,
    *,
    network: str,
    load: Callable[[], "Upscaler"],
) -> int:
    """Enlarge every video. If one of several fails, continue with the others.

    Args:
        args: the arguments of `moeisr upscale`.
        inputs: the videos.
        report: prints.
        network: name of the network, for the closing line.
        load: loads it.

    Returns:
        0, or 1 if some of several videos failed.

    Raises:
        ValueError, OSError: the options cannot be used, or the only video failed.
    """
    start = time.perf_counter()
    _check_options(args)
    jobs = _plan(args, inputs)
    for job in jobs:
        coding_of(container_of(job.output), args.quality)
    require_av()
    to_do = [job for job in jobs if not (args.skip_existing and job.output.is_file())]
    if args.skip_existing:
        report.result(f"skipping {len(jobs) - len(to_do)} of {len(jobs)} videos whose outputs exist")
    if not to_do:
        return 0
    if not args.dry_run:
        for folder in {job.output.parent for job in to_do}:
            sweep(folder)
    os.environ.setdefault(*KERNEL_CACHE)  # PyTorch reads it at its first kernel
    run = VideoRun(args, load(), report)
    failures = 0
    for job in to_do:
        try:
            run.process(job)
        except AlreadyLargeError as error:
            if len(jobs) == 1:
                raise
            report.note(f"skipping {one_line(error).rpartition(';')[0]}")
        except Exception as error:
            message = failure_of(error, job.source)
            if args.debug or message is None or len(jobs) == 1:
                raise
            failures += 1
            report.error(message)
    report.closing(run.closing(network, time.perf_counter() - start))
    if failures:
        report.error(f"{failures} of {len(to_do)} videos failed")
    return 1 if failures else 0


def _check_options(args: argparse.Namespace) -> None:
    for name, option in PICTURES_ONLY.items():
        if getattr(args, name):
            raise ValueError(f"{option} is for pictures; omit it for videos")
    if args.out == STANDARD:
        raise ValueError("-o - (standard output) takes a picture; give -o FILE for a video")
    if args.format is not None and args.format not in CONTAINERS:
        known = ", ".join(CONTAINERS)
        raise ValueError(f"--format {args.format} is for pictures; give {known} for videos")
    target = args.scale or args.size
    if not target.fixed and not target.enlarges:
        raise ValueError(f"{target.option} does not enlarge; give scales of at least 1")


def _plan(args: argparse.Namespace, inputs: Sequence[Path]) -> list[Job]:
    """Pair every video with its output."""
    label = (args.scale or args.size).label
    if args.out is not None and (names_file(args.out) or Path(args.out).is_file()):
        if len(inputs) > 1:
            raise ValueError(f"-o {args.out} is a file, but several outputs need a folder; give a folder")
        out = Path(args.out)
        if args.format not in (None, container_of(out)):
            raise ValueError(f"-o {out} and --format {args.format} disagree; omit --format")
        jobs = [Job(inputs[0], out, None)]
    else:
        jobs = [
            Job(
                path,
                (path.parent if args.out is None else Path(args.out))
                / f"{path.stem}_{label}.{args.format or default_suffix(path)}",
                None,
            )
            for path in inputs
        ]
    refuse_collisions(jobs)
    return jobs
