"""`moeisr web`: a page in the browser that enlarges a picture while one zooms into it."""

import argparse
import contextlib
import importlib
import os
import webbrowser
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moeisr_plugin.commands.counts import parse_positive
from moeisr_plugin.commands.devices import add_device, add_threads, chosen_device, use_threads
from moeisr_plugin.commands.networks import ADVICE

if TYPE_CHECKING:
    from moeisr_plugin.web.limits import Limits
    from moeisr_plugin.web.service import Service

DESCRIPTION = """Show a page in the browser that enlarges a picture while you zoom into it, compares networks,
shows which expert computes which pixel, and saves the result. The page and all computations stay on this
machine. Needs the extra "web"."""

DEFAULT_NETWORK = "MoEISR_LIIF_s"
"""The network that is chosen at first: nearly the best quality, and fast enough to zoom with."""

PACKAGES = ("fastapi", "uvicorn")
MINUTE = 60
SECONDS_TO_END = 1.0
MEGAPIXEL = 1_000_000
MEGABYTE = 2**20


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "web", help="zoom into a picture in the browser, and save what you see", description=DESCRIPTION
    )
    parser.add_argument(
        "picture",
        nargs="?",
        type=Path,
        metavar="PICTURE",
        help="picture to begin with (default: the page asks)",
    )
    parser.add_argument(
        "-n",
        "--network",
        metavar="NETWORK",
        help="network to begin with: a name that moeisr networks lists, or a file (default: "
        f"{DEFAULT_NETWORK})",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    _add_server(parser.add_argument_group("server"))
    computation = parser.add_argument_group("computation")
    add_device(computation)
    add_threads(computation)
    return parser


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on. With another than the default, everybody who reaches this machine can "
        "use the page (default: %(default)s, this machine alone)",
    )
    group.add_argument(
        "--port",
        type=_parse_port,
        default=8000,
        metavar="N",
        help="port to listen on; 0 for any that is free (default: %(default)s)",
    )
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which browsers reach the page; repeatable",
    )
    group.add_argument(
        "--max-upload",
        type=parse_positive,
        metavar="N",
        help="limit of an uploaded file in megabytes (default: 64)",
    )
    group.add_argument(
        "--max-pixels",
        type=parse_positive,
        metavar="N",
        help="limit of a picture in pixels (default: 24 million)",
    )
    group.add_argument(
        "--forget-after",
        type=parse_positive,
        metavar="N",
        help="minutes after which a picture that nobody uses is forgotten (default: 30)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C.

    Returns:
        0.

    Raises:
        ValueError: a package is not installed, or the picture, the network or the address cannot be used.
    """
    try:
        for name in PACKAGES:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f'the page needs {error.name}, which is not installed; pip install ".[web]" installs it'
        ) from error
    from moeisr_plugin.utils.atomic import scratch_folder

    with scratch_folder() as folder:
        service = _service(args, folder)
        with contextlib.suppress(KeyboardInterrupt):
            _serve(args, service)
    print("moeisr web: ended", flush=True)
    if not service.turns.wait_until_idle(SECONDS_TO_END):
        # Torch aborts a process whose Python ends within a computation of another thread.
        os._exit(0)
    return 0


def _service(args: argparse.Namespace, folder: Path) -> "Service":
    from moeisr_plugin.commands.page_files import fit
    from moeisr_plugin.web.limits import Limits
    from moeisr_plugin.web.networks import Networks
    from moeisr_plugin.web.service import Service

    limits = _limits(args, Limits())
    device = chosen_device(args)
    use_threads(args.threads)
    network, files = _networks(args.network)
    networks = Networks(files, notes=ADVICE, device=device, held=limits.networks)
    if args.network is not None:
        networks.get(network, "float32")  # a file that cannot be used is an error at once
    service = Service(
        networks,
        network=network,
        folder=folder,
        fit=partial(fit, max_pixels=limits.output_pixels),
        limits=limits,
    )
    if args.picture is not None:
        service.open_file(args.picture)
    return service


def _serve(args: argparse.Namespace, service: "Service") -> None:
    from moeisr_plugin.web.app import create_app
    from moeisr_plugin.web.server import address_of, bind, serve

    listener = bind(args.host, args.port)
    address = address_of(listener, args.host)

    def started() -> None:
        print(f"moeisr web: {address} (Ctrl-C ends it)", flush=True)
        if args.open:
            webbrowser.open(address)

    app = create_app(service, host=args.host, allowed_hosts=args.allow_host)
    serve(app, listener, started=started)


def _limits(args: argparse.Namespace, limits: "Limits") -> "Limits":
    given = {
        "upload_bytes": args.max_upload and args.max_upload * MEGABYTE,
        "pixels": args.max_pixels,
        "idle_seconds": args.forget_after and float(args.forget_after * MINUTE),
    }
    return replace(limits, **{name: value for name, value in given.items() if value is not None})


def _networks(given: str | None) -> tuple[str, dict[str, Path]]:
    """Return the name of the network to begin with, and the file of each that the page offers."""
    from moeisr_plugin.checkpoints.bundled import bundled_weights

    files = bundled_weights()
    if given is None or given in files:
        name = given or DEFAULT_NETWORK
        first = {name: files[name]}
    else:
        name = Path(given).stem
        first = {name: Path(given)}
    return name, {**first, **{key: path for key, path in files.items() if key not in first}}


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"'{text}' is not a port; give a number from 0 to 65535")
    return int(text)
