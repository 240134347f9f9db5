"""Limits of the shapes that plans are built for, and the settings that they are built with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from evsam.embedding import embedding_shapes
from evsam.errors import EvsamError
from evsam.zoo import LOGITS_SIZE, get_variant

Range = tuple[int, int, int]
"""Smallest value, the one that TensorRT optimises for, and the largest."""

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Of one input: smallest, optimal and largest."""

Profile = dict[str, Shapes]
"""Of the inputs with shapes that vary."""

WITH_POINTS, WITHOUT_POINTS = 0, 1
"""The decoder's profiles."""


@dataclass(frozen=True)
class Profiles:
    """How many images, prompts and points a call may have; the engine splits calls with more images or prompts.

    Prompts without any point, of a mask alone, have a profile of their own: TensorRT then sees that there are tokens in
    all other calls, and padding instead would change the result.

    Attributes:
        batch: images that are encoded together.
        prompts: that are decoded together. Each takes about 1 MiB for its logits and 40 MB for what is computed.
        points: of one prompt, the padding point or the corners of a box included. Calls with more are refused.
        images: embeddings that a call of the decoder gets, if not one for all of its prompts; evsam's engine needs one.
        mask_alone: whether prompts of a mask alone are wanted; they double the time to build the decoder.
    """

    batch: Range = (1, 1, 4)
    prompts: Range = (1, 16, 64)
    points: Range = (1, 2, 64)
    images: Range = (1, 1, 1)
    mask_alone: bool = True

    def __post_init__(self) -> None:
        for name in ("batch", "prompts", "points", "images"):
            values = getattr(self, name)
            if len(values) != 3 or not 1 <= values[0] <= values[1] <= values[2]:
                raise EvsamError(f"{name}: expected numbers with 1 <= smallest <= optimal <= largest, got {values}")
        if self.images not in ((1, 1, 1), self.prompts):
            raise EvsamError(f"images: expected (1, 1, 1) or those of prompts, {self.prompts}, got {self.images}")

    def encoder(self, variant: str) -> list[Profile]:
        """The profiles of a variant's encoder."""
        side = get_variant(variant).image_size
        return [{"images": _shapes(self.batch, (3, side, side))}]

    def decoder(self, variant: str) -> list[Profile]:
        """The profiles of a variant's decoder: :data:`WITH_POINTS`, then :data:`WITHOUT_POINTS`."""
        embedding, *lateral = embedding_shapes(variant)
        maps = {"image_embeddings": embedding, **{f"lateral_{i}": shape for i, shape in enumerate(lateral)}}
        common = {name: _shapes(self.images, shape) for name, shape in maps.items()}
        mask = (1, LOGITS_SIZE, LOGITS_SIZE)
        _, optimal, largest = self.prompts
        clicks = {
            "point_coords": _product(self.prompts, self.points, (2,)),
            "point_labels": _product(self.prompts, self.points, ()),
            # most clicks come without a mask, and then with one that does not count
            "mask_input": _shapes((1, 1, largest), mask),
        }
        if not self.mask_alone:
            return [{**common, **clicks}]
        none = (0, 0, 0)
        masks = {
            "point_coords": _product(self.prompts, none, (2,)),
            "point_labels": _product(self.prompts, none, ()),
            "mask_input": _shapes((1, optimal, largest), mask),
        }
        return [{**common, **clicks}, {**common, **masks}]

    def as_json(self) -> dict[str, Any]:
        """For a manifest."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class BuildOptions:
    """Settings of TensorRT's builder. Precisions are not among them: the network says them, tensor by tensor.

    Attributes:
        workspace: limit of the memory that a layer may use while it runs, in bytes; None for all of the GPU's.
        level: 0 to 5: time spent on the search for fast kernels; None for TensorRT's default, 3.
        tf32: whether products of float32 numbers may be rounded to TF32's 11 digits, which is faster and no longer
            float32.
        version_compatible: whether newer versions of the same major version may run the plan; slower.
        hardware_compatible: whether other GPUs, from Ampere on, may run the plan; slower.
    """

    workspace: int | None = None
    level: int | None = None
    tf32: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False

    def __post_init__(self) -> None:
        if self.workspace is not None and self.workspace < 1:
            raise EvsamError(f"workspace: expected a positive number of bytes or None, got {self.workspace}")
        if self.level is not None and not 0 <= self.level <= 5:
            raise EvsamError(f"level: expected 0 to 5 or None, got {self.level}")

    def as_json(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)


def _shapes(counts: Range, rest: tuple[int, ...]) -> Shapes:
    smallest, optimal, largest = ((count, *rest) for count in counts)
    return smallest, optimal, largest


def _product(prompts: Range, points: Range, rest: tuple[int, ...]) -> Shapes:
    smallest, optimal, largest = ((n, t, *rest) for n, t in zip(prompts, points, strict=True))
    return smallest, optimal, largest
