"""`moeisr upscale`: enlarge pictures to any scale or size."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
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
    with streams_as_files(argparse.Namespace(**{**vars(args), "inputs": inputs})) as of_files:
        return _run(of_files)


def _run(args: argparse.Namespace) -> int:
    start = time.perf_counter()
    report = Report("moeisr upscale", quiet=args.quiet, verbose=args.verbose)
    settings = _settings(args)
    plan = _plan(args, settings)
    for note in plan.notes:
        report.note(note)
    if not args.dry_run:
        _sweep(plan.jobs)
    jobs = _to_do(plan.jobs, report) if args.skip_existing else plan.jobs
    if not jobs:
        return 0
    upscaler = _load_upscaler(args, report)
    estimate = Estimate(upscaler, settings)

    def process(job: Job) -> None:
        prepared = prepare(job, upscaler, settings, report)
        if args.dry_run:
            report.result(f"{prepared.summary}, about {duration(estimate.add(prepared))}")
        else:
            enlarge(prepared, upscaler, settings, report)
            report.result(prepared.summary)

    if not plan.is_batch:
        process(jobs[0])
        done, failures = 1, 0
    else:
        done, failures = _process_all(jobs, process, report, debug=args.debug)
    pictures = f"{done} picture{'s' * (done != 1)}"
    if args.dry_run:
        needs = f": {estimate}, estimated" if done else ""
        report.closing(f"{pictures} by {_network(args)}{needs}; nothing is written")
    else:
        report.closing(f"{pictures} in {time.perf_counter() - start:.1f} s by {_network(args)}")
    if failures:
        report.error(f"{failures} of {len(jobs)} pictures failed")
    return 1 if failures else 0


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


def _load_upscaler(args: argparse.Namespace, report: Report) -> "Upscaler":
    with report.log(), report.stage(f"loading {_network(args)}"):
        from moeisr_plugin.upscaler import Upscaler  # keeps torch out of parsing and planning

        device = chosen_device(args)
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


def _process_all(
    jobs: Sequence[Job], process: Callable[[Job], None], report: Report, *, debug: bool
) -> tuple[int, int]:
    """Process several pictures. A failure does not stop the others.

    Returns:
        The numbers of processed pictures and of failures. Pictures that are as large already are neither.
    """
    failures = large = 0
    for job in report.each(jobs, "picture"):
        try:
            process(job)
        except AlreadyLargeError as error:
            large += 1
            report.note(f"skipping {one_line(error).rpartition(';')[0]}")
        except Exception as error:
            message = failure_of(error, job.source)
            if debug or message is None:
                raise
            failures += 1
            report.error(message)
    if large:
        report.note(f"{large} of {len(jobs)} pictures skipped, because they are as large already")
    return len(jobs) - failures - large, failures
