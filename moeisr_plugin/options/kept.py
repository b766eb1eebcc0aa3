"""Keep the resolved options of a training in its experiment folder."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moeisr_plugin.options.parse import write_options
from moeisr_plugin.utils.atomic import atomic_write
from moeisr_plugin.utils.processes import rank

KEPT = "options.yml"


class OptionFile(str):
    """The path of an option file, with the resolved options of the run.

    The toolbox parses the options first and makes the folder of the experiment later. In between it passes on
    only this path, the `opt` of the command line.
    """

    resolved: str = ""
    """The options as YAML."""


def with_options(path: str, options: Mapping[str, Any], seed: int) -> OptionFile:
    """Return the path of an option file, with the options to write.

    Args:
        path: as named on the command line.
        options: as resolved and checked, without the additions of the toolbox.
        seed: the seed in use, which the toolbox draws where the options have none.
    """
    file = OptionFile(path)
    file.resolved = write_options({**options, "manual_seed": seed})
    return file


def copy_options(copy_opt_file: Callable[[str, str], None], option_file: str, experiment: str) -> None:
    """Copy the raw option file and write `options.yml`: bases merged, `--force_yml` applied.

    A raw file that is named `options.yml`, or is the copy that is already there, is not copied.

    Args:
        copy_opt_file: copies the raw file, as the function of the toolbox does.
        option_file: as named on the command line; an `OptionFile` holds the resolved options.
        experiment: the folder of the experiment.
    """
    if rank() != 0:
        return
    raw = Path(option_file)
    if raw.name != KEPT and raw.resolve() != Path(experiment, raw.name).resolve():
        copy_opt_file(option_file, experiment)
    if isinstance(option_file, OptionFile):
        command = " ".join(sys.argv)
        header = f"# Options of this training, resolved from {raw.name}.\n# CMD:\n# {command}\n\n"
        with atomic_write(Path(experiment, KEPT)) as file:
            file.write((header + option_file.resolved).encode())
