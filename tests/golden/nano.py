"""nano's trained weights on one photo, with boxes on others: what the PyTorch modules make of them, in float32.

``python -m tests.golden.nano`` writes ``nano_coffee.npz`` anew, which new weights need.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import evsam
from evsam.weights import resolve

if TYPE_CHECKING:
    from evsam.sam import Sam

PATH = Path(__file__).with_name("nano_coffee.npz")

PHOTO = "coffee.png"
POINT = (300, 200)

BOXES: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "cat": ("chelsea.png", (5, 0, 420, 300)),
    "face": ("astronaut.png", (170, 70, 290, 220)),
    "cup": (PHOTO, (160, 70, 430, 330)),
    "rocket": ("rocket.jpg", (290, 80, 370, 400)),
}
"""An object's box, by photos that ship inside the scikit-image wheel."""


def fingerprint() -> NDArray[np.uint8]:
    """SHA-256 of the shipped weights' file, which the numbers belong to."""
    return np.frombuffer(hashlib.sha256(resolve("nano").read_bytes()).digest(), np.uint8)


def answers(sam: Sam, photo: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Feature maps (embedding, then laterals) and logits of the cup's box and of a click, sampled; and their scores."""
    embedding = sam.encode(photo)
    box = sam.predict(embedding, box=BOXES["cup"][1])
    click = sam.predict(embedding, points=[POINT], labels=[1])
    maps = (embedding.features, *embedding.lateral)
    sampled = {f"map{i}": each[:: 4 >> min(i, 2), :: 4 << i, :: 4 << i] for i, each in enumerate(maps)}
    logits = {"box": box.logits[0, :, ::4, ::4], "click": click.logits[0, :, ::4, ::4]}
    return {**sampled, **logits, "scores": np.concatenate([box.scores[0], click.scores[0]])}


def main() -> None:
    """Write the file."""
    import skimage

    from evsam.images import read_image

    photo = read_image(Path(skimage.__file__).parent / "data" / PHOTO)
    with evsam.load("nano", engine="torch", device="cpu", precision="fp32") as sam:
        arrays: dict[str, Any] = {"weights": fingerprint(), **answers(sam, photo)}
    np.savez_compressed(PATH, **arrays)


if __name__ == "__main__":
    main()
