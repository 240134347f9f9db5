"""The page's sample photos, small enough to ship: `python -m benchmarks.samples`.

Two of scikit-image's pictures, both CC0: "coffee" by Rachel Michetti, "chelsea" by Stéfan van der Walt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from PIL import Image
from skimage import data

from benchmarks import harness

FOLDER = harness.REPOSITORY / "page" / "public" / "samples"
PHOTOS: dict[str, Callable[[], Any]] = {"coffee.jpg": data.coffee, "cat.jpg": data.chelsea}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, read in PHOTOS.items():
        Image.fromarray(read()).save(FOLDER / name, quality=74, optimize=True)
        print(f"{FOLDER / name}: {(FOLDER / name).stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
