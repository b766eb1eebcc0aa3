"""End a program of this package at once on Ctrl-C, SIGTERM and SIGHUP, from its first moment.

Until these handlers are installed, Python prints a traceback on Ctrl-C. So this module imports only what
Python has loaded before it runs a program.
"""

import os
import sys

try:
    # Built in. The module `signal` imports `enum`, which takes longer than all that is here.
    import _signal as signal  # pyright: ignore[reportMissingImports]
except ImportError:  # an interpreter other than CPython
    import signal

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
STATUS = 130
"""Exit status after an interruption."""


def end_program_on_signals() -> None:
    """Install handlers that end a program of this package at once; do nothing in other processes.

    Signals that are ignored, as by nohup, or that have a handler stay as they are.
    """
    program = _program()
    if program is None:
        return
    owner = os.getpid()

    def end(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a forked data worker
            raise KeyboardInterrupt
        end_at_once(program)

    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)


def end_at_once(program: str) -> None:
    """Print one line and end the process without cleanup."""
    try:
        os.write(2, f"{program}: interrupted\n".encode(errors="backslashreplace"))
    finally:  # also if stderr is closed
        os._exit(STATUS)


def _program() -> str | None:
    """Return the name of the program that this process runs, or None if it is not of this package."""
    first = (getattr(sys, "argv", None) or [""])[0]
    if first != "-m":  # so it is while Python looks for the module that -m names
        name = os.path.splitext(os.path.basename(first))[0]
        return name if name == "moeisr" else None
    words = sys.orig_argv
    place = next((i for i, word in enumerate(words) if word.startswith("-m")), None)
    if place is None:
        return None
    module = words[place][2:] or "".join(words[place + 1 : place + 2])
    package, _, name = module.partition(".")
    if package != "moeisr_plugin":
        return None
    return "moeisr" if name == "cli" else name
