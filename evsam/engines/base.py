"""What an engine is: a way to run the encoder, the decoder and the last resize of one model.

Engines get checked input in one canonical form and know nothing about users. They are safe to call from several
threads, never keep what they are given, and return arrays that nobody else holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from evsam import _C

FloatArray = npt.NDArray[np.float32]


class MapOnDevice(Protocol):
    """A float32 feature map in C order that an engine left on its device; never changed.

    ``numpy.asarray`` gives a read-only copy on the host.

    Attributes:
        dtype: float32.
    """

    dtype: np.dtype[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]: ...


Features = tuple[FloatArray, ...]
"""Of one image: the embedding (C, G, G), then the lateral maps of variants that have them; float32, C order, host."""

FeatureMap: TypeAlias = "FloatArray | MapOnDevice"

AnyFeatures: TypeAlias = "tuple[FeatureMap, ...]"
"""The same, wherever it is."""


MASKS = 4
"""Masks that a decoder predicts for each prompt."""

ALL_MASKS = slice(0, MASKS)
"""The single mask first, then the three for ambiguous prompts."""


class Engine(Protocol):
    """One model, loaded and ready to run.

    Attributes:
        name: name of the engine in the registry.
        device: where it computes, for example ``cpu`` or ``cuda:0``.
    """

    name: str
    device: str

    def encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> Sequence[AnyFeatures]:
        """Encode images; the engine resizes, normalises, pads and batches them as suits it.

        Args:
            images: uint8 RGB (H, W, 3), C order, of any sizes; not written to.

        Returns:
            The features of each image, on the host, or on the engine's device if they are better left there.
        """

    def decode(
        self,
        features: AnyFeatures,
        points: FloatArray,
        labels: npt.NDArray[np.int32],
        masks: FloatArray | None,
        chosen: slice = ALL_MASKS,
        above: float = -math.inf,
    ) -> tuple[FloatArray, FloatArray]:
        """Predict masks for N prompts on one image; the engine splits them so that its memory stays bounded.

        Args:
            features: of the image, from :meth:`encode` of this engine or another; possibly read-only.
            points: (N, T, 2), x and y in pixels of the 1024 frame; T may be 0 where a mask is the only prompt.
            labels: (N, T): -1 padding, 0 background, 1 foreground, 2 and 3 top left and bottom right corner of a box.
            masks: logits (N, 1, 256, 256), or None.
            chosen: those of :data:`ALL_MASKS` that are wanted, M neighbours; an engine may save itself the others.
            above: an engine may save itself also the logits of masks whose expected IoU is not above it.

        Returns:
            Of the chosen masks logits (N, M, 256, 256), with any numbers where the expected IoU is not above `above`,
            and the expected IoU (N, M).
        """

    def masks(
        self, logits: FloatArray, resized_size: tuple[int, int], original_size: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """Masks at the size of the original image, as :func:`evsam.transforms.masks_from_logits` specifies.

        Args:
            logits: (N, M, 256, 256).
            resized_size: height and width of the resized image in the 1024 frame.
            original_size: height and width of the original image.

        Returns:
            bool (N, M, H, W).
        """

    def close(self) -> None:
        """Release memory and threads; afterwards every other method raises :class:`evsam.errors.EvsamError`."""


@runtime_checkable
class GeneratorEngine(Engine, Protocol):
    """An engine that answers the generator of "everything" mode, and trackers, itself: it copies no logits."""

    def follow(self, tracker: _C.Tracker, features: AnyFeatures, part: Sequence[int]) -> None:
        """Find a tracker's objects in the next frame.

        Args:
            tracker: of csrc/track/tracker.h.
            features: of a part of the frame.
            part: x0, y0, x1, y1 of it, in pixels of the frame.
        """

    def answer(self, generator: _C.EverythingGenerator, features: AnyFeatures) -> None:
        """Decode the generator's batch, and add the answer.

        Args:
            generator: of csrc/engine/everything.h; not finished.
            features: of the crop that the batch is on.
        """
