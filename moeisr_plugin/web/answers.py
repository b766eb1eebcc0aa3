"""Answers: facts of pictures and networks as JSON, and errors in one line."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from moeisr_plugin.utils.messages import one_line, printable
from moeisr_plugin.utils.shortage import memory_shortage
from moeisr_plugin.web.held_pictures import HeldPicture

_LOG = logging.getLogger(__name__)
_REFUSED = 400
_FAILED = 500


def facts_of(held: HeldPicture) -> dict[str, Any]:
    """Return what the page shows about a picture."""
    height, width = held.size
    pixels = held.picture.pixels
    return {
        "key": held.key,
        "name": held.name,
        "width": width,
        "height": height,
        "bits": 8 * pixels.itemsize,
        "alpha": held.picture.has_alpha,
        "profile": held.picture.icc_profile is not None,
        "note": held.picture.note,
    }


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with ``{"error": line}``."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        return _answer(error, getattr(error, "status", _REFUSED))

    async def of_form(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return JSONResponse({"error": _first_fault(error)}, 422)

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        _LOG.error("%s %s: %s", request.method, printable(request.url.path), one_line(error))
        return _answer(error, _FAILED)

    async def gone(request: Request, error: Exception) -> JSONResponse:
        return _answer(error, _REFUSED)

    app.add_exception_handler(ValueError, refused)
    app.add_exception_handler(Exception, failed)
    for kind in (OSError, RuntimeError, MemoryError):  # so that the server does not raise them again
        app.add_exception_handler(kind, failed)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(RequestValidationError, of_form)
    app.add_exception_handler(HTTPException, of_http)


def _answer(error: Exception, status: int) -> JSONResponse:
    return JSONResponse({"error": memory_shortage(error) or one_line(error)}, status)


def _first_fault(error: RequestValidationError) -> str:
    """Return a line on the first fault, without what was sent, which may be anything."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"][1:])
    reason = str(fault["msg"])
    return one_line(ValueError(f"{place}: {reason}" if place else reason))
