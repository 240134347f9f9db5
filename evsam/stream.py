"""Frames in, results out, as fast as a model allows: a thread that works, and what happens to frames without a turn.

A camera does not wait. :class:`Stream` takes its frames whenever they come and works on them in a thread of its own.
The newest frame wins, frames that could not be ready in time are not begun, and both are counted. :class:`AsyncStream`
is the same for asyncio. Memory is bounded, however long it runs: at most ``size`` frames wait, at most ``size`` results
do, and latencies go into histograms of a fixed size.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from numbers import Real
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from evsam.arguments import check_flag, shown
from evsam.errors import EvsamError
from evsam.images import ImageLike

if TYPE_CHECKING:
    from evsam.embedding import Embedding
    from evsam.sam import Sam
    from evsam.tracking import Tracker

T = TypeVar("T")
P = ParamSpec("P")

_SMOOTHING = 1 / 8
"""Weight of the newest frame in the running time of work, which stands for the last dozen frames. Also by how much it
sinks with each frame that is skipped: one slow frame must not stop a stream for good."""

_AT_EXIT = 10.0
"""Seconds that the end of the program waits for a frame that is worked on."""

REPLACED, DEADLINE, UNREAD, FAILED, CLOSED = "replaced", "deadline", "unread", "failed", "closed"
"""Why a frame has no result: a newer one came before its turn; it could not have been ready in time; nobody took its
result before newer ones came; the work on it raised; the stream was closed before its turn."""

_FIRST_EDGE, _GROWTH, _EDGES = 1e-6, 1.02, 1024
"""Latencies are told apart to 2 %, from a microsecond to 640 s."""


class LatencyHistogram:
    """Latencies in ``_EDGES`` classes whose limits grow by a factor: percentiles within 1 %, in constant memory."""

    def __init__(self) -> None:
        self._counts = [0] * _EDGES
        self._count, self._sum, self._largest = 0, 0.0, 0.0

    def add(self, seconds: float) -> None:
        """Count one latency."""
        place = math.log(max(seconds, _FIRST_EDGE) / _FIRST_EDGE) / math.log(_GROWTH)
        self._counts[min(int(place), _EDGES - 1)] += 1
        self._count += 1
        self._sum += seconds
        self._largest = max(self._largest, seconds)

    def percentile(self, percent: float) -> float:
        """The latency in seconds that so many percent of all do not exceed; NaN of none."""
        rank, seen = max(1, math.ceil(self._count * percent / 100)), 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(_FIRST_EDGE * math.pow(_GROWTH, index + 0.5), self._largest)
        return math.nan

    def summary(self) -> Percentiles:
        """What :class:`StreamStats` tells."""
        mean = self._sum / self._count if self._count else math.nan
        p50, p99, p999 = (self.percentile(percent) for percent in (50, 99, 99.9))
        return Percentiles(self._count, mean, p50, p99, p999, self._largest if self._count else math.nan)


@dataclass(frozen=True)
class Percentiles:
    """Latencies of ``count`` frames in seconds; NaN where there were none. Percentiles are exact to 1 %."""

    count: int
    mean: float
    p50: float
    p99: float
    p999: float
    largest: float

    def __str__(self) -> str:
        if not self.count:
            return "none"
        return f"p50 {1e3 * self.p50:.1f} ms, p99 {1e3 * self.p99:.1f} ms, p99.9 {1e3 * self.p999:.1f} ms"


@dataclass(frozen=True)
class StreamStats:
    """What a stream did since it was made.

    Attributes:
        put: frames that were put.
        done: frames that were worked on to their end.
        late: of these, how many were ready only after their deadline; their results are delivered.
        drops: how many frames have no result, by reason: ``replaced`` by newer ones, past their ``deadline``,
            ``unread`` (which are among those done), ``failed`` or still waiting when the stream was ``closed``.
        latency: from put to ready.
        work: of the work alone, without waiting.
    """

    put: int
    done: int
    late: int
    drops: Mapping[str, int]
    latency: Percentiles
    work: Percentiles

    def __str__(self) -> str:
        drops = ", ".join(f"{count} {reason}" for reason, count in self.drops.items() if count) or "none"
        return f"{self.put} frames, {self.done} done, {self.late} late; dropped: {drops}; latency: {self.latency}"


@dataclass(frozen=True, eq=False)
class StreamResult:
    """What came of one frame.

    Attributes:
        number: of the frame, from 0 in the order in which frames were put; gaps are frames that were dropped.
        frame: as it was put.
        value: the :class:`evsam.Tracks` of a tracker, or what the callback returned.
        latency: seconds from put to ready.
        late: whether that was more than the deadline.
    """

    number: int
    frame: Any
    value: Any
    latency: float
    late: bool


class _Waiting(NamedTuple):
    number: int
    frame: Any
    since: float


class _Job(NamedTuple):
    future: Future[Any]
    call: Callable[[], Any]


class _Worker:
    """The thread and all it shares with others. It does not know its :class:`Stream`, which may be forgotten unclosed.

    Everything below is read and changed under ``lock``, whose condition is told of every change.
    """

    def __init__(
        self,
        work: Callable[[Any], Any],
        deliver: Callable[[StreamResult], object] | None,
        latest: bool,
        size: int,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self._work, self._deliver = work, deliver
        self.latest, self.size, self.deadline, self.clock = latest, size, deadline, clock
        self.lock = threading.Condition()
        self.frames: deque[_Waiting] = deque()
        self.results: deque[StreamResult] = deque()
        self.jobs: deque[_Job] = deque()
        self.put_count = self.done = self.late = 0
        self.drops = dict.fromkeys((REPLACED, DEADLINE, UNREAD, FAILED, CLOSED), 0)
        self.latency, self.work_time = LatencyHistogram(), LatencyHistogram()
        self.expected: float | None = None
        self.ended = self.stopped = False
        self.error: BaseException | None = None
        self.trace: TracebackType | None = None  # of the error, which grows with every raise of it
        self.told = False  # whether the error has reached a caller
        self.listeners: list[Callable[[], object]] = []
        self.thread = threading.Thread(target=self._run, name="evsam.Stream", daemon=True)

    def changed(self) -> None:
        """Wake all who wait; the lock is held."""
        self.lock.notify_all()
        for listener in self.listeners:
            listener()

    def stop(self) -> None:
        """Begin nothing more; what waits is given up."""
        with self.lock:
            self.ended = self.stopped = True
            self.drops[CLOSED] += len(self.frames)
            self.frames.clear()
            jobs = list(self.jobs)
            self.jobs.clear()
            self.changed()
        for job in jobs:
            job.future.cancel()

    def forked(self) -> None:
        """In a forked process there is no thread, and whoever held the lock is not there to give it back."""
        self.lock = threading.Condition()
        self.ended = self.stopped = self.told = True
        self.error = EvsamError("stream: expected the process that made it, got one that was forked from it")
        self.trace = None
        for theirs in (self.frames, self.results, self.jobs, self.listeners):  # results reach one process only
            theirs.clear()

    def raise_error(self) -> None:
        """Let what the thread failed with reach the caller; the lock is held."""
        if self.error is not None:
            self.told = True
            raise self.error.with_traceback(self.trace)

    def _run(self) -> None:
        try:
            while (task := self._next()) is not None:
                if isinstance(task, _Job):
                    _do(task)
                else:
                    self._work_on(task)
                del task  # no frame is kept while there is nothing to do
        except BaseException as error:  # noqa: BLE001 - of anybody's callback; whoever calls next gets it
            with self.lock:
                self.error = _reportable(error)
                self.trace = self.error.__traceback__
        self.stop()

    def _next(self) -> _Waiting | _Job | None:
        """What to do next, once there is something; None for the end."""
        with self.lock:
            while not self.stopped:
                if self.jobs:
                    return self.jobs.popleft()
                room = self.latest or self._deliver is not None or len(self.results) < self.size
                if self.frames and room:
                    waiting = self.frames.popleft()
                    self.changed()
                    if self._in_time(waiting):
                        return waiting
                elif self.ended and not self.frames:
                    break
                else:
                    self.lock.wait()
        return None

    def _in_time(self, waiting: _Waiting) -> bool:
        if self.expected is None or self.clock() + self.expected <= waiting.since + self.deadline:
            return True
        self.drops[DEADLINE] += 1
        self.expected *= 1 - _SMOOTHING
        return False

    def _work_on(self, waiting: _Waiting) -> None:
        start = self.clock()
        try:
            value = self._work(waiting.frame)
        except BaseException:
            with self.lock:
                self.drops[FAILED] += 1
            raise
        end = self.clock()
        latency = end - waiting.since
        result = StreamResult(waiting.number, waiting.frame, value, latency, latency > self.deadline)
        with self.lock:
            self.done += 1
            self.late += result.late
            self.latency.add(latency)
            self.work_time.add(end - start)
            before = end - start if self.expected is None else self.expected
            self.expected = before + _SMOOTHING * (end - start - before)
            if self._deliver is None:
                if len(self.results) == self.size:
                    self.results.popleft()
                    self.drops[UNREAD] += 1
                self.results.append(result)
            self.changed()
        if self._deliver is not None:
            self._deliver(result)


def _do(job: _Job) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        job.future.set_result(job.call())
    except BaseException as error:  # noqa: BLE001 - for whoever asked for it
        job.future.set_exception(_reportable(error))


def _reportable(error: BaseException) -> BaseException:
    """The same; for StopIteration, which would end a loop of the caller and which asyncio refuses, a RuntimeError."""
    if not isinstance(error, StopIteration):
        return error
    reported = RuntimeError("stream: expected a result or an error of the function, got StopIteration")
    reported.__cause__ = error
    return reported.with_traceback(error.__traceback__)


def _seconds(name: str, value: object, *, above_0: bool = False) -> float:
    """A number of seconds; infinity for None, and for more than threads can wait.

    Raises:
        EvsamError: no number, NaN, or with ``above_0`` one that is not.
    """
    if value is None:
        return math.inf
    if not isinstance(value, bool) and isinstance(value, Real):
        number: Any = value
        if number > 0 or (number <= 0 and not above_0):  # neither holds of NaN
            return math.inf if number > threading.TIMEOUT_MAX else float(number)
    raise EvsamError(f"{name}: expected seconds{' above 0' * above_0}, or None, got {shown(value)}")


def _timeout(value: object) -> float | None:
    """What conditions and threads take: seconds from 0, None without limit."""
    seconds = _seconds("timeout", value)
    return None if seconds == math.inf else max(0.0, seconds)


_open: weakref.WeakSet[_Worker] = weakref.WeakSet()


def _stop_all() -> None:
    """Before the interpreter goes: a thread that comes back from compiled code afterwards would find nothing there."""
    workers = list(_open)
    _open.clear()
    for worker in workers:
        worker.stop()
    end = time.monotonic() + _AT_EXIT
    for worker in workers:
        worker.thread.join(max(0.0, end - time.monotonic()))


def _all_forked() -> None:
    for worker in list(_open):
        worker.forked()
    _open.clear()


atexit.register(_stop_all)
# The end of the program joins all threads before it calls what atexit knows, and one may wait for a result. The
# standard library's executors are told before that, by the same function, which is not public.
if _before_join := getattr(threading, "_register_atexit", None):
    with contextlib.suppress(RuntimeError):  # imported while the program ends
        _before_join(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_forked)


class Stream:
    """Works on frames in a thread of its own, newest first, and says what it did with each.

    Args:
        sam: the model. It may be that of several streams at once, such as one for each camera.
        work: a tracker of this model, whose ``step`` gets each frame; or a function of an :class:`evsam.Embedding`, for
            which the stream encodes each frame. Both are called in the thread.
        latest: True for cameras: frames and results that are not taken give way to newer ones, and :meth:`put` never
            waits. False for files: nothing is dropped, and :meth:`put` waits for room.
        deadline: seconds from :meth:`put` in which results are of use. Frames that cannot be ready by then, as the time
            that the last ones took tells, are not begun. None for no limit.
        size: how many frames may wait, and how many results.
        on_result: called with each :class:`StreamResult` in the thread, instead of :meth:`get` and iteration.
        bgr: whether frames for a function are arrays in BGR order; a tracker has been told so itself.
        clock: gives seconds.

    An exception of ``work`` or ``on_result`` ends the stream. It is raised by the next call of :meth:`put` or
    :meth:`get`, in iteration, or at the latest when the stream is closed.

    The end of the main thread ends all streams of the program, and so does a fork in the new process. A stream that
    nothing refers to any more ends, too; but its thread refers to ``work`` and ``on_result``, so that one they refer
    to has to be closed.

    Raises:
        EvsamError: an argument that cannot be meant.

    Example:
        >>> with Stream(sam, lambda embedding: sam.predict(embedding, box=(20, 10, 90, 70))) as stream:
        ...     number = stream.put(image)
        ...     result = stream.get()
        >>> result.number, result.value.masks.shape, stream.stats.done
        (0, (1, 1, 80, 120), 1)
    """

    def __init__(
        self,
        sam: Sam,
        work: Tracker | Callable[[Embedding], Any],
        *,
        latest: bool = True,
        deadline: float | None = None,
        size: int = 1,
        on_result: Callable[[StreamResult], object] | None = None,
        bgr: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        latest, bgr = check_flag("latest", latest), check_flag("bgr", bgr)
        limit = _seconds("deadline", deadline, above_0=True)
        given: object = size
        if not isinstance(given, int) or isinstance(given, bool) or given < 1:
            raise EvsamError(f"size: expected a whole number from 1, got {shown(size)}")
        if on_result is not None and not callable(on_result):
            raise EvsamError(f"on_result: expected a function of a result, or None, got {shown(on_result)}")
        self._tracker: Tracker | None = None
        if callable(work):
            function: Callable[[Embedding], Any] = work
            do = lambda frame: function(sam.encode(frame, bgr=bgr))  # noqa: E731
        elif callable(getattr(work, "step", None)):
            if bgr:
                raise EvsamError("bgr: expected sam.track(bgr=True) where there is a tracker, got it here")
            self._tracker, do = work, work.step
        else:
            raise EvsamError(f"work: expected a tracker, or a function of an embedding, got {shown(work)}")
        self._worker = _Worker(do, on_result, latest, size, limit, clock)
        self._finalizer = weakref.finalize(self, self._worker.stop)
        self._finalizer.atexit = False  # what is open then is waited for, too
        _open.add(self._worker)
        self._worker.thread.start()

    def put(self, frame: ImageLike, timeout: float | None = None) -> int:
        """Hand a frame over; with ``latest`` this never waits.

        Args:
            frame: as :meth:`evsam.Sam.encode` takes it. It is not copied: do not write to it until its result is there.
            timeout: seconds to wait for room, without ``latest``; None for as long as it takes.

        Returns:
            The frame's number, from 0.

        Raises:
            TimeoutError: there was no room in time.
            EvsamError: the stream was closed or ended, or the timeout is no number of seconds.
        """
        worker, limit = self._worker, _timeout(timeout)
        since = worker.clock()
        with worker.lock:
            if not worker.lock.wait_for(self._has_room, limit):
                raise TimeoutError(f"stream: expected room for a frame within {timeout} s, got none")
            return self._put(frame, since)

    def get(self, timeout: float | None = None) -> StreamResult | None:
        """The next result.

        Args:
            timeout: seconds to wait for it, 0 to take what is there; None for as long as it takes.

        Returns:
            None if there was none in time, or there will be none: the stream was closed, or has ended and all its
            results were taken.

        Raises:
            EvsamError: the stream has ``on_result``, or the timeout is no number of seconds.
        """
        worker, limit = self._worker, _timeout(timeout)
        self._check_get()
        with worker.lock:
            worker.lock.wait_for(self._has_result_or_end, limit)
            return self._get()

    def __iter__(self) -> Iterator[StreamResult]:
        """Results as they come, until the stream is closed, or has ended and all are taken."""
        while (result := self.get()) is not None:
            yield result

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in the stream's thread, between two frames: how a tracker that is in use is told of objects.

        In this thread itself, by ``on_result`` or ``work``, it is called at once.

        Returns:
            A future of its result, which is cancelled if the stream is closed before.

        Raises:
            EvsamError: the stream was closed.

        Example:
            >>> with Stream(sam, sam.track()) as stream:
            ...     stream.submit(stream.tracker.add, image, box=(20, 10, 90, 70)).result()
            1
        """
        future: Future[T] = Future()
        worker, job = self._worker, _Job(future, lambda: call(*args, **kwargs))
        inside = threading.current_thread() is worker.thread  # which would wait for itself
        with worker.lock:
            worker.raise_error()
            if worker.stopped:
                raise EvsamError("stream: expected an open one, got one that was closed")
            if not inside:
                worker.jobs.append(job)
                worker.changed()
        if inside:
            _do(job)
        return future

    def end(self) -> None:
        """Say that no more frames come: those that wait are worked on, then iteration ends."""
        with self._worker.lock:
            self._worker.ended = True
            self._worker.changed()

    def close(self, timeout: float | None = None) -> None:
        """Stop: frames that wait are given up, the one that is worked on is waited for. May be called again.

        Args:
            timeout: seconds to wait for it; None for as long as it takes.

        Raises:
            TimeoutError: it still works; the thread stops behind this frame.
            EvsamError: the timeout is no number of seconds.
            BaseException: what the thread failed with, if nobody has been told.
        """
        worker, limit = self._worker, _timeout(timeout)
        worker.stop()
        if threading.current_thread() is worker.thread:  # closed by a callback
            return
        worker.thread.join(limit)
        if worker.thread.is_alive():
            raise TimeoutError(f"stream: expected the last frame's end within {timeout} s, got none")
        _open.discard(worker)
        with worker.lock:
            if not worker.told:
                worker.raise_error()

    def __enter__(self) -> Stream:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:  # which is what the caller should see
            self._worker.told = True
        self.close()

    @property
    def tracker(self) -> Tracker:
        """The tracker that was given; use it by :meth:`submit` while the stream runs.

        Raises:
            EvsamError: the stream has a function instead.
        """
        if self._tracker is None:
            raise EvsamError("stream: expected one with a tracker, got one with a function")
        return self._tracker

    @property
    def closed(self) -> bool:
        """Whether it was closed, or has failed."""
        return self._worker.stopped

    @property
    def stats(self) -> StreamStats:
        """What was done until now."""
        worker = self._worker
        with worker.lock:
            return StreamStats(
                worker.put_count,
                worker.done,
                worker.late,
                dict(worker.drops),
                worker.latency.summary(),
                worker.work_time.summary(),
            )

    def __repr__(self) -> str:
        return f"<Stream{', closed' if self.closed else ''}: {self.stats}>"

    def _has_room(self) -> bool:
        worker = self._worker
        return worker.latest or worker.ended or len(worker.frames) < worker.size

    def _put(self, frame: object, since: float) -> int:
        worker = self._worker
        worker.raise_error()
        if worker.ended:
            raise EvsamError("stream: expected an open one, got one that was closed or has ended")
        if len(worker.frames) == worker.size:
            worker.frames.popleft()
            worker.drops[REPLACED] += 1
        number = worker.put_count
        worker.frames.append(_Waiting(number, frame, since))
        worker.put_count += 1
        worker.changed()
        return number

    def _check_get(self) -> None:
        if self._worker._deliver is not None:
            raise EvsamError("stream: expected one without on_result, which gets the results")

    def _has_result_or_end(self) -> bool:
        return bool(self._worker.results) or self._worker.stopped

    def _get(self) -> StreamResult | None:
        worker = self._worker
        if not worker.results:
            worker.raise_error()
            return None
        result = worker.results.popleft()
        worker.changed()
        return result


class AsyncStream:
    """A :class:`Stream` for asyncio: the same arguments, and nothing blocks the event loop.

    Made and used in one event loop. ``on_result`` would be called in the stream's thread.

    Example:
        >>> async def masks():
        ...     async with AsyncStream(sam, sam.track(image, box=(20, 10, 90, 70)), latest=False) as stream:
        ...         await stream.put(image)
        ...         stream.end()
        ...         return [result.value[1].mask.shape async for result in stream]
        >>> asyncio.run(masks())
        [(80, 120)]
    """

    def __init__(self, sam: Sam, work: Tracker | Callable[[Embedding], Any], **options: Any) -> None:
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:  # in any thread; it does not know self, which may be forgotten unclosed
            with contextlib.suppress(RuntimeError):  # of a loop that was closed before the stream
                loop.call_soon_threadsafe(changed.set)

        self._changed = changed
        self._stream = Stream(sam, work, **options)
        with self._stream._worker.lock:
            self._stream._worker.listeners.append(tell)

    async def _until(self, ready: Callable[[], bool], then: Callable[[], T]) -> T:
        """Wait until something holds, and do something with it before it changes.

        The event is set by the loop itself, so not between a look that finds nothing and the wait.
        """
        while True:
            with self._stream._worker.lock:
                if ready():
                    return then()
            self._changed.clear()
            await self._changed.wait()

    async def put(self, frame: ImageLike) -> int:
        """As :meth:`Stream.put`; ``asyncio.wait_for`` limits the time."""
        since = self._stream._worker.clock()
        return await self._until(self._stream._has_room, lambda: self._stream._put(frame, since))

    async def get(self) -> StreamResult | None:
        """As :meth:`Stream.get`."""
        self._stream._check_get()
        return await self._until(self._stream._has_result_or_end, self._stream._get)

    async def __aiter__(self) -> AsyncIterator[StreamResult]:
        while (result := await self.get()) is not None:
            yield result

    async def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As :meth:`Stream.submit`; answers what the function returned."""
        return await asyncio.wrap_future(self._stream.submit(call, *args, **kwargs))

    def end(self) -> None:
        """As :meth:`Stream.end`."""
        self._stream.end()

    async def close(self, timeout: float | None = None) -> None:
        """As :meth:`Stream.close`."""
        await asyncio.to_thread(self._stream.close, timeout)

    @property
    def tracker(self) -> Tracker:
        """As :attr:`Stream.tracker`."""
        return self._stream.tracker

    @property
    def stats(self) -> StreamStats:
        """As :attr:`Stream.stats`."""
        return self._stream.stats

    async def __aenter__(self) -> AsyncStream:  # noqa: PYI034
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._stream._worker.told = True
        await self.close()
