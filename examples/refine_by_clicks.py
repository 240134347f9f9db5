"""An object by clicks: every further click corrects the mask that the clicks before it gave.

python examples/refine_by_clicks.py photo.jpg + 120,80 - 10,10 + 130,95
"""

import argparse
from pathlib import Path

import evsam

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photo", type=Path)
parser.add_argument("clicks", nargs="+", metavar="SIGN X,Y", help="+ on the object, - beside it")
parser.add_argument("--model", default="nano")
arguments = parser.parse_args()

signs, places = arguments.clicks[::2], arguments.clicks[1::2]
clicks = [tuple(float(n) for n in place.split(",")) for place in places]
labels = [int(sign == "+") for sign in signs]

sam = evsam.load(arguments.model)
embedding = sam.encode(arguments.photo)  # once; each of the predictions below takes a fraction of its time

mask = None
for count in range(1, len(clicks) + 1):
    result = sam.predict(embedding, points=clicks[:count], labels=labels[:count], mask=mask)
    best = result.scores[0].argmax()
    mask = result.logits[0, best]  # the next prediction starts from here
    print(f"{count} clicks: {result.masks[0, best].sum()} pixels, expected IoU {result.scores[0, best]:.2f}")

output = arguments.photo.with_name(f"{arguments.photo.stem}_mask.png")
result.overlay(arguments.photo).save(output)
print(f"wrote {output}")
