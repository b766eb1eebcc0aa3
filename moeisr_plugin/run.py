"""Run a script of your own BasicSR clone with everything that this package registers.

    python -m moeisr_plugin.run path/to/BasicSR/basicsr/train.py -opt options/train/NAME.yml

The `basicsr` of the clone is used even if another one is installed. The script receives its own arguments.
train.py and test.py of BasicSR write below the root of the clone. `torchrun -m` works, too.
"""

import importlib
import os
import sys
from pathlib import Path

from moeisr_plugin import train
from moeisr_plugin.commands.programs import DEBUG_HINT, run_program
from moeisr_plugin.utils.early_signals import STATUS as INTERRUPTED
from moeisr_plugin.utils.interrupts import interrupts_raised
from moeisr_plugin.utils.missing import toolbox_needed
from moeisr_plugin.utils.torch_memory import require_memory_for_torch

USAGE = "usage: python -m moeisr_plugin.run path/to/BasicSR/basicsr/train.py [arguments of the script]"


def main() -> None:
    """Run the script named first on the command line."""
    if len(sys.argv) < 2:
        sys.exit(USAGE)
    if sys.argv[1] in ("-h", "--help"):
        print(USAGE)
        return
    script = Path(sys.argv[1]).absolute()
    if not script.is_file():
        sys.exit(f"{script}: no such script; {USAGE}")
    clone = find_clone(script)
    status = run_program(
        "run", lambda: _use_toolbox(script, clone), debug="--debug" in sys.argv, hint=DEBUG_HINT
    )
    if status:
        sys.exit(status)
    sys.argv = [str(script), *sys.argv[2:]]
    if clone is not None and script.samefile(clone / "basicsr/train.py"):
        # Executing the file would define the repaired functions again, unrepaired.
        train.main(str(clone))
        return
    sys.path.insert(0, str(script.parent))
    # runpy would replace the main module. A spawned worker imports the main module first, and would then
    # import basicsr without this package.
    code = compile(script.read_bytes(), script, "exec")
    with interrupts_raised("run"):
        try:
            exec(code, {"__name__": "__main__", "__file__": str(script)})
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


def _use_toolbox(script: Path, clone: Path | None) -> int:
    require_memory_for_torch()
    with toolbox_needed(script.name):
        toolbox = imported_from()
    if clone is not None and not clone.samefile(toolbox):
        start_again_with(clone)
    return 0


def find_clone(script: Path) -> Path | None:
    """Return the nearest folder above the script that contains a `basicsr` package; None without one."""
    return next((folder for folder in script.parents if (folder / "basicsr/__init__.py").is_file()), None)


def imported_from() -> Path:
    """Import `basicsr` and return the folder that contains it."""
    return Path(str(importlib.import_module("basicsr").__file__)).absolute().parents[1]


def start_again_with(clone: Path) -> None:
    """Replace this process by one that finds the `basicsr` of the clone first.

    The installed `basicsr` is loaded by now, and cannot be replaced within a process.
    """
    if not (clone / "basicsr/version.py").is_file():
        sys.exit(
            f"{clone}: basicsr/version.py is missing; write it with `python setup.py develop` in that folder"
        )
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if paths[0] == str(clone):
        sys.exit(f"{imported_from()}: its basicsr hides the one in {clone}; start from another folder")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(clone), *filter(None, paths)])
    os.execv(sys.executable, [sys.executable, "-m", "moeisr_plugin.run", *sys.argv[1:]])


if __name__ == "__main__":
    main()
