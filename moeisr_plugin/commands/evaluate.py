"""`moeisr evaluate`: measure networks on a data set."""

import argparse
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from moeisr_plugin.commands.counts import parse_count
from moeisr_plugin.commands.devices import add_device, add_precision, chosen_device
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import TargetScale, parse_scale
from moeisr_plugin.commands.weights import TRAINED
from moeisr_plugin.utils.arguments import parse_path
from moeisr_plugin.utils.atomic import prepared_folder
from moeisr_plugin.utils.regular_files import require_replaceable
from moeisr_plugin.utils.team import LeaderFailedError, Team, team_of_environment
from moeisr_plugin.utils.torch_memory import require_memory_for_torch

DESCRIPTION = """Measure PSNR, SSIM, time and MACs of networks and of bicubic enlargement on a data set, and
PSNR and SSIM of pictures that other methods enlarged. FOLDER holds HR pictures only, or HR and LR at any
scale: as x2.5/HR and x2.5/LR, as GTmod12 and LRbicx2 (BasicSR), as HR and LR_bicubic/X2, X1.60 or X1.60_X2.00
(EDSR, ArbSR), or as HR and LR. The report names LR of the set that is not used. Grey pictures count as three
equal channels. 16-bit pictures keep their precision. Alpha is dropped. Pictures smaller than the scale, or
than the border that the protocol crops, are skipped."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser("evaluate", help="measure networks on a data set", description=DESCRIPTION)
    parser.add_argument("--weights", nargs="+", type=parse_path, default=[], metavar="FILE", help=TRAINED)
    parser.add_argument(
        "--pictures",
        action="append",
        type=parse_pictures,
        default=[],
        metavar="NAME=FOLDER",
        help="also measure enlarged pictures of another method under this name; with several scales, FOLDER "
        "has a folder for each, whose name ends in the scale, as x2 or Set5_x2; repeatable",
    )
    parser.add_argument("--data", type=parse_path, required=True, metavar="FOLDER", help="the data set")
    parser.add_argument(
        "--scales",
        nargs="+",
        type=parse_scale,
        default=[TargetScale(x=scale, y=scale) for scale in (2, 3, 4)],
        metavar="S",
        help="3.7, or 2x3.5 for width and height; at least 1 (default: 2 3 4)",
    )
    parser.add_argument(
        "--protocol",
        choices=("benchmark", "div2k", "basicsr"),
        default="benchmark",
        help="benchmark: luma, cropped by the scale (default); div2k: RGB, cropped by the scale plus 6; "
        "basicsr: RGB rounded to 8 bits, cropped by the scale, as in BasicSR's tables",
    )
    parser.add_argument(
        "--downsample",
        choices=("auto", "given", "matlab", "pil"),
        default="auto",
        help="source of LR: given with the data, or made from HR by bicubic resampling as in MATLAB or "
        "Pillow; auto (default): given if present, else matlab at scales 2, 3 and 4, and pil at others",
    )
    parser.add_argument(
        "--lr-folder",
        nargs="+",
        type=parse_path,
        default=[],
        metavar="FOLDER",
        help="LR pictures, one folder for each scale, or one with a folder for each scale, named as x2.5",
    )
    parser.add_argument(
        "-o",
        dest="out",
        type=parse_path,
        metavar="OUT",
        help="folder for results.json, results.csv and results.md",
    )
    parser.add_argument(
        "--save-images",
        action="store_true",
        help="also write enlarged pictures, expert maps and originals to "
        "OUT/images/<weights>/<data>_x<scale>/*.png",
    )
    parser.add_argument("--lpips", action="store_true", help="also measure LPIPS; needs the package lpips")
    parser.add_argument(
        "--routing",
        action="store_true",
        help="also measure the benefit of the routing of mixtures; several times as slow",
    )
    parser.add_argument(
        "--budgets",
        type=partial(parse_count, least=2),
        default=0,
        metavar="N",
        help="also measure mixtures at N evenly spaced budgets, N at least 2; budget 0 is the shallowest "
        "expert everywhere, 1 the deepest",
    )
    parser.add_argument(
        "--repeats",
        type=parse_count,
        default=1,
        metavar="N",
        help="report the median time of N runs (default: 1)",
    )
    add_device(parser)
    add_precision(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    return parser


def parse_pictures(text: str) -> tuple[str, Path]:
    """Parse NAME=FOLDER."""
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder):
        raise argparse.ArgumentTypeError(f"{text}: is not NAME=FOLDER, such as EDSR=results/EDSR")
    return name.strip(), Path(folder)


def run(args: argparse.Namespace) -> int:
    """Measure, print a table and, with -o, write the results. The leader of several processes does both.

    Returns:
        0, or 2 in a process whose leader has failed and printed its message.

    Raises:
        ValueError, OSError: weights, pictures or options cannot be used.
    """
    require_memory_for_torch()
    team = team_of_environment()
    report = Report("moeisr evaluate", quiet=not team.leads, leads=team.leads)
    try:
        with report.log(), team.watched(report.error):
            return _run(args, team)
    except LeaderFailedError:
        return 2


def _run(args: argparse.Namespace, team: Team) -> int:
    from moeisr_plugin.evaluation.evaluate import evaluate  # keeps torch out of parsing
    from moeisr_plugin.evaluation.report import as_markdown, write_report

    device = team.first_at_leader("arguments", partial(_checked_device, args, team))
    with ExitStack() as stack:
        if args.out is not None:
            team.shared("folder", lambda: _enter_folder(stack, args))
        evaluation = evaluate(
            args.weights,
            args.data,
            [(scale.y, scale.x) for scale in args.scales],
            protocol=args.protocol,
            lr=args.downsample,
            lr_folders=args.lr_folder,
            pictures=dict(args.pictures),
            lpips=args.lpips,
            routing=args.routing,
            budgets=args.budgets,
            repeats=args.repeats,
            images=args.out / "images" if args.out is not None and args.save_images else None,
            device=device,
            precision=args.precision,
            team=team,
        )
        if not team.leads:
            return 0
        if args.out is not None:
            write_report(evaluation, args.out)  # before printing, which can fail on the terminal encoding
    print(as_markdown(evaluation), end="")
    return 0


def _checked_device(args: argparse.Namespace, team: Team) -> str | None:
    """Check the options, and return the device of this process.

    Raises:
        ValueError: options contradict each other, or this machine lacks the device.
    """
    if not args.weights and not args.pictures:
        raise ValueError("nothing to measure; add --weights FILE or --pictures NAME=FOLDER")
    names = [name for name, _ in args.pictures]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--pictures {repeated[0]}: given twice; give each method a name of its own")
    if args.save_images and args.out is None:
        raise ValueError("--save-images needs an output folder; add -o OUT")
    return chosen_device(args, team.local_rank if team.size > 1 else None)


def _enter_folder(stack: ExitStack, args: argparse.Namespace) -> None:
    """Prepare the folder of the results until the stack is closed.

    Raises:
        ValueError, OSError: there are results already, or the folder cannot be used.
    """
    from moeisr_plugin.evaluation.report import FILES  # needs torch, which parsing does not

    for name in FILES:
        require_replaceable(args.out / name)
    existing = [args.out / name for name in FILES if (args.out / name).exists()]
    if existing and not args.overwrite:
        raise ValueError(f"{existing[0]}: already exists; choose another -o or add --overwrite")
    stack.enter_context(prepared_folder(args.out))
