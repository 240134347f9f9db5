"""What ``evsam predict`` and ``evsam everything`` have in common: going through photos, and what is written of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evsam.cli import console
from evsam.cli.arguments import engine_options
from evsam.errors import EvsamError, ImageError, PromptError

if TYPE_CHECKING:
    from PIL import Image

    from evsam.cli.photos import PhotoFile, Task, Tasks
    from evsam.formats import Affine
    from evsam.masks import MaskSet
    from evsam.sam import Sam

Wanted = TypeVar("Wanted")

FORMATS = {
    "coco": (".coco.json", "COCO's json"),
    "geojson": (".geojson", "GeoJSON"),
    "labelme": (".json", "labelme's json"),
    "svg": (".svg", "outlines as SVG"),
    "png": ("_labels.png", "a label map"),
    "npz": (".npz", "NumPy's arrays"),
    "rle": (".rle.json", "a list of COCO's run-length encodings"),
}
"""What is written of a photo: the ending behind its stem, and what that is."""


OUTPUTS = ("output", "resume", "format", "coco", "picture", "world")
"""Names of the arguments that say what is written of photos one by one."""


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is written besides pictures, and of which photos."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave out photos that are done: all their files are there, and newer than the photo",
    )
    group = parser.add_argument_group("files for other programs")
    told = "; ".join(f"{name}, {text} (PHOTO{ending})" for name, (ending, text) in FORMATS.items())
    group.add_argument(
        "--format",
        action="append",
        default=[],
        choices=tuple(FORMATS),
        metavar="NAME",
        help=f"write a file for each photo, to the folder of -o or beside the photo; repeat it for several: {told}",
    )
    group.add_argument("--coco", metavar="FILE", help="write one COCO document of all photos; - for standard output")
    group.add_argument(
        "--picture",
        action=argparse.BooleanOptionalAction,
        help="the photos with the masks drawn on them (default: unless files were asked for and no -o was given)",
    )
    group.add_argument(
        "--world",
        type=Path,
        metavar="FILE",
        help="world file with the place of a photo on the map, for --format geojson (default: the one beside each "
        "photo, such as PHOTO.jgw or PHOTO.wld, if there is one)",
    )


@dataclass(frozen=True)
class Targets:
    """Where what is written of one photo goes.

    Attributes:
        picture: the photo with its masks, or None.
        files: by the names of :data:`FORMATS`.
    """

    picture: Path | None
    files: Mapping[str, Path]

    def paths(self) -> list[Path]:
        """All of them."""
        return [*([] if self.picture is None else [self.picture]), *self.files.values()]


class Outputs:
    """Where everything goes that is written of some photos; that it can be written is known before any work.

    Args:
        arguments: with ``output`` and those of :func:`add_output_arguments`.
        photos: all of them.
        several: whether there can be several.
        ending: of pictures' default names.
        others: whether something else is written, so that no picture is needed.

    Attributes:
        targets: of each photo.
        done: with ``--resume``, indices of the photos whose files an earlier call has written.

    Raises:
        EvsamError: two photos would go to the same file.
        OSError: a file cannot be written.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        photos: Sequence[PhotoFile],
        several: bool,
        ending: str,
        *,
        others: bool = False,
    ) -> None:
        from evsam.formats import read_world_file

        self._photos, self._several = photos, several
        self._coco_name: str | None = arguments.coco
        self._documents: dict[int, dict[str, Any]] = {}
        self._world: Affine | None = None
        if arguments.world is not None:
            if "geojson" not in arguments.format:
                arguments.fail("--world is for --format geojson")
            self._world = read_world_file(arguments.world)
        self.targets = _targets(arguments, photos, several, ending, others)
        check_file(self._coco_name)
        if self._coco_name is not None and self._coco_name == getattr(arguments, "json", None):
            arguments.fail(f"--coco: expected another file than that of --json, got {self._coco_name}")
        self.done = self._find_done(arguments, photos) if arguments.resume else frozenset[int]()

    def _find_done(self, arguments: argparse.Namespace, photos: Sequence[PhotoFile]) -> frozenset[int]:
        """The photos that need no work; what the document of all photos says of them is read."""
        if getattr(arguments, "json", None) is not None:
            arguments.fail("--resume: expected no --json, which would lack the photos that are done")
        if self._coco_name is not None and "coco" not in arguments.format:
            arguments.fail("--resume: --coco takes photos that are done from their files: give --format coco too")
        if not any(targets.paths() for targets in self.targets):
            arguments.fail("--resume: expected files of each photo, by which it is known, got none")
        done = set()
        for index, (photo, targets) in enumerate(zip(photos, self.targets, strict=True)):
            if photo.is_stdin or not _are_newer(targets.paths(), Path(photo.name)):
                continue
            if self._coco_name is not None:
                document = _read_document(targets.files["coco"])
                if document is None:
                    continue
                self._documents[index] = document
            done.add(index)
        return frozenset(done)

    def write(self, index: int, photo: PhotoFile, masks: MaskSet, draw: Callable[[], Image.Image]) -> list[str]:
        """Write all that is wanted of a photo.

        Args:
            index: of the photo.
            photo: as it was given.
            masks: in it.
            draw: makes the picture, if it is wanted.

        Returns:
            What was written, for the user: a line for each file of a single photo, one in all for several photos.

        Raises:
            ImageError: the photo's world file is damaged; nothing has been written then.
            OSError: it cannot be written.
        """
        from evsam.writing import replaced

        targets = self.targets[index]
        texts = {name: self._text(name, photo, masks, path.parent) for name, path in targets.files.items()}
        if targets.picture is not None:
            save_picture(draw(), targets.picture)
        for name, path in targets.files.items():
            text = texts[name]
            if text is None:
                masks.save(path)
                continue
            with replaced(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        if self._coco_name is not None:
            self._documents[index] = masks.to_coco()
        paths = targets.paths()
        if self._several and len(paths) > 1:
            return [f"wrote {paths[0]} and {len(paths) - 1} more"]
        return [f"wrote {path}" for path in paths]

    def finish(self) -> None:
        """Write the document of all photos: of those that are done, if there was an interruption.

        Raises:
            OSError: it cannot be written.
        """
        from evsam.formats import join_coco

        if self._coco_name is not None and (self._documents or self._several):
            folder = Path() if self._coco_name == "-" else Path(self._coco_name).parent
            documents = [
                _named(self._documents[index], number, _seen_from(folder, self._photos[index]))
                for number, index in enumerate(sorted(self._documents), 1)
            ]
            save_json(join_coco(documents), self._coco_name, indent=None)

    def _text(self, name: str, photo: PhotoFile, masks: MaskSet, folder: Path) -> str | None:
        """What a file has, or None where the name says it."""
        if name in ("png", "npz"):
            return None
        seen = _seen_from(folder, photo)
        if name == "svg":
            return masks.to_svg(None if photo.is_stdin else seen)
        if name == "coco":
            document: object = masks.to_coco(seen)
        elif name == "labelme":
            document = masks.to_labelme(seen)
        elif name == "rle":
            document = masks.to_coco_rle()
        else:
            document = masks.to_geojson(self._world or _world_beside(photo))
        return json.dumps(document) + "\n"


def _targets(
    arguments: argparse.Namespace, photos: Sequence[PhotoFile], several: bool, ending: str, others: bool
) -> list[Targets]:
    """Where to write what of each photo."""
    output: Path | None = arguments.output
    formats = dict.fromkeys(arguments.format)
    others = others or bool(formats) or arguments.coco is not None
    pictures = arguments.picture if arguments.picture is not None else output is not None or not others
    if not pictures and not others:
        arguments.fail("--no-picture: expected --format, or another file to write, got none")
    folder = None
    picture = output
    if output is not None:
        _check_parent(output)
        if several or output.is_dir() or not output.suffix:
            folder, picture = _folder(arguments, output, several), None
        else:
            folder = output.parent
            _check_name(arguments, output)

    targets = []
    taken: dict[Path, PhotoFile] = {}
    for photo in photos:
        drawn = (picture or photo.output(folder, ending)) if pictures else None
        target = Targets(drawn, {name: photo.output(folder, FORMATS[name][0]) for name in formats})
        for path in target.paths():
            if path in taken:
                raise EvsamError(f"-o: expected a file for each photo, got {path} for {taken[path]} and {photo}")
            taken[path] = photo
        targets.append(target)
    _check_writable(taken, may_make=output is not None)
    return targets


def _folder(arguments: argparse.Namespace, output: Path, several: bool) -> Path:
    if output.exists() and not output.is_dir():
        arguments.fail(f"-o: expected a folder for several photos, got {output}, which is a file")
    if several and output.suffix and not output.exists():
        arguments.fail(f"-o: expected a folder for several photos, got {output}; make it first if it is meant")
    return output


def _check_name(arguments: argparse.Namespace, output: Path) -> None:
    from evsam.cli.photos import picture_format

    try:
        picture_format(output)
    except EvsamError as error:
        arguments.fail(str(error))


def _check_writable(paths: Iterable[Path], *, may_make: bool) -> None:
    """Make sure that all of them can be written; the folder of ``-o`` is made when the first is."""
    from evsam.writing import check_folder, check_writable

    paths = list(paths)
    for folder in {path.parent for path in paths}:
        if not may_make or folder.is_dir():
            check_folder(folder)
    for path in paths:
        check_writable(path)


def _are_newer(paths: Iterable[Path], photo: Path) -> bool:
    """Whether all these files are there, which are written whole or not at all, and none is older than the photo."""
    try:
        changed = photo.stat().st_mtime
        return all(path.is_file() and path.stat().st_mtime >= changed for path in paths)
    except OSError:  # a photo that is missing is told of when it is read
        return False


def _read_document(path: Path) -> dict[str, Any] | None:
    """COCO's document of one photo, as an earlier call has written it; None for whatever else the file may be."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        (image,) = document["images"]
        ids = {annotation["image_id"] for annotation in document["annotations"]}
        known = {category["id"]: category["name"] for category in document["categories"]}
        used = {annotation["category_id"] for annotation in document["annotations"]}
    except (OSError, KeyError, TypeError, ValueError):
        return None
    whole = ids <= {image["id"]} and used <= set(known)
    found: dict[str, Any] = document
    return found if whole else None


def _named(document: Mapping[str, Any], number: int, name: str) -> dict[str, Any]:
    """A document of one photo, with another number and name of the photo."""
    images = [{**image, "id": number, "file_name": name} for image in document["images"]]
    annotations = [{**annotation, "image_id": number} for annotation in document["annotations"]]
    return {**document, "images": images, "annotations": annotations}


def work_through(
    tasks: Tasks[Wanted],
    arguments: argparse.Namespace,
    work: Callable[[Sam, Task[Wanted]], str],
    finish: Callable[[], None],
) -> int:
    """Load the model, and go through the photos.

    Args:
        tasks: the photos; those that cannot be used are skipped.
        arguments: with those of the model, and the files of which one may be standard output.
        work: what is done with a photo; what it returns is told.
        finish: called behind all of it, also where it is interrupted, so that what is done is kept.

    Returns:
        The exit code.
    """
    from evsam.sam import load

    tasks.tell_done()
    say = console.note if "-" in (getattr(arguments, "json", None), arguments.coco) else console.say
    reading = iter(tasks)
    first = next(reading, None)  # before the model: a mistyped path should not take seconds to be told
    with _finishing(tasks, finish):
        if first is not None:
            with load(arguments.model, arguments.variant, **engine_options(arguments)) as sam:
                for task in chain([first], reading):
                    try:
                        text = work(sam, task)
                    except (PromptError, ImageError) as error:
                        tasks.skip(task.photo, error)
                        continue
                    tasks.progress.clear()
                    say(text)
    return tasks.code()


@contextmanager
def _finishing(tasks: Tasks[Any], finish: Callable[[], None]) -> Iterator[None]:
    """Finishes behind the block, and where that is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        tasks.progress.clear()
        finish()
        raise
    tasks.progress.clear()
    finish()


def check_file(name: str | None) -> None:
    """Make sure, before any work, that a file named by an option can be written.

    Args:
        name: of the file, ``-`` for standard output, or None.

    Raises:
        OSError: it cannot.
    """
    from evsam.writing import check_writable

    if name not in (None, "-"):
        _check_parent(Path(name))
        check_writable(Path(name))


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that its name means."""
    from evsam.cli.photos import picture_format
    from evsam.writing import replaced

    with replaced(path) as temporary:
        picture.save(temporary, picture_format(path))


def save_json(document: Any, name: str, *, indent: int | None = 1) -> None:
    """Write a document to a file, or for ``-`` to standard output."""
    from evsam.writing import replaced

    text = json.dumps(document, indent=indent) + "\n"
    if name == "-":
        console.write(sys.stdout, text, "standard output")
        return
    with replaced(Path(name)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    console.say(f"wrote {name}")


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected an existing folder to write to, got {path.parent}")


def _seen_from(folder: Path, photo: PhotoFile) -> str:
    """Path of a photo from the folder of a file that names it, with slashes as URLs and json have them."""
    if photo.is_stdin:
        return ""
    try:
        path = os.path.relpath(photo.name, folder)
    except ValueError:  # on another drive of Windows
        path = os.path.abspath(photo.name)
    return path.replace(os.sep, "/")


def _world_beside(photo: PhotoFile) -> Affine | None:
    """The transform in a photo's world file, whose ending is made of the photo's, if there is one.

    Raises:
        ImageError: it is damaged.
    """
    from evsam.formats import read_world_file

    if photo.is_stdin:
        return None
    path = Path(photo.name)
    letters = path.suffix.lstrip(".")
    for ending in (f"{letters[:1]}{letters[-1:]}w", f"{letters}w", "wld"):
        for spelled in (ending.lower(), ending.upper()):
            beside = path.with_suffix(f".{spelled}")
            if beside.is_file():
                try:
                    return read_world_file(beside)
                except (EvsamError, OSError) as error:
                    raise ImageError(str(error)) from error
    return None
