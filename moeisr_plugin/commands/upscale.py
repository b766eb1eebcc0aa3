"""`moeisr upscale`: enlarge pictures to any scale or size."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.commands.devices import chosen_device, use_threads
from moeisr_plugin.commands.enlarging import Settings, enlarge, prepare
from moeisr_plugin.commands.estimates import Estimate, duration
from moeisr_plugin.commands.jobs import Job, Plan, check_quality, plan_jobs
from moeisr_plugin.commands.programs import failure_of
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import AlreadyLargeError
from moeisr_plugin.commands.streams import STANDARD, streams_as_files
from moeisr_plugin.commands.upscale_arguments import DESCRIPTION, add_arguments
from moeisr_plugin.utils.leftovers import sweep
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.team import LeaderFailedError, Team, team_of_environment

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import Upscaler


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
        raise ValueError("there is no INPUT; name a picture or a folder of pictures")
    if args.dry_run and args.out == STANDARD:
        raise ValueError("--dry-run prints to standard output and writes no picture; omit -o -")
    team = team_of_environment()
    if team.size > 1 and STANDARD in (args.out, *map(str, inputs)):
        raise ValueError(
            "torchrun: several processes cannot share - (a stream); name files, or run moeisr alone"
        )
    report = Report("moeisr upscale", quiet=args.quiet, verbose=args.verbose, leads=team.leads)
    try:
        with (
            streams_as_files(argparse.Namespace(**{**vars(args), "inputs": inputs})) as of_files,
            team.watched(report.error),
        ):
            return _run(of_files, report, team)
    except LeaderFailedError:
        return 2


def _run(args: argparse.Namespace, report: Report, team: Team) -> int:
    start = time.perf_counter()
    settings = _settings(args)
    is_batch, jobs = _shared_plan(args, settings, report, team)
    if args.dry_run or not is_batch:
        if not team.leads:
            return 0
        team = Team()
    if not jobs:
        return 0
    upscaler = _load_upscaler(args, report, team)
    estimate = Estimate(upscaler, settings)

    def process(job: Job) -> None:
        team.works_on(str(job.source))
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
        return 0
    pictures = f"{counts.done} picture{'s' * (counts.done != 1)}"
    if args.dry_run:
        needs = f": {estimate}, estimated" if counts.done else ""
        report.closing(f"{pictures} by {_network(args)}{needs}; nothing is written")
    else:
        processes = f" on {team.size} processes" if team.size > 1 else ""
        report.closing(f"{pictures} in {time.perf_counter() - start:.1f} s by {_network(args)}{processes}")
    if counts.failures:
        report.error(f"{counts.failures} of {len(jobs)} pictures failed")
    return 1 if counts.failures else 0


def _shared_plan(
    args: argparse.Namespace, settings: Settings, report: Report, team: Team
) -> tuple[bool, list[Job]]:
    """Return whether the inputs may stand for several pictures, and the jobs. Only the leader plans."""

    def plan() -> tuple[bool, list[list[str | None]]]:
        planned = _plan(args, settings)
        for note in planned.notes:
            report.note(note)
        if not args.dry_run:
            _sweep(planned.jobs)
        jobs = _to_do(planned.jobs, report) if args.skip_existing else planned.jobs
        return planned.is_batch, [job.as_texts() for job in jobs]

    is_batch, jobs = team.shared("plan", plan)
    return is_batch, [Job.from_texts(texts) for texts in jobs]


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(
        target=args.scale or args.size,
        budget=args.budget,
        max_pixels=args.max_pixels,
        replace=args.overwrite or args.skip_existing,
        quality=args.quality,
        accept_truncated=args.accept_truncated,
    )


def _plan(args: argparse.Namespace, settings: Settings) -> Plan:
    plan = plan_jobs(
        args.inputs,
        args.out,
        label=settings.target.label,
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


def _to_do(jobs: list[Job], report: Report) -> list[Job]:
    """Return the jobs whose outputs do not exist."""
    missing = [job for job in jobs if not all(os.path.exists(path) for path in job.targets)]
    report.result(f"skipping {len(jobs) - len(missing)} of {len(jobs)} pictures whose outputs exist")
    return missing


def _network(args: argparse.Namespace) -> str:
    return DEFAULT if args.weights is None else Path(args.weights).stem


def _load_upscaler(args: argparse.Namespace, report: Report, team: Team) -> "Upscaler":
    with report.log(), report.stage(f"loading {_network(args)}"):
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
    report.detail(f"network {args.weights or DEFAULT}, device {upscaler.device}, {args.precision}")
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
