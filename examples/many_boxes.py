"""Masks for all boxes of a detector, at once, as a COCO results file.

    python examples/many_boxes.py photo.jpg detections.json results.json

`detections.json` holds COCO detections: [{"image_id": 1, "category_id": 3, "bbox": [x, y, width, height], ...}, ...].
"""

import argparse
import json
from pathlib import Path

import numpy as np

import evsam

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photo", type=Path)
parser.add_argument("detections", type=Path)
parser.add_argument("results", type=Path)
parser.add_argument("--model", default="nano")
arguments = parser.parse_args()

detections = json.loads(arguments.detections.read_text())
x, y, width, height = np.array([d["bbox"] for d in detections], float).T
boxes = np.stack([x, y, x + width, y + height], 1)  # COCO's boxes have a size, evsam's a second corner

sam = evsam.load(arguments.model)
result = sam.predict(arguments.photo, boxes=boxes)

for detection, rle in zip(detections, result.to_coco_rle(), strict=True):
    detection["segmentation"] = rle
arguments.results.write_text(json.dumps(detections))
print(f"wrote {len(detections)} masks to {arguments.results}")
