"""``evsam everything``: its arguments, and the loop over photos."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evsam.cli.arguments import add_loading_arguments, add_reading_arguments, whole
from evsam.cli.outputs import OUTPUTS, Outputs, add_output_arguments, work_through
from evsam.cli.sharded import add_out_arguments, refuse_with_out, refuse_without_out, run_sharded, task_options

if TYPE_CHECKING:
    from evsam.cli.photos import Task
    from evsam.everything import Progress, Segments
    from evsam.sam import Sam

DESCRIPTION = """Masks for all that is in photos, found by a grid of clicks.

Unless -o or a file is asked for, the photo with the masks drawn on it is written beside
each photo as PHOTO_segments.png. The options of the search are those of segment_anything's
SamAutomaticMaskGenerator; thresholds are the variant's, if none are given."""

_SEARCH: dict[str, tuple[type[int | float], str]] = {
    "points-per-side": (int, "clicks along each side of the grid (default: 32)"),
    "points-per-batch": (int, "clicks that are decoded at once, at most (default: 64)"),
    "pred-iou-thresh": (float, "drop masks of which the model expects no more, up to 1"),
    "stability-score-thresh": (float, "drop masks of which less stays where the threshold moves, up to 1"),
    "stability-score-offset": (float, "how far it moves (default: 1)"),
    "box-nms-thresh": (float, "of boxes that overlap by more, 0 to 1, keep the best (default: 0.7)"),
    "crop-n-layers": (int, "search in 4 crops too, in 4 and 16, and so on, for small things (default: 0)"),
    "crop-nms-thresh": (float, "as --box-nms-thresh, between crops (default: 0.7)"),
    "crop-overlap-ratio": (float, "overlap of crops, in parts of the photo's shorter side (default: 0.34)"),
    "crop-n-points-downscale-factor": (int, "divide the grids of each further layer by this (default: 1)"),
    "min-mask-region-area": (int, "remove pieces and fill holes of fewer pixels (default: 0)"),
}
"""Options of the search by their names, with their types; their ranges are those of segment_everything."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam everything``."""
    parser.add_argument(
        "photo",
        nargs="+",
        help="a photo, whose EXIF orientation is applied; a folder of photos, a pattern such as 'in/**/*.jpg', "
        "or - for standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="write the photo with the masks drawn on it: an image file, or a folder",
    )
    parser.add_argument("--tags", action="store_true", help="write number and predicted IoU beside the masks")
    add_output_arguments(parser)
    add_out_arguments(parser)
    search = parser.add_argument_group("search")
    search.add_argument(
        "--mode",
        choices=("fast", "exact"),
        default="fast",
        help="exact: the masks of segment_anything's generator; fast: most of them, sooner (default: fast)",
    )
    for name, (kind, text) in _SEARCH.items():
        search.add_argument(f"--{name}", type=_numbers(kind), metavar="N", help=text)
    chosen = parser.add_argument_group("which masks, in which order")
    chosen.add_argument("--min-area", type=whole(0), metavar="N", help="leave out masks of fewer pixels")
    chosen.add_argument("--max-area", type=whole(0), metavar="N", help="leave out masks of more pixels")
    chosen.add_argument(
        "--sort",
        choices=("predicted_iou", "stability_score", "area"),
        default="predicted_iou",
        help="largest first (default: predicted_iou)",
    )
    chosen.add_argument("--limit", type=whole(1), metavar="N", help="keep the first N")
    add_loading_arguments(parser)
    add_reading_arguments(parser)


def _numbers(kind: type[int | float]) -> Callable[[str], float]:
    """A type of argparse: numbers of any size."""

    def read(text: str) -> float:
        try:
            return kind(text)
        except ValueError as error:
            expected = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:40]}") from error

    return read


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say: 0, or 1 if photos had to be skipped."""
    from evsam.cli.photos import pixel_limit

    if arguments.out is not None:
        return _segment_many(arguments)
    refuse_without_out(arguments)
    with pixel_limit(arguments.max_pixels):
        return _segment(arguments)


def _segment(arguments: argparse.Namespace) -> int:
    from evsam.cli.photos import ENDINGS, Tasks, find_photos

    options = _options(arguments)
    photos, several = find_photos(arguments.photo)
    outputs = Outputs(arguments, photos, several, ENDINGS["everything"])
    tasks = Tasks(photos, several, arguments.scale_16bit, lambda _: None, done=outputs.done, parts=True)

    def work(sam: Sam, task: Task[None]) -> str:
        def callback(progress: Progress) -> None:
            tasks.show(progress.done / max(progress.total, 1))

        found = _chosen(sam.segment_everything(task.image, **options, callback=callback), arguments)
        covered = (found.label_map() > 0).mean()
        what = f"{len(found)} mask{'s' if len(found) != 1 else ''} on {covered:.1%} of the photo"
        draw = partial(found.overlay, task.image, tags=arguments.tags)
        written = outputs.write(task.index, task.photo, found, draw)
        return ", ".join([f"{task.photo}: {what}", *written]) if several else "\n".join([what, *written])

    return work_through(tasks, arguments, work, outputs.finish)


def _segment_many(arguments: argparse.Namespace) -> int:
    from evsam.distributed import Everything

    refuse_with_out(arguments, (*OUTPUTS, "tags"))
    kept = {name: getattr(arguments, name) for name in ("min_area", "max_area", "sort", "limit")}
    task = Everything(_options(arguments), **kept, **task_options(arguments))
    return run_sharded(arguments, task, arguments.photo)


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the search that were given, checked before any work."""
    from evsam.errors import PromptError
    from evsam.everything import make_generator

    options = {name: getattr(arguments, name) for name in ("mode", *(key.replace("-", "_") for key in _SEARCH))}
    options = {name: value for name, value in options.items() if value is not None}
    try:
        make_generator((1, 1), options)
    except PromptError as error:
        name, _, message = str(error).partition(": ")
        arguments.fail(f"argument --{name.replace('_', '-')}: {message}")
    return options


def _chosen(found: Segments, arguments: argparse.Namespace) -> Segments:
    found = found.filter(min_area=arguments.min_area, max_area=arguments.max_area)
    return found.sort_by(arguments.sort)[: arguments.limit]
