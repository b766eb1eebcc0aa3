"""Run `moeisr web` as a process."""

import contextlib
import os
import re
import subprocess
import sys

from processes import ROOT


@contextlib.contextmanager
def running(*arguments, temporary):
    """Run `moeisr web` on a free port, and yield the process and its port."""
    command = [sys.executable, "-m", "moeisr_plugin.cli", "web", "--port", "0", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.fullmatch(r"moeisr web: http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", line)
        assert match, line + (process.stderr.read() if process.stderr and process.poll() is not None else "")
        yield process, int(match[1])
    finally:
        process.kill()
        process.wait()
