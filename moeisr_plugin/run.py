"""Runs a script of your own BasicSR clone with everything of this package registered.

    python -m moeisr_plugin.run path/to/BasicSR/basicsr/train.py -opt options/train/NAME.yml

The clone's own `basicsr` is used, whatever is installed, and the script sees its arguments as if it had been
started by itself; BasicSR's train.py and test.py write below the clone's root. `torchrun -m` works, too.
"""

import os
import sys
from pathlib import Path

from moeisr_plugin import train  # isort: skip  (mends basicsr)
import basicsr

USAGE = "usage: python -m moeisr_plugin.run path/to/BasicSR/basicsr/train.py [arguments of the script]"


def main() -> None:
    """Runs the script named first on the command line."""
    if len(sys.argv) < 2:
        sys.exit(USAGE)
    if sys.argv[1] in ("-h", "--help"):
        print(USAGE)
        return
    script = Path(sys.argv[1]).absolute()
    if not script.is_file():
        sys.exit(f"{script}: no such script; {USAGE}")
    clone = find_clone(script)
    if clone is not None and not clone.samefile(imported_from()):
        start_again_with(clone)
    sys.argv = [str(script), *sys.argv[2:]]
    if clone is not None and script.samefile(clone / "basicsr/train.py"):
        # Executed, it would define anew what has been mended in the module it is.
        train.main(str(clone))
        return
    sys.path.insert(0, str(script.parent))
    # Not runpy: it would put the script in this module's place, and a spawned worker, which imports the main
    # module first, would then import basicsr without this package.
    exec(compile(script.read_bytes(), script, "exec"), {"__name__": "__main__", "__file__": str(script)})


def find_clone(script: Path) -> Path | None:
    """Gives the nearest folder above the script that holds a `basicsr` package, None if there is none."""
    return next((folder for folder in script.parents if (folder / "basicsr/__init__.py").is_file()), None)


def imported_from() -> Path:
    """Gives the folder the imported `basicsr` package lies in."""
    return Path(str(basicsr.__file__)).absolute().parents[1]


def start_again_with(clone: Path) -> None:
    """Replaces this process by one that finds the clone's basicsr first.

    The package registers with the toolbox while it is imported, so by now the wrong basicsr is in use.
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
