"""Folders of photos and of pictures of their masks: GrabCut, Berkeley, DAVIS, PASCAL VOC, plain images and masks."""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.datasets.files import Counted, image_names, read_span
from evsam.datasets.packed import Packed
from evsam.datasets.records import Annotation, BrokenSample, DataError, Photo, Photos, as_id, measured
from evsam.rle import Rle, encode_rle

_log = logging.getLogger(__name__)

Objects: TypeAlias = Literal["auto", "each", "one"]
"""What the values of a mask's picture mean: each value other than 0 is an object, or all together are one."""

Ignored: TypeAlias = "int | Literal['auto'] | None"
"""The value of pixels that belong neither to an object nor to the background; None where no value means that."""

VOID = 255
"""Of palettes, beside the numbers of objects: PASCAL VOC and DAVIS."""

UNSURE, SURE = 128, 255
"""Of grey masks: the edge, and the object. GrabCut."""

_WIDE = 1 << 16
"""Values below are counted, not sorted."""


class MaskPhotos(Photos):
    """Photos in a folder and in the folders in it, with masks by the same names in another.

    To ``images/a/7.jpg`` belong ``masks/a/7.png`` and, where there are several files, ``masks/a/7_NAME.png`` and
    ``masks/a/7/NAME.png``. What their values mean is, with ``objects="auto"`` and ``ignore="auto"``:

    * one value besides 0: the object;
    * a palette of colours, as DAVIS and VOC have it: each value is an object; 255 beside others is ignored;
    * grey of 0, 128 and 255, as GrabCut has it: 255 is the object, 128 is ignored; a palette of greys is grey, too;
    * anything else, such as grey with several values, 128 alone, or colours, can mean several things, and breaks its
      photo with a message that says which options decide.

    The id of an annotation is its value, or the NAME of its file; those of one object are equal in all frames of a
    video. A folder inside of the photos' is a video (:attr:`evsam.datasets.Photo.sequence`), its frames in order.

    Args:
        photos: their folder.
        masks: folder of the masks: PNG, BMP or another format without loss.
        objects: see :data:`Objects`.
        ignore: see :data:`Ignored`; ``auto`` ignores nothing with ``objects="one"``.
        listed: names, without suffix, of the photos or of their videos that are meant; None for all.

    Raises:
        DataError: there are no such folders, no photo has a mask, two photos have one name, or an argument is none of
            those above.
    """

    def __init__(
        self,
        photos: Path,
        masks: Path,
        *,
        objects: Objects = "auto",
        ignore: Ignored = "auto",
        listed: Container[str] | None = None,
    ) -> None:
        _check(objects, ignore)
        self._folder, self._masks, self._objects, self._ignore = photos, masks, objects, ignore
        for name, folder in (("path", photos), ("masks", masks)):
            if not folder.is_dir():
                raise DataError(f"{name} {folder}: expected a folder with {'photos' if name == 'path' else 'masks'}")
        names, left_out = _by_stem(photos), Counted()
        found = _assigned(masks, names, left_out)
        if not any(found.values()):
            raise DataError(
                f"masks {masks}: expected masks with the names of the photos, such as {next(iter(names), 'none')} in "
                f"{photos}, got {', '.join(image_names(masks)[:2]) or 'none'}"
            )
        meant = {stem: files for stem, files in found.items() if listed is None or _is_listed(stem, listed)}
        for stem, files in meant.items():
            if not files:
                left_out.add("photos without a mask", names[stem])
        if not any(meant.values()):
            raise DataError(f"path {photos}: expected photos of the split, got none that its list names")
        self.remarks = (f"left out: {left_out}",) if left_out else ()
        for remark in self.remarks:
            _log.warning("path %s: %s", photos, remark)
        self._photos = Packed.of([names[stem], *files] for stem, files in meant.items() if files)

    def __len__(self) -> int:
        return len(self._photos)

    def videos(self) -> dict[str, range]:
        """Numbers of the frames of each video, by its name; photos that lie in no folder of the photos' are in none."""
        found: dict[str, range] = {}
        for index in range(len(self)):
            name = _video(self._photos[index][0])
            if name:
                found[name] = range(found[name].start if name in found else index, index + 1)
        return found

    def photo(self, index: int) -> Photo:
        """Photo number ``index``; its key is the path of its file in the folder."""
        file, *masks = self._photos[index]
        annotations: list[Annotation] = []
        size: tuple[int, int] | None = None
        for mask in masks:
            try:
                values, palette = read_values(self._masks / mask)
                parts, ignored = split_values(values, palette, self._objects, self._ignore)
            except (OSError, ValueError) as error:
                raise BrokenSample(file, f"its mask {mask} cannot be read: {error}") from error
            size = values.shape[0], values.shape[1]
            name = _stem(mask)[len(_stem(file)) + 1 :]
            void = None if ignored is None else _as_bytes(encode_rle(ignored))
            for value, inside in parts:
                title = value if not name else name if len(parts) == 1 else f"{name}/{value}"
                annotations.append(measured(encode_rle(inside), ignore=void, id=as_id(title)))
        return Photo(file, tuple(annotations), partial(read_span, self._folder / file), size, sequence=_video(file))


def _video(file: str) -> str:
    """The folder of a file, or nothing."""
    folder = PurePosixPath(file).parent.as_posix()
    return "" if folder == "." else folder


def _check(objects: object, ignore: object) -> None:
    if objects not in ("auto", "each", "one"):
        raise DataError(f"objects: expected auto, each or one, got {objects!r}")
    number = isinstance(ignore, int) and not isinstance(ignore, bool) and 0 < ignore < 1 << 24
    if not (number or ignore is None or ignore == "auto"):
        raise DataError(f"ignore: expected a value above 0, auto or None, got {ignore!r}")


def _by_stem(photos: Path) -> dict[str, str]:
    """The photos in a folder by their names without suffix."""
    names: dict[str, str] = {}
    for file in image_names(photos):
        first = names.setdefault(_stem(file), file)
        if first != file:
            raise DataError(f"path {photos}: expected photos with different names, got {first} and {file}")
    return names


def _assigned(masks: Path, names: Iterable[str], left_out: Counted) -> dict[str, list[str]]:
    """The files of the masks of each photo."""
    found: dict[str, list[str]] = {stem: [] for stem in names}
    for file in image_names(masks):
        owner = next((name for name in _owners(_stem(file)) if name in found), None)
        if owner is None:
            left_out.add("masks without a photo", file)
        else:
            found[owner].append(file)
    return found


def _as_bytes(rle: Rle) -> dict[str, Any]:
    return {"size": rle["size"], "counts": rle["counts"].encode()}


def read_values(path: Path) -> tuple[npt.NDArray[np.int64], bool]:
    """The values of a mask's picture, int64 (H, W), and whether they are indices of a palette of colours.

    Grey that is stored as colours, or by a palette of greys, counts as grey; a colour is one value, red * 65536 + green
    * 256 + blue. Alpha does not count.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            image.load()
            colours = np.array(image.getpalette() or [], np.int64).reshape(-1, 3)
            values = np.asarray(image.convert("RGB") if image.mode in ("CMYK", "YCbCr", "LAB", "HSV") else image)
    except Exception as error:  # each of Pillow's decoders has its own kinds
        raise ValueError(str(error) or repr(error)) from error
    if values.dtype.kind == "f":
        raise ValueError(f"expected whole numbers, got an image of mode F with values up to {values.max()}")
    values = values.astype(np.int64)
    if values.ndim == 3:
        values = values[..., 0] if values.shape[2] < 3 else _colours(values)
    if len(colours) and (colours == colours[:, :1]).all() and values.max() < len(colours):
        return colours[values, 0], False
    return values, len(colours) > 0


def _colours(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    red, green, blue = (values[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return red
    return (red << 16) + (green << 8) + blue


def split_values(
    values: npt.NDArray[np.int64], palette: bool, objects: Objects = "auto", ignore: Ignored = "auto"
) -> tuple[list[tuple[int, npt.NDArray[np.bool_]]], npt.NDArray[np.bool_] | None]:
    """The objects in a mask's picture, by the rules of :class:`MaskPhotos`.

    Args:
        values: int64 (H, W), 0 or more.
        palette: whether they are indices of a palette.
        objects: see :data:`Objects`.
        ignore: see :data:`Ignored`.

    Returns:
        Value and mask, bool (H, W), of each object; and the pixels to ignore, bool (H, W), or None.

    Raises:
        ValueError: the values can mean several things; the message says which arguments decide.

    Example:
        >>> split_values(np.array([[0, 128, 255]]), palette=False)
        ([(255, array([[False, False,  True]]))], array([[False,  True, False]]))
    """
    if values.min() < 0:
        raise ValueError(f"expected values of 0 or more, got {values.min()}")
    highest = int(values.max())
    present = np.flatnonzero(np.bincount(values.ravel())) if highest < _WIDE else np.unique(values)
    found = [int(value) for value in present if value]
    void = _ignored(found, palette, objects, ignore)
    kept = [value for value in found if value != void]
    if objects == "one":
        parts = [(1, (values != 0) & (values != void))] if kept else []
    elif objects == "each" or palette or len(kept) <= 1:
        parts = [(value, values == value) for value in kept]
    else:
        raise ValueError(f"{_shown(kept)}: expected one besides 0; objects='each' or 'one' says what they are")
    return parts, values == void if void in found else None


def _ignored(found: list[int], palette: bool, objects: Objects, ignore: Ignored) -> int | None:
    """The value that is ignored, of a mask with these values besides 0."""
    if ignore != "auto":
        return ignore
    if objects == "one" or len(found) == 0:
        return None
    if palette:
        return VOID if len(found) > 1 else None
    if found == [UNSURE, SURE]:
        return UNSURE
    if found == [UNSURE]:
        raise ValueError(f"the value {UNSURE} alone: an object, or the edge of one; ignore=None or {UNSURE} says which")
    if objects == "each" and VOID in found and len(found) > 1:
        raise ValueError(f"{_shown(found)}: {VOID} is an object, or ignored; ignore=None or {VOID} says which")
    return None


def _shown(values: list[int]) -> str:
    return f"{len(values)} values ({', '.join(map(str, values[:5]))}{', ...' if len(values) > 5 else ''})"


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _owners(stem: str) -> Iterator[str]:
    """Names of the photos that a mask of this name may belong to, longest first."""
    yield stem
    for end in range(len(stem) - 1, 0, -1):
        if stem[end] in "_/":
            yield stem[:end]


def _is_listed(stem: str, listed: Container[str]) -> bool:
    return stem in listed or PurePosixPath(stem).parent.as_posix() in listed


def read_list(path: Path) -> frozenset[str]:
    """The names in a file of ``ImageSets``: one a line, of a photo or video, or the paths of a photo and its mask."""
    names = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            name = PurePosixPath(_stem(line.split()[0]))
            names |= {name.as_posix(), "/".join(name.parts[-2:])}
    return frozenset(names)
