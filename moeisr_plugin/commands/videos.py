"""`moeisr upscale` of videos."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moeisr_plugin.commands.estimates import duration
from moeisr_plugin.commands.jobs import Job, names_file, refuse_collisions
from moeisr_plugin.commands.memory import check_memory_of_clip
from moeisr_plugin.commands.programs import failure_of
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import AlreadyLargeError, displayed_output_size
from moeisr_plugin.commands.streams import STANDARD
from moeisr_plugin.commands.targets import check_target, prepare_target
from moeisr_plugin.utils.leftovers import sweep
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.video.formats import (
    CONTAINERS,
    Coding,
    check_even,
    coding_of,
    container_of,
    default_suffix,
    is_video_name,
)
from moeisr_plugin.video.library import require_av

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import Upscaler
    from moeisr_plugin.video.frames import FrameUpscaler
    from moeisr_plugin.video.reader import Clip

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
    run = _Run(args, load(), report)
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


@dataclass(frozen=True)
class _Prepared:
    """A video that is ready to be enlarged: its size as stored, (H, W), and the way to enlarge frames."""

    clip: "Clip"
    size: tuple[int, int]
    summary: str
    coding: Coding
    frames: "FrameUpscaler"


class _Run:
    """Enlarge videos one after another, and count."""

    def __init__(self, args: argparse.Namespace, upscaler: "Upscaler", report: Report) -> None:
        self._args, self._upscaler, self._report = args, upscaler, report
        self._videos = self._frames = self._kept = self._parts = 0
        self._seconds = 0.0

    def process(self, job: Job) -> None:
        prepared = self._prepare(job)
        if self._args.dry_run:
            seconds = self._estimated(prepared)
            self._seconds += seconds
            self._report.result(f"{prepared.summary}, at most about {duration(seconds)}")
        else:
            self._enlarge(job, prepared)
            self._report.result(prepared.summary)
        self._videos += 1

    def closing(self, network: str, seconds: float) -> str:
        """Return the last line of the run."""
        videos = f"{self._videos} video{'s' * (self._videos != 1)}"
        if self._args.dry_run:
            needs = f": at most about {duration(self._seconds)}, estimated" if self._videos else ""
            return f"{videos} by {network}{needs}; nothing is written"
        share = (
            f"; {self._kept / self._parts:.0%} of the tiles and bands were unchanged" if self._kept else ""
        )
        return f"{videos}, {self._frames} frames in {seconds:.1f} s by {network}{share}"

    def _prepare(self, job: Job) -> _Prepared:
        """Read what a video is, and check everything that is known before the work."""
        from moeisr_plugin.video.frames import FrameUpscaler
        from moeisr_plugin.video.reader import read_clip
        from moeisr_plugin.video.writer import Encoded

        args = self._args
        check_target(job.output)
        if job.output.exists() and not (args.overwrite or args.skip_existing):
            raise ValueError(f"{job.output}: already exists; choose another -o or add --overwrite")
        clip = read_clip(job.source, max_pixels=args.max_pixels, accept_truncated=args.accept_truncated)
        coding = coding_of(container_of(job.output), args.quality)
        encoded = Encoded(coding, clip.sampling)
        try:
            shown = displayed_output_size(
                args.scale or args.size, *clip.oriented((clip.width, clip.height)), max_pixels=args.max_pixels
            )
            width, height = clip.oriented(shown)
            if not coding.is_rgb:
                check_even((width, height), encoded.sampling, shown, turned=clip.turned)
            check_memory_of_clip((clip.height, clip.width), (height, width), self._upscaler)
            budget = None
            if args.budget is not None:
                budget = args.budget.of(self._upscaler.net, (clip.height, clip.width), (height, width))
        except ValueError as error:
            raise type(error)(f"{clip.path}: {error}") from None
        notes = list(clip.notes)
        if encoded.sampling.bits < clip.sampling.bits:
            notes.append(
                f"has {clip.sampling.bits} bits per sample; {coding.name} holds {encoded.sampling.bits}"
            )
        for note in notes:
            self._note(job, note)
        summary = f"{job.output} {shown[0]}x{shown[1]}, {clip.frames} frames"
        frames = FrameUpscaler(self._upscaler, (height, width), budget=budget)
        return _Prepared(clip, (height, width), summary, coding, frames)

    def _enlarge(self, job: Job, prepared: _Prepared) -> None:
        from moeisr_plugin.video.clips import enlarge_clip

        prepare_target(job.output)
        with self._report.progress(prepared.clip.frames, "frame") as show:
            self._frames += enlarge_clip(
                prepared.clip,
                job.output,
                prepared.size,
                prepared.frames,
                coding=prepared.coding,
                accept_damaged=self._args.accept_truncated,
                threads=self._args.threads,
                on_frame=show,
                note=partial(self._note, job),
            )
        kept, parts = prepared.frames.kept
        self._kept, self._parts = self._kept + kept, self._parts + parts

    def _estimated(self, prepared: _Prepared) -> float:
        """Return the seconds that a video takes if no frame repeats, from its first frame."""
        from moeisr_plugin.video.clips import seconds_per_frame

        return prepared.clip.frames * seconds_per_frame(prepared.clip, prepared.frames)

    def _note(self, job: Job, line: str) -> None:
        self._report.note(f"{job.source}: {line}")
