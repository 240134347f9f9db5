"""The pictures in the README: ``python -m benchmarks.pictures`` draws them again, with weights and code as they are.

A test draws them too, and fails where those in docs/images are no longer the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import evsam
from evsam.images import read_image
from evsam.overlay import draw_masks

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "docs" / "images" / "result.png"
EVERYTHING = ROOT / "docs" / "images" / "everything.png"
PHOTO = ROOT / "examples" / "cat.jpg"
BOX = (5, 0, 420, 300)
"""That of the README's first command."""

_GAP = 10  # pixels between the two halves, transparent, since pages are light or dark


def draw_result() -> Image.Image:
    """The photo with the box on the left, and with the mask that nano gives for it on the right."""
    with evsam.load("nano") as sam:
        result = sam.predict(PHOTO, box=BOX)
    prompted = draw_masks(read_image(PHOTO), [], prompts=result.prompts)
    masked = result.overlay(PHOTO, prompts=False)
    picture = Image.new("RGBA", (prompted.width + _GAP + masked.width, masked.height))
    picture.paste(prompted, (0, 0))
    picture.paste(masked, (prompted.width + _GAP, 0))
    return picture


def draw_everything() -> Image.Image:
    """All that nano finds in the photo, with the thresholds of its record."""
    with evsam.load("nano") as sam:
        return sam.segment_everything(PHOTO, mode="exact").overlay(PHOTO)


PICTURES = {RESULT: draw_result, EVERYTHING: draw_everything}
"""The README's, by their paths."""


def is_stale(stored: Image.Image, drawn: Image.Image) -> bool:
    """Whether a picture shows something else: more than rounding, other instruction sets or another FreeType change.

    These move single pixels of an outline and shades of letters. Other weights move outlines.
    """
    if stored.size != drawn.size:
        return True
    difference = np.abs(np.asarray(stored.convert("RGBA"), np.int16) - np.asarray(drawn.convert("RGBA"), np.int16))
    return float((difference.max(-1) > 32).mean()) > 0.002


if __name__ == "__main__":
    for path, draw in PICTURES.items():
        draw().save(path, optimize=True)
        print(f"wrote {path.relative_to(ROOT)}")
