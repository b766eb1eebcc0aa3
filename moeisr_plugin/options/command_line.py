"""Parse the arguments of a training or a test, and check the options that they name."""

import argparse
import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from moeisr_plugin.options.checking import OptionsError, check
from moeisr_plugin.options.parse import force_options, resolve_options
from moeisr_plugin.options.runs import Run
from moeisr_plugin.options.shipped import located_options
from moeisr_plugin.options.starting import with_network_from
from moeisr_plugin.utils.arguments import OneLineParser
from moeisr_plugin.utils.plugins import OPTION, import_modules

USER_ERROR = 2


def options_of_command(
    arguments: Sequence[str], root: str, *, is_train: bool
) -> tuple[OrderedDict[str, Any], list[str]]:
    """Read and check the options that a command line names.

    Args:
        arguments: the command line, without the program.
        root: the parent folder of experiments and results.
        is_train: True for a training, False for a test.

    Returns:
        The options, and the remaining command line for the parser of the toolbox.

    Raises:
        SystemExit: 2 if the options have problems, after one line on stderr for each; 0 with `--check` if
            they have none.
        OptionsError: with `--debug`, instead of exit 2.
    """
    command = _parser().parse_args(arguments)
    command.opt = located_options(command.opt)
    try:
        opt = _checked(command, Run(is_train, command.launcher, command.auto_resume, root))
    except OptionsError as error:
        if command.debug:
            raise
        if _is_first_process():
            print(error, file=sys.stderr)
        raise SystemExit(USER_ERROR) from None
    if command.check:
        if _is_first_process():
            print(f"{command.opt}: the options are fine")
        raise SystemExit(0)
    return opt, _for_toolbox(command)


def _checked(command: argparse.Namespace, run: Run) -> OrderedDict[str, Any]:
    try:
        resolved = resolve_options(command.opt)
        opt = force_options(resolved.options, command.force_yml)
    except ValueError as error:
        raise OptionsError([str(error)]) from error
    opt = _with_modules(opt, command)
    try:
        opt = with_network_from(opt)
    except ValueError as error:
        raise OptionsError([f"{command.opt}: {error}"]) from error
    opt, problems = check(opt, run)
    if problems:
        forced = {entry.partition("=")[0].replace(":", ".") for entry in command.force_yml}
        files = {path: file for path, file in resolved.origins.items() if path not in forced}
        raise OptionsError([f"{files.get(problem.path, command.opt)}: {problem}" for problem in problems])
    if opt.get("val", ...) is None:
        del opt["val"]  # the toolbox's debug mode sets its val_freq if the key is there
    return opt


def _with_modules(opt: dict[str, Any], command: argparse.Namespace) -> dict[str, Any]:
    """Import the modules of the options and of `--import`, and return the options with all of them."""
    for place, modules in ((f"{command.opt}: {OPTION}:", opt.get(OPTION)), ("--import:", command.modules)):
        try:
            import_modules(modules)
        except ValueError as error:
            raise OptionsError([f"{place} {error}"]) from error
    if not command.modules:
        return opt
    stated = opt.get(OPTION) or []
    stated = [stated] if isinstance(stated, str) else stated
    return {**opt, OPTION: list(dict.fromkeys([*stated, *command.modules]))}


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the toolbox's arguments and of those of this package."""
    parser = OneLineParser(allow_abbrev=False)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML), or its name")
    parser.add_argument("--check", action="store_true", help="check the options and stop")
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm"],
        default="none",
        help="launcher of the processes (default: %(default)s)",
    )
    parser.add_argument("--auto_resume", action="store_true", help="resume from the newest training state")
    parser.add_argument(
        "--debug",
        action="store_true",
        help="the toolbox's debug mode (experiment debug_NAME, frequent output), and tracebacks of errors",
    )
    parser.add_argument(
        "--import",
        action="append",
        dest="modules",
        metavar="MODULE",
        help="import a module, or a .py file, that registers classes of your own; repeatable",
    )
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="KEY:KEY=VALUE", help="override options of the file"
    )
    # torch.distributed.launch passes it with a hyphen.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def _for_toolbox(command: argparse.Namespace) -> list[str]:
    flags = [f"--{name}" for name in ("auto_resume", "debug") if getattr(command, name)]
    valued = ["--launcher", command.launcher, "--local_rank", str(command.local_rank)]
    return ["-opt", command.opt, *valued, *flags]


def _is_first_process() -> bool:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) == 0
