"""What every contestant gets: weights, one photo, and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evsam.images import read_image
from evsam.prompts import pad_points
from evsam.transforms import image_to_pixels
from evsam.weights import expected_tensors, save_weights
from evsam.zoo import Variant, get_variant
from tests.golden.seeded_weights import seeded_state_dict

PHOTO = "coffee.png"
CALIBRATION_PHOTOS = ("astronaut.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg", "ihc.png")
"""Other photos than the one that is timed and compared."""

DECODER_PROMPTS = (1, 64)
"""Numbers of prompts that the decoder is exported for."""


def photo(name: str = PHOTO) -> NDArray[np.uint8]:
    """A photo that ships inside the scikit-image wheel, uint8 (H, W, 3)."""
    import skimage

    return read_image(Path(skimage.__file__).parent / "data" / name)


def frame(width: int = 1280, height: int = 720) -> NDArray[np.uint8]:
    """The photo as a camera would deliver it."""
    return np.array(Image.fromarray(photo()).resize((width, height), Image.Resampling.BICUBIC))


def pixels(variant: str, name: str = PHOTO) -> NDArray[np.float32]:
    """The encoder's input (1, 3, S, S)."""
    return image_to_pixels(photo(name), get_variant(variant).image_size)[None]


def clicks(count: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """`count` prompts of one click each, spread over the frame: points (N, 2, 2) and labels (N, 2) with padding."""
    side = int(np.ceil(np.sqrt(count)))
    centres = (np.arange(side, dtype=np.float32) + 0.5) * (1024 / side)
    x, y = np.meshgrid(centres, centres)
    xy = np.stack([x.ravel(), y.ravel()], -1)[:count, None]
    return pad_points(xy, np.ones((count, 1), np.int32))


def feature_names(variant: str | Variant) -> list[str]:
    """What an encoder's outputs are called: the embedding, then the lateral maps of variants that have them."""
    lateral = get_variant(variant).encoder.neck.lateral
    return ["embedding", *(f"lateral_{i}" for i in range(len(lateral)))]


@dataclass(frozen=True)
class Scores:
    """What becomes of predicted IoU: ``scale * predicted + shift``."""

    scale: float = 1.0
    shift: float = 0.0


def write_weights(path: Path, variant: str, scores: Scores = Scores()) -> None:
    """Seeded weights of a variant as a safetensors file, unless it is there already.

    Args:
        path: the file.
        variant: its name.
        scores: of predicted IoU, which lies closely around zero with seeded weights.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = seeded_state_dict(dict(expected_tensors(variant)))
        weight, bias = (tensors[f"mask_decoder.iou_prediction_head.layers.2.{name}"] for name in ("weight", "bias"))
        weight *= np.float32(scores.scale)
        bias *= np.float32(scores.scale)
        bias += np.float32(scores.shift)
        save_weights(path, tensors, variant)
