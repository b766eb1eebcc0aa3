"""The application: the page, its requests, and the guard before both."""

import threading
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib import resources

from fastapi import FastAPI
from fastapi.responses import Response

from moeisr_plugin.web.answers import add_error_handlers
from moeisr_plugin.web.guard import Guard
from moeisr_plugin.web.routes import make_routes
from moeisr_plugin.web.service import Service

STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("app", "server", "stage", "camera", "sources", "panel", "saving", "opening")
    },
}
"""Path, file and type of all that is served from disk. No path of a request is ever looked up there."""


def create_app(service: Service, *, host: str, allowed_hosts: Collection[str] = ()) -> Guard:
    """Return the ASGI application of a service.

    Args:
        service: what it serves.
        host: the address that the server listens on.
        allowed_hosts: further names of the server.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=service.sweep_regularly, daemon=True).start()
        yield
        service.close()

    # The pages that document requests would load scripts from elsewhere.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    add_error_handlers(app)
    for path, (file, kind) in STATIC.items():
        content = (resources.files("moeisr_plugin.web") / "static" / file).read_bytes()
        _serve(app, path, content, kind)
    app.include_router(make_routes(service))
    return Guard(app, host=host, allowed_hosts=allowed_hosts, limits=service.limits)


def _serve(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    async def static() -> Response:
        return Response(content, media_type=kind)

    app.add_api_route(path, static, methods=["GET"])
