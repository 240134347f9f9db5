"""Turns, refusals and jobs that are done together."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("fastapi")

from evsam.serve.metrics import Metrics
from evsam.serve.problems import Problem
from evsam.serve.scheduler import Scheduler


class Worker:
    """Does jobs when it is told to, and notes which it did together."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.done: list[list[object]] = []

    def __call__(self, jobs):
        assert self.go.wait(10)
        self.done.append([job.payload for job in jobs])
        return [ValueError(job.payload) if job.payload == "bad" else job.payload for job in jobs]


def scheduler_of(worker: Worker, **options) -> Scheduler:
    given = {"workers": 1, "batch": 4, "wait": 100.0, **options}
    return Scheduler({"work": worker}, **given, metrics=Metrics())


async def begin(scheduler: Scheduler, *jobs: tuple[str, object], **options) -> list[asyncio.Task[object]]:
    tasks = [
        asyncio.create_task(scheduler.submit("work", payload, caller=caller, **options)) for caller, payload in jobs
    ]
    await asyncio.sleep(0.01)
    return tasks


def test_callers_take_turns() -> None:
    async def run() -> None:
        worker = Worker()
        scheduler = scheduler_of(worker)
        many = [("greedy", number) for number in range(6)]
        tasks = await begin(scheduler, *many, ("modest", "a"), ("modest", "b"), ("other", "c"))
        worker.go.set()
        await asyncio.gather(*tasks)
        order = [payload for (payload,) in worker.done]
        assert order == [0, 1, "a", "c", 2, "b", 3, 4, 5]

    asyncio.run(run())


def test_jobs_of_a_group_are_done_together_up_to_the_batch() -> None:
    async def run() -> None:
        worker = Worker()
        scheduler = scheduler_of(worker)
        tasks = await begin(scheduler, ("first", "x"))
        tasks += await begin(scheduler, *[(f"caller {n}", n) for n in range(6)], group="photo")
        tasks += await begin(scheduler, ("other", "alone"))
        worker.go.set()
        assert await asyncio.gather(*tasks) == ["x", 0, 1, 2, 3, 4, 5, "alone"]
        assert worker.done == [["x"], [0, 1, 2, 3], [4, 5], ["alone"]]

    asyncio.run(run())


def test_what_would_wait_too_long_is_refused_and_told_how_long() -> None:
    async def run() -> None:
        worker = Worker()
        scheduler = scheduler_of(worker, wait=3.0)
        scheduler.measured("work", 1.0)
        tasks = await begin(scheduler, *[("greedy", number) for number in range(5)])
        with pytest.raises(Problem, match=r"expected a wait of 3 s or less, got 4\.0 s") as refused:
            await scheduler.submit("work", "late", caller="greedy")
        assert (refused.value.status, refused.value.headers()["Retry-After"]) == (429, "4")
        # somebody else waits for one job of each caller, not for all of the greedy one's
        assert scheduler.expected_wait("modest", 1, "work") == 1.0
        tasks += await begin(scheduler, ("modest", "in time"))
        worker.go.set()
        await asyncio.gather(*tasks)
        assert worker.done[2] == ["in time"]

    asyncio.run(run())


def test_abandoned_jobs_are_not_done() -> None:
    async def run() -> None:
        worker = Worker()
        scheduler = scheduler_of(worker)
        tasks = await begin(scheduler, ("a", 1), ("a", 2), ("a", 3))
        tasks[1].cancel()
        await asyncio.sleep(0)
        worker.go.set()
        await asyncio.gather(tasks[0], tasks[2])
        assert worker.done == [[1], [3]]

    asyncio.run(run())


def test_an_error_reaches_the_one_who_asked() -> None:
    async def run() -> None:
        worker = Worker()
        worker.go.set()
        scheduler = scheduler_of(worker)
        good, bad = await begin(scheduler, ("a", "good"), ("b", "bad"), group="photo")
        assert await good == "good"
        with pytest.raises(ValueError, match="bad"):
            await bad

    asyncio.run(run())


def test_what_fails_at_once_does_not_make_the_queue_look_shorter() -> None:
    async def run() -> None:
        worker = Worker()
        worker.go.set()
        scheduler = scheduler_of(worker)
        scheduler.measured("work", 1.0)
        for task in await begin(scheduler, *[("a", "bad")] * 9):
            with pytest.raises(ValueError, match="bad"):
                await task
        worker.go.clear()
        tasks = await begin(scheduler, ("a", 1), ("a", 2))
        assert scheduler.expected_wait("a", 1, "work") == 1.0
        worker.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_the_background_waits_for_everybody() -> None:
    async def run() -> None:
        worker = Worker()
        scheduler = scheduler_of(worker)
        tasks = await begin(scheduler, ("a", 1))
        tasks += await begin(scheduler, ("a", "later"), background=True)
        tasks += await begin(scheduler, ("a", 2), ("b", 3))
        worker.go.set()
        await asyncio.gather(*tasks)
        assert worker.done == [[1], [2], [3], ["later"]]

    asyncio.run(run())


def test_stopping_finishes_what_was_accepted() -> None:
    async def run() -> None:
        worker = Worker()
        scheduler = scheduler_of(worker)
        tasks = await begin(scheduler, ("a", 1), ("a", 2))
        stopping = asyncio.create_task(scheduler.stop())
        await asyncio.sleep(0.01)
        with pytest.raises(Problem, match="one that stops"):
            await scheduler.submit("work", 3, caller="a")
        worker.go.set()
        await stopping
        assert [task.result() for task in tasks] == [1, 2]

    asyncio.run(run())
