"""N masks of a photo, and what they can be written as: what predictions and found segments have in common."""

from __future__ import annotations

import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import formats
from evsam.arguments import path_text, shown
from evsam.errors import EvsamError, ImageError, ResultIndexError
from evsam.formats import Names
from evsam.images import ImageLike, read_image
from evsam.overlay import OPACITY, Masks
from evsam.polygons import Polygon, trace_polygons
from evsam.rle import Rle, mask_extent

_GREY, _SHOWN_SIDE = 110, 1024


class MaskSet(ABC):
    """One mask for each of N things, in their order; of an :class:`evsam.Prediction` the best of each prompt."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width of the original image."""

    @abstractmethod
    def overlay(self, image: ImageLike) -> Image.Image:
        """The image with the masks drawn over it."""

    @abstractmethod
    def _masks(self) -> Masks:
        """N masks (H, W), bool, or their RLEs."""

    @abstractmethod
    def _scores(self) -> list[float]:
        """How good each mask is expected to be."""

    @abstractmethod
    def _titles(self) -> list[str]:
        """A short text for each mask."""

    @abstractmethod
    def _properties(self) -> list[dict[str, Any]]:
        """What else is known of each mask, by name, of plain Python values."""

    @abstractmethod
    def _arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """What :meth:`save` writes as npz."""

    @property
    def boxes(self) -> npt.NDArray[np.int64]:
        """The boxes around the masks: int64 (N, 4), x0, y0, x1, y1; four zeros where a mask is empty.

        They are pixels of the photo along the pixels' edges, and serve as box prompts.
        """
        return np.array([mask_extent(mask)[1] for mask in self._masks()], np.int64).reshape(-1, 4)

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of the masks: int64 (N,)."""
        return np.array([mask_extent(mask)[0] for mask in self._masks()], np.int64)

    def label_map(self) -> npt.NDArray[np.int32]:
        """One number for each pixel of the photo: 0 where no mask is, i + 1 in mask i, smaller masks above larger ones.

        Returns:
            int32 (H, W).
        """
        return formats.label_map(self._masks(), self.size)

    def to_coco_rle(self) -> list[Rle]:
        """The masks in COCO's compressed run-length encoding, as COCO's JSON files have them.

        Returns:
            N dicts with ``size`` [H, W] and ``counts``, a string; pycocotools reads them as they are.
        """
        return [formats.to_rle(mask) for mask in self._masks()]

    def to_polygons(self, tolerance: float = 0.0) -> list[list[Polygon]]:
        """The masks as polygons, in pixels of the original image.

        Args:
            tolerance: how far, in pixels, corners that are left out may be from the lines that replace them. 0 follows
                the edges of the pixels exactly, with thousands of corners; 1 to 2 suit editors.

        Returns:
            For each of N masks its regions, each an outer ring with holes; an empty mask has none.

        Raises:
            EvsamError: tolerance is no finite number from 0 up.
        """
        return [trace_polygons(mask, tolerance) for mask in self._masks()]

    def to_coco(
        self,
        file_name: str | os.PathLike[str] = "",
        *,
        image_id: int | str = 1,
        names: Names = "object",
        tolerance: float | None = None,
    ) -> dict[str, Any]:
        """The masks as a COCO document, which ``pycocotools.coco.COCO`` loads once it is written as json.

        Args:
            file_name: of the photo.
            image_id: of the photo in the document.
            names: of the categories: one for all masks, or N.
            tolerance: None for compressed RLE, which is exact; or that of polygons in pixels (:meth:`to_polygons`).
                Masks with holes stay RLE, since COCO's polygons have none.

        Returns:
            images, annotations (bbox is x, y, width, height; empty masks are left out) and categories, of plain Python
            values. ``annotations`` is also what ``COCO.loadRes`` takes.

        Raises:
            EvsamError: not as many names as masks, a tolerance below 0, or a name that is no text.
        """
        return formats.coco_document(
            self._masks(),
            self.size,
            scores=self._scores(),
            file_name=file_name,
            image_id=image_id,
            names=names,
            tolerance=tolerance,
            properties=self._properties(),
        )

    def to_labelme(
        self, image_path: str | os.PathLike[str], *, names: Names = "object", tolerance: float = 1.0
    ) -> dict[str, Any]:
        """The masks as a labelme document, to be written as json beside the photo.

        Args:
            image_path: path of the photo as seen from there, for example ``photo.jpg``.
            names: labels of the shapes: one for all masks, or N.
            tolerance: of the polygons, in pixels (:meth:`to_polygons`).

        Returns:
            A polygon for each region, grouped by mask, of plain Python values. Masks with holes, which labelme's
            polygons cannot have, become shapes of type ``mask``.

        Raises:
            EvsamError: not as many names as masks, or a tolerance below 0.
        """
        return formats.labelme_document(
            self._masks(), self.size, image_path, names=names, scores=self._scores(), tolerance=tolerance
        )

    def to_geojson(self, transform: object = None, *, tolerance: float = 0.0) -> dict[str, Any]:
        """The masks as GeoJSON (RFC 7946), for maps.

        Args:
            transform: from pixels to coordinates, six numbers a, b, c, d, e, f of X = a x + b y + c and
                Y = d x + e y + f: rasterio's ``dataset.transform`` as it is, or
                ``Affine.from_gdal(*dataset.GetGeoTransform())``, since GDAL has another order. None leaves pixels of
                the photo, y down: nothing is turned over without a transform that says so. GeoJSON's coordinates are
                longitude and latitude; those of another system are for programs that know which.
            tolerance: of the outlines, in pixels (:meth:`to_polygons`).

        Returns:
            A ``FeatureCollection`` of plain Python values, with a Polygon or MultiPolygon, with its holes, for each
            mask; empty ones have none. ``properties`` are ``id`` (from 1, as in the label map), ``area`` (pixels) and
            what is known of the mask.

        Raises:
            EvsamError: transform is none, or a tolerance below 0.
        """
        return formats.geojson_document(
            self._masks(), properties=self._properties(), transform=transform, tolerance=tolerance
        )

    def to_svg(
        self, photo: str | os.PathLike[str] | None = None, *, opacity: float = OPACITY, tolerance: float = 0.75
    ) -> str:
        """The masks as an SVG picture of the photo's size, a path with a title for each.

        Args:
            photo: path or URL of the photo to show below, as seen from where the SVG is stored; None for masks alone.
            opacity: of the masks, 0 to 1.
            tolerance: of the outlines, in pixels (:meth:`to_polygons`).

        Raises:
            EvsamError: opacity is not from 0 to 1, or a tolerance below 0.
        """
        return formats.svg_document(
            self._masks(), self.size, titles=self._titles(), photo=photo, opacity=opacity, tolerance=tolerance
        )

    def save(self, path: str | os.PathLike[str], *, file_name: str | os.PathLike[str] = "") -> None:
        """Write the masks to a file, whole or not at all; missing folders are made.

        Args:
            path: its extension decides what is written:

                * ``.png``: the label map (:meth:`label_map`); a single mask is white on black. Viewers show colours,
                  ``numpy.asarray(Image.open(path))`` gives the numbers, of 8 bits, or 16 for more than 255 masks. (The
                  photo with the masks drawn on it is ``overlay(photo).save(path)``.)
                * ``.json``: a COCO document (:meth:`to_coco`).
                * ``.geojson``: GeoJSON in pixels of the photo (:meth:`to_geojson`).
                * ``.svg``: outlines (:meth:`to_svg`).
                * ``.npz``: arrays, for ``numpy.load``: of a prediction ``masks``, ``scores`` and ``logits``, all of
                  them; of found segments see :class:`evsam.Segments`.
            file_name: name of the photo in a COCO document.

        Raises:
            EvsamError: another extension.
            OSError: the file cannot be written.

        Example:
            >>> result = sam.predict(image, boxes=[(20, 10, 90, 70), (0, 0, 30, 30)])
            >>> from PIL import Image
            >>> result.save(folder / "masks.png")
            >>> np.asarray(Image.open(folder / "masks.png")).shape
            (80, 120)
        """
        from evsam.writing import replaced

        writers: dict[str, Callable[[IO[bytes]], Any]] = {
            ".png": lambda file: formats.label_picture(self._masks(), self.size).save(file, "PNG"),
            ".json": lambda file: file.write((json.dumps(self.to_coco(file_name)) + "\n").encode()),
            ".geojson": lambda file: file.write((json.dumps(self.to_geojson()) + "\n").encode()),
            ".svg": lambda file: file.write(self.to_svg().encode()),
            ".npz": lambda file: np.savez_compressed(file, **dict[str, Any](self._arrays())),
        }
        target = Path(path_text("path", path))
        writer = writers.get(target.suffix.lower())
        if writer is None:
            raise EvsamError(
                f"path: expected a name that ends in {', '.join(writers)}, got {str(target)!r}; "
                "the photo with masks drawn on it is overlay(photo).save(path)"
            )
        with replaced(target) as temporary, temporary.open("wb") as file:
            writer(file)

    def _repr_png_(self) -> bytes:
        """What notebooks show: the masks on grey, as the photo is not kept, at most ``_SHOWN_SIDE`` pixels a side."""
        picture = self.overlay(np.full((*self.size, 3), _GREY, np.uint8))
        picture.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()

    def _tags(self, tags: bool | Sequence[str]) -> list[str]:
        """What to write beside the masks: their titles, nothing, or N texts that were given."""
        if isinstance(tags, (bool, np.bool_)):
            return self._titles() if tags else []
        return formats.one_each("tags", tags, len(self._masks()))

    def _photo(self, image: ImageLike) -> npt.NDArray[np.uint8]:
        """The image that the masks are of, to draw on.

        Raises:
            ImageError: it cannot be read or has another size than the masks.
        """
        pixels = read_image(image)
        if pixels.shape[:2] != self.size:
            raise ImageError(f"image: expected height and width {self.size} as the masks have, got {pixels.shape[:2]}")
        return pixels


def chosen_rows(index: object, count: int, what: str) -> slice | npt.NDArray[np.intp]:
    """Which of ``count`` rows an index means: a number, a slice, numbers in any order, or as many booleans.

    Raises:
        ResultIndexError: there is no such row, or it is none of these; the message calls rows by ``what``.
    """
    if isinstance(index, slice):
        try:
            index.indices(count)
        except (TypeError, ValueError) as error:
            raise ResultIndexError(f"index: expected a slice of numbers, got {shown(index)} ({error})") from error
        return index
    expected = f"index: expected a number, a slice, numbers or {count} booleans"
    try:
        numbers = np.asarray(index)
    except Exception as error:  # of lists of lists, and of objects that only look like arrays
        raise ResultIndexError(f"{expected}, got {shown(index)}") from error
    if numbers.shape == (0,):
        numbers = np.empty(0, np.intp)
    if numbers.dtype == bool and numbers.shape == (count,):
        return np.flatnonzero(numbers)
    if numbers.dtype.kind not in "iu" or numbers.ndim > 1:
        raise ResultIndexError(f"{expected}, got {shown(index)}")
    if ((numbers < -count) | (numbers >= count)).any():
        raise ResultIndexError(f"index: expected {what} of {count}, numbered from 0, got {shown(index)}")
    if numbers.ndim == 0:
        first = int(numbers) % count
        return slice(first, first + 1)
    return numbers.astype(np.intp) % max(count, 1)
