"""``evsam predict``: its arguments, the loop over photos, and what is written of each."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evsam.cli import console
from evsam.cli.arguments import add_model_arguments, engine_options, number, whole
from evsam.errors import EvsamError, ImageError, PromptError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from evsam.cli.photos import PhotoFile
    from evsam.cli.prompts import Request
    from evsam.images import Scale16
    from evsam.results import Prediction

DESCRIPTION = """Masks for boxes and points in photos.

The options' prompts hold for every photo, in its own pixels, as for a camera that
does not move; --prompts FILE has others for each. Without -o and --json, the photo
with the masks drawn on it is written beside each photo as PHOTO_mask.png."""

_COORDINATE = number(-1e9, 1e9)

_MOST_PIXELS = 178_956_970
"""Where Pillow suspects an attack: 2/3 of a GiB of RGB."""


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
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", default="nano", help="variant, weights file or folder of evsam export (default: nano)"
    )
    model.add_argument("--variant", help="the variant that the weights file is expected to hold")
    add_model_arguments(model)
    reading = parser.add_argument_group("reading photos")
    reading.add_argument(
        "--scale-16bit",
        choices=("full", "stretch"),
        help="what to do with 16 bits per channel: full takes 0 to 65535 to 0 to 255, stretch the darkest to the "
        "brightest value of each photo (default: refuse them)",
    )
    reading.add_argument(
        "--max-pixels",
        type=whole(1),
        default=_MOST_PIXELS,
        metavar="N",
        help=f"refuse photos with more, before they are decoded (default: {_MOST_PIXELS})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say: 0, or 1 if photos had to be skipped."""
    with _pixel_limit(arguments.max_pixels):
        return _predict(arguments)


@contextmanager
def _pixel_limit(pixels: int) -> Iterator[None]:
    """Photos with more are errors; Pillow would warn first, and refuse what has twice as many."""
    from PIL import Image

    usual = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _predict(arguments: argparse.Namespace) -> int:
    from evsam.cli.photos import find_photos
    from evsam.sam import load

    prompts_of = _prompts(arguments)
    photos, several = find_photos(arguments.photo) if arguments.photo else (arguments.prompt_file.photos(), True)
    outputs = _outputs(arguments, photos, several)
    _check_json(arguments.json)
    tasks = _Tasks(photos, several, arguments.scale_16bit, prompts_of)
    reading = iter(tasks)
    first = next(reading, None)  # before the model: a mistyped path should not take seconds to be told
    documents = []
    if first is not None:
        say = console.note if arguments.json == "-" else console.say
        with load(arguments.model, arguments.variant, **engine_options(arguments)) as sam:
            for task in chain([first], reading):
                try:
                    result = sam.predict(task.image, multimask=arguments.multimask, **task.prompts.arguments)
                except PromptError as error:
                    tasks.skip(task.photo, error)
                    continue
                entries = task.prompts.entries(len(result))
                lines = [_summary(task.photo, result)] if several else _describe(entries, result)
                if outputs:
                    _save_picture(result.overlay(task.image), outputs[task.index])
                    lines.append(f"wrote {outputs[task.index]}")
                tasks.progress.clear()
                say(", ".join(lines) if several else "\n".join(lines))
                if arguments.json:
                    documents.append(_document(task.photo, sam.variant.name, entries, result))
    tasks.progress.clear()
    if arguments.json and (documents or several):
        _save_json(documents if several else documents[0], arguments.json)
    if tasks.skipped and several:
        console.complain(f"{tasks.skipped} of {len(photos)} photos were skipped")
    return 1 if tasks.skipped else 0


@dataclass(frozen=True)
class _Task:
    """A photo that was read, and what to ask for in it."""

    index: int
    photo: PhotoFile
    image: npt.NDArray[np.uint8]
    prompts: Request


class _Tasks:
    """The photos one after the other, with a progress bar; those that cannot be used are told and skipped.

    Attributes:
        progress: to be cleared before anything else is written.
        skipped: how many photos were skipped so far.
    """

    def __init__(
        self,
        photos: Sequence[PhotoFile],
        several: bool,
        scale_16bit: Scale16 | None,
        prompts_of: Callable[[PhotoFile], Request],
    ) -> None:
        self._photos, self._several = photos, several
        self._scale_16bit = scale_16bit
        self._prompts_of = prompts_of
        self.progress = console.Progress(len(photos))
        self.skipped = 0

    def __iter__(self) -> Iterator[_Task]:
        for index, photo in enumerate(self._photos):
            self.progress.show(index, Path(str(photo)).name)
            try:
                task = _Task(index, photo, photo.read(self._scale_16bit), self._prompts_of(photo))
            except (ImageError, PromptError) as error:
                self.skip(photo, error)
            else:
                yield task

    def skip(self, photo: PhotoFile, error: EvsamError) -> None:
        """Say what is wrong with a photo."""
        self.skipped += 1
        self.progress.clear()
        console.complain(f"{photo}: skipped: {error}" if self._several else error)


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


def _outputs(arguments: argparse.Namespace, photos: Sequence[PhotoFile], several: bool) -> list[Path]:
    """Where to draw each photo; nowhere if only ``--json`` was asked for."""
    from evsam.cli.photos import choose_outputs, picture_format
    from evsam.writing import check_folder, check_writable

    output: Path | None = arguments.output
    if output is None:
        outputs = [] if arguments.json else choose_outputs(photos, None)
    elif several or output.is_dir():
        if output.exists() and not output.is_dir():
            arguments.fail(f"-o: expected a folder for several photos, got {output}, which is a file")
        if several and output.suffix and not output.exists():
            arguments.fail(f"-o: expected a folder for several photos, got {output}; make it first if it is meant")
        _check_parent(output)
        outputs = choose_outputs(photos, output)
    else:
        try:
            picture_format(output)
        except EvsamError as error:
            arguments.fail(str(error))
        _check_parent(output)
        outputs = [output]
    for folder in {path.parent for path in outputs}:
        if output is None or folder.is_dir():
            check_folder(folder)
    for path in outputs:
        check_writable(path)
    return outputs


def _check_json(name: str | None) -> None:
    from evsam.writing import check_writable

    if name not in (None, "-"):
        _check_parent(Path(name))
        check_writable(Path(name))


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected an existing folder to write to, got {path.parent}")


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


def _save_picture(picture: Any, path: Path) -> None:
    from evsam.cli.photos import picture_format
    from evsam.writing import replaced

    with replaced(path) as temporary:
        picture.save(temporary, picture_format(path))


def _save_json(document: Any, name: str) -> None:
    from evsam.writing import replaced

    text = json.dumps(document, indent=1) + "\n"
    if name == "-":
        console.write(sys.stdout, text, "standard output")
        return
    with replaced(Path(name)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    console.say(f"wrote {name}")


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
