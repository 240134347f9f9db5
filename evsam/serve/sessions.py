"""Trackers of clients, from request to request and, with a folder, from process to process.

Every request carries the number of those before it. What it changes is on the disk, whole, before it is answered, with
the answer itself: a request that is sent again because its answer got lost gets the same answer, and nothing happens
twice. A request that fails changes nothing. Files are named by a digest of the session's name, so no text of a request
ever becomes a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from evsam.errors import EvsamError
from evsam.serve.problems import Problem
from evsam.serve.scheduler import to_its_end
from evsam.serve.service import Service
from evsam.tracking import Tracker
from evsam.writing import replaced

Change: TypeAlias = Callable[[Tracker, int], bytes]

_FORMAT = "evsam.session.1"
_SUFFIX = ".session"


@dataclass(frozen=True)
class Saved:
    """A session between two requests.

    Attributes:
        revision: requests that were answered.
        digest: of the last one.
        answer: to it.
        state: of the tracker.
    """

    revision: int = 0
    digest: str = ""
    answer: bytes = b""
    state: bytes = b""

    def to_bytes(self) -> bytes:
        """As a file has it."""
        head = {
            "format": _FORMAT,
            "revision": self.revision,
            "digest": self.digest,
            "lengths": [len(self.answer), len(self.state)],
        }
        return json.dumps(head).encode() + b"\n" + self.answer + self.state

    @classmethod
    def from_bytes(cls, content: bytes) -> Saved:
        """What :meth:`to_bytes` wrote.

        Raises:
            ValueError: it is something else, or not whole.
        """
        line, _, rest = content.partition(b"\n")
        head = json.loads(line)
        if not isinstance(head, dict) or head.get("format") != _FORMAT or sum(head["lengths"]) != len(rest):
            raise ValueError("session: expected a whole file, got a damaged one")
        answer = head["lengths"][0]
        return cls(head["revision"], head["digest"], rest[:answer], rest[answer:])


@dataclass(eq=False)
class _Session:
    saved: Saved
    tracker: Tracker
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Sessions:
    """The sessions of a server. Its methods are called in one event loop.

    Args:
        service: has the model, its queue and the settings: how many sessions, how long, and where.

    Raises:
        OSError: the folder cannot be made or read.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._folder = service.settings.session_folder
        self._open: dict[str, _Session] = {}
        self._used: dict[str, float] = {}  # when each was asked for, those that are only on the disk too
        self._finding = asyncio.Lock()
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._used = {path.stem: path.stat().st_mtime for path in self._folder.glob(f"*{_SUFFIX}")}

    async def change(self, name: str, revision: int, digest: str, change: Change, caller: str) -> bytes:
        """Apply a request to a session, once; it goes on to its end even if whoever asked does not wait for it.

        Args:
            name: of the session, as the client chose it.
            revision: requests before this one; 0 begins a session.
            digest: of the request.
            change: does what the request says, and makes its answer; given the tracker and the next revision.
            caller: who asks.

        Raises:
            Problem: no such session, one that is elsewhere, or too many.
        """
        return await to_its_end(self._change(_key(name), revision, digest, change, caller))

    async def end(self, name: str) -> None:
        """Forget a session, if it is there, behind what it was told before."""
        await to_its_end(self._end(_key(name)))

    async def _end(self, key: str) -> None:
        session = self._open.get(key)
        async with contextlib.nullcontext() if session is None else session.lock:
            self._forget(key)

    async def _change(self, key: str, revision: int, digest: str, change: Change, caller: str) -> bytes:
        async with self._finding:
            session = await self._find(key, revision)
        async with session.lock:
            saved = session.saved
            if (saved.revision, saved.digest) == (revision + 1, digest):
                return saved.answer
            if saved.revision != revision:
                raise Problem(409, "revision", f"revision: expected {saved.revision}, got {revision}")

            def work() -> Saved:
                try:
                    answer = change(session.tracker, revision + 1)
                    new = Saved(revision + 1, digest, answer, session.tracker.state())
                    self._write(key, new)
                except BaseException:
                    session.tracker = self._tracker(saved)  # as it was: of several objects some may have been added
                    raise
                return new

            try:
                session.saved = await self._service.call(work, caller)
                self._open[key], self._used[key] = session, time.time()  # a first request that failed has forgotten it
            finally:
                if session.saved.revision == 0:
                    self._forget(key)
            return session.saved.answer

    async def _find(self, key: str, revision: int) -> _Session:
        session = self._open.get(key)
        if session is None:
            if key in self._used:
                session = await asyncio.to_thread(self._read, key)
            elif revision == 0:
                self._make_room()
                session = _Session(Saved(), Tracker(self._service.sam))
            else:
                raise Problem(404, "session", "session: expected one that has begun, got another; begin at revision 0")
            self._open[key] = session
        self._used[key] = time.time()
        self._service.metrics.sessions.set(len(self._used))
        return session

    def _make_room(self) -> None:
        now, limits = time.time(), self._service.settings
        for key, used in list(self._used.items()):
            busy = key in self._open and self._open[key].lock.locked()
            if now - used > limits.session_seconds and not busy:
                self._forget(key)
        if len(self._used) >= limits.sessions:
            oldest = limits.session_seconds - (now - min(self._used.values()))
            raise Problem(429, "sessions", f"sessions: expected fewer than {limits.sessions}, got as many", oldest)

    def _forget(self, key: str) -> None:
        self._open.pop(key, None)
        self._used.pop(key, None)
        if self._folder is not None:
            (self._folder / f"{key}{_SUFFIX}").unlink(missing_ok=True)
        self._service.metrics.sessions.set(len(self._used))

    def _read(self, key: str) -> _Session:
        assert self._folder is not None  # noqa: S101 - it is where the key came from
        try:
            saved = Saved.from_bytes((self._folder / f"{key}{_SUFFIX}").read_bytes())
            return _Session(saved, self._tracker(saved))
        except (OSError, ValueError, KeyError, TypeError, EvsamError) as error:
            raise Problem(
                404, "session", f"session: expected one of this model, got a file that is not ({error})"
            ) from error

    def _write(self, key: str, saved: Saved) -> None:
        if self._folder is not None:
            with replaced(self._folder / f"{key}{_SUFFIX}") as temporary:
                temporary.write_bytes(saved.to_bytes())

    def _tracker(self, saved: Saved) -> Tracker:
        return Tracker.restore(self._service.sam, saved.state) if saved.state else Tracker(self._service.sam)


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
