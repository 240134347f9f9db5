"""What a prediction returns."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import _C, formats
from evsam.arguments import check_flag, path_text, shown
from evsam.boxes import bounding_box
from evsam.errors import EvsamError, ImageError, ResultIndexError
from evsam.formats import Names
from evsam.images import ImageLike, read_image
from evsam.overlay import OPACITY, draw_masks
from evsam.polygons import Polygon, trace_polygons
from evsam.prompts import PhotoPrompts
from evsam.rle import Rle, encode_rle, mask_pixels


@dataclass(frozen=True, eq=False)
class Prediction:
    """Masks for N prompts, M of them for each: three if the prompt was taken as ambiguous, otherwise one.

    ``result[i]`` is the Prediction of prompt i alone, and so is each item of a loop: N is 1 then, and all arrays keep
    their axes. Slices, lists of indices and boolean arrays (``result[result.scores.max(1) > 0.9]``) choose several.

    Methods that give one mask for each prompt take the best, the one with the highest score. Boxes are x0, y0, x1, y1
    in pixels of the photo, along the pixels' edges, so that x1 - x0 is the width, and a box serves as box prompt; only
    COCO's documents have x, y, width, height.

    Attributes:
        masks: bool (N, M, H, W), H and W those of the original image. After ``predict(..., masks=False)`` they are
            computed when they are first asked for; that of ``result[i]`` is computed for prompt i alone.
        scores: float32 (N, M), the IoU that the model expects each mask to have with the object.
        logits: float32 (N, M, 256, 256), low-resolution logits in the padded 1024 frame; those of one mask,
            ``logits[:, m]``, serve as mask prompt of the next prediction.
        prompts: the points and boxes that were asked for, in pixels of the original image; :meth:`overlay` draws them.
            None if they are not known.

    Example:
        >>> result = sam.predict(image, points=[(60, 40)], labels=[1])
        >>> result.masks.shape, result.scores.shape, result.best().shape
        ((1, 3, 80, 120), (1, 3), (1, 80, 120))
        >>> result = sam.predict(image, boxes=[(20, 10, 90, 70), (0, 0, 30, 30)])
        >>> len(result), result[0].masks.shape, result[::-1].scores.shape
        (2, (1, 1, 80, 120), (2, 1))
    """

    masks: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    prompts: PhotoPrompts | None = None

    def __len__(self) -> int:
        """Number of prompts, N."""
        return len(self.scores)

    def __iter__(self) -> Iterator[Prediction]:
        """The predictions of the prompts, one by one."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]) -> Prediction:
        """The prediction of some of the prompts.

        Args:
            index: a prompt's number, negative ones from the end; a slice; numbers in any order; or N booleans.

        Raises:
            ResultIndexError: there is no such prompt, or it is none of these.
        """
        return self._take(self._rows(index))

    def _take(self, rows: slice | npt.NDArray[np.intp]) -> Prediction:
        prompts = None if self.prompts is None else self.prompts[rows]
        return Prediction(self.masks[rows], self.scores[rows], self.logits[rows], prompts)

    def _rows(self, index: object) -> slice | npt.NDArray[np.intp]:
        count = len(self)
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
            numbers = numbers.astype(np.intp)
        if numbers.dtype == bool and numbers.shape == (count,):
            return np.flatnonzero(numbers)
        if numbers.dtype.kind not in "iu" or numbers.ndim > 1:
            raise ResultIndexError(f"{expected}, got {shown(index)}")
        if ((numbers < -count) | (numbers >= count)).any():
            raise ResultIndexError(f"index: expected prompts of {count}, numbered from 0, got {shown(index)}")
        if numbers.ndim == 0:
            first = int(numbers) % count
            return slice(first, first + 1)
        return numbers.astype(np.intp) % max(count, 1)

    def __repr__(self) -> str:
        (prompts, masks), (height, width) = self.scores.shape, self.size
        return f"<Prediction of {prompts} x {masks} masks for an image of {width} x {height} pixels>"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the original image."""
        return self.masks.shape[2], self.masks.shape[3]

    @property
    def boxes(self) -> npt.NDArray[np.int64]:
        """The boxes around the best masks: int64 (N, 4), x0, y0, x1, y1; four zeros where a mask is empty.

        Example:
            >>> result = sam.predict(image, box=(20, 10, 90, 70))
            >>> sam.predict(image, boxes=result.boxes).masks.shape
            (1, 1, 80, 120)
        """
        return np.array([bounding_box(mask) for mask in self._best()], np.int64).reshape(-1, 4)

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of the best masks: int64 (N,)."""
        return np.array([_C.mask_extent(mask_pixels(mask))[0] for mask in self._best()], np.int64)

    def best(self) -> npt.NDArray[np.bool_]:
        """The mask with the highest score for each prompt, bool (N, H, W).

        Its logits, as the next mask prompt, are ``logits[np.arange(N), scores.argmax(1)]``.
        """
        best: npt.NDArray[np.bool_] = self.masks[np.arange(len(self.masks)), self.scores.argmax(1)]
        return best

    def _best(self) -> list[npt.NDArray[np.bool_]]:
        """The same as views: masks of a large photo are large."""
        return [masks[scores.argmax()] for masks, scores in zip(self.masks, self.scores, strict=True)]

    def clean(self, min_area: int = 0, fill_holes: int | bool = 0) -> Prediction:
        """A prediction without small pieces and small holes; scores and logits stay as they are.

        Pieces are those that :meth:`to_polygons` gives: their pixels touch at sides, those of a gap at corners too.

        Args:
            min_area: pieces of fewer pixels are removed, but never the largest one of a mask.
            fill_holes: gaps of fewer pixels are filled, at the photo's border too, before pieces are removed. True
                fills whatever a mask surrounds.

        Raises:
            EvsamError: one of them is no number of pixels.

        Example:
            >>> result = sam.predict(image, box=(20, 10, 90, 70))
            >>> result.clean(min_area=100, fill_holes=100).masks.shape
            (1, 1, 80, 120)
        """
        given: dict[str, object] = {"min_area": min_area, "fill_holes": fill_holes}
        for name, value in given.items():
            if name == "fill_holes" and isinstance(value, bool):
                continue
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
                raise EvsamError(f"{name}: expected a number of pixels, 0 or more, got {shown(value)}")
        most = self.size[0] * self.size[1] + 1
        limits = min(int(min_area), most), -1 if fill_holes is True else min(int(fill_holes), most)
        masks = np.empty_like(self.masks)
        for old, new in zip(self.masks.reshape(-1, *self.size), masks.reshape(-1, *self.size), strict=True):
            new[...] = _C.clean_mask(mask_pixels(old), *limits).view(np.bool_)
        return Prediction(masks, self.scores, self.logits, self.prompts)

    def to_coco_rle(self) -> list[Rle]:
        """The best masks in COCO's compressed run-length encoding, as COCO's JSON files have them.

        Returns:
            N dicts with ``size`` [H, W] and ``counts``, a string; pycocotools reads them as they are.
        """
        return [encode_rle(mask) for mask in self._best()]

    def to_polygons(self, tolerance: float = 0.0) -> list[list[Polygon]]:
        """The best masks as polygons, in pixels of the original image.

        Args:
            tolerance: how far, in pixels, corners that are left out may be from the lines that replace them. 0 follows
                the edges of the pixels exactly, with thousands of corners; 1 to 2 suit editors.

        Returns:
            For each of N prompts its regions, each an outer ring with holes; an empty mask has none.

        Raises:
            EvsamError: tolerance is no finite number from 0 up.
        """
        return [trace_polygons(mask, tolerance) for mask in self._best()]

    def to_coco(
        self,
        file_name: str | os.PathLike[str] = "",
        *,
        image_id: int | str = 1,
        names: Names = "object",
        tolerance: float | None = None,
    ) -> dict[str, Any]:
        """The best masks as a COCO document, which ``pycocotools.coco.COCO`` loads once it is written as json.

        Args:
            file_name: of the photo.
            image_id: of the photo in the document.
            names: of the categories: one for all masks, or N.
            tolerance: None for compressed RLE, which is exact; or that of polygons in pixels (:meth:`to_polygons`).
                Masks with holes stay RLE, since COCO's polygons have none; ``clean(fill_holes=True)`` leaves none.

        Returns:
            images, annotations (bbox is x, y, width, height; empty masks are left out) and categories, of plain Python
            values. ``annotations`` is also what ``COCO.loadRes`` takes.

        Raises:
            EvsamError: not as many names as prompts, a tolerance below 0, or a name that is no text.
        """
        return formats.coco_document(
            self._best(),
            self.size,
            scores=self._best_scores(),
            file_name=file_name,
            image_id=image_id,
            names=names,
            tolerance=tolerance,
        )

    def to_labelme(
        self, image_path: str | os.PathLike[str], *, names: Names = "object", tolerance: float = 1.0
    ) -> dict[str, Any]:
        """The best masks as a labelme document, to be written as json beside the photo.

        Args:
            image_path: path of the photo as seen from there, for example ``photo.jpg``.
            names: labels of the shapes: one for all masks, or N.
            tolerance: of the polygons, in pixels (:meth:`to_polygons`).

        Returns:
            A polygon for each region, grouped by mask, of plain Python values. Masks with holes, which labelme's
            polygons cannot have, become shapes of type ``mask``; ``clean(fill_holes=True)`` leaves none.

        Raises:
            EvsamError: not as many names as prompts, or a tolerance below 0.
        """
        return formats.labelme_document(
            self._best(), self.size, image_path, names=names, scores=self._best_scores(), tolerance=tolerance
        )

    def to_svg(
        self, photo: str | os.PathLike[str] | None = None, *, opacity: float = OPACITY, tolerance: float = 0.75
    ) -> str:
        """The best masks as an SVG picture of the photo's size, a path with a title for each.

        Args:
            photo: path or URL of the photo to show below, as seen from where the SVG is stored; None for masks alone.
            opacity: of the masks, 0 to 1.
            tolerance: of the outlines, in pixels (:meth:`to_polygons`).

        Raises:
            EvsamError: opacity is not from 0 to 1, or a tolerance below 0.
        """
        return formats.svg_document(
            self._best(), self.size, titles=self._tags(), photo=photo, opacity=opacity, tolerance=tolerance
        )

    def save(self, path: str | os.PathLike[str], *, file_name: str | os.PathLike[str] = "") -> None:
        """Write the best masks, or all arrays, to a file, whole or not at all; missing folders are made.

        Args:
            path: its extension decides what is written:

                * ``.png``: a label map, 0 where no mask is and i + 1 in that of prompt i, smaller masks above larger
                  ones; a single mask is white on black. Viewers show colours, ``numpy.asarray(Image.open(path))`` gives
                  the numbers. (The photo with the masks drawn on it is ``overlay(photo).save(path)``.)
                * ``.json``: a COCO document (:meth:`to_coco`).
                * ``.svg``: outlines (:meth:`to_svg`).
                * ``.npz``: the arrays ``masks``, ``scores`` and ``logits``, all of them, for ``numpy.load``.
            file_name: name of the photo in a COCO document.

        Raises:
            EvsamError: another extension.
            OSError: the file cannot be written.

        Example:
            >>> result = sam.predict(image, boxes=[(20, 10, 90, 70), (0, 0, 30, 30)])
            >>> result.save(folder / "masks.png")
            >>> np.asarray(Image.open(folder / "masks.png")).shape
            (80, 120)
        """
        from evsam.writing import replaced

        writers: dict[str, Callable[[IO[bytes]], Any]] = {
            ".png": lambda file: formats.label_picture(self._best(), self.size).save(file, "PNG"),
            ".json": lambda file: file.write((json.dumps(self.to_coco(file_name)) + "\n").encode()),
            ".svg": lambda file: file.write(self.to_svg().encode()),
            ".npz": lambda file: np.savez_compressed(file, masks=self.masks, scores=self.scores, logits=self.logits),
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

    def overlay(
        self, image: ImageLike, *, opacity: float = OPACITY, prompts: bool = True, tags: bool | Sequence[str] = True
    ) -> Image.Image:
        """The image with the best masks drawn over it, each in its colour and with an outline.

        Args:
            image: the image of the prediction, in any form that :meth:`evsam.Sam.encode` takes (arrays as RGB).
            opacity: of the masks, from 0 (outlines alone) to 1.
            prompts: whether to draw the prompts, where they are known: clicks on the object green, beside it red; boxes
                in the colours of their masks.
            tags: True for number and score of each mask (of one alone, the score), False for none, or N texts.

        Returns:
            An RGB image of the same size. ``numpy.asarray`` makes it a uint8 array (H, W, 3).

        Raises:
            ImageError: the image cannot be read or has another size than the masks.
            EvsamError: opacity is not from 0 to 1, or not as many tags as prompts.
        """
        drawn = self.prompts if check_flag("prompts", prompts) else None
        pixels = read_image(image)
        if pixels.shape[:2] != self.size:
            raise ImageError(f"image: expected height and width {self.size} as the masks have, got {pixels.shape[:2]}")
        if isinstance(tags, (bool, np.bool_)):
            texts = self._tags() if tags else []
        else:
            texts = formats.one_each("tags", tags, len(self))
        return draw_masks(pixels, self._best(), opacity=opacity, tags=texts, prompts=drawn)

    def _best_scores(self) -> list[float]:
        return [float(scores.max()) for scores in self.scores]

    def _tags(self) -> list[str]:
        scores = self._best_scores()
        if len(scores) == 1:
            return [f"{scores[0]:.2f}"]
        return [f"{number}  {score:.2f}" for number, score in enumerate(scores, 1)]


class DeferredPrediction(Prediction):
    """A Prediction whose masks are computed when they are first asked for; indexing and loops do not ask.

    Args:
        scores: float32 (N, M).
        logits: float32 (N, M, 256, 256).
        prompts: those that were asked for.
        sizes: height and width of the resized image in the frame, and of the original image.
        threshold: logits above it belong to the mask.
    """

    _sizes: tuple[tuple[int, int], tuple[int, int]]
    _threshold: float

    def __init__(
        self,
        scores: npt.NDArray[np.float32],
        logits: npt.NDArray[np.float32],
        prompts: PhotoPrompts | None,
        sizes: tuple[tuple[int, int], tuple[int, int]],
        threshold: float,
    ) -> None:
        vars(self).update(scores=scores, logits=logits, prompts=prompts, _sizes=sizes, _threshold=threshold)

    @cached_property
    def masks(self) -> npt.NDArray[np.bool_]:
        """Bool (N, M, H, W), on the CPU whatever the engine. Threads that ask at the same time each compute them."""
        from evsam.ops import mask_upsample

        logits = np.ascontiguousarray(self.logits - np.float32(self._threshold) if self._threshold else self.logits)
        return np.asarray(mask_upsample(logits, *self._sizes, backend="native"))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the original image."""
        return self._sizes[1]

    def _take(self, rows: slice | npt.NDArray[np.intp]) -> Prediction:
        prompts = None if self.prompts is None else self.prompts[rows]
        return DeferredPrediction(self.scores[rows], self.logits[rows], prompts, self._sizes, self._threshold)

    def __reduce__(self) -> tuple[type[DeferredPrediction], tuple[Any, ...]]:  # without masks, computed or not
        return DeferredPrediction, (self.scores, self.logits, self.prompts, self._sizes, self._threshold)
