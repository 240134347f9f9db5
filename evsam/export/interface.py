"""Names and shapes of what goes into an exported model and comes out of it, without the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evsam.embedding import embedding_shapes
from evsam.export.options import ExportOptions
from evsam.zoo import LOGITS_SIZE, get_variant

MASKS = {"all": 4, "single": 1, "multi": 3, "auto": 1}
"""Masks for each prompt by :attr:`ExportOptions.masks`."""


@dataclass(frozen=True)
class Tensor:
    """One input or output; all are float32. Lengths that vary have names."""

    name: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Interface:
    """What a model takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def encoder_interface(variant: str) -> Interface:
    """Of the encoder of a variant."""
    side = get_variant(variant).image_size
    return Interface((Tensor("images", ("batch", 3, side, side)),), tuple(_features(variant, "batch")))


def decoder_interface(variant: str, options: ExportOptions | None = None) -> Interface:
    """Of the decoder of a variant."""
    options = options or ExportOptions()
    count, side = MASKS[options.masks], LOGITS_SIZE
    inputs = [
        *_features(variant, "images"),
        Tensor("point_coords", ("prompts", "points", 2)),
        Tensor("point_labels", ("prompts", "points")),
        Tensor("mask_input", ("mask_prompts", 1, side, side)),
        Tensor("has_mask_input", (1,)),
    ]
    outputs = [Tensor("iou_predictions", ("prompts", count)), Tensor("low_res_masks", ("prompts", count, side, side))]
    if options.image_size_masks:
        inputs.append(Tensor("orig_im_size", (2,)))
        outputs.insert(0, Tensor("masks", ("prompts", count, "height", "width")))
    return Interface(tuple(inputs), tuple(outputs))


def _features(variant: str, lead: str) -> Sequence[Tensor]:
    shapes = embedding_shapes(variant)
    names = ["image_embeddings", *(f"lateral_{i}" for i in range(len(shapes) - 1))]
    return [Tensor(name, (lead, *shape)) for name, shape in zip(names, shapes, strict=True)]
