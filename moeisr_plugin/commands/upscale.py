"""`moeisr upscale`: enlarge pictures to any scale or size."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.commands.devices import chosen_device, use_threads
from moeisr_plugin.commands.enlarging import Settings, enlarge, prepare
from moeisr_plugin.commands.estimates import Estimate, duration
from moeisr_plugin.commands.jobs import Job, Plan, check_quality, plan_jobs
from moeisr_plugin.commands.programs import failure_of
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import AlreadyLargeError, TargetScale
from moeisr_plugin.commands.streams import STANDARD, streams_as_files
from moeisr_plugin.commands.upscale_arguments import DESCRIPTION, add_arguments
from moeisr_plugin.commands.videos import enlarge_videos, names_videos
from moeisr_plugin.pictures import WRITABLE
from moeisr_plugin.utils.allocator import keep_freed_memory, return_freed_memory
from moeisr_plugin.utils.collection import torch_exempt_from_collection
from moeisr_plugin.utils.leftovers import sweep
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.team import LeaderFailedError, Team, team_of_environment
from moeisr_plugin.utils.torch_memory import require_memory_for_torch
from moeisr_plugin.video.formats import CONTAINERS

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import Upscaler

LARGEST_KEPT = 96 * 2**20
"""Bytes of a layer with 64 channels for a tile and its context. Larger blocks are of whole pictures."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "upscale", help="enlarge pictures to any scale or size", description=DESCRIPTION
    )
    add_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Enlarge every input. If one of several fails, continue with the others.

    Returns:
        0, or 1 if some of several pictures failed.

    Raises:
        ValueError, OSError: the options cannot be used, or the only picture failed.
    """
    inputs = [*args.inputs, *args.more_inputs]
    if not inputs:
        raise ValueError("there is no INPUT; name a picture, a folder of pictures or a video")
    if args.dry_run and args.out == STANDARD:
        raise ValueError("--dry-run prints to standard output and writes no picture; omit -o -")
    team = team_of_environment()
    if team.size > 1 and STANDARD in (args.out, *map(str, inputs)):
        raise ValueError("torchrun: several processes cannot share -, a stream; name files, or omit torchrun")
    report = Report("moeisr upscale", quiet=args.quiet, verbose=args.verbose, leads=team.leads)
    if names_videos(inputs):
        if team.size > 1:
            raise ValueError("torchrun: a video is enlarged by one process; omit torchrun")
        load = partial(_load_upscaler, args, report, team)
        return enlarge_videos(args, inputs, report, network=_network(args), load=load)
    try:
        with (
            streams_as_files(argparse.Namespace(**{**vars(args), "inputs": inputs})) as of_files,
            team.watched(report.error),
        ):
            outcome = _run(of_files, report, team)
    except LeaderFailedError:
        return 2
    if outcome.closing is not None:
        report.closing(outcome.closing)
    if outcome.failures:
        report.error(f"{outcome.failures} of {outcome.pictures} pictures failed")
    return 1 if outcome.failures else 0


class _Outcome(NamedTuple):
    """What a run did. The closing line is printed when standard output has its picture."""

    closing: str | None = None
    failures: int = 0
    pictures: int = 0


def _run(args: argparse.Namespace, report: Report, team: Team) -> _Outcome:
    start = time.perf_counter()
    settings = _settings(args)
    is_batch, planned, jobs = _shared_plan(args, settings, report, team)
    if args.dry_run or not is_batch:
        if not team.leads:
            return _Outcome()
        team = Team()
    upscaler = _load_upscaler(args, report, team) if jobs else None
    if upscaler is not None and args.expert_map and upscaler.num_experts == 1:
        if team.leads:
            report.note("no expert map is written, because the network has no mapper")
        jobs = [replace(job, expert_map=None) for job in jobs]
        jobs = _shared_jobs(team, "jobs without maps", partial(_to_do, jobs, args))
    if args.skip_existing and team.leads:
        report.result(f"skipping {planned - len(jobs)} of {planned} pictures whose outputs exist")
    if upscaler is None or not jobs:
        return _Outcome()
    estimate = Estimate(upscaler, settings)

    def process(job: Job) -> None:
        team.works_on(str(job.source))
        return_freed_memory()  # of the picture before, as the memory that is available is checked
        prepared = prepare(job, upscaler, settings, report)
        if args.dry_run:
            report.result(f"{prepared.summary}, about {duration(estimate.add(prepared))}")
        else:
            enlarge(prepared, upscaler, settings, report)
            report.result(prepared.summary)

    if not is_batch:
        process(jobs[0])
        counts = Counts(done=1)
    else:
        counts = _process_all(jobs, process, report, team, debug=args.debug)
    if not team.leads:
        return _Outcome()
    pictures = f"{counts.done} picture{'s' * (counts.done != 1)}"
    if args.dry_run:
        needs = f": {estimate}, estimated" if counts.done else ""
        closing = f"{pictures} by {_network(args)}{needs}; nothing is written"
    else:
        processes = f" on {team.size} processes" if team.size > 1 else ""
        closing = f"{pictures} in {time.perf_counter() - start:.1f} s by {_network(args)}{processes}"
    return _Outcome(closing, counts.failures, len(jobs))


def _shared_plan(
    args: argparse.Namespace, settings: Settings, report: Report, team: Team
) -> tuple[bool, int, list[Job]]:
    """Plan at the leader, and share the plan.

    Returns:
        Whether the inputs may stand for several pictures, the number of pictures, and the jobs to do.
    """

    def plan() -> tuple[bool, int, list[list[str | None]]]:
        planned = _plan(args, settings)
        for note in planned.notes:
            report.note(note)
        if not args.dry_run:
            _sweep(planned.jobs)
        jobs = _to_do(planned.jobs, args)
        return planned.is_batch, len(planned.jobs), [job.as_texts() for job in jobs]

    is_batch, planned, texts = team.shared("plan", plan)
    return is_batch, planned, [Job.from_texts(each) for each in texts]


def _shared_jobs(team: Team, name: str, make: Callable[[], list[Job]]) -> list[Job]:
    """Return the jobs that the leader finds."""
    texts = team.shared(name, lambda: [job.as_texts() for job in make()])
    return [Job.from_texts(each) for each in texts]


def _to_do(jobs: list[Job], args: argparse.Namespace) -> list[Job]:
    """Return the jobs of which an output is not there, if existing outputs are skipped."""
    if not args.skip_existing:
        return jobs
    return [job for job in jobs if not all(os.path.isfile(path) for path in job.targets)]


def _settings(args: argparse.Namespace) -> Settings:
    target = args.scale or args.size
    if isinstance(target, TargetScale) and args.window is None and not target.enlarges:
        raise ValueError(
            f"{target.option} does not enlarge; give scales of at least 1, or add --window to reduce a part"
        )
    return Settings(
        target=target,
        window=args.window,
        budget=args.budget,
        max_pixels=args.max_pixels,
        replace=args.overwrite or args.skip_existing,
        quality=args.quality,
        accept_truncated=args.accept_truncated,
    )


def _plan(args: argparse.Namespace, settings: Settings) -> Plan:
    if args.format in CONTAINERS:
        raise ValueError(f"--format {args.format} is for videos; give {', '.join(WRITABLE)} for pictures")
    plan = plan_jobs(
        args.inputs,
        args.out,
        label=settings.label,
        suffix=args.format,
        expert_map=args.expert_map,
        recursive=args.recursive,
    )
    if settings.quality is not None:
        check_quality(plan.jobs)
    return plan


def _sweep(jobs: Sequence[Job]) -> None:
    """Delete what killed runs left in the folders of the outputs."""
    for folder in {path.parent for job in jobs for path in job.targets}:
        sweep(folder)


def _network(args: argparse.Namespace) -> str:
    return DEFAULT if args.weights is None else Path(args.weights).stem


def _load_upscaler(args: argparse.Namespace, report: Report, team: Team) -> "Upscaler":
    require_memory_for_torch()
    keep_freed_memory(LARGEST_KEPT)
    with report.log(), report.stage(f"loading {_network(args)}"):
        with torch_exempt_from_collection():
            from moeisr_plugin.upscaler import Upscaler  # keeps torch out of parsing and planning

        device = chosen_device(args, team.local_rank if team.size > 1 else None)
        use_threads(args.threads)
        upscaler = Upscaler(
            args.weights,
            device=device,
            precision=args.precision,
            progress=report.shows_progress,
            keep_hidden_colour=args.keep_hidden_colour,
        )
    report.detail(f"network {args.weights or DEFAULT}, device {upscaler.device}, {upscaler.precision}")
    return upscaler


@dataclass
class Counts:
    """Numbers of pictures that were processed, that failed, and that were as large already."""

    done: int = 0
    failures: int = 0
    large: int = 0


def _process_all(
    jobs: Sequence[Job], process: Callable[[Job], None], report: Report, team: Team, *, debug: bool
) -> Counts:
    """Process this process's turns of several pictures. A failure does not stop the others.

    Returns:
        At the leader the counts of all processes, elsewhere none.
    """
    counts = Counts()
    with report.progress(len(jobs), "picture") as show:
        for index in team.turns("pictures", len(jobs)):
            try:
                process(jobs[index])
                counts.done += 1
            except AlreadyLargeError as error:
                counts.large += 1
                report.note(f"skipping {one_line(error).rpartition(';')[0]}")
            except Exception as error:
                message = failure_of(error, jobs[index].source)
                if debug or message is None:
                    raise
                counts.failures += 1
                report.error(message)
            show(counts.done + counts.failures + counts.large if team.size == 1 else team.done("pictures"))
        of_all = team.gathered("counts", astuple(counts), lambda: show(team.done("pictures")))
    total = Counts(*map(sum, zip(*of_all, strict=True)))
    if total.large:
        report.note(f"{total.large} of {len(jobs)} pictures skipped, because they are as large already")
    return total
