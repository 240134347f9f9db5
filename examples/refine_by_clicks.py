"""An object by clicks: every further click corrects the mask that the clicks before it gave.

python examples/refine_by_clicks.py photo.jpg + 120,80 - 10,10 + 130,95
"""

import argparse
import sys
from pathlib import Path

import evsam


def read(words: list[str]) -> tuple[list[tuple[float, float]], list[int]]:
    """Points and labels of clicks: signs and places in turn, such as `+ 120,80 - 10,10`."""
    points, labels = [], []
    for sign, place in zip(words[::2], [*words[1::2], ""], strict=False):
        try:
            x, y = (float(number) for number in place.split(","))
            labels.append({"+": 1, "-": 0}[sign])
        except (ValueError, KeyError):
            sys.exit(f"clicks: expected + X,Y or - X,Y, got {sign} {place}")
        points.append((x, y))
    return points, labels


def main() -> None:
    """The whole program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("clicks", nargs="+", metavar="SIGN X,Y", help="+ on the object, - beside it")
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()

    points, labels = read(arguments.clicks)
    sam = evsam.load(arguments.model)
    embedding = sam.encode(arguments.photo)  # once; each of the predictions below takes a fraction of its time

    mask = None
    for count in range(1, len(points) + 1):
        result = sam.predict(embedding, points=points[:count], labels=labels[:count], mask=mask)
        best = result.scores[0].argmax()
        mask = result.logits[0, best]  # the next prediction starts from here
        print(f"{count} clicks: {result.masks[0, best].sum()} pixels, expected IoU {result.scores[0, best]:.2f}")

    output = arguments.photo.with_name(f"{arguments.photo.stem}_mask.png")
    result.overlay(arguments.photo).save(output)
    print(f"wrote {output}")


if __name__ == "__main__":
    try:
        main()
    except (evsam.EvsamError, OSError) as error:  # says which argument was wrong, and how
        sys.exit(f"refine_by_clicks.py: {error}")
