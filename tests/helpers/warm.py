"""Processes that start in a tenth of the time, forked from a server in which slow imports are done."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from processes import settings_of

SERVER = Path(__file__).with_name("warm_server.py")


class WarmProcess:
    """A process that runs, with the part of the interface of `subprocess.Popen` that tests use."""

    def __init__(self, server: socket.socket, command: list[str], cwd: Path, environment: dict[str, str]):
        self.returncode: int | None = None
        self._streams = [open(os.memfd_create(name), "r+") for name in ("stdout", "stderr")]  # noqa: SIM115
        reports, report = os.pipe()
        with open(os.devnull) as nothing:
            streams = [nothing.fileno(), *(stream.fileno() for stream in self._streams), report]
            request = {"command": command, "cwd": str(cwd), "environment": environment}
            socket.send_fds(server, [json.dumps(request).encode()], streams)
        os.close(report)
        self._report = open(reports)  # noqa: SIM115
        self.pid = int(self._report.readline())

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return the status, or None while the process runs."""
        return self._wait(0)

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Wait for the end. Return what the process wrote to stdout and to stderr.

        Raises:
            TimeoutError: After `timeout` seconds; the process is killed.
        """
        if self._wait(timeout) is None:
            os.kill(self.pid, signal.SIGKILL)
            raise TimeoutError(f"process {self.pid} ran for more than {timeout} s")
        written = []
        for stream in self._streams:
            with stream:
                stream.seek(0)
                written.append(stream.read())
        return written[0], written[1]

    def _wait(self, timeout: float) -> int | None:
        if self.returncode is None and select.select([self._report], [], [], timeout)[0]:
            with self._report:
                self.returncode = int(self._report.readline())
        return self.returncode


class WarmPython:
    """Starts processes as `python -c` and `python -m` do, in which other packages than ours are imported.

    Use `processes.run_python` where the imports of these packages are tested, or limits of memory.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(SERVER), str(theirs.fileno())]
        with theirs:
            self._server = subprocess.Popen(
                command,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C ends it by way of the closed socket
            )
        self._socket = ours

    def close(self) -> None:
        self._socket.close()
        self._server.wait()

    def start(
        self, *command: object, cwd: Path = Path(), first_path: str = "", **environment: str
    ) -> WarmProcess:
        """Start a process with arguments of Python: a script, or `-c` or `-m` and what to run."""
        settings = settings_of(first_path, environment)
        return WarmProcess(self._socket, list(map(str, command)), Path(cwd).absolute(), settings)

    def run(self, *command: object, **options: Any) -> subprocess.CompletedProcess:
        """Run a process to its end; for the arguments see `start`."""
        process = self.start(*command, **options)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(list(map(str, command)), process.returncode or 0, stdout, stderr)
