"""Who is served next: a queue that is fair to callers, refuses what would wait too long, and joins what fits together.

Callers take turns, one job each, however many jobs one of them has waiting. How long a new job would wait follows from
that and from the seconds that jobs of each kind have taken lately; where it is too long, the job is refused at once,
with that time. When a job's turn comes, waiting jobs of the same group, whoever sent them, are done in the same call.
All bookkeeping is in the event loop; only the work itself is in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from evsam.serve.metrics import Metrics
from evsam.serve.problems import Problem, stopping

Run: TypeAlias = "Callable[[Sequence[Job]], Sequence[object]]"
"""Does jobs of one group: what each comes to, or the exception that it ends with."""

_NEWEST = 0.2
"""Share of the newest measurement in the moving average of a kind's seconds."""

_BACKGROUND = 256
"""Jobs nobody waits for, at most."""


T = TypeVar("T")

_going_on: set[asyncio.Future[Any]] = set()  # the event loop alone would let them be collected


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for work that goes on to its end, even if whoever waits for it gives up."""
    return await asyncio.shield(go_on(work))


def go_on(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin work that nobody has to wait for."""
    task = asyncio.get_running_loop().create_task(work)
    _going_on.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Future[Any]) -> None:
    _going_on.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved: nobody else may be there to


@dataclass(eq=False)
class Job:
    """A piece of work.

    Attributes:
        kind: which function does it.
        payload: what that function takes.
        caller: whose turn it uses.
        units: how large it is; seconds of a kind are measured per unit.
        group: jobs of a kind with the same group may be done together; None for alone.
        result: what it comes to; cancelled where nobody waits any more.
        since: when it was queued.
    """

    kind: str
    payload: Any
    caller: str
    units: int
    group: Hashable
    result: asyncio.Future[Any]
    since: float = field(default_factory=time.perf_counter)

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more; asked from any thread."""
        return self.result.cancelled()


class Scheduler:
    """Runs jobs in threads, in a fair order.

    Args:
        runs: what does the jobs of each kind.
        workers: jobs, or groups of them, at the same time.
        batch: units of a group, at most.
        wait: seconds that a new job may be expected to wait.
        metrics: told what waits and how long work takes.
    """

    def __init__(self, runs: Mapping[str, Run], *, workers: int, batch: int, wait: float, metrics: Metrics) -> None:
        self._runs, self._workers, self._batch, self._wait, self._metrics = runs, workers, batch, wait, metrics
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()  # by caller, the one whose turn is next first
        self._background: deque[Job] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(workers, "evsam-serve")
        self._seconds: dict[str, float] = {}
        self._stopping = False

    def measured(self, kind: str, seconds: float) -> None:
        """Take note of the seconds that a unit of a kind took."""
        before = self._seconds.get(kind)
        self._seconds[kind] = seconds if before is None else before + _NEWEST * (seconds - before)

    def expected_wait(self, caller: str, units: int, kind: str) -> float:
        """Seconds until a new job of a caller would begin: callers take turns, so of each as much as is this one's."""
        alive = {name: sum(map(self._cost, jobs)) for name, jobs in self._waiting.items()}
        own = alive.pop(caller, 0.0)
        share = own + units * self._seconds.get(kind, 0.0)
        return (own + sum(min(cost, share) for cost in alive.values())) / self._workers

    async def submit(
        self, kind: str, payload: Any, *, caller: str, units: int = 1, group: Hashable = None, background: bool = False
    ) -> Any:
        """Queue a job and wait for what it comes to.

        Args:
            kind: which function does it.
            payload: what that takes.
            caller: whose turn it uses.
            units: how large it is.
            group: with which jobs it may be done together.
            background: whether it has time until nothing else waits.

        Raises:
            Problem: the queue is too long, or the server stops.
        """
        if self._stopping:
            raise stopping()
        loop = asyncio.get_running_loop()
        job = Job(kind, payload, caller, units, group, loop.create_future())
        self._forget_abandoned()
        if background:
            if len(self._background) >= _BACKGROUND:
                raise Problem(429, "busy", f"queue: expected fewer than {_BACKGROUND} photos to prepare", self._wait)
            self._background.append(job)
        else:
            self._admit(job)
        self._dispatch()
        return await job.result

    async def stop(self) -> None:
        """Finish what is queued and end the threads; what comes meanwhile is refused."""
        self._stopping = True
        for job in self._background:
            job.result.cancel()
        self._background.clear()
        while self._running:
            await asyncio.wait(self._running)
        self._pool.shutdown()

    def _admit(self, job: Job) -> None:
        wait = self.expected_wait(job.caller, job.units, job.kind)
        if wait > self._wait:
            raise Problem(429, "busy", f"queue: expected a wait of {self._wait:g} s or less, got {wait:.1f} s", wait)
        self._waiting.setdefault(job.caller, deque()).append(job)

    def _forget_abandoned(self) -> None:
        self._background = deque(job for job in self._background if not job.abandoned)
        for caller, jobs in list(self._waiting.items()):
            if any(job.abandoned for job in jobs):
                left = deque(job for job in jobs if not job.abandoned)
                if left:
                    self._waiting[caller] = left
                else:
                    del self._waiting[caller]

    def _dispatch(self) -> None:
        while len(self._running) < self._workers and (jobs := self._next()):
            task = asyncio.get_running_loop().create_task(self._do(jobs))
            self._running.add(task)
            task.add_done_callback(self._done)
        self._metrics.waiting.set(sum(map(len, self._waiting.values())) + len(self._background))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._dispatch()

    def _next(self) -> list[Job]:
        """The next job, and those that are done with it; empty where nothing waits."""
        while self._waiting:
            caller, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[caller] = jobs  # behind the others
            if not job.abandoned:
                return [job, *self._companions(job)]
        while self._background:
            job = self._background.popleft()
            if not job.abandoned:
                return [job]
        return []

    def _companions(self, job: Job) -> Iterator[Job]:
        if job.group is None:
            return
        units = job.units
        for caller, jobs in list(self._waiting.items()):
            for other in list(jobs):
                alike = other.kind == job.kind and other.group == job.group and not other.abandoned
                if alike and units + other.units <= self._batch:
                    units += other.units
                    jobs.remove(other)
                    yield other
            if not jobs:
                del self._waiting[caller]

    def _cost(self, job: Job) -> float:
        return job.units * self._seconds.get(job.kind, 0.0)

    async def _do(self, jobs: Sequence[Job]) -> None:
        kind, begin = jobs[0].kind, time.perf_counter()
        for job in jobs:
            self._metrics.wait.labels(kind).observe(begin - job.since)
        loop = asyncio.get_running_loop()
        results: Sequence[object]
        try:
            results = await loop.run_in_executor(self._pool, self._runs[kind], jobs)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            results = [error] * len(jobs)
        seconds = time.perf_counter() - begin
        if not any(isinstance(result, BaseException) for result in results):  # what failed may have taken no time
            self.measured(kind, seconds / sum(job.units for job in jobs))
        self._metrics.work.labels(kind).observe(seconds)
        self._metrics.together.labels(kind).observe(len(jobs))
        for job, result in zip(jobs, results, strict=True):
            if job.result.done():
                continue
            if isinstance(result, BaseException):
                job.result.set_exception(result)
            else:
                job.result.set_result(result)
