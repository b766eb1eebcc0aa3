"""Enlarge the videos of a run one after another."""

import argparse
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from moeisr_plugin.commands.estimates import duration
from moeisr_plugin.commands.jobs import Job
from moeisr_plugin.commands.memory import check_memory_of_clip
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import displayed_output_size
from moeisr_plugin.commands.targets import check_target, prepare_target
from moeisr_plugin.video.formats import Coding, check_even, coding_of, container_of

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import Upscaler
    from moeisr_plugin.video.frames import FrameUpscaler
    from moeisr_plugin.video.probing import Clip


@dataclass(frozen=True)
class _Prepared:
    """A video that is ready to be enlarged: its size as stored, (H, W), and the way to enlarge frames."""

    clip: "Clip"
    size: tuple[int, int]
    summary: str
    coding: Coding
    frames: "FrameUpscaler"


class VideoRun:
    """Enlarge videos one after another, and count frames and kept tiles.

    Args:
        args: the arguments of `moeisr upscale`.
        upscaler: the network and its device.
        report: prints.
    """

    def __init__(self, args: argparse.Namespace, upscaler: "Upscaler", report: Report) -> None:
        self._args, self._upscaler, self._report = args, upscaler, report
        self._videos = self._frames = self._kept = self._parts = 0
        self._seconds = 0.0

    def process(self, job: Job) -> None:
        """Enlarge a video, or estimate its time.

        Raises:
            AlreadyLargeError: the video is at least as large as the requested size.
            ValueError, OSError: it cannot be read or enlarged, or the output cannot be written.
        """
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
        from moeisr_plugin.video.probing import read_clip
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
