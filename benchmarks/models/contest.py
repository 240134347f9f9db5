"""Contestants in processes of their own, timed in turns.

All of them hold their model at the same time. A turn is a few runs of one of them, while the processes of all others
are stopped (SIGSTOP), so that neither their threads nor their spinning takes a core; then comes the next. A change of
clock rate or load therefore hits all of them alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsam.timing import take_turns

WORKER = Path(__file__).resolve().parent / "workers" / "main.py"

SHORT = 0.1
"""Seconds; a contestant faster than this runs once untimed at the start of each turn, to wake its threads."""

LONG = 5.0
"""Seconds; who takes longer is not run a second time before the turns: what a first run adds does not matter."""

TURN_SECONDS, TURN_RUNS = 0.2, 5
"""A turn times as many runs as fit into this time, at least one and at most so many."""

SLOW_FACTOR, SLOW_EVERY = 1.5, 3
"""A contestant slower than this multiple of the fastest takes its turn only in every third round."""


class WorkerError(RuntimeError):
    """A contestant failed; the message is its own."""


@dataclass(frozen=True)
class Contestant:
    """Who competes.

    Attributes:
        name: in the table.
        kind: which of workers/use_<kind>.py.
        python: interpreter with its package.
        request: what its Runner is given, besides threads.
        environment: variables of its process.
    """

    name: str
    kind: str
    python: Path
    request: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """The process of one contestant; stopped unless it is asked something."""

    def __init__(self, contestant: Contestant, log: Path) -> None:
        self.contestant = contestant
        self._log = log.open("w+")
        self._process = subprocess.Popen(
            [str(contestant.python), str(WORKER), contestant.kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **contestant.environment},
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has a process group of its own now

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Continues the process, has it answer, and stops it again."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            self._signal(signal.SIGCONT)
            stdin.write(json.dumps({"do": do, **request}) + "\n")
            stdin.flush()
            line = stdout.readline()
            self._signal(signal.SIGSTOP)
        except (BrokenPipeError, ProcessLookupError):
            line = ""
        if not line:
            self._log.seek(0)
            tail = self._log.read().strip().splitlines()[-1:] or ["no message"]
            raise WorkerError(f"{self.contestant.name}: the process ended: {tail[0]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.contestant.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends the process, with all that it started."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        # The whole group: some packages have helpers of their own.
        os.killpg(self._process.pid, number)


@dataclass(frozen=True)
class Entry:
    """A contestant that has loaded its model and run it once.

    Attributes:
        worker: its process.
        load_seconds: from nothing to ready, imports not included.
        version: of its package.
        computes: which numbers it multiplies where it was asked for narrow ones, in its own words.
        outputs: of the first run.
        first: seconds of the first run.
        guess: of a second run (of the first, where that took long): about how long one takes.
    """

    worker: Worker
    load_seconds: float
    version: str
    computes: str
    outputs: list[NDArray[np.float32]]
    first: float
    guess: float

    @property
    def name(self) -> str:
        """In the table."""
        return self.worker.contestant.name


class Contest:
    """A set of contestants with the same inputs and number of threads; a context manager.

    Args:
        contestants: who competes; those that fail are named in `failed` and left out.
        threads: of each.
        inputs: what the model reads, by name, in order.
    """

    def __init__(self, contestants: Sequence[Contestant], threads: int, inputs: Mapping[str, NDArray[Any]]) -> None:
        self.entries: list[Entry] = []
        self.failed: dict[str, str] = {}
        self._workers: list[Worker] = []
        self._folder = tempfile.TemporaryDirectory(prefix="evsam-contest-")
        folder = Path(self._folder.name)
        files = {}
        for name, array in inputs.items():
            files[name] = str(folder / f"{name}.npy")
            np.save(files[name], array)
        try:
            for contestant in contestants:
                self._enter(contestant, threads, files, folder)
        except BaseException:
            self.close()
            raise

    def _enter(self, contestant: Contestant, threads: int, files: dict[str, str], folder: Path) -> None:
        worker = Worker(contestant, folder / f"{len(self._workers)}.log")
        self._workers.append(worker)
        try:
            loaded = worker.ask("load", threads=threads, inputs=files, **contestant.request)
            first = worker.ask("run", repeat=1)["seconds"][0]
            paths = worker.ask("outputs", folder=str(folder))["files"]
            guess = worker.ask("run", repeat=1)["seconds"][0] if first < LONG else first
        except WorkerError as error:
            self.failed[contestant.name] = str(error)
            print(f"left out: {error}", file=sys.stderr)
            worker.close()
            return
        outputs = [np.load(path) for path in paths]
        for path in paths:
            Path(path).unlink()
        facts = (loaded["seconds"], loaded["version"], loaded["computes"])
        self.entries.append(Entry(worker, *facts, outputs, first, guess))

    def __enter__(self) -> Contest:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes."""
        for worker in self._workers:
            worker.close()
        self._folder.cleanup()

    def measure(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of every timed run, by contestant, after `rounds` rounds of turns."""
        best = {entry.name: entry.guess for entry in self.entries}

        def turn(entry: Entry, number: int) -> list[float]:
            seconds = best[entry.name]
            if seconds > SLOW_FACTOR * min(best.values()) and number % SLOW_EVERY:
                return []
            repeat = max(1, min(TURN_RUNS, int(TURN_SECONDS / seconds)))
            answer: list[float] = entry.worker.ask("run", warm=int(seconds < SHORT), repeat=repeat)["seconds"]
            best[entry.name] = min(seconds, *answer)
            return answer

        return take_turns({entry.name: partial(turn, entry) for entry in self.entries}, rounds=rounds)
