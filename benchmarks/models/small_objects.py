"""DAVIS with smaller objects: `python -m benchmarks.models.small_objects DAVIS FOLDER`.

Then `evsam eval nano --video FOLDER`, with and without `--window`. Each video becomes one of 2 x 2 tiles of a frame
that is twice as wide and high; the others show the video that is next by name. So objects have a quarter of their share
of the frame, and none of their detail is lost: what a camera with more pixels sees. Of each video the first 40 frames.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

FRAMES = 40
PARTS = {"JPEGImages": ".jpg", "Annotations": ".png"}


def tile(source: Path, name: str, other: str, target: Path) -> None:
    """Write a video, in the tile at the lower left, beside another one, whose objects are not labelled."""
    for part, ending in PARTS.items():
        folder = target / part / "480p" / name
        folder.mkdir(parents=True, exist_ok=True)
        pictures = source / part / "480p"
        beside = sorted((pictures / other).glob(f"*{ending}"))
        for index, path in enumerate(sorted((pictures / name).glob(f"*{ending}"))[:FRAMES]):
            picture = Image.open(path)
            width, height = picture.size
            tiles = Image.new(picture.mode, (2 * width, 2 * height))
            if part == "Annotations":
                if picture.mode == "P":
                    tiles.putpalette(picture.getpalette() or [])
            else:
                neighbour = Image.open(beside[min(index, len(beside) - 1)]).resize((width, height))
                for corner in ((0, 0), (width, 0), (width, height)):
                    tiles.paste(neighbour, corner)
            tiles.paste(picture, (0, height))
            tiles.save(folder / path.name, quality=95)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("davis", type=Path, help="the folder with JPEGImages/480p and Annotations/480p")
    parser.add_argument("folder", type=Path, help="where the larger frames go, in the same layout")
    chosen = parser.parse_args(arguments)
    names = sorted(path.name for path in (chosen.davis / "Annotations" / "480p").iterdir())
    for name, other in zip(names, [*names[1:], *names[:1]], strict=True):
        tile(chosen.davis, name, other, chosen.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
