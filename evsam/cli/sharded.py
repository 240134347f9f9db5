"""``--out DIR`` of ``evsam embed``, ``predict`` and ``everything``: many photos at once, and one row for each."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evsam.cli import console
from evsam.cli.arguments import engine_options, whole
from evsam.errors import EvsamWarning

if TYPE_CHECKING:
    from evsam.distributed.tasks import PhotoTask

_DEFAULTS: dict[str, Any] = {"workers": 1, "shard_photos": 256, "container": "parquet"}

SOURCES = (
    "a folder and all folders in it, a pattern, a tar as of WebDataset or SA-1B, parquet, or a URI such as s3://..."
)


def add_out_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add ``--out`` and what goes with it.

    Args:
        parser: of the command.
        required: whether the command has no other output.
    """
    group = parser.add_argument_group("many photos at once (docs/scale.md)")
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        required=required,
        help=f"write a row for each photo to sharded files in this folder; photos may then be {SOURCES}. What an "
        "earlier call has finished there is kept",
    )
    group.add_argument(
        "--workers", type=whole(1, 1024), metavar="N", help="processes, each with a model of its own (default: 1)"
    )
    group.add_argument(
        "--shard-photos", type=whole(1), metavar="N", help="photos of a file, the most that a kill loses (default: 256)"
    )
    group.add_argument(
        "--container",
        choices=("parquet", "webdataset"),
        help="parquet: tensors and RLE in columns; webdataset: tars with json and npy files (default: parquet)",
    )


def refuse_without_out(arguments: argparse.Namespace) -> None:
    """Make sure that nothing of :func:`add_out_arguments` is given without ``--out``."""
    for name in _DEFAULTS:
        if getattr(arguments, name) is not None:
            arguments.fail(f"--{name.replace('_', '-')} is for --out DIR")


def refuse_with_out(arguments: argparse.Namespace, names: Iterable[str]) -> None:
    """Make sure that ``--out`` is the only output."""
    for name in names:
        if getattr(arguments, name) not in (None, False, []):
            option = "-o" if name == "output" else f"--{name.replace('_', '-')}"
            arguments.fail(f"{option}: expected no other output with --out, got one")


def task_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The model and how photos are read, as arguments of the tasks."""
    from evsam._C import usable_cpus

    options, workers = engine_options(arguments), arguments.workers or 1
    if workers > 1 and options["threads"] is None:
        options["threads"] = max(1, usable_cpus() // workers)
    return {
        "model": arguments.model,
        "variant": arguments.variant,
        "engine_options": options,
        "scale_16bit": arguments.scale_16bit,
        "max_pixels": arguments.max_pixels,
    }


def run_sharded(arguments: argparse.Namespace, task: PhotoTask, sources: Sequence[str]) -> int:
    """Do a task with all photos: 0, or 1 if photos have an error instead of results."""
    from evsam.cli.eval_setup import describe_model
    from evsam.distributed import find_items, run

    chosen = {name: default for name, default in _DEFAULTS.items() if getattr(arguments, name) is None}
    chosen = {name: chosen.get(name, getattr(arguments, name)) for name in _DEFAULTS}
    items = find_items(sources)
    model = describe_model(arguments.model, task.engine_options)
    progress = _Rate(len(items))
    with warnings.catch_warnings():
        if chosen["workers"] > 1:
            warnings.simplefilter("ignore", EvsamWarning)
        summary = run(
            task,
            items,
            arguments.out,
            model=model,
            tell=progress,
            **chosen,
        )
    progress.clear()
    if summary.computed < summary.photos:
        console.note(f"{summary.photos - summary.computed} of {summary.photos} photos were done before")
    console.note(progress.rate(summary.computed))
    console.say(f"wrote {summary.photos} rows in {summary.shards} files to {arguments.out}")
    if summary.errors:
        console.complain(
            f"{summary.errors} of {summary.photos} photos could not be used: {arguments.out / 'summary.json'} says why"
        )
    return 1 if summary.errors else 0


class _Rate:
    """Progress with the photos of a second."""

    def __init__(self, total: int) -> None:
        self._progress, self._total, self._done = console.Progress(total), total, 0
        self._begin = time.monotonic()

    def __call__(self, photos: int) -> None:
        self._done += photos
        self._progress.show(self._done, self.rate(self._done))

    def rate(self, photos: int) -> str:
        seconds = max(time.monotonic() - self._begin, 1e-3)
        return f"{photos} photos in {seconds:.1f} s, {photos / seconds:.1f} photos/s"

    def clear(self) -> None:
        self._progress.clear()
