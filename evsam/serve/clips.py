"""Sequences of frames that a client has sent whole, and the objects that it showed in them.

They live in memory, within limits of bytes and number; an idle one ends by itself. Its name is made here and not to be
guessed: who knows it may use it. Frames stay encoded, and objects are followed by a tracker of their own in each pass,
so that two passes, or a prompt while one is under way, are not in each other's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from evsam.serve.metrics import Metrics
from evsam.serve.photos import Photo
from evsam.serve.problems import Problem
from evsam.serve.settings import Settings

_PASSES = 2  # through a sequence at a time


@dataclass(frozen=True)
class Shown:
    """An object as it was shown in a frame.

    Attributes:
        prompt: arguments of :meth:`evsam.Tracker.add`.
        params: how its outlines are made.
        answer: what the client was told of it.
    """

    prompt: dict[str, Any]
    params: Any
    answer: list[Any]


@dataclass(eq=False)
class Task:
    """A pass through the frames that no request waits for.

    Attributes:
        name: by which it is asked for.
        count: of the frames that it goes through.
        status: ``processing``, ``completed``, ``failed`` or ``cancelled``.
        done: frames that it went through.
        current: number of the last one, as the client counts.
        found: JSON of each frame.
        error: why it failed.
        running: what does it.
    """

    name: str
    count: int
    status: str = "processing"
    done: int = 0
    current: int = 0
    found: list[bytes] = field(default_factory=list)
    error: str = ""
    running: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """End it, if it has not ended."""
        if self.status == "processing":
            self.status = "cancelled"
        if self.running is not None:
            self.running.cancel()


@dataclass(eq=False)
class Clip:
    """A sequence of frames.

    Attributes:
        name: by which it is asked for.
        owner: who sent it.
        frames: encoded.
        sent: bytes of all frames.
        first: number of the first frame, as the client counts.
        shown: by number of the object and index of the frame.
        found: bytes of what was found in its frames and is kept.
        passes: that are under way.
        task: the last pass that no request waits for.
        used: when it was asked for last.
    """

    name: str
    owner: str
    frames: Sequence[Photo]
    sent: int
    first: int
    shown: dict[int, dict[int, Shown]] = field(default_factory=dict)
    found: int = 0
    passes: int = 0
    task: Task | None = None
    used: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return self.sent + self.found

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """While a pass is, the sequence does not end to make room.

        Raises:
            Problem: there are too many.
        """
        if self.passes >= _PASSES:
            raise Problem(429, "busy", f"propagate: expected at most {_PASSES} at a time in a session, got more", 1.0)
        self.passes += 1
        try:
            yield
        finally:
            self.passes -= 1
            self.used = time.monotonic()


class Clips:
    """The sequences of a server. Its methods are called in one event loop.

    Args:
        settings: how many, how large and how long.
        metrics: told what is kept.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._kept: dict[str, Clip] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, frames: Sequence[Photo], first: int, owner: str) -> Clip:
        """Keep a sequence.

        Raises:
            Problem: there is no room for it.
        """
        limits, size = self._settings, sum(len(frame.content) for frame in frames)
        clip = Clip(secrets.token_urlsafe(24), owner, frames, size, first)
        if size > limits.clip_bytes:
            text = f"frames: expected at most {limits.clip_bytes} bytes in all, got {size}"
            raise Problem(413, "too_large", text)
        own = sorted((one for one in self._kept.values() if one.owner == owner), key=lambda one: one.used)
        idle = [one for one in own if not one.passes]
        while idle and (len(own) >= limits.clips_each or not self._has_room(size)):
            own.remove(idle[0])
            self.end(idle.pop(0).name)
        if len(own) >= limits.clips_each or not self._has_room(size):
            oldest = min((one.used for one in self._kept.values()), default=0.0)
            wait = limits.session_seconds - (time.monotonic() - oldest)
            raise Problem(429, "sessions", "sessions: expected room for another sequence of frames, got none", wait)
        self._kept[clip.name] = clip
        self._changed()
        if self._timer is None:
            self._wake()
        return clip

    def get(self, name: str) -> Clip:
        """A sequence, which counts as used now.

        Raises:
            Problem: there is none of that name (any more).
        """
        clip = self._kept.get(name)
        if clip is None:
            raise Problem(404, "session", "session: expected one that has begun, got another; send the frames")
        clip.used = time.monotonic()
        return clip

    def task(self, name: str) -> Task:
        """A pass that no request waits for.

        Raises:
            Problem: there is none of that name (any more).
        """
        for clip in self._kept.values():
            if clip.task is not None and clip.task.name == name:
                clip.used = time.monotonic()
                return clip.task
        raise Problem(404, "task", "task: expected one that has begun, got another")

    def keep(self, clip: Clip, size: int) -> None:
        """Count bytes that were found in a sequence, or with a negative number dropped.

        Raises:
            Problem: there is no room for them.
        """
        if size > 0 and not self._fits(size):
            raise Problem(429, "sessions", f"sessions: expected at most {self._settings.clip_bytes} bytes, got more")
        clip.found += size
        self._changed()

    def end(self, name: str) -> bool:
        """Forget a sequence; whether there was one."""
        clip = self._kept.pop(name, None)
        if clip is not None and clip.task is not None:
            clip.task.cancel()
        self._changed()
        return clip is not None

    def close(self) -> None:
        """Forget all."""
        if self._timer is not None:
            self._timer.cancel()
        for name in list(self._kept):
            self.end(name)

    def _has_room(self, size: int) -> bool:
        return len(self._kept) < self._settings.sessions and self._fits(size)

    def _fits(self, size: int) -> bool:
        return sum(clip.size for clip in self._kept.values()) + size <= self._settings.clip_bytes

    def _wake(self) -> None:
        """End what is idle, and come again when the next one may be."""
        now, seconds = time.monotonic(), self._settings.session_seconds
        for clip in list(self._kept.values()):
            if now - clip.used >= seconds and not clip.passes:
                self.end(clip.name)
        self._timer = None
        if self._kept:
            next_end = min(max(now, clip.used) if clip.passes else clip.used for clip in self._kept.values()) + seconds
            self._timer = asyncio.get_running_loop().call_later(max(next_end - now, 0.05), self._wake)

    def _changed(self) -> None:
        self._metrics.clips.set(len(self._kept))
        self._metrics.clip_bytes.set(sum(clip.size for clip in self._kept.values()))
