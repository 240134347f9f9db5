"""One contestant in a process of its own, with the interpreter of its package: `PYTHON main.py KIND`.

Reads one JSON request a line from standard input and answers each with one line on standard output:

    {"do": "load", "model": PATH, "threads": 2, "inputs": {NAME: PATH.npy}, ...}
                                               -> {"seconds": ..., "version": ..., "computes": ...}
    {"do": "run", "warm": 0, "repeat": 1}      -> {"seconds": [...]}
    {"do": "outputs", "folder": PATH}          -> {"files": [PATH.npy, ...]}
    {"do": "memory"}                           -> {"peak": bytes}

A module use_<kind> has `version()` and `Runner(request, inputs)`, whose `run()` is what is timed and whose `outputs()`
are those of the last run. Its `computes`, if it has one, says which numbers the package multiplies where it was asked
for narrow ones. A second "load" adds a model; the first stays.

Needs numpy and the contestant's package, nothing of this repository (but for the contestants torch and evsam).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np


def peak_bytes() -> int:
    """The most memory this process has had resident at any time."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


class Server:
    """Holds the contestant and answers requests."""

    def __init__(self, kind: str) -> None:
        self.module = importlib.import_module(f"use_{kind}")
        self.runners: list[Any] = []

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        inputs = {name: np.load(path) for name, path in request.get("inputs", {}).items()}
        start = time.perf_counter()
        runner = self.module.Runner(request, inputs)
        seconds = time.perf_counter() - start
        self.runners.append(runner)
        return {"seconds": seconds, "version": self.module.version(), "computes": getattr(runner, "computes", "")}

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        run = self.runners[-1].run
        for _ in range(request.get("warm", 0)):
            run()
        seconds = []
        for _ in range(request["repeat"]):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def outputs(self, request: dict[str, Any]) -> dict[str, Any]:
        files = []
        for index, array in enumerate(self.runners[-1].outputs()):
            path = str(Path(request["folder"]) / f"{os.getpid()}-{index}.npy")
            np.save(path, np.asarray(array, np.float32))
            files.append(path)
        return {"files": files}

    def memory(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"peak": peak_bytes()}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            result: dict[str, Any] = getattr(self, request["do"])(request)
        except Exception as error:  # noqa: BLE001 - the parent decides what a failure means
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"}
        return result


def main() -> None:
    # Packages print to standard output as they like; answers get a file of their own.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        os.setpgrp()  # so that whatever the package starts is stopped and continued along with it
        print("ready", file=answers, flush=True)
        server = Server(sys.argv[1])
        for line in sys.stdin:
            print(json.dumps(server.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
