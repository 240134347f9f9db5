"""The application: paths, the forms of errors, and what begins and ends with the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from evsam.errors import ImageError, PromptError
from evsam.sam import Sam
from evsam.serve import api
from evsam.serve.clips import Clips
from evsam.serve.fetching import Fetcher
from evsam.serve.guard import Guard
from evsam.serve.pages import make_router, read_pages
from evsam.serve.prewarming import newest_photos, prewarm
from evsam.serve.problems import Problem
from evsam.serve.protocols import cvat, kserve, label_studio, osam, x_anylabeling, x_anylabeling_video
from evsam.serve.service import Service
from evsam.serve.sessions import Sessions
from evsam.serve.settings import Settings

_CODES = {404: "path", 405: "method"}


def create_app(sam: Sam, settings: Settings | None = None) -> FastAPI:
    """An ASGI application that serves a model.

    Args:
        sam: the model; it stays the caller's to close.
        settings: limits; None for the defaults. A folder of sessions is one application's at a time.

    Raises:
        OSError: a folder of the settings cannot be used, or evsam's page not be read.
    """
    from evsam import __version__

    settings = settings or Settings()
    service = Service(sam, settings)

    ahead = newest_photos(settings.prewarm) if settings.prewarm is not None else []

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.sessions = Sessions(service)
        await service.start()
        warming = asyncio.create_task(prewarm(service, ahead)) if ahead else None
        yield
        if warming is not None:
            warming.cancel()
        app.state.clips.close()
        await service.stop()

    app = FastAPI(title="evsam", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.state.clips = Clips(settings, service.metrics)
    app.state.fetcher = Fetcher(settings)
    app.include_router(api.router)
    for protocol in (cvat, kserve, label_studio, osam, x_anylabeling, x_anylabeling_video):
        app.include_router(protocol.router)
    _add_watching(app, service)
    found = read_pages(settings)
    if found is not None:
        app.include_router(make_router(found))  # last: it takes every path that is left
    open_paths = found.open_paths if found is not None else frozenset()
    app.add_middleware(Guard, settings=settings, metrics=service.metrics, open_paths=open_paths)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ImageError, _refused)
    app.add_exception_handler(PromptError, _refused)
    app.add_exception_handler(Problem, _problem)
    return app


def _add_watching(app: FastAPI, service: Service) -> None:
    """Paths for those who watch over the server."""

    @app.get("/health", tags=["watching"])
    async def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "UP"}

    @app.get("/ready", tags=["watching"], responses={503: {"description": "not ready"}})
    async def ready(response: Response) -> dict[str, bool]:
        """Whether the model is loaded and requests are accepted."""
        response.status_code = 200 if service.ready else 503
        return {"ready": service.ready}

    @app.get("/metrics", tags=["watching"], response_class=Response)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - Starlette's types do not say so
    first = error.errors()[0]
    kind = request.headers.get("content-type", "")
    if first["loc"] == ("body",) and "json" not in kind:
        return Problem(415, "type", f"Content-Type: expected application/json, got {kind[:80]!r}").response()
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    message = f"{where or 'body'}: {first['msg']}"
    return Problem(422, "invalid", message[:500]).response()


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    answer = Problem(error.status_code, _CODES.get(error.status_code, "http"), str(error.detail)).response()
    answer.headers.update(error.headers or {})
    return answer


async def _refused(_: Request, error: Exception) -> JSONResponse:
    return Problem(422, "image" if isinstance(error, ImageError) else "prompt", str(error)).response()


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101
    return error.response()
