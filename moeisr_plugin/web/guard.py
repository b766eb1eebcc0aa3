"""Refuse requests of other sites, too many requests, and requests that are too large or too slow."""

import ipaddress
import json
import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import anyio
from starlette.exceptions import HTTPException

from moeisr_plugin.web.limits import Limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

UPLOAD_PATH = "/api/pictures"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY_ADDRESS = ("0.0.0.0", "::", "")

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Sent with every answer. The page loads nothing from elsewhere, and no other page may hold it."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?", re.ASCII)


class Guard:
    """Wrap an ASGI application.

    Args:
        app: the application.
        host: the address that the server listens on.
        allowed_hosts: further names of the server.
        limits: sizes, times and numbers.
    """

    def __init__(self, app: App, *, host: str, allowed_hosts: Collection[str], limits: Limits) -> None:
        self._app = app
        self._names = {*LOOPBACK, host.lower(), *(name.lower() for name in allowed_hosts)}
        self._accepts_addresses = host in ANY_ADDRESS
        self._limits = limits
        self._running = 0
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it in one line."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        guarded = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(guarded, *refusal)
            return
        is_upload = _is_upload(scope)
        self._running += 1
        self._uploads += is_upload
        try:
            await self._app(scope, _Body(receive, self._limits, is_upload=is_upload).receive, guarded)
        finally:
            self._running -= 1
            self._uploads -= is_upload

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return a status and a line if a request is refused before it is read."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_known(hosts[0]):
            return 421, "the request names another host; open the address that moeisr web prints"
        origins = _values(scope, b"origin")
        if origins and origins != [f"{scope.get('scheme', 'http')}://{hosts[0]}"]:
            return 403, "the request comes from another site; open the page of moeisr web itself"
        if scope["path"] != "/" and {*_values(scope, b"sec-fetch-site")} - {"same-origin", "none"}:
            return 403, "the request comes from another site; open the page of moeisr web itself"
        if self._running >= self._limits.requests:
            return 503, "too many requests at a time; try again in a moment"
        if _is_upload(scope) and self._uploads >= self._limits.uploads:
            return 503, "too many uploads at a time; try again in a moment"
        lengths = _values(scope, b"content-length")
        if lengths and not (lengths[0].isascii() and lengths[0].isdigit() and len(lengths) == 1):
            return 400, "the length of the request is no number; send it again"
        if lengths and (len(lengths[0]) > 15 or int(lengths[0]) > _most(scope, self._limits)):
            return _too_large(_most(scope, self._limits))
        return None

    def _is_known(self, host: str) -> bool:
        """Return whether a Host header names this server.

        An address cannot be rebound to another site by its DNS entry, so any is accepted on a server that
        listens on all of them.
        """
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match[1].strip("[]")
        return name in self._names or (self._accepts_addresses and _is_address(name))


class _Body:
    """The body of a request, limited in size and time."""

    def __init__(self, receive: Receive, limits: Limits, *, is_upload: bool) -> None:
        self._receive = receive
        self._most = limits.upload_bytes if is_upload else limits.body_bytes
        self._deadline = time.monotonic() + limits.body_seconds
        self._read = 0
        self._is_complete = False

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            HTTPException: the body is too large, or takes too long.
        """
        if self._is_complete:  # what comes is the end of the connection
            return await self._receive()
        try:
            with anyio.fail_after(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the request takes too long; try again on a faster connection") from None
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            raise HTTPException(*_too_large(self._most))
        self._is_complete = not message.get("more_body", False)
        return message


def _is_upload(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] == UPLOAD_PATH


def _most(scope: Scope, limits: Limits) -> int:
    return limits.upload_bytes if _is_upload(scope) else limits.body_bytes


def _too_large(most: int) -> tuple[int, str]:
    return 413, f"the request is larger than {most} bytes; send a smaller file, or start with --max-upload"


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {key.lower() for key, _ in message["headers"]}
            added = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
            message = {
                **message,
                "headers": [*message["headers"], *(pair for pair in added if pair[0] not in present)],
            }
        await send(message)

    return guarded


async def _refuse(send: Send, status: int, line: str) -> None:
    body = json.dumps({"error": line}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
