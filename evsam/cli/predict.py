"""``evsam predict``: its arguments, the loop over photos, and what is written of each."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evsam.cli import console
from evsam.cli.arguments import add_loading_arguments, add_reading_arguments, number
from evsam.cli.outputs import OUTPUTS, Outputs, add_output_arguments, check_file, save_json, work_through
from evsam.cli.sharded import add_out_arguments, refuse_with_out, refuse_without_out, run_sharded, task_options

if TYPE_CHECKING:
    from evsam.cli.photos import PhotoFile, Task
    from evsam.cli.prompts import PromptFile, Request
    from evsam.results import Prediction
    from evsam.sam import Sam

DESCRIPTION = """Masks for boxes and points in photos.

The options' prompts hold for every photo, in its own pixels, as for a camera that
does not move; --prompts FILE has others for each. Unless -o or a file is asked for, the
photo with the masks drawn on it is written beside each photo as PHOTO_mask.png."""

_COORDINATE = number(-1e9, 1e9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam predict``."""

    def add_shape(name: str, coordinates: str, text: str) -> None:
        names = tuple(coordinates.split())
        parser.add_argument(
            name, nargs=len(names), type=_COORDINATE, action="append", metavar=names, default=[], help=text
        )

    parser.add_argument(
        "photo",
        nargs="*",
        help="a photo, whose EXIF orientation is applied; a folder of photos, a pattern such as 'in/**/*.jpg', "
        "or - for standard input",
    )
    add_shape("--box", "X0 Y0 X1 Y1", "a box around an object, in pixels of the photo; repeat it for several objects")
    add_shape("--point", "X Y", "a point on the object; repeated ones, with at most one box, describe one object")
    add_shape("--negative-point", "X Y", "a point that is not on the object")
    parser.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="an image of the photo's size whose light pixels are the object, alone or with points or a box",
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="JSON with prompts for each photo: COCO's form, whose boxes are used, or "
        '{"PHOTO": {"boxes": [[X0, Y0, X1, Y1], ...]}, ...}; photos that are not named are taken from it',
    )
    parser.add_argument(
        "--multimask",
        action=argparse.BooleanOptionalAction,
        help="three masks for each prompt instead of one; neither: three for a single point",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="write the photo with the masks drawn on it: an image file, or a folder",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the masks as COCO RLE, best first; a list where several photos were named; - for standard output",
    )
    add_output_arguments(parser)
    add_out_arguments(parser)
    add_loading_arguments(parser)
    add_reading_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say: 0, or 1 if photos had to be skipped."""
    from evsam.cli.photos import pixel_limit

    if arguments.out is not None:
        return _predict_many(arguments)
    refuse_without_out(arguments)
    with pixel_limit(arguments.max_pixels):
        return _predict(arguments)


def _predict(arguments: argparse.Namespace) -> int:
    from evsam.cli.photos import ENDINGS, Tasks, find_photos

    prompts_of = _prompts(arguments)
    photos, several = find_photos(arguments.photo) if arguments.photo else (arguments.prompt_file.photos(), True)
    outputs = Outputs(arguments, photos, several, ENDINGS["predict"], others=arguments.json is not None)
    check_file(arguments.json)
    documents: list[dict[str, Any]] = []

    def work(sam: Sam, task: Task[Request]) -> str:
        result = sam.predict(task.image, multimask=arguments.multimask, **task.wanted.arguments)
        entries = task.wanted.entries(len(result))
        lines = [_summary(task.photo, result)] if several else _describe(entries, result)
        lines += outputs.write(task.index, task.photo, result, partial(result.overlay, task.image))
        if arguments.json:
            documents.append(_document(task.photo, sam.variant.name, entries, result))
        return ", ".join(lines) if several else "\n".join(lines)

    def finish() -> None:
        if arguments.json and (documents or several):
            save_json(documents if several else documents[0], arguments.json)
        outputs.finish()

    tasks = Tasks(photos, several, arguments.scale_16bit, prompts_of, done=outputs.done)
    return work_through(tasks, arguments, work, finish)


def _predict_many(arguments: argparse.Namespace) -> int:
    from evsam.cli.photos import PhotoFile
    from evsam.distributed import Predict
    from evsam.weights.files import sha256

    refuse_with_out(arguments, (*OUTPUTS, "json"))
    prompts_of = _prompts(arguments)
    if arguments.prompts:
        if not arguments.photo:
            arguments.fail("--out: expected the photos beside --prompts, got none")
        given: Any = PromptsByKey(arguments.prompt_file)
    else:
        given = prompts_of(PhotoFile("")).arguments
    told = {"sha256": sha256(arguments.prompts)} if arguments.prompts else None
    task = Predict(given, arguments.multimask, told, **task_options(arguments))
    return run_sharded(arguments, task, arguments.photo)


@dataclass(frozen=True)
class PromptsByKey:
    """Prompts of a file for the photo of a key; it can be pickled.

    Attributes:
        file: that has them.
    """

    file: PromptFile

    def __call__(self, key: str) -> Mapping[str, Any]:
        """Arguments of :meth:`evsam.Sam.predict`.

        Raises:
            PromptError: there are none.
        """
        from evsam.cli.photos import PhotoFile

        return self.file.of(PhotoFile(key)).arguments


def _prompts(arguments: argparse.Namespace) -> Callable[[PhotoFile], Request]:
    """What to ask for in a photo."""
    from evsam.cli.prompts import PromptFile, Request, read_mask

    points = arguments.point + arguments.negative_point
    boxes = arguments.box
    if arguments.prompts:
        if points or boxes or arguments.mask:
            arguments.fail("--prompts has the prompts of all photos: give no --box, --point or --mask with it")
        file = PromptFile(arguments.prompts)
        if file.skipped:
            console.complain(f"warning: {arguments.prompts}: {file.skipped} annotations have no photo or no box")
        arguments.prompt_file = file
        return file.of
    if not arguments.photo:
        arguments.fail("give a photo, a folder, or - for standard input")
    if not (points or boxes or arguments.mask):
        arguments.fail("give at least one --box or --point, or --mask FILE or --prompts FILE")
    if (points or arguments.mask) and len(boxes) > 1:
        arguments.fail("points and a mask describe one object: give at most one --box with them")
    given: dict[str, Any] = {}
    if points:
        given = {"points": points, "labels": [1] * len(arguments.point) + [0] * len(arguments.negative_point)}
    if boxes:
        given |= {"box": boxes[0]} if len(boxes) == 1 else {"boxes": boxes}
    if arguments.mask:
        given["mask"] = read_mask(arguments.mask)
    return lambda _: Request(given, arguments.mask)


def _describe(entries: Sequence[dict[str, Any]], result: Prediction) -> list[str]:
    """A line for each prompt of a single photo."""
    lines = []
    for index, (entry, mask, scores) in enumerate(zip(entries, result.best(), result.scores, strict=True), 1):
        kinds = " and ".join(kind for kind in ("box", "points", "mask") if kind in entry)
        size = f"{mask.sum()} pixels, {mask.mean():.1%} of the photo"
        best_first = ", ".join(f"{score:.3f}" for score in sorted(scores, reverse=True))
        many = f"scores {best_first}; the best has" if len(scores) > 1 else f"score {best_first},"
        lines.append(f"mask {index} ({kinds}): {many} {size}")
    return lines


def _summary(photo: PhotoFile, result: Prediction) -> str:
    """A line for one photo of several."""
    if not len(result):
        return f"{photo}: no prompts"
    scores = ", ".join(f"{score:.3f}" for score in result.scores.max(1)[:8])
    more = ", ..." if len(result) > 8 else ""
    plural = "masks, scores" if len(result) > 1 else "mask, score"
    return f"{photo}: {len(result)} {plural} {scores}{more}"


def _document(photo: PhotoFile, variant: str, entries: list[dict[str, Any]], result: Prediction) -> dict[str, Any]:
    """What ``--json`` writes of a photo; boxes of masks are x, y, width and height, as COCO has them."""
    height, width = result.masks.shape[2:]
    predictions = []
    for entry, masks, scores in zip(entries, result.masks, result.scores, strict=True):
        order = (-scores).argsort(kind="stable")
        predictions.append({"prompt": entry, "masks": [_mask_entry(masks[i], float(scores[i])) for i in order]})
    return {"image": photo.name, "height": height, "width": width, "variant": variant, "predictions": predictions}


def _mask_entry(mask: Any, score: float) -> dict[str, Any]:
    from evsam.boxes import bounding_box
    from evsam.rle import encode_rle

    left, top, right, bottom = bounding_box(mask)
    box = [left, top, right - left, bottom - top]
    return {"score": round(score, 6), "area": int(mask.sum()), "bbox": box, "segmentation": encode_rle(mask)}
