"""Standard input and output of `moeisr upscale`, both written as ``-``."""

import argparse
import contextlib
import copy
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from moeisr_plugin.commands.inputs import names_several
from moeisr_plugin.commands.jobs import names_file
from moeisr_plugin.commands.programs import discard_stdout
from moeisr_plugin.pictures import (
    Header,
    Picture,
    decode_header,
    decode_picture,
    errors_with_path,
)
from moeisr_plugin.utils.arguments import parse_path
from moeisr_plugin.utils.atomic import scratch_folder
from moeisr_plugin.utils.regular_files import require_file

STANDARD = "-"
STDIN = Path(STANDARD)
STDIN_NAME = "standard input"


def parse_input(text: str) -> Path:
    """Parse an input. A file of the name ``-`` in the current folder is ``./-``.

    Raises:
        argparse.ArgumentTypeError: the text is empty.
    """
    path = parse_path(text)
    return path.absolute() if path == STDIN and text != STANDARD else path


def name_of(source: Path) -> str:
    """Return the name of an input for messages."""
    return STDIN_NAME if source == STDIN else str(source)


def read_input(
    source: Path, *, max_pixels: int, check: Callable[[Header], None], accept_truncated: bool = False
) -> Picture:
    """Read a picture from a file or from standard input.

    Args:
        source: the file, or `STDIN`.
        max_pixels: see `decode_picture`.
        check: called before decoding. It may raise ValueError.
        accept_truncated: see `decode_picture`.

    Raises:
        PictureError: the picture cannot be read.
    """
    with errors_with_path(name_of(source)), contextlib.ExitStack() as stack:
        if source == STDIN:
            file = io.BytesIO(sys.stdin.buffer.read() if sys.stdin else b"")
        else:
            require_file(source)
            file = stack.enter_context(open(source, "rb"))
        check(decode_header(file, max_pixels=max_pixels))
        return decode_picture(file, max_pixels=max_pixels, accept_truncated=accept_truncated)


@contextlib.contextmanager
def streams_as_files(args: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """Replace ``-o -`` by a temporary file, and copy it to standard output when all is done.

    Meanwhile nothing else is printed on standard output. So after an error it has no part of a picture.

    Args:
        args: the arguments of `moeisr upscale`.

    Yields:
        The arguments for writing to files.

    Raises:
        ValueError: ``-`` cannot be used with the other arguments, standard output is closed or cannot be
            written, or its reader ends before the end of the picture.
    """
    _check_streams(args)
    if args.out != STANDARD:
        yield args
        return
    args = copy.copy(args)
    with scratch_folder() as folder:
        picture = folder / f"picture.{args.format or 'png'}"
        args.out = str(picture)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield args
        except ValueError as error:
            message = (
                str(error).replace(str(picture), "standard output").replace(str(folder), str(folder.parent))
            )
            raise ValueError(message) from error
        _copy_to_stdout(picture)


def _copy_to_stdout(picture: Path) -> None:
    try:
        with open(picture, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        discard_stdout()
        raise ValueError("standard output: its reader ended before the picture; give -o FILE") from error
    except OSError as error:
        discard_stdout()
        raise ValueError(f"standard output: {error.strerror or error}; give -o FILE") from error


def _check_streams(args: argparse.Namespace) -> None:
    from_stdin = STDIN in args.inputs
    if from_stdin and len(args.inputs) > 1:
        raise ValueError("- (standard input) is one picture; enlarge the other inputs in another run")
    if from_stdin and (args.out is None or not (args.out == STANDARD or names_file(args.out))):
        raise ValueError("- (standard input) has no name; give -o FILE, or -o - for standard output")
    if args.out != STANDARD:
        return
    if len(args.inputs) > 1 or names_several(args.inputs[0]):
        raise ValueError("-o - (standard output) takes one picture; give a folder for several")
    if args.expert_map:
        raise ValueError("-o - (standard output) takes one picture; omit --expert-map, or give -o FILE")
    if sys.__stdout__ is None:  # so it stays, although `sys.stdout` is replaced
        raise ValueError("-o - (standard output) is closed; redirect it to a file, or give -o FILE")
    if sys.stdout is not None and sys.stdout.isatty():
        raise ValueError(
            "-o - would print a picture on the terminal; redirect standard output, or give -o FILE"
        )
