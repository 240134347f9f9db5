"""What a prediction returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import _C
from evsam.arguments import check_flag, shown
from evsam.errors import EvsamError
from evsam.images import ImageLike
from evsam.masks import MaskSet, chosen_rows
from evsam.overlay import OPACITY, draw_masks
from evsam.prompts import PhotoPrompts
from evsam.rle import mask_pixels


@dataclass(frozen=True, eq=False)
class Prediction(MaskSet):
    """Masks for N prompts, M of them for each: three if the prompt was taken as ambiguous, otherwise one.

    ``result[i]`` is the Prediction of prompt i alone, and so is each item of a loop: N is 1 then, and all arrays keep
    their axes. Slices, lists of indices and boolean arrays (``result[result.scores.max(1) > 0.9]``) choose several.

    Methods that give one mask for each prompt (:class:`evsam.masks.MaskSet`) take the best, the one with the highest
    score; ``clean(fill_holes=True)`` leaves no holes to formats that have none. Boxes are x0, y0, x1, y1 in pixels of
    the photo, along the pixels' edges, so that x1 - x0 is the width, and a box serves as box prompt; only COCO's
    documents have x, y, width, height.

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
        >>> sam.predict(image, boxes=result.boxes).masks.shape
        (2, 1, 80, 120)
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
        return self._take(chosen_rows(index, len(self), "prompts"))

    def _take(self, rows: slice | npt.NDArray[np.intp]) -> Prediction:
        prompts = None if self.prompts is None else self.prompts[rows]
        return Prediction(self.masks[rows], self.scores[rows], self.logits[rows], prompts)

    def __repr__(self) -> str:
        (prompts, masks), (height, width) = self.scores.shape, self.size
        return f"<Prediction of {prompts} x {masks} masks for an image of {width} x {height} pixels>"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the original image."""
        return self.masks.shape[2], self.masks.shape[3]

    def best(self) -> npt.NDArray[np.bool_]:
        """The mask with the highest score for each prompt, bool (N, H, W).

        Its logits, as the next mask prompt, are ``logits[np.arange(N), scores.argmax(1)]``.
        """
        best: npt.NDArray[np.bool_] = self.masks[np.arange(len(self.masks)), self.scores.argmax(1)]
        return best

    def _masks(self) -> list[npt.NDArray[np.bool_]]:
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
        pixels = self.size[0] * self.size[1]
        # a photo without a mask is no gap, however large gaps may be
        limits = min(int(min_area), pixels + 1), -1 if fill_holes is True else min(int(fill_holes), pixels)
        masks = np.empty_like(self.masks)
        for old, new in zip(self.masks.reshape(-1, *self.size), masks.reshape(-1, *self.size), strict=True):
            new[...] = _C.clean_mask(mask_pixels(old), *limits).view(np.bool_)
        return Prediction(masks, self.scores, self.logits, self.prompts)

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
        return draw_masks(self._photo(image), self._masks(), opacity=opacity, tags=self._tags(tags), prompts=drawn)

    def _scores(self) -> list[float]:
        return [float(scores.max()) for scores in self.scores]

    def _titles(self) -> list[str]:
        scores = self._scores()
        if len(scores) == 1:
            return [f"{scores[0]:.2f}"]
        return [f"{number}  {score:.2f}" for number, score in enumerate(scores, 1)]

    def _properties(self) -> list[dict[str, Any]]:
        return [{"score": score} for score in self._scores()]

    def _arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        return {"masks": self.masks, "scores": self.scores, "logits": self.logits}


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
