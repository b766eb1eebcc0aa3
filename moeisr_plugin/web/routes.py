"""The requests that the page makes."""

import asyncio
import json
import threading
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from moeisr_plugin.web import views
from moeisr_plugin.web.answers import facts_of
from moeisr_plugin.web.files import Order
from moeisr_plugin.web.refused import StoppedError
from moeisr_plugin.web.service import Service
from moeisr_plugin.web.shown import png_of

_PREVIEW_PIXELS = 4_000_000
_THUMBNAIL = (192, 128)
_SECONDS_BETWEEN_CHECKS = 0.1

Word = Annotated[str, Query(max_length=80)]
Window = Annotated[str, Query(max_length=200)]
Budget = Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[int, Query(ge=0, le=2**53)]


class Making(BaseModel):
    """A network that shall encode a picture."""

    model_config = ConfigDict(extra="forbid", strict=True)

    network: str = Field(max_length=80)
    precision: str = Field(max_length=20)


class FileWanted(Making):
    """A file to make."""

    width: int = Field(ge=1, le=1_000_000)
    height: int = Field(ge=1, le=1_000_000)
    suffix: Literal["png", "tiff", "jpg"]
    quality: int | None = Field(default=None, ge=1, le=100)
    budget: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


def make_routes(service: Service) -> APIRouter:
    """Return the requests that a service answers."""
    router = APIRouter(prefix="/api")
    _add_pictures(router, service)
    _add_views(router, service)
    _add_files(router, service)
    return router


def _add_pictures(router: APIRouter, service: Service) -> None:
    @router.get("/start")
    async def start() -> dict[str, Any]:
        first = service.first_picture()
        return {
            "networks": service.networks.facts,
            "network": service.network,
            "precisions": service.networks.precisions,
            "device": service.networks.device,
            "samples": list(service.samples),
            "picture": facts_of(first) if first is not None else None,
            "megapixels": service.limits.pixels / 1e6,
            "view_pixels": service.limits.view_pixels,
            "output_pixels": service.limits.output_pixels,
        }

    @router.post("/pictures")
    async def upload(request: Request, name: Annotated[str, Query(max_length=500)] = "") -> dict[str, Any]:
        data = b"".join([part async for part in request.stream()])
        return facts_of(await run_in_threadpool(service.open_upload, name, data))

    @router.post("/samples/{name}")
    def open_sample(name: str) -> dict[str, Any]:
        return facts_of(service.open_sample(name))

    @router.get("/samples/{name}")
    def thumbnail(name: str) -> Response:
        with Image.open(service.sample_file(name)) as image:
            small = image.convert("RGB")
        scale = max(_THUMBNAIL[0] / small.width, _THUMBNAIL[1] / small.height)
        small = small.resize((round(small.width * scale), round(small.height * scale)))
        top = (small.height - _THUMBNAIL[1]) // 4  # faces are above the middle
        left = (small.width - _THUMBNAIL[0]) // 2
        cut = small.crop((left, top, left + _THUMBNAIL[0], top + _THUMBNAIL[1]))
        return _png(np.asarray(cut))

    @router.get("/pictures/{key}")
    def facts(key: str) -> dict[str, Any]:
        return facts_of(service.pictures.get(key))

    @router.delete("/pictures/{key}")
    def forget(key: str) -> dict[str, Any]:
        service.pictures.forget(key)
        service.drop_forgotten()
        return {}

    @router.get("/pictures/{key}/preview")
    def preview(key: str) -> Response:
        shown = service.pictures.get(key).shown
        reduction = (shown.shape[0] * shown.shape[1] / _PREVIEW_PIXELS) ** 0.5
        if reduction > 1:
            height, width = (max(1, round(n / reduction)) for n in shown.shape[:2])
            shown = np.asarray(Image.fromarray(shown).resize((width, height), Image.Resampling.BOX))
        return _png(shown)


def _add_views(router: APIRouter, service: Service) -> None:
    @router.post("/pictures/{key}/encoding")
    def encode(key: str, making: Making) -> dict[str, Any]:
        held = service.pictures.get(key)
        return service.encodings.start(held, making.network, making.precision)

    @router.get("/pictures/{key}/encoding")
    def progress(key: str, network: Word, precision: Word) -> dict[str, Any]:
        return service.encodings.progress(service.pictures.get(key), network, precision)

    @router.get("/pictures/{key}/plain")
    def plain(key: str, method: Literal["nearest", "bicubic"], window: Window, size: Word) -> Response:
        held = service.pictures.get(key)
        view = views.parse_view(window, size, held, service.limits)
        return _png(views.plain_view(held, view, method))

    @router.get("/pictures/{key}/view")
    async def network_view(
        request: Request,
        key: str,
        network: Word,
        precision: Word,
        window: Window,
        size: Word,
        budget: Budget = None,
        page: Word = "",
        side: Literal["left", "right"] = "right",
        number: Number = 0,
    ) -> Response:
        held = service.pictures.get(key)
        view = views.parse_view(window, size, held, service.limits)
        service.newest.announce(page, side, number)
        is_gone = threading.Event()

        def is_stale() -> bool:
            return is_gone.is_set() or service.has_ended or service.newest.is_older(page, side, number)

        def render() -> Response:
            if is_stale():
                raise StoppedError
            routed = service.encodings.routed(held, network, precision, budget)
            with service.turns.urgent():
                pixels, seconds = views.network_view(held, routed, view, is_stale)
            return _png(pixels, milliseconds=round(1000 * seconds))

        try:
            return await _unless_gone(request, is_gone, service.run_renderer(render))
        except StoppedError:
            return Response(status_code=204)

    @router.get("/pictures/{key}/cost")
    def cost(
        key: str, network: Word, precision: Word, window: Window, size: Word, budget: Budget = None
    ) -> dict[str, Any]:
        held = service.pictures.get(key)
        view = views.parse_view(window, size, held, service.limits)
        return service.costs.of(held, service.encodings.routed(held, network, precision, budget), view)

    @router.get("/pictures/{key}/map")
    def expert_map(
        key: str, network: Word, precision: Word, window: Window, budget: Budget = None
    ) -> Response:
        held = service.pictures.get(key)
        edges = views.parse_window(window, held)
        routed = service.encodings.routed(held, network, precision, budget)
        png, shown = views.map_view(held, routed, edges, service.limits)
        return Response(png, media_type="image/png", headers={"x-facts": json.dumps({"window": shown})})


def _add_files(router: APIRouter, service: Service) -> None:
    @router.post("/pictures/{key}/files")
    def make_file(key: str, wanted: FileWanted) -> dict[str, Any]:
        held = service.pictures.get(key)
        routed = service.encodings.routed(held, wanted.network, wanted.precision, wanted.budget)
        order = Order(wanted.width, wanted.height, wanted.suffix, wanted.quality)
        return service.files.start(held, routed, order)

    @router.get("/files/{key}")
    def progress(key: str) -> dict[str, Any]:
        return service.files.progress(key)

    @router.delete("/files/{key}")
    def remove(key: str) -> dict[str, Any]:
        service.files.remove(key)
        return {}

    @router.get("/files/{key}/content")
    def content(key: str) -> FileResponse:
        path = service.files.path(key)
        return FileResponse(path, filename=path.name)


async def _unless_gone(
    request: Request, is_gone: threading.Event, work: "asyncio.Future[Response]"
) -> Response:
    """Await a computation. Set `is_gone` when the client closes the connection, so that it can end."""
    try:
        while True:
            done, _ = await asyncio.wait([work], timeout=_SECONDS_BETWEEN_CHECKS)
            if done:
                return work.result()
            if await request.is_disconnected():
                is_gone.set()
    except asyncio.CancelledError:
        is_gone.set()
        raise


def _png(pixels: np.ndarray, **facts: Any) -> Response:
    return Response(png_of(pixels), media_type="image/png", headers={"x-facts": json.dumps(facts)})
