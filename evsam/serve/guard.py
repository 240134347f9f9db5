"""What every request has to pass before anything looks at it, and what every answer carries.

A request is read whole here, within limits of bytes and time, so nothing behind has to think of bodies that never end.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import Coroutine
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evsam.serve.metrics import Metrics
from evsam.serve.problems import Problem, stopping
from evsam.serve.settings import Settings

_OPEN_PATHS = ("/health", "/ready", "/v2/health/live", "/v2/health/ready")
"""For those who watch over the server, and have no token."""

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content security policies: of answers that are data, and of the page, which runs its own scripts and no others."""

_HEADERS = {
    "content-security-policy": API_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

_log = logging.getLogger("evsam.serve")


class Guard:
    """The outermost layer of the application.

    Args:
        app: what is behind it.
        settings: limits and secrets.
        metrics: told of every request.
        open_paths: that need no token, besides those for who watches over the server.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, open_paths: frozenset[str] = frozenset()
    ) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._open_paths = open_paths.union(_OPEN_PATHS)
        self._body_bytes = 0  # of all requests that are read or answered now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, send)
        try:
            await self._in_time(request, self._answer(request, receive))
        except asyncio.TimeoutError:
            seconds = self._settings.seconds
            await request.refuse(Problem(504, "timeout", f"request: expected to be done in {seconds:g} s, got longer"))
        except asyncio.CancelledError:  # the server stops, and this took longer than its patience
            await request.refuse(stopping())
        except Problem as problem:
            self._metrics.refused.labels(problem.code).inc()
            await request.refuse(problem)
        except Exception:  # noqa: BLE001 - the last place where an answer can be given
            _log.exception("failed", extra={"fields": {"request": request.id}})
            await request.refuse(Problem(500, "internal", f"server: expected to answer, got an error ({request.id})"))
        finally:
            self._body_bytes -= request.reserved
            self._note(request)

    async def _in_time(self, request: _Request, answering: Coroutine[Any, Any, None]) -> None:
        """Answer, or fail; of an answer in pieces each has the time that others have as a whole."""
        task = asyncio.ensure_future(answering)
        try:
            while not task.done():
                left = request.moved + self._settings.seconds - time.perf_counter()
                if left <= 0:
                    raise asyncio.TimeoutError
                await asyncio.wait({task}, timeout=left)
            task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.exception()  # retrieved: the answer is that it took too long

    async def _answer(self, request: _Request, receive: Receive) -> None:
        headers = dict(request.scope["headers"])
        self._check_name(headers)
        if request.scope["path"] not in self._open_paths:
            self._check_token(headers)
        body = await self._read(request, headers, receive)
        if body is None:
            return
        request.received = len(body)
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(request.scope, replay, request.send)

    def _check_name(self, headers: dict[bytes, bytes]) -> None:
        names = self._settings.answered_names
        host = headers.get(b"host", b"").decode("latin-1")
        name = host[: host.find("]") + 1].strip("[]") if host.startswith("[") else host.partition(":")[0]
        if names is not None and name.lower() not in names:
            raise Problem(421, "host", f"host: expected one of {', '.join(names)}, got {host[:80]!r}")

    def _check_token(self, headers: dict[bytes, bytes]) -> None:
        if self._settings.token is None:
            return
        expected = self._settings.token.encode()
        if not any(hmac.compare_digest(given, expected) for given in _tokens(headers)):
            raise Problem(401, "token", "token: expected the server's, got none or another")

    async def _read(self, request: _Request, headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
        """The body; None where whoever sends it is gone."""
        parts: list[bytes] = []
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._settings.body_bytes:
            raise self._too_large()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            self._reserve(request, len(part))  # as it comes: who only promises bytes takes no room from others
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    def _reserve(self, request: _Request, size: int) -> None:
        limits = self._settings
        if request.reserved + size > limits.body_bytes:
            raise self._too_large()
        if self._body_bytes + size > limits.all_body_bytes:
            raise Problem(429, "busy", f"bodies: expected at most {limits.all_body_bytes} bytes at a time, got more", 1)
        request.reserved += size
        self._body_bytes += size

    def _too_large(self) -> Problem:
        return Problem(413, "too_large", f"body: expected at most {self._settings.body_bytes} bytes, got more")

    def _note(self, request: _Request) -> None:
        """Count the request and log it."""
        seconds = time.perf_counter() - request.begin
        path = request.path()
        self._metrics.requests.labels(path, str(request.status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        client = request.scope.get("client")
        fields = {
            "request": request.id,
            "method": request.scope["method"],
            "path": path,
            "status": request.status,
            "seconds": round(seconds, 4),
            "received": request.received,
            "sent": request.sent,
            "caller": client[0] if client else "",
        }
        _log.info("answered", extra={"fields": fields})


class _Request:
    """A request and what becomes of it; sends answers with the headers that all of them have.

    Attributes:
        moved: when it began, or the last piece of its answer was taken.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.id = uuid.uuid4().hex
        self.begin = self.moved = time.perf_counter()
        self.reserved = self.received = self.sent = self.status = 0

    def path(self) -> str:
        """The path's pattern, of which there are few, unlike paths."""
        return getattr(self.scope.get("route"), "path", "(other)")

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            there = {name for name, _ in message["headers"]}
            extra = {**_HEADERS, "x-request-id": self.id}
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in extra.items() if name.encode() not in there),
            ]
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)
        self.moved = time.perf_counter()

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem, unless another answer has begun."""
        if not self.status:
            await problem.response()(self.scope, _nothing, self.send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _tokens(headers: dict[bytes, bytes]) -> list[bytes]:
    """Where clients put a token: ``Authorization: Bearer``, the password of ``Basic``, X-AnyLabeling's ``Token``."""
    found = []
    scheme, _, value = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == b"bearer":
        found.append(value.strip())
    elif scheme.lower() == b"basic":
        with contextlib.suppress(binascii.Error):
            found.append(base64.b64decode(value, validate=True).partition(b":")[2])
    if b"token" in headers:
        found.append(headers[b"token"])
    return found


class JsonLines(logging.Formatter):
    """A line of JSON for each event."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)
