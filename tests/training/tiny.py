"""Small stand-ins: a student, teachers of its family, and photos."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from evsam.datasets.records import Annotation, Photo
from evsam.nn import EfficientViTSam
from evsam.training.teachers import Teacher, TeacherInfo, decoder_tensors, feature_maps, fingerprint
from evsam.zoo import Block, DecoderConfig, EncoderConfig, NeckConfig, Variant

SIZE = 64
"""Side of the image of the tiny variants."""


def _tiny(name: str, widths: tuple[int, int, int]) -> Variant:
    stem, second, third = widths
    encoder = EncoderConfig(
        stages=(
            (Block("conv", stem, stride=2),),
            (Block("fmb", second, stride=2, expand=2),),
            (Block("mb", third, stride=2, expand=2), Block("att", third, expand=2)),
        ),
        neck=NeckConfig(stages=(2, 1), width=16, grid=16, kind="fmb", depth=1, expand=1),
        activation="gelu",
        head_dim=8,
    )
    decoder = DecoderConfig(kind="sam", dim=16, depth=1, heads=2, mlp_dim=32, mask_channels=(4, 8))
    return Variant(name, SIZE, encoder, decoder, parameters=0, encoder_macs=0)


STUDENT = _tiny("tiny", (4, 8, 8))
WIDE = _tiny("wide", (8, 16, 16))

FINE = Variant(
    "fine",
    SIZE,
    EncoderConfig(
        stages=(
            (Block("conv", 4, stride=2),),
            (Block("mb", 8, stride=2, expand=2),),
            (Block("mb", 8, stride=2, expand=2),),
            (Block("mb", 16, stride=2, expand=2),),
        ),
        neck=NeckConfig(
            stages=(3, 2), width=24, grid=4, kind="mb", depth=1, expand=1, lateral=((2, 12), (1, 8), (0, 4))
        ),
        activation="relu6",
        head_dim=8,
    ),
    DecoderConfig(kind="lite", dim=24, depth=1, heads=2, mlp_dim=32, mask_channels=(4, 8, 8)),
    parameters=0,
    encoder_macs=0,
)
"""Made like nano: it has finer maps."""


def student(variant: Variant = STUDENT, seed: int = 0) -> EfficientViTSam:
    """A model with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return EfficientViTSam(variant)


def teacher(variant: Variant = WIDE, seed: int = 1, paired: bool = True) -> Teacher:
    """A random model as a teacher."""
    model = student(variant, seed)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    decoder = decoder_tensors(state)
    info = TeacherInfo(
        name=f"{variant.name} {seed}",
        fingerprint=fingerprint(state),
        image_size=variant.image_size,
        maps=feature_maps(variant),
        paired=paired,
        decoder=fingerprint(decoder),
    )
    return Teacher(info, model.image_encoder, decoder, variant.decoder)


def png(pixels: np.ndarray) -> bytes:
    """An encoded photo."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def annotate(mask: np.ndarray) -> Annotation:
    """A mask (H, W) as an annotation."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    x, y, width, height = (float(value) for value in coco_mask.toBbox(rle))
    return Annotation(rle, (x, y, width, height), float(mask.sum()))


def photo(number: int = 0, size: tuple[int, int] = (48, 80), masks: Sequence[np.ndarray] = ()) -> Photo:
    """A photo of noise with smooth colours below it."""
    rng = np.random.default_rng(number)
    height, width = size
    y, x = np.mgrid[:height, :width] / max(size)
    waves = np.stack([np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y + rng.uniform(0, 6)) for _ in range(3)], -1)
    pixels = (128 + 80 * waves + rng.integers(-20, 20, (height, width, 3))).clip(0, 255).astype(np.uint8)
    content = png(pixels)
    return Photo(f"photo{number}", tuple(annotate(mask) for mask in masks), functools.partial(bytes, content))
