"""Annotated photos by the path of their folder, whatever form they have."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from evsam.datasets.annotated import list_sets, read_set
from evsam.datasets.coco import CocoPhotos
from evsam.datasets.files import has_photo
from evsam.datasets.masks import Ignored, MaskPhotos, Objects, read_list
from evsam.datasets.records import DataError, Photos
from evsam.datasets.sa1b import PHOTO_SUFFIXES, Sa1bFolder, Sa1bTars

MASK_FOLDERS = (
    ("JPEGImages/480p", "Annotations/480p"),  # DAVIS
    ("JPEGImages/480p", "Annotations_unsupervised/480p"),
    ("JPEGImages/Full-Resolution", "Annotations/Full-Resolution"),
    ("JPEGImages", "SegmentationObject"),  # PASCAL VOC
    ("JPEGImages", "Annotations"),  # YouTube-VOS
    ("data_GT", "boundary_GT"),  # GrabCut
    ("img", "gt"),  # DAVIS's frames as click-based methods score them
    ("images", "masks"),  # Berkeley, and most people
)
"""Where photos and masks of a folder are."""

LISTS = ("2017", "2016", "480p", "Segmentation", "")
"""Folders in ``ImageSets`` whose ``SPLIT.txt`` lists what belongs to a split."""

LVIS_PHOTOS = ("train2017", "val2017")
"""Folders of COCO whose photos LVIS annotates."""

EXPORTED = ("_annotations_min1cat.coco.json", "_annotations.coco.json")
"""Names of the annotations beside the photos of SGinW's sets, and of other exports of the same platform; the first that
is there counts."""


@dataclass(frozen=True)
class _Request:
    path: Path
    annotations: Path | None
    masks: Path | None
    split: str
    objects: Objects
    ignore: Ignored
    empty: bool
    cache: Path | None
    certain: bool

    @property
    def split_folders(self) -> tuple[str, ...]:
        return (self.split, "valid") if self.split == "val" else (self.split,)


Opener = Callable[[], Photos]
"""Opens one set; many are found where one is wanted."""


def open_photos(
    path: str | os.PathLike[str],
    kind: str = "auto",
    *,
    annotations: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    split: str = "val",
    sets: Sequence[str] | None = None,
    objects: Objects = "auto",
    ignore: Ignored = "auto",
    empty: bool = True,
    cache: str | os.PathLike[str] | None = None,
) -> dict[str, Photos]:
    """The sets of annotated photos in a folder, by name.

    Args:
        path: folder, file or pattern, by ``kind``:

            * ``coco``, ``lvis``: a folder of photos with ``annotations``; or the json file itself; or a folder with
              ``annotations/instances_val2017.json`` (or ``lvis_v1_val.json``, there or in the folder itself) and
              ``val2017``.
            * ``sginw``: SGinW, and other exports in its form: ``SET/valid/_annotations_min1cat.coco.json``, or
              ``_annotations.coco.json``, beside the photos; the folder of all sets, or of one.
            * ``masks``: folders of photos and of masks: a folder with one of the pairs of :data:`MASK_FOLDERS`
              (GrabCut, Berkeley, DAVIS, VOC); or one of photos, with ``masks``.
            * ``annotated``: a data directory with ``SPLIT/SET.json`` and ``SPLIT/SET/FILE``.
            * ``sa1b``: tars as published: their folder, one tar or a pattern; ``sa1b-folder``: the same unpacked.
        kind: one of those, or ``auto``, which takes the first of them that is there.
        annotations: json file of COCO or LVIS.
        masks: folder of the masks.
        split: ``train``, ``val`` or another name, of those that have splits. SGinW's ``valid`` is ``val``, too.
        sets: only those with these names.
        objects: see :class:`evsam.datasets.MaskPhotos`.
        ignore: see :class:`evsam.datasets.MaskPhotos`.
        empty: whether photos without objects belong to it, of ``coco``, ``lvis`` and ``sginw``.
        cache: folder for the indexes of tars, see :class:`evsam.datasets.Sa1bTars`.

    Returns:
        Sets by name, in the order of their names: that of the annotation file or data set folder.

    Raises:
        DataError: there is nothing there that can be read, or no set of such a name.

    Example:
        >>> from PIL import Image
        >>> for name, value in (("images", 200), ("masks", 255)):
        ...     (folder / name).mkdir()
        ...     Image.new("L", (8, 6), value).save(folder / name / "cat.png")
        >>> (photos,) = open_photos(folder).values()
        >>> photos[0].key, photos[0].pixels().shape, photos[0].annotations[0].area
        ('cat.png', (6, 8, 3), 48.0)
    """
    request = _Request(
        path=Path(path),
        annotations=None if annotations is None else Path(annotations),
        masks=None if masks is None else Path(masks),
        split=split,
        objects=objects,
        ignore=ignore,
        empty=empty,
        cache=None if cache is None else Path(cache),
        certain=kind != "auto",
    )
    found = _find(request, kind)
    unknown = [name for name in sets or () if name not in found]
    if unknown:
        raise DataError(f"sets: expected some of {', '.join(found)}, got {', '.join(unknown)}")
    return {name: found[name]() for name in sorted(found) if sets is None or name in sets}


def _find(request: _Request, kind: str) -> dict[str, Opener]:
    if kind not in ("auto", *KINDS):
        raise DataError(f"kind: expected auto, {', '.join(KINDS)}, got {kind!r}")
    for argument, value, kinds in (
        ("annotations", request.annotations, ("coco", "lvis")),
        ("masks", request.masks, ("masks",)),
    ):
        if value is not None:
            if kind not in ("auto", *kinds):
                raise DataError(f"{argument}: expected none for photos of kind {kind}, got {value}")
            kind = kinds[0] if kind == "auto" else kind
    if not (request.path.exists() or has_magic(str(request.path))):
        raise DataError(f"path {request.path}: expected annotated photos, got nothing: there is no such file or folder")
    for name in KINDS if kind == "auto" else (kind,):
        find, _ = KINDS[name]
        found = dict(find(request))
        if found:
            return found
    expected = "; or ".join(text for name, (_, text) in KINDS.items() if text and kind in ("auto", name))
    raise DataError(f"path {request.path}: expected {expected.replace('SPLIT', request.split)}; found none of it")


def _coco(request: _Request) -> Iterator[tuple[str, Opener]]:
    def opener(photos: Path, annotations: Path) -> Opener:
        return lambda: CocoPhotos(photos, annotations, empty=request.empty)

    if request.annotations is not None:
        yield request.annotations.stem, opener(request.path, request.annotations)
    elif request.path.suffix.lower() == ".json":
        yield request.path.stem, opener(_photos_of(request.path) or request.path.parent, request.path)
    else:
        for folder in (request.path / "annotations", request.path):
            for pattern in (f"instances_{request.split}*.json", f"lvis_v*_{request.split}*.json"):
                for file in folder.glob(pattern):
                    if photos := _photos_of(file):
                        yield file.stem, opener(photos, file)


def _photos_of(annotations: Path) -> Path | None:
    """Where the photos of a json file are, by its name and its neighbours."""
    here = annotations.parent
    above = here.parent if here.name == "annotations" else here
    if annotations.stem.startswith("lvis_"):  # of both sets of COCO
        places = [place for place in (above, above / "images") if any((place / name).is_dir() for name in LVIS_PHOTOS)]
        return places[0] if places else None
    name = annotations.stem.rpartition("_")[2]
    places = [above / name, above / "images" / name, above / "images", here, above]
    return next(filter(has_photo, places), None)


def _sginw(request: _Request) -> Iterator[tuple[str, Opener]]:
    def opener(file: Path) -> Opener:
        return lambda: CocoPhotos(file.parent, file, empty=request.empty)

    def annotations(folder: Path) -> Path | None:
        return next((folder / name for name in EXPORTED if (folder / name).is_file()), None)

    places = (request.path, *(request.path / name for name in request.split_folders))
    found = next(filter(None, map(annotations, places)), None)
    if found is not None:
        one = request.path.parent if request.path.name in request.split_folders else request.path
        yield one.name, opener(found)
    elif request.path.is_dir():
        for folder in request.path.iterdir():
            inside = (annotations(folder / name) for name in request.split_folders)
            if (file := next(filter(None, inside), None)) is not None:
                yield folder.name, opener(file)


def _masks(request: _Request) -> Iterator[tuple[str, Opener]]:
    def opener(photos: Path, masks: Path, listed: frozenset[str] | None = None) -> Opener:
        return lambda: MaskPhotos(photos, masks, objects=request.objects, ignore=request.ignore, listed=listed)

    if request.masks is not None:
        yield request.path.name, opener(request.path, request.masks)
        return
    for folder in (request.path, *(request.path / name for name in request.split_folders)):
        for photos, masks in MASK_FOLDERS:
            if (folder / photos).is_dir() and (folder / masks).is_dir():
                lists = (folder / "ImageSets" / name / f"{request.split}.txt" for name in LISTS)
                listed = next((read_list(path) for path in lists if path.is_file()), None)
                yield request.path.name, opener(folder / photos, folder / masks, listed)
                return


def _annotated(request: _Request) -> Iterator[tuple[str, Opener]]:
    def opener(name: str) -> Opener:
        return lambda: read_set(request.path, request.split, name)

    for name in list_sets(request.path, request.split):
        if (request.path / request.split / name).is_dir():
            yield name, opener(name)


def _tars(request: _Request) -> Iterator[tuple[str, Opener]]:
    path = request.path
    if has_magic(str(path)) or path.suffix == ".tar" or (path.is_dir() and any(path.glob("*.tar"))):
        yield path.parent.name if has_magic(path.name) else path.stem, lambda: Sa1bTars(path, request.cache)


def _pairs(request: _Request) -> Iterator[tuple[str, Opener]]:
    if request.certain or _has_pair(request.path):
        yield request.path.name, lambda: Sa1bFolder(request.path)


def _has_pair(path: Path) -> bool:
    """Whether the first photo that is found has json of SA-1B beside it, not that of an editor such as labelme."""
    for folder, _, files in os.walk(path):
        for file in files:
            photo = Path(folder, file)
            if photo.suffix.lower() in PHOTO_SUFFIXES and not file.startswith("."):
                try:
                    return isinstance(json.loads(photo.with_suffix(".json").read_bytes())["annotations"], list)
                except (OSError, ValueError, KeyError, TypeError, RecursionError):
                    return False
    return False


Find = Callable[[_Request], Iterator[tuple[str, Opener]]]

KINDS: Mapping[str, tuple[Find, str]] = {
    "coco": (
        _coco,
        "a folder of photos with annotations, a json file of COCO, a folder with annotations/instances_SPLIT2017.json",
    ),
    "lvis": (_coco, ""),
    "sginw": (_sginw, "folders SET/valid with _annotations.coco.json beside the photos"),
    "masks": (_masks, "folders of photos and masks such as images and masks"),
    "annotated": (_annotated, "SPLIT/SET.json with SPLIT/SET"),
    "sa1b": (_tars, "tars of SA-1B"),
    "sa1b-folder": (_pairs, "pairs of NAME.jpg and NAME.json"),
}
"""Kinds of sources: how each is found, and how it looks."""
