"""Run a command-line program: report errors in one line and handle interruption."""

import logging
import os
import select
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from moeisr_plugin.utils import interrupts
from moeisr_plugin.utils.early_signals import STATUS as INTERRUPTED
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.shortage import memory_shortage

DEBUG_HINT = " (--debug shows where)"
STDOUT_CLOSED = 141
"""Exit status if the reader of stdout has ended, as of a process that SIGPIPE ends (128 + 13)."""


def run_program(
    program: str,
    work: Callable[[], int],
    *,
    debug: bool,
    interrupted: str = "interrupted",
    hint: str = "",
    memory_remedy: str | None = None,
) -> int:
    """Run a program and turn exceptions into an exit status.

    Args:
        program: name of the program, for messages.
        work: the program. It returns the exit status.
        debug: raise exceptions instead of printing one line.
        interrupted: message after Ctrl-C or SIGTERM.
        hint: appended to the message of an error in the input.
        memory_remedy: what helps against a shortage of memory. By default the remedy for enlarging pictures.

    Returns:
        The exit status of `work`; 2 after an error in the input or a shortage of memory; 130 after an
        interruption; 141, without a message, if stdout is a pipe that was closed.
    """
    _mend_streams()
    with interrupts.interrupts_raised(program) as signals:
        try:
            with _log_on_stderr(program), warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="PIL")  # harmless, or followed by an error
                status = work()
            sys.stdout.flush()
            return status
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                raise
            if signals.received or isinstance(error, KeyboardInterrupt):
                _say(f"{program}: {interrupted}")
                return INTERRUPTED
            if isinstance(error, BrokenPipeError) and _stdout_is_closed():
                return STDOUT_CLOSED
            message = memory_shortage(error, memory_remedy)
            if message is None and not isinstance(error, ValueError | OSError):
                raise
            _say(f"{program}: {message or one_line(error) + hint}")
            return 2


def failure_of(error: Exception, source: Path) -> str | None:
    """Return a line on why one of several inputs failed, or None if the error is not of the input."""
    shortage = memory_shortage(error)
    if shortage is not None:
        return one_line(ValueError(f"{source}: {shortage}"))
    return one_line(error) if isinstance(error, ValueError | OSError | RuntimeError) else None


def _mend_streams() -> None:
    """Open streams that the caller closed, and let them print names that their encoding cannot express."""
    _occupy_standard_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # tqdm and others call its isatty()
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            with suppress(OSError):  # it flushes
                stream.reconfigure(errors="backslashreplace")


def _occupy_standard_descriptors() -> None:
    """Open descriptors 0 to 2 where they are closed. Otherwise a file gets what libraries print."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _say(message: str) -> None:
    with suppress(OSError):  # stderr is closed, too
        print(message, file=sys.stderr)


def _stdout_is_closed() -> bool:
    """Return whether the reader of stdout has ended. If so, discard what is still buffered."""
    try:
        sys.stdout.flush()
        is_closed = _lacks_a_reader(sys.stdout)
    except BrokenPipeError:
        is_closed = True
    if is_closed:
        discard_stdout()
    return is_closed


def _lacks_a_reader(stream: TextIO) -> bool:
    """Return whether a stream is a pipe without a reader. What was written to it is no longer buffered."""
    if not hasattr(select, "poll"):  # Windows
        return False
    pipe = select.poll()
    try:
        pipe.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError):  # it is no file
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in pipe.poll(0))


def discard_stdout() -> None:
    """Discard what is buffered for stdout and all that follows, because Python flushes it at its end."""
    with suppress(OSError, ValueError, AttributeError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _log_on_stderr(program: str) -> Iterator[None]:
    """Print the log of this package on stderr, as lines of the program."""
    log, handler = logging.getLogger("moeisr_plugin"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{program}: %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
