"""A server in a thread, on a port of its own, with nano."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import evsam

if TYPE_CHECKING:
    import httpx

    from evsam.sam import Sam

Serving = Callable[..., "AbstractContextManager[httpx.Client]"]


@pytest.fixture(scope="session")
def sam() -> Iterator[Sam]:
    with evsam.load("nano", threads=1) as model:
        yield model


@contextlib.contextmanager
def run_app(app: Any, **options: Any) -> Iterator[httpx.Client]:
    """A client of an application that a thread serves."""
    import httpx
    import uvicorn

    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, **options)
    server = uvicorn.Server(config)
    started = threading.Event()
    startup = server.startup

    async def begin(sockets: Any = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = begin  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(60)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(60)


@pytest.fixture(scope="session")
def serving(sam) -> Serving:
    """Serves nano with other settings."""
    pytest.importorskip("fastapi")
    from evsam.serve.app import create_app
    from evsam.serve.settings import Settings

    return lambda **settings: run_app(create_app(sam, Settings(**settings)))


@pytest.fixture(scope="module")
def server(serving) -> Iterator[httpx.Client]:
    """Serves nano with the default settings."""
    with serving() as client:
        yield client


@pytest.fixture(scope="session")
def pixels(photo) -> np.ndarray:
    return np.ascontiguousarray(photo("coffee.png")[::2, ::2])


@pytest.fixture(scope="session")
def png(pixels) -> bytes:
    return encoded(pixels)


@pytest.fixture(scope="session")
def image(png) -> str:
    """The photo as JSON has it."""
    return base64.b64encode(png).decode()


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()
