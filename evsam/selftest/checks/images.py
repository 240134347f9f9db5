"""Checks of what is done with photos: their way into the encoder, and masks of their size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsam import ops, transforms
from evsam.costs import Preprocess
from evsam.selftest.check import Check, Values
from evsam.selftest.checks.maps import OpCheck
from evsam.selftest.dtypes import Array, DType
from evsam.selftest.reference import Store
from evsam.zoo import LOGITS_SIZE, PIXEL_MEAN, PIXEL_STD

__all__ = ["MaskUpsampleCheck", "PreprocessCheck"]


class PreprocessCheck(OpCheck[Preprocess]):
    """A photo resized, normalised and padded, with the eight channels that the first convolution reads."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        shape = (self.layer.height, self.layer.width, 3)
        # Smooth with edges and noise: averages of noise alone would all be grey.
        rows, columns, _ = np.indices(shape)
        image = 128 + 90 * np.sin(rows / 7) * np.cos(columns / 11) + 60 * (rows % 64 < columns % 48)
        image += 20 * rng.standard_normal(shape)
        return {"image": Values(np.clip(np.rint(image), 0, 255), "uint8")}

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.preprocess(arrays["image"], self.layer.side, dtype="float16", channels=8, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        resized = transforms.resize_image(values["image"].astype(np.uint8), self.layer.side)
        pixels = np.zeros((1, 8, self.layer.side, self.layer.side))
        normalised = (resized - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)
        pixels[0, :3, : resized.shape[0], : resized.shape[1]] = normalised.transpose(2, 0, 1)
        return store(pixels)


@dataclass(frozen=True)
class MaskUpsampleCheck(Check):
    """Mask logits to masks of a photo's size; every pixel is to be that of :mod:`evsam.transforms`.

    Attributes:
        prompts: how many.
        masks: of each prompt.
        photo: height and width.
    """

    prompts: int
    masks: int
    photo: tuple[int, int]

    @property
    def op(self) -> str:
        return "mask_upsample"

    @property
    def shape(self) -> str:
        return f"{self.prompts} x {self.masks} {LOGITS_SIZE}x{LOGITS_SIZE} -> {self.photo[0]}x{self.photo[1]}"

    @property
    def dtype(self) -> DType:
        return "float32"

    @property
    def macs(self) -> int:
        return 0

    @property
    def bytes(self) -> int:
        return self.prompts * self.masks * (4 * LOGITS_SIZE**2 + self.photo[0] * self.photo[1])

    @property
    def _resized(self) -> tuple[int, int]:
        return transforms.fitted_size(self.photo)

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        logits = rng.standard_normal((self.prompts, self.masks, LOGITS_SIZE, LOGITS_SIZE), np.float32)
        return {"logits": Values(logits.astype(np.float64), "float32")}

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.mask_upsample(arrays["logits"], self._resized, self.photo, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        masks = transforms.masks_from_logits(values["logits"].astype(np.float32), self._resized, self.photo)
        return store(masks.astype(np.float64))
