"""nano's trained weights on a photo: what the PyTorch modules make of it, in float32.

``python -m tests.golden.nano`` writes ``nano.safetensors`` anew, which new weights need. C++ reads it too
(``csrc/tests/test_engine.cpp``), where there is no Python: other processors, emulated.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import evsam
from evsam.weights import resolve

if TYPE_CHECKING:
    from evsam.sam import Sam

PATH = Path(__file__).with_name("nano.safetensors")

BOXES: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "cat": ("chelsea.png", (5, 0, 420, 300)),
    "face": ("astronaut.png", (170, 70, 290, 220)),
    "cup": ("coffee.png", (160, 70, 430, 330)),
    "rocket": ("rocket.jpg", (290, 80, 370, 400)),
}
"""An object's box, by photos that ship inside the scikit-image wheel."""

ANSWERED = ([0, 1, 1, 1], [0, 1, 2, 3])
"""Prompts and masks that are asked for: a box has one mask, a click has three others."""

TOLERANCES = {
    "fp32": (5e-6, 5e-6, 1e-6),
    "fp16": (2e-3, 1.2e-3, 8e-4),
    "avx512_fp16": (4.4e-3, 2.4e-3, 1.9e-3),
    "neon_fp16": (6e-3, 2.6e-3, 1.6e-3),
    "bf16": (0.012, 0.01, 0.01),
    "int8": (0.016, 0.024, 0.02),
}
"""What a precision may cost, or one of its extensions that has limits of its own: of maps and of logits the root mean
square of errors over that of the numbers, of scores the largest error. Those of narrow numbers are one and a half to
three times what was seen; with the fourth weights in float16 by scalar code and in int8 by AVX2 and VNNI, from which
the others' limits of logits and scores were raised in proportion.

Two extensions of fp16 add in float16: their maps are off by three to four times as much as with sums in float32, and
with 8 products a sum instead of 64 by less than twice as much. AVX-512 has two sums where NEON has one of twice as many
products. Their limits are so near what was seen (1.3 times, of maps) that activations that are cut off instead of
rounded are found there too, with AVX-512 by maps, with NEON by scores.
"""


def fingerprint() -> str:
    """SHA-256 of the shipped weights' file, which the numbers belong to."""
    return hashlib.sha256(resolve("nano").read_bytes()).hexdigest()


def answers(sam: Sam, given: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Feature maps (embedding, then laterals), logits of the four masks, both sampled, and scores."""
    photo, labels = given["photo"].astype(np.uint8), given["labels"].astype(np.int32)
    maps = sam.encode(photo).arrays
    logits, scores = sam.engine.decode(maps, given["points"], labels, None)
    sampled = {f"map{i}": np.asarray(each)[:: 4 >> min(i, 2), :: 4 << i, :: 4 << i] for i, each in enumerate(maps)}
    return {**sampled, "logits": logits[ANSWERED][:, ::8, ::8], "scores": scores[ANSWERED]}


def main() -> None:
    """Write the file: a photo at half its size, a box and a click in the 1024 frame, the answers, the mask of a box."""
    import skimage
    from safetensors.numpy import save_file

    file, (left, top, right, bottom) = BOXES["cup"]
    photo = Image.open(Path(skimage.__file__).parent / "data" / file).convert("RGB")
    points = np.array([[(left, top), (right, bottom)], [(300, 200), (0, 0)]], np.float32)
    given = {
        "photo": np.asarray(photo.reduce(2)).astype(np.float16),  # exact, and a dtype that the engine reads
        "points": points * np.float32(1024 / max(photo.size)),
        "labels": np.array([[2, 3], [1, -1]], np.float32),
    }
    with evsam.load("nano", engine="torch", device="cpu", precision="fp32") as sam:
        arrays = {**given, **answers(sam, given)}
        half_box = tuple(side / 2 for side in (left, top, right, bottom))
        arrays["mask"] = sam.predict(np.asarray(photo.reduce(2)), box=half_box).best()[0].astype(np.float16)
    limits = {f"tolerances.{name}": np.array(values, np.float32) for name, values in TOLERANCES.items()}
    tensors = {name: np.ascontiguousarray(array) for name, array in {**arrays, **limits}.items()}
    save_file(tensors, PATH, {"weights": fingerprint()})


if __name__ == "__main__":
    main()
