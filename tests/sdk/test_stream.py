"""Frames through a thread: which are worked on, which are dropped and why, and how it all ends."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import random
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

import evsam
from evsam import AsyncStream, EvsamError, Stream
from evsam.stream import LatencyHistogram

LONG = 30.0
"""Seconds after which a test has failed; none waits for so long."""


class Gate:
    """Stands for a tracker: work on a frame begins when it is called, and ends when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self._begins, self._ends = threading.Semaphore(0), threading.Semaphore(0)

    def step(self, frame: Any) -> str:
        self.begun.append(frame)
        self._begins.release()
        assert self._ends.acquire(timeout=LONG)
        return f"result of {frame}"

    def wait(self) -> None:
        """Until work on another frame has begun."""
        assert self._begins.acquire(timeout=LONG)

    def open(self, frames: int = 1) -> None:
        self._ends.release(frames)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Steps:
    """A tracker whose step is a function."""

    def __init__(self, step: Callable[[Any], Any]) -> None:
        self.step = step


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open(1000)


def stream_of(work: Any, kind: Any = Stream, **options: Any) -> Any:
    """A stream without a model, whose frames may be anything."""
    return kind(None, Steps(work) if callable(work) else work, **options)


class TestWhichFrames:
    def test_the_newest_wins(self, gate) -> None:
        with stream_of(gate) as stream:
            assert stream.put("a") == 0
            gate.wait()
            assert [stream.put(name) for name in "bcd"] == [1, 2, 3]
            gate.open()
            first = stream.get(LONG)
            gate.open()
            second = stream.get(LONG)
        assert first is not None
        assert second is not None
        assert (first.number, first.frame, first.value) == (0, "a", "result of a")
        assert (second.number, second.value) == (3, "result of d")
        assert stream.stats.put == 4
        assert stream.stats.drops == {"replaced": 2, "deadline": 0, "unread": 0, "failed": 0, "closed": 0}

    def test_as_many_newest_as_may_wait(self, gate) -> None:
        with stream_of(gate, size=2) as stream:
            stream.put("a")
            gate.wait()
            for name in "bcd":
                stream.put(name)
            gate.open(3)
            gate.wait()
            gate.wait()
        assert gate.begun == ["a", "c", "d"]

    def test_results_nobody_takes_give_way(self, gate) -> None:
        gate.open(1000)
        with stream_of(gate) as stream:
            for name in "abc":
                stream.put(name)
                gate.wait()
                stream.submit(int).result(LONG)  # behind the frame
            result = stream.get(LONG)
            assert result is not None
            assert result.frame == "c"
        assert stream.stats.drops["unread"] == 2

    def test_none_is_lost_where_put_waits(self, gate) -> None:
        with stream_of(gate, latest=False) as stream:
            stream.put(0)
            gate.wait()
            stream.put(1)
            with pytest.raises(TimeoutError, match="expected room for a frame within 0 s"):
                stream.put(2, timeout=0)
            gate.open(1000)

            def feed() -> None:
                for number in range(2, 100):
                    stream.put(number)
                stream.end()

            feeder = threading.Thread(target=feed)
            feeder.start()
            assert [result.frame for result in stream] == list(range(100))
            feeder.join()
        assert stream.stats.done == 100
        assert not any(stream.stats.drops.values())

    def test_work_waits_for_room_for_its_result(self, gate) -> None:
        gate.open(1000)
        with stream_of(gate, latest=False) as stream:
            for name in "ab":
                stream.put(name)
            gate.wait()
            stream.submit(int).result(LONG)
            assert gate.begun == ["a"]
            assert stream.get(LONG) is not None
            gate.wait()
            assert gate.begun == ["a", "b"]


class TestDeadlines:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def work(self, clock) -> Callable[[float], float]:
        """A frame is the number of seconds that it takes."""

        def step(seconds: float) -> float:
            clock.now += seconds
            return seconds

        return step

    def test_what_cannot_be_ready_is_not_begun(self, clock, work) -> None:
        with stream_of(work, deadline=1.0, clock=clock) as stream:
            stream.put(0.75)
            result = stream.get(LONG)
            assert result is not None
            assert (result.latency, result.late) == (0.75, False)

            def hold_up() -> None:  # for 0.5 s, of whose 1 s are 0.5 left: too few for what took 0.75
                stream.put(0.75)
                clock.now += 0.5

            stream.submit(hold_up).result(LONG)
            stream.submit(int).result(LONG)
            stream.submit(int).result(LONG)
            assert stream.get(0) is None
            stream.put(0.1)
            result = stream.get(LONG)
            assert result is not None
            assert result.number == 2
        assert stream.stats.drops["deadline"] == 1
        assert stream.stats.late == 0

    def test_late_results_are_marked(self, clock, work) -> None:
        with stream_of(work, deadline=1.0, clock=clock) as stream:
            stream.put(3.0)
            result = stream.get(LONG)
            assert result is not None
            assert (result.latency, result.late) == (3.0, True)
        assert stream.stats.late == 1

    def test_one_slow_frame_does_not_stop_it_for_good(self, clock, work) -> None:
        with stream_of(work, deadline=1.0, clock=clock) as stream:
            stream.put(3.0)
            assert stream.get(LONG) is not None
            skipped = 0
            while True:
                stream.put(0.1)
                stream.submit(int).result(LONG)
                stream.submit(int).result(LONG)
                if (result := stream.get(0)) is not None:
                    break
                skipped += 1
        assert result.frame == 0.1
        assert skipped == stream.stats.drops["deadline"] == math.ceil(math.log(3) / math.log(8 / 7))

    def test_without_a_deadline_none_is_late(self, clock, work) -> None:
        with stream_of(work, clock=clock) as stream:
            stream.put(1e6)
            result = stream.get(LONG)
            assert result is not None
            assert not result.late


class TestErrors:
    @staticmethod
    def fail(frame: object) -> None:
        raise KeyError(frame)

    def test_the_next_call_raises_it(self) -> None:
        stream = stream_of(self.fail)
        stream.put("x")
        with pytest.raises(KeyError, match="x"):
            stream.get(LONG)
        with pytest.raises(KeyError, match="x"):
            stream.put("y")
        with pytest.raises(KeyError, match="x"):
            list(stream)
        stream.close()  # which has been told
        assert stream.stats.drops["failed"] == 1

    def test_closing_raises_what_nobody_was_told(self) -> None:
        stream = stream_of(self.fail)
        stream.put("x")
        stream._worker.thread.join(LONG)
        with pytest.raises(KeyError, match="x"):
            stream.close()
        stream.close()

    def test_the_error_of_the_block_comes_first(self) -> None:
        stream = stream_of(self.fail)
        stream.put("x")
        stream._worker.thread.join(LONG)
        with pytest.raises(ZeroDivisionError), stream:
            raise ZeroDivisionError

    def test_results_before_it_can_be_taken(self, gate) -> None:
        def step(frame: str) -> str:
            if frame == "b":
                self.fail(frame)
            return gate.step(frame)

        stream = stream_of(step)
        stream.put("a")
        gate.wait()
        stream.put("b")
        gate.open()
        result = stream.get(LONG)
        assert result is not None
        assert result.frame == "a"
        with pytest.raises(KeyError, match="b"):
            stream.get(LONG)

    def test_one_of_a_callback(self) -> None:
        stream = stream_of(str, on_result=self.fail)
        stream.put("x")
        stream._worker.thread.join(LONG)
        with pytest.raises(KeyError):
            stream.close()
        assert stream.stats.done == 1

    def test_put_that_waits_is_woken(self, gate) -> None:
        def step(frame: str) -> str:
            gate.step(frame)
            raise KeyError(frame)

        stream = stream_of(step, latest=False)
        stream.put("a")
        gate.wait()
        stream.put("b")
        threading.Timer(0, gate.open).start()
        with pytest.raises(KeyError, match="a"):
            stream.put("c")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"deadline": 0}, "deadline: expected seconds above 0"),
            ({"deadline": float("nan")}, "deadline: expected seconds above 0"),
            ({"deadline": True}, "deadline: expected seconds above 0, or None, got True"),
            ({"deadline": "1"}, "deadline: expected seconds above 0"),
            ({"size": 0}, "size: expected a whole number from 1"),
            ({"size": 1.5}, "size: expected a whole number from 1"),
            ({"latest": "yes"}, "latest: expected True or False"),
            ({"on_result": 3}, "on_result: expected a function"),
            ({"bgr": True}, r"bgr: expected sam.track\(bgr=True\)"),
        ],
    )
    def test_what_cannot_be_meant(self, options, message) -> None:
        with pytest.raises(EvsamError, match=message):
            stream_of(str, **options)

    @pytest.mark.parametrize("timeout", [math.nan, "x", True, np.array([1.0])])
    def test_timeouts_that_cannot_be_meant(self, timeout) -> None:
        with stream_of(str) as stream:
            for call in (lambda: stream.get(timeout), lambda: stream.put("a", timeout), lambda: stream.close(timeout)):
                with pytest.raises(EvsamError, match="timeout: expected seconds, or None, got"):
                    call()
            assert not stream.closed

    @pytest.mark.parametrize("timeout", [1e20, math.inf, 10**400, np.float32(30), np.int64(30), None])
    def test_long_timeouts(self, timeout) -> None:
        with stream_of(str, deadline=timeout) as stream:
            stream.put("a", timeout)
            result = stream.get(timeout)
            assert result is not None
            assert not result.late
            stream.close(timeout)
            assert stream.get(timeout) is None

    def test_its_traceback_does_not_grow(self) -> None:
        stream = stream_of(self.fail)
        stream.put("x")
        stream._worker.thread.join(LONG)
        depths = []
        for _ in range(5):
            with pytest.raises(KeyError) as raised:
                stream.put("y")
            depths.append(len(traceback.extract_tb(raised.value.__traceback__)))
            assert traceback.extract_tb(raised.value.__traceback__)[-1].name == "fail"
        assert len(set(depths)) == 1

    def test_stop_iteration(self) -> None:
        """It would end a loop of the caller without a word."""
        stream = stream_of(lambda frame: next(iter(frame)))
        stream.put(())
        with pytest.raises(RuntimeError, match="got StopIteration") as raised:
            stream.get(LONG)
        assert isinstance(raised.value.__cause__, StopIteration)
        with stream_of(str) as stream, pytest.raises(RuntimeError, match="got StopIteration"):
            stream.submit(next, iter([])).result(LONG)

    def test_no_work(self, sam) -> None:
        with pytest.raises(EvsamError, match="work: expected a tracker, or a function"):
            Stream(sam, 3)  # type: ignore[arg-type]
        with stream_of(str, on_result=print) as stream, pytest.raises(EvsamError, match="without on_result"):
            stream.get()
        with Stream(sam, lambda embedding: 1) as stream, pytest.raises(EvsamError, match="expected one with a tracker"):
            stream.tracker  # noqa: B018


class TestEnd:
    def test_closing_gives_up_what_waits(self, gate) -> None:
        stream = stream_of(gate)
        stream.put("a")
        gate.wait()
        stream.put("b")
        job = stream.submit(int)
        with pytest.raises(TimeoutError, match="expected the last frame's end within 0 s"):
            stream.close(0)
        gate.open()
        stream.close()
        assert gate.begun == ["a"]
        assert stream.stats.drops["closed"] == 1
        with pytest.raises(CancelledError):
            job.result(LONG)
        for call in (lambda: stream.put("c"), lambda: stream.submit(int)):
            with pytest.raises(EvsamError, match="expected an open one"):
                call()
        assert stream.closed
        assert [result.frame for result in stream] == ["a"], "what is ready can be taken"
        assert not stream._worker.thread.is_alive()

    def test_by_a_callback(self) -> None:
        closed = threading.Event()

        def close(result: object) -> None:
            stream.close()
            closed.set()

        stream = stream_of(str, on_result=close)
        stream.put("a")
        assert closed.wait(LONG)
        stream._worker.thread.join(LONG)
        assert stream.closed

    def test_forgotten_streams_end_and_leave_nothing(self) -> None:
        stream = stream_of(str)
        stream.put("a")
        assert stream.get(LONG) is not None
        thread, there = stream._worker.thread, weakref.ref(stream)
        del stream
        gc.collect()
        assert there() is None
        thread.join(LONG)
        assert not thread.is_alive()

    def test_frames_are_not_kept(self) -> None:
        with stream_of(lambda frame: frame.shape) as stream:
            frame = np.zeros((4, 4), np.uint8)
            stream.put(frame)
            assert stream.get(LONG) is not None
            stream.submit(int).result(LONG)
            there = weakref.ref(frame)
            del frame
            assert there() is None

    def test_end_of_the_program(self) -> None:
        """While compiled code runs: the program waits for the frame, and ends by itself."""
        code = """
import evsam, numpy as np, threading
sam = evsam.load("nano", threads=1)
begun = threading.Event()
def work(embedding):
    begun.set()
    print("masks", sam.predict(embedding, points=[(9, 9)]).masks.shape)
stream = evsam.Stream(sam, work)
stream.put(np.zeros((64, 64, 3), np.uint8))
begun.wait()
"""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "masks (1, 3, 64, 64)\n", "")

    def test_end_of_the_program_while_a_thread_waits(self) -> None:
        """Which the program joins, so that it has to be woken before."""
        code = """
import evsam, threading
class Steps: step = str
stream = evsam.Stream(None, Steps())
stream.put("a")
waits = threading.Event()
def read():
    for result in stream:
        print(result.value)
        waits.set()
    print("end")
threading.Thread(target=read).start()
waits.wait()
"""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=LONG, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "a\nend\n", "")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="without fork")
    def test_forked_process(self) -> None:
        """There is no thread in it: calls say so, and do not wait; the stream goes on where it was made."""
        code = """
import evsam, os, threading
class Steps: step = str
with evsam.Stream(None, Steps()) as stream:
    stream.submit(int).result()
    stream._worker.lock.acquire()  # by a thread that is not there afterwards
    child = os.fork()
    if not child:
        for call in (stream.get, lambda: stream.put("a"), lambda: stream.submit(int)):
            try:
                call()
            except evsam.EvsamError as error:
                print(error)
        print(stream.closed)
    else:
        stream._worker.lock.release()
        os.waitpid(child, 0)
        stream.put("a")
        print(stream.get().value)
"""
        done = subprocess.run(
            [sys.executable, "-u", "-c", code], capture_output=True, text=True, timeout=LONG, check=False
        )
        error = "stream: expected the process that made it, got one that was forked from it\n"
        assert (done.returncode, done.stdout) == (0, 3 * error + "True\na\n"), done.stderr


class TestJobs:
    def test_between_frames(self, gate) -> None:
        with stream_of(gate) as stream:
            stream.put("a")
            gate.wait()
            stream.put("b")
            order: list[object] = []
            job = stream.submit(lambda what: order.append((what, list(gate.begun))), "job")
            gate.open(2)
            job.result(LONG)
            assert order == [("job", ["a"])], "before the frame that waits"

    def test_its_error_is_that_of_the_future_alone(self) -> None:
        with stream_of(str) as stream:
            with pytest.raises(ZeroDivisionError):
                stream.submit(divmod, 1, 0).result(LONG)
            stream.put("a")
            assert stream.get(LONG) is not None

    def test_in_the_thread_itself(self) -> None:
        """At once: the thread cannot wait for itself."""
        inside: list[int] = []
        called = threading.Event()

        def add(result: object) -> None:
            inside.append(stream.submit(len, "abc").result(0))
            called.set()

        stream = stream_of(lambda frame: stream.submit(len, frame).result(0), on_result=add)
        stream.put("ab")
        assert stream.submit(lambda: stream.submit(len, "a").result(0)).result(LONG) == 1
        assert called.wait(LONG)
        stream.close()
        assert (inside, stream.stats.done) == ([3], 1)


class TestNumbers:
    def test_percentiles(self) -> None:
        rng = np.random.default_rng(0)
        values = np.exp(rng.normal(-4, 1.5, 20_000))
        histogram = LatencyHistogram()
        for value in values.tolist():
            histogram.add(value)
        found = histogram.summary()
        expected = np.percentile(values, [50, 99, 99.9], method="inverted_cdf")
        assert np.allclose([found.p50, found.p99, found.p999], expected, rtol=0.0101)
        assert (found.count, found.largest) == (20_000, values.max())
        assert found.mean == pytest.approx(values.mean())

    @pytest.mark.parametrize("value", [0.0, 1e-9, 1e5])
    def test_beyond_its_range(self, value) -> None:
        histogram = LatencyHistogram()
        histogram.add(value)
        assert histogram.summary().largest == value
        assert histogram.percentile(50) <= value

    def test_none(self) -> None:
        assert math.isnan(LatencyHistogram().percentile(50))
        with stream_of(str) as stream:
            assert str(stream.stats) == "0 frames, 0 done, 0 late; dropped: none; latency: none"

    def test_as_text(self, gate) -> None:
        clock = Clock()
        with stream_of(gate, clock=clock) as stream:
            stream.put("a")
            gate.wait()
            stream.put("b")
            stream.put("c")
            clock.now += 0.05
            gate.open(2)
            gate.wait()
        text = "3 frames, 2 done, 0 late; dropped: 1 replaced, 1 unread; latency: p50 50"
        assert str(stream.stats).startswith(text)
        assert repr(stream).startswith("<Stream, closed: 3 frames")


def test_many_threads_at_random() -> None:
    """Whatever happens: each frame is counted once, in order, and little waits."""
    for seed in range(20):
        random.seed(seed)
        most = random.choice([1, 2, 5])
        stream = stream_of(lambda frame: frame, latest=seed % 2 == 0, size=most, deadline=random.choice([None, 5e-5]))
        got: list[int] = []
        deepest = 0

        def feed(stream: Any = stream) -> None:
            for number in range(300):
                stream.put(number)

        def take(stream: Any = stream, got: list[int] = got) -> None:
            got.extend(result.number for result in stream)

        feeders = [threading.Thread(target=feed) for _ in range(3)]
        taker = threading.Thread(target=take)
        for thread in [*feeders, taker]:
            thread.start()
        while any(thread.is_alive() for thread in feeders):
            deepest = max(deepest, len(stream._worker.frames), len(stream._worker.results))
        stream.end()
        taker.join(LONG)
        assert not taker.is_alive()
        stream.close()
        stats = stream.stats
        assert stats.put == 900
        assert got == sorted(set(got)), "in order, each once"
        assert len(got) + sum(stats.drops.values()) == 900
        assert stats.done == len(got) + stats.drops["unread"]
        assert stats.latency.count == stats.work.count == stats.done
        assert deepest <= most


class TestModels:
    def test_two_cameras_share_a_model(self, sam, image) -> None:
        box = (20, 10, 90, 70)
        frames = [image, np.ascontiguousarray(image[:, ::-1])]
        expected = [sam.predict(frame, box=box).logits for frame in frames]
        streams = [Stream(sam, lambda embedding: sam.predict(embedding, box=box), latest=False) for _ in frames]
        for _ in range(3):
            for stream, frame in zip(streams, frames, strict=True):
                stream.put(frame)
            for stream, logits in zip(streams, expected, strict=True):
                result = stream.get(LONG)
                assert result is not None
                assert np.array_equal(result.value.logits, logits)
        for stream in streams:
            stream.close()

    def test_bgr(self, sam, image) -> None:
        with Stream(sam, lambda embedding: embedding.features, bgr=True) as stream:
            stream.put(image[..., ::-1])
            result = stream.get(LONG)
        assert result is not None
        assert np.array_equal(result.value, sam.encode(image).features)

    def test_a_tracker_is_told_of_objects_while_it_runs(self, image) -> None:
        with evsam.load("nano", threads=1) as sam, Stream(sam, sam.track()) as stream:
            number = stream.submit(stream.tracker.add, image, box=(30, 20, 80, 60)).result(LONG)
            stream.put(image)
            result = stream.get(LONG)
            assert result is not None
            assert list(result.value) == [number]
            with pytest.raises(evsam.PromptError):
                stream.submit(stream.tracker.remove, 7).result(LONG)


class TestAsync:
    def test_all_of_a_source(self) -> None:
        async def run() -> list[int]:
            async with stream_of(lambda frame: 2 * frame, AsyncStream, latest=False) as stream:

                async def feed() -> None:
                    for number in range(50):
                        await stream.put(number)
                    stream.end()

                feeding = asyncio.create_task(feed())
                values = [result.value async for result in stream]
                await feeding
                assert stream.stats.done == 50
                return values

        assert asyncio.run(run()) == [2 * number for number in range(50)]

    def test_the_loop_goes_on_while_it_waits(self, gate) -> None:
        async def run() -> str:
            async with stream_of(gate, AsyncStream) as stream:
                await stream.put("a")
                waiting = asyncio.create_task(stream.get())
                for _ in range(100):
                    await asyncio.sleep(0)
                assert not waiting.done()
                job = asyncio.create_task(stream.submit(len, "abc"))
                gate.open()
                result = await waiting
                assert await job == 3
                assert result is not None
                return str(result.value)

        assert asyncio.run(run()) == "result of a"

    def test_waits_can_be_given_up(self, gate) -> None:
        async def run() -> None:
            async with stream_of(gate, AsyncStream, latest=False) as stream:
                await stream.put("a")
                await asyncio.to_thread(gate.wait)
                await stream.put("b")
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(stream.put("c"), 0.01)
                gate.open(2)
                assert [(await stream.get()).frame for _ in range(2)] == ["a", "b"]
            assert stream.stats.put == 2

        asyncio.run(run())

    def test_errors(self) -> None:
        async def run() -> None:
            async with stream_of(TestErrors.fail, AsyncStream) as stream:
                await stream.put("x")
                async for _ in stream:
                    pass

        with pytest.raises(KeyError, match="x"):
            asyncio.run(run())

    def test_stop_iteration(self) -> None:
        """Which a future of asyncio does not take."""

        async def run() -> None:
            async with stream_of(str, AsyncStream) as stream:
                await asyncio.wait_for(stream.submit(next, iter([])), LONG)

        with pytest.raises(RuntimeError, match="got StopIteration"):
            asyncio.run(run())

    def test_a_loop_that_is_gone(self, gate) -> None:
        async def run() -> AsyncStream:
            stream = stream_of(gate, AsyncStream)
            await stream.put("a")
            return stream

        stream = asyncio.run(run())
        gate.open()
        stream.end()
        stream._stream._worker.thread.join(LONG)
        assert stream.stats.done == 1
