"""What an evaluation costs beside the model: `python -m benchmarks.evaluation DATA --sets coco ccp --limit 100 --save`.

`evsam eval nano DATA` with its default prompts, boxes and 5 clicks on each object, on one thread. Of that thread's CPU
time between the start and the last row, what the engine's `encode` and `decode` take is the model's, and all else is
overhead: the model is loaded, photos and masks are read, prompts checked, masks brought to the photo's size, clicks
found, IoU computed, rows written. CPU time, as that of other processes is not in it.

`--profile` prints where the time goes, by cProfile, which makes Python code slower.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks import harness
from evsam.cli import main as evsam_main
from evsam.cli.arguments import whole
from evsam.engines.native import NativeEngine
from evsam.evaluation import runner

PARTS = ("encode", "decode", "masks")
"""Methods of the engine that are timed; `masks` brings them to the photo's size, which is overhead here."""


class Clock:
    """CPU seconds of this thread in some calls, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time counted."""

        def call(*arguments: Any, **options: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.thread_time() - start

        return call


def measure(chosen: argparse.Namespace, profile: cProfile.Profile | None) -> dict[str, Any]:
    """CPU seconds of an evaluation, and of the engine in it."""
    clock, photos = Clock(), 0

    def count(*arguments: Any, **options: Any) -> Any:
        nonlocal photos
        photos += 1
        return score(*arguments, **options)

    score, part = runner.score_photo, runner.run_part
    watched = clock.timed("total", part if profile is None else lambda *given: profile.runcall(part, *given))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(patch.object(runner, "run_part", watched))
        stack.enter_context(patch.object(runner, "score_photo", count))
        for name in PARTS:
            stack.enter_context(patch.object(NativeEngine, name, clock.timed(name, getattr(NativeEngine, name))))
        options = ["-o", folder, "--engine", "native", "--threads", 1, "--pictures", 0, "--max-broken", 0]
        options += [] if chosen.sets is None else ["--sets", *chosen.sets]
        options += [] if chosen.limit is None else ["--limit", chosen.limit]
        code = evsam_main(["eval", chosen.model, str(chosen.data), *map(str, options)])
    if code:
        raise SystemExit(code)
    return {"photos": photos, **{f"{name}_s": round(seconds, 3) for name, seconds in clock.seconds.items()}}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="as evsam eval takes it")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="default: all")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="photos of each set (default: all)")
    parser.add_argument("--profile", action="store_true", help="print what takes the time")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)
    if chosen.profile and chosen.save:
        parser.error("--save: expected no --profile, which changes the times")

    profile = cProfile.Profile(time.thread_time) if chosen.profile else None
    got = measure(chosen, profile)
    model = got["encode_s"] + got["decode_s"]
    got["overhead"] = round(got["total_s"] / model - 1, 4)
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    print(", ".join(f"{name} {value}" for name, value in got.items()))
    if chosen.save:
        case = {"op": "evaluation", "variant": chosen.model, "sets": chosen.sets, "limit": chosen.limit, "threads": 1}
        harness.save(harness.result_path("evaluation"), [{**case, **got}], ["op", "variant", "sets", "limit"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
