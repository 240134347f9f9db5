"""One object in one photo: draw a box around it, get its mask.

    python examples/first_mask.py photo.jpg --box 40 30 300 260

Writes photo_mask.png, the photo with the mask drawn on it.
"""

import argparse
import sys
from pathlib import Path

import evsam


def main() -> None:
    """The whole program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--box", nargs=4, type=float, required=True, help="x0 y0 x1 y1 in pixels of the photo")
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()

    sam = evsam.load(arguments.model)
    result = sam.predict(arguments.photo, box=arguments.box)

    mask = result.best()[0]  # bool, as many rows and columns as the photo
    print(f"{mask.sum()} pixels, expected IoU {result.scores.max():.2f}")

    output = arguments.photo.with_name(f"{arguments.photo.stem}_mask.png")
    result.overlay(arguments.photo).save(output)
    print(f"wrote {output}")


if __name__ == "__main__":
    try:
        main()
    except (evsam.EvsamError, OSError) as error:  # says which argument was wrong, and how
        sys.exit(f"first_mask.py: {error}")
