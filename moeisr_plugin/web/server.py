"""Serve an application on a port, until Ctrl-C."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from moeisr_plugin.web.guard import ANY_ADDRESS, App

_SECONDS_TO_END = 1
_SECONDS_FOR_HEADERS = 20
_LARGEST_HEADERS = 64 * 2**10
_CONNECTIONS = 512


class ImpatientProtocol(H11Protocol):
    """HTTP protocol that closes connections on which no request begins for a while."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(_SECONDS_FOR_HEADERS, self._close_without_request)

    def _close_without_request(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: an address or a name of this machine.
        port: the port; 0 for any that is free.

    Raises:
        ValueError: the address or the port cannot be used; one line with the remedy.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ValueError(f"--host {host}: {error.strerror}; give an address of this machine") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        remedy = "give another --port, or --port 0 for any" if port else "give an address of this machine"
        raise ValueError(
            f"{host}, port {port}: {(error.strerror or str(error)).lower()}; {remedy}"
        ) from error
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """Return the address of the page."""
    name = "127.0.0.1" if host in ANY_ADDRESS else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{listener.getsockname()[1]}/"


def serve(app: App, listener: socket.socket, *, started: Callable[[], object]) -> None:
    """Answer requests until a signal arrives.

    Raises:
        KeyboardInterrupt: the signal, after the server has ended.
    """

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",  # anybody can provoke its other lines
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_SECONDS_TO_END,
        h11_max_incomplete_event_size=_LARGEST_HEADERS,
    )
    with listener:
        Server(config).run([listener])
