"""Things that one call at a time may use, and a gate that closes once nobody is inside any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from evsam.errors import EvsamError


class Closable(Protocol):
    """Something that holds memory until it is closed."""

    def close(self) -> None:
        """Release the memory."""


T = TypeVar("T", bound=Closable)


class Gate:
    """Counts the calls in progress; used as a context manager by each of them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._closed = False

    def __enter__(self) -> None:
        with self._condition:
            if self._closed:
                raise EvsamError("engine: expected an open engine, got one after close()")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._inside -= 1
            self._condition.notify_all()

    def close(self) -> bool:
        """Let nobody in any more and wait until nobody is inside.

        Returns:
            Whether it was open.
        """
        with self._condition:
            was_open = not self._closed
            self._closed = True
            self._condition.wait_for(lambda: self._inside == 0)
        return was_open


class Pool(Generic[T]):
    """Up to ``limit`` things, made when first needed and kept; callers wait where all are in use.

    Args:
        make: makes one.
        limit: how many there may be.
    """

    def __init__(self, make: Callable[[], T], limit: int) -> None:
        self._make = make
        self._turns = threading.Semaphore(limit)
        self._free: list[T] = []

    @contextmanager
    def use(self) -> Iterator[T]:
        """One of the things, for this caller alone. After an error it is closed instead of kept."""
        with self._turns:
            try:
                thing = self._free.pop()  # the last one used, since its memory is the warmest
            except IndexError:
                thing = self._make()
            try:
                yield thing
            except BaseException:
                thing.close()
                raise
            self._free.append(thing)

    def close(self) -> None:
        """Close all things; none may be in use."""
        while self._free:
            self._free.pop().close()
