"""The handlers of Ctrl-C are there before anything else is imported, and belong to the programs alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, run_python

MODULE = Path(ROOT, "moeisr_plugin/utils/early_signals.py")


def test_nothing_is_imported_before_the_handlers_are_installed():
    done = run_python(
        "import sys; before = set(sys.modules); exec(sys.argv[1]); print(set(sys.modules) - before)",
        MODULE.read_text(),
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


PROGRAMS = {
    "moeisr_plugin.cli": "moeisr",
    "moeisr_plugin.train": "train",
    "moeisr_plugin.test": "test",
    "moeisr_plugin.run": "run",
}
# Stands for the first module that the package imports after its handlers, as if the signal had come then.
STOPPED = "import os\nos.kill(os.getpid(), {number})\nraise SystemExit('not interrupted')\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
@pytest.mark.parametrize("module", PROGRAMS)
def test_a_signal_during_the_first_import_is_one_line(module, number, tmp_path):
    (tmp_path / "enum.py").write_text(STOPPED.format(number=int(number)))
    settings = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-S", "-m", module],
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a shell may ignore it
    )
    assert (done.returncode, done.stderr) == (130, f"{PROGRAMS[module]}: interrupted\n")


def test_other_processes_keep_their_handlers():
    code = (
        "import signal as s; before = s.getsignal(2); import moeisr_plugin; print(s.getsignal(2) is before)"
    )
    assert run_python(code).stdout == "True\n"
