"""Keep the resolved options of a training in its experiment folder."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moeisr_plugin.options.parse import write_options
from moeisr_plugin.utils.atomic import atomic_write
from moeisr_plugin.utils.processes import rank

KEPT = "options.yml"

_resolved: dict[str, str] = {}


def remember(option_file: str, options: Mapping[str, Any], seed: int) -> None:
    """Remember the options of a run until its folder exists.

    Args:
        option_file: as named on the command line.
        options: as resolved and checked, without the additions of the toolbox.
        seed: the seed in use, which the toolbox draws where the options have none.
    """
    _resolved[option_file] = write_options({**options, "manual_seed": seed})


def copy_options(copy_opt_file: Callable[[str, str], None], option_file: str, experiment: str) -> None:
    """Copy the raw option file and write `options.yml`: bases merged, `--force_yml` applied.

    A raw file that is named `options.yml`, or is the copy that is already there, is not copied.

    Args:
        copy_opt_file: copies the raw file, as the function of the toolbox does.
        option_file: as named on the command line.
        experiment: the folder of the experiment.
    """
    if rank() != 0:
        return
    raw = Path(option_file)
    if raw.name != KEPT and raw.resolve() != Path(experiment, raw.name).resolve():
        copy_opt_file(option_file, experiment)
    if option_file in _resolved:
        command = " ".join(sys.argv)
        header = f"# Options of this training, resolved from {raw.name}.\n# CMD:\n# {command}\n\n"
        with atomic_write(Path(experiment, KEPT)) as file:
            file.write((header + _resolved[option_file]).encode())
