"""What a prediction returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.errors import ImageError
from evsam.images import ImageLike, read_image
from evsam.overlay import draw_masks
from evsam.polygons import Polygon, trace_polygons
from evsam.rle import Rle, encode_rle


@dataclass(frozen=True, eq=False)
class Prediction:
    """Masks for N prompts, M of them for each: three if the prompt was taken as ambiguous, otherwise one.

    Attributes:
        masks: bool (N, M, H, W), H and W those of the original image.
        scores: float32 (N, M), the IoU that the model expects each mask to have with the object.
        logits: float32 (N, M, 256, 256), low-resolution logits in the padded 1024 frame; those of one mask,
            ``logits[:, m]``, serve as mask prompt of the next prediction.

    Example:
        >>> result = sam.predict(image, points=[(60, 40)], labels=[1])
        >>> result.masks.shape, result.scores.shape, result.best().shape
        ((1, 3, 80, 120), (1, 3), (1, 80, 120))
    """

    masks: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Number of prompts, N."""
        return len(self.masks)

    def __repr__(self) -> str:
        prompts, masks, height, width = self.masks.shape
        return f"<Prediction of {prompts} x {masks} masks for an image of {width} x {height} pixels>"

    def best(self) -> npt.NDArray[np.bool_]:
        """The mask with the highest score for each prompt, bool (N, H, W).

        Its logits, as the next mask prompt, are ``logits[np.arange(N), scores.argmax(1)]``.
        """
        best: npt.NDArray[np.bool_] = self.masks[np.arange(len(self.masks)), self.scores.argmax(1)]
        return best

    def to_coco_rle(self) -> list[Rle]:
        """The best masks in COCO's compressed run-length encoding, as COCO's JSON files have them.

        Returns:
            N dicts with ``size`` [H, W] and ``counts``, a string; pycocotools reads them as they are.
        """
        return [encode_rle(mask) for mask in self.best()]

    def to_polygons(self) -> list[list[Polygon]]:
        """The best masks as polygons along the pixels' edges, in pixels of the original image.

        Returns:
            For each of N prompts its regions, each an outer ring with holes; an empty mask has none.
        """
        return [trace_polygons(mask) for mask in self.best()]

    def overlay(self, image: ImageLike) -> Image.Image:
        """The image with the best masks drawn over it, each in its colour and with an outline.

        Args:
            image: the image of the prediction, in any form that :meth:`evsam.Sam.encode` takes (arrays as RGB).

        Returns:
            An RGB image of the same size. ``numpy.asarray`` makes it a uint8 array (H, W, 3).

        Raises:
            ImageError: the image cannot be read or has another size than the masks.
        """
        pixels = read_image(image)
        if pixels.shape[:2] != self.masks.shape[2:]:
            raise ImageError(
                f"image: expected height and width {self.masks.shape[2:]} as the masks have, got {pixels.shape[:2]}"
            )
        return draw_masks(pixels, self.best())
