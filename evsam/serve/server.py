"""Runs the application until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from evsam.errors import EvsamError
from evsam.sam import Sam
from evsam.serve.app import create_app
from evsam.serve.guard import JsonLines
from evsam.serve.settings import Settings
from evsam.writing import claimed_folder

_PATIENCE = 30  # seconds for requests that are being answered when the server is told to stop
_IDLE = 30  # seconds that a connection may be without a request
_CONNECTIONS = 1024


def serve(sam: Sam, settings: Settings, started: Callable[[str], None]) -> None:
    """Serve a model until SIGINT or SIGTERM, and finish what was accepted before.

    Args:
        sam: the model.
        settings: where, and what is allowed.
        started: called with the server's URL once it answers.

    Raises:
        EvsamError: it cannot start, for example because the port is taken, or the folder of sessions.
        OSError: a folder of the settings cannot be used.
    """
    config = uvicorn.Config(
        create_app(sam, settings),
        http=Connection,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=_PATIENCE,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=32 << 10,
    )
    server = _Server(config, started)
    ends = contextlib.suppress(KeyboardInterrupt, SystemExit)  # by which uvicorn ends
    with _claimed(settings.session_folder), _logging(), _quiet_stop(), ends:
        server.run()
    if not server.began:
        raise EvsamError(f"server: expected to start on {settings.host}:{settings.port}, got an error (see the log)")


class Connection(H11Protocol):
    """A connection that ends if no request comes on it in time.

    Uvicorn itself closes idle connections, but not those on which something comes that never becomes a whole head of a
    request, nor those whose request was answered before its body had come. The time of what follows a head is the
    guard's.

    Attributes:
        patience: seconds for the head of a request.
    """

    patience: float = _IDLE
    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._impatience = self.loop.call_later(self.patience, transport.close)

    def data_received(self, data: bytes) -> None:
        """Wait on, as long as no request is being answered; what comes meanwhile gives no more time."""
        super().data_received(data)
        if not getattr(self.cycle, "response_complete", True):  # before the first request there is no cycle
            self._wait_no_more()
        elif self._impatience is None:
            self._impatience = self.loop.call_later(self.patience, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """There is nothing to wait for."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait_no_more(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._tell = started
        self.began = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.began = True
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._tell(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


@contextlib.contextmanager
def _claimed(folder: Path | None) -> Iterator[None]:
    """The folder of sessions, if there is one, is this server's alone."""
    with contextlib.ExitStack() as stack:
        if folder is not None:
            try:
                stack.enter_context(claimed_folder(folder))
            except BlockingIOError as error:
                text = f"sessions: expected a folder that no other server uses, got {str(folder)!r}"
                raise EvsamError(text) from error
        yield


@contextlib.contextmanager
def _quiet_stop() -> Iterator[None]:
    """Uvicorn stops at SIGTERM, and sends it to itself again, which would end the process before it has cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Events of the server, and what uvicorn warns of, as lines of JSON on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    own, theirs = logging.getLogger("evsam.serve"), logging.getLogger("uvicorn.error")
    levels = own.level, theirs.level
    own.setLevel(logging.INFO)
    theirs.setLevel(logging.WARNING)
    for logger in (own, theirs):
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip((own, theirs), levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
