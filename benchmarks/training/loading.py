"""The data loader on SA-1B-shaped tars, alone and against the trainer: `python -m benchmarks.training.loading`.

The tars are made in a temporary folder. Every figure is taken at two sizes of the data, since what a photo costs, and
what a tar costs to index, must not depend on how many there are. Tars come from memory here, not from a disk.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.models import report
from benchmarks.training.tars import Shape, make_small_tars, make_tars
from evsam.cli.arguments import whole
from evsam.datasets.records import PhotoSource
from evsam.datasets.sa1b import Sa1bTars
from evsam.timing import seconds_of, take_turns
from evsam.training.command import trial
from evsam.training.config import BatchConfig, OptimConfig, SourceConfig, SystemConfig
from evsam.training.data.mix import Mix, Order
from evsam.training.data.samples import SampleConfig, SampleMaker
from evsam.training.data.stream import BatchStream, loader
from evsam.training.distributed import world
from evsam.training.finetune import RECIPES, FinetuneConfig, build
from evsam.training.prompts import PromptConfig

_FRAMES = {"scale": (1.0, 1.0), "stretch": 0.0, "shift": False, "paste": 0.0, "masks": 64}
SAMPLES: Mapping[str, SampleConfig] = MappingProxyType(
    {
        "crops of 256, 6 masks": SampleConfig(size=256, image_size=512, masks=6, paste=0.0),
        "frames of 512, 64 masks": SampleConfig(size=512, image_size=512, **_FRAMES),
        "frames of 1024, 64 masks": SampleConfig(size=1024, image_size=1024, **_FRAMES),
    }
)
"""What nano, the l and the xl variants are trained on."""

TRAINED_SIZE = 512
"""nano's image size: the loader also runs against its trainer where samples are made for it."""

SA1B_TARS, SA1B_PAIRS = 1000, 11_186
"""Of the whole data set."""

Line = dict[str, Any]


def check(source: PhotoSource, made: Sequence[tuple[bytes, dict[str, Any]]]) -> None:
    """Stop unless photos and masks are those that were written."""
    for index in {0, len(source) // 2, len(source) - 1}:
        photo, (content, record) = source[index], made[index % len(made)]
        masks = [annotation.rle["counts"].decode() for annotation in photo.annotations]
        if photo.read() != content or masks != [x["segmentation"]["counts"] for x in record["annotations"]]:
            raise RuntimeError(f"{photo.key}: not the pair that was written")


def measure_index(folder: Path, tars: int, pairs: int, repetitions: int = 3) -> Line:
    """Seconds to open tars: for the first time, and with the indexes that were kept then."""
    make_small_tars(folder, tars, pairs)

    def open_tars() -> None:
        if (opened := len(Sa1bTars(folder))) != tars * pairs:
            raise RuntimeError(f"expected {tars * pairs} pairs, got {opened}")

    def open_first(_: int) -> list[float]:
        for index in folder.glob("*.npz"):
            index.unlink()
        return [seconds_of(open_tars) / tars]

    turns = {"first": open_first, "again": lambda _: [seconds_of(open_tars) / tars]}
    first, again = take_turns(turns, rounds=repetitions).values()
    kept = {f"kept_{name}": value for name, value in report.statistics(again).items() if name == "median_ms"}
    return {
        "op": "index a tar",
        "case": f"{pairs} pairs",
        "tars": tars,
        "workers": 0,
        **report.statistics(first),
        **kept,
    }


def measure_order(tars: int, pairs: int, draws: int = 20_000) -> Line:
    """Seconds to find the photo of a sample in passes over tars, without reading anything."""
    order = Order([pairs] * tars, 4, "order")
    positions = np.random.default_rng(0).integers(0, order.length, draws // 100)

    def find(position: int) -> None:
        for step in range(100):  # neighbours, as a loader asks for them
            order[position + step]

    seconds = [seconds_of(partial(find, position)) / 100 for position in positions.tolist()]
    return {"op": "find a photo", "case": f"{pairs} pairs", "tars": tars, "workers": 0, **report.statistics(seconds)}


def measure_loader(source: Sa1bTars, case: str, tars: int, workers: int, images: int, batches: int) -> Line:
    """Seconds per photo of the loader alone, between batches that arrive when all workers are busy."""
    maker = SampleMaker(SAMPLES[case], PromptConfig())
    stream = BatchStream(Mix({"sa1b": source}, {"sa1b": 1}, seed=0), maker, images=images, seed=0)
    arriving = iter(loader(stream, workers))
    first = next(arriving)
    if first.images.shape[0] != images or first.broken:
        raise RuntimeError(f"{first.images.shape[0]} of {images} photos; {first.broken}")
    masks = 0
    for _ in range(workers):  # begun while the others still started
        next(arriving)

    def take_all() -> None:
        nonlocal masks
        for _ in range(batches):
            masks += len(next(arriving).index)

    seconds = seconds_of(take_all) / (batches * images)
    return {
        "op": "load a photo",
        "case": case,
        "tars": tars,
        "workers": workers,
        "median_ms": round(1e3 * seconds, 3),
        "runs": batches * images,
        "images_per_second": round(1 / seconds, 2),
        "masks_per_photo": round(masks / (batches * images), 1),
    }


def measure_trainer(folder: Path, case: str, tars: int, workers: int, images: int) -> Line:
    """Seconds per photo of nano's training on the same samples, and what part of them it waits for photos.

    One round of prompts: the trainer is then fastest, and every step costs the same.
    """
    config = FinetuneConfig(
        variant="nano",
        norms="frozen",
        recipe=RECIPES["evsam"].model_copy(update={"rounds": (1.0,)}),
        train=(SourceConfig(kind="sa1b", path=folder),),
        samples=SAMPLES[case],
        batch=BatchConfig(images=images),
        optim=OptimConfig(steps=100),
        system=SystemConfig(device="cpu", workers=workers),
    )
    with world("cpu") as where:
        found = trial(build(config, where), config, where)
    seconds = found["seconds_per_step"] / images
    return {
        "op": "train nano on a photo",
        "case": case,
        "tars": tars,
        "workers": workers,
        "median_ms": round(1e3 * seconds, 3),
        "runs": images,
        "images_per_second": round(1 / seconds, 2),
        "waiting": round(found["waiting"], 3),
    }


def table(lines: Sequence[Line]) -> str:
    """One row for each operation and case, with the cost at both sizes and their ratio."""
    rows = [["what", "case", "workers", "tars", "ms", "tars", "ms", "ratio", "photos/s", "waiting"]]
    sizes: dict[tuple[str, str, int], list[Line]] = {}
    for line in lines:
        sizes.setdefault((line["op"], line["case"], line["workers"]), []).append(line)
    for (op, case, workers), of in sizes.items():
        few, many = of[0], of[-1]
        ratio = many["median_ms"] / few["median_ms"]
        cells = [str(few["tars"]), f"{few['median_ms']:.3f}", str(many["tars"]), f"{many['median_ms']:.3f}"]
        rate = f"{many['images_per_second']:.1f}" if "images_per_second" in many else ""
        waiting = f"{100 * many['waiting']:.0f} %" if "waiting" in many else ""
        rows.append([op, case, str(workers), *cells, f"{ratio:.2f}", rate, waiting])
    return report.grid(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tars", type=whole(1), nargs=2, default=[1, 4], help="the two sizes of the data (default: 1 4)"
    )
    parser.add_argument("--pairs", type=whole(1), default=40, help="pairs in a tar that is loaded from")
    parser.add_argument("--indexed", type=whole(0), default=SA1B_PAIRS, help="pairs in a tar that is only indexed")
    parser.add_argument("--size", type=whole(1), nargs=2, default=[1500, 2000], help="height and width of the photos")
    parser.add_argument("--masks", type=whole(1), default=60, help="masks of a photo")
    parser.add_argument("--cases", nargs="+", choices=SAMPLES, default=list(SAMPLES), help="samples that are made")
    parser.add_argument("--workers", type=whole(0), nargs="+", default=[0, 1, 2], help="processes that make them")
    parser.add_argument("--images", type=whole(1), default=4, help="photos in a batch")
    parser.add_argument("--batches", type=whole(1), default=6, help="batches that are timed in each case")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    shape = Shape(chosen.size[0], chosen.size[1], chosen.masks)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lines += [measure_index(folder / f"small{tars}", tars, chosen.indexed) for tars in chosen.tars]
        lines += [measure_order(tars * SA1B_TARS // max(chosen.tars), SA1B_PAIRS) for tars in chosen.tars]
        sources = {}
        for tars in chosen.tars:
            made = make_tars(folder / f"tars{tars}", tars, chosen.pairs, shape)
            sources[tars] = Sa1bTars(folder / f"tars{tars}")
            check(sources[tars], made)
        for case in chosen.cases:
            for workers in chosen.workers:
                lines += [
                    measure_loader(source, case, tars, workers, chosen.images, chosen.batches)
                    for tars, source in sources.items()
                ]
        for case in (case for case in chosen.cases if SAMPLES[case].image_size == TRAINED_SIZE):
            for workers in (workers for workers in chosen.workers if workers):
                lines += [
                    measure_trainer(folder / f"tars{tars}", case, tars, workers, chosen.images) for tars in chosen.tars
                ]
    photos = {"photo": list(chosen.size), "masks": chosen.masks, "images": chosen.images}
    print(table(lines))
    if chosen.save:
        path = harness.result_path("loading")
        harness.save(path, [{**line, **photos} for line in lines], ["op", "case", "tars", "workers", *photos])
    return 0


if __name__ == "__main__":
    sys.exit(main())
