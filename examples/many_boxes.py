"""Masks for all boxes of a detector, at once, as a COCO results file.

    python examples/many_boxes.py photo.jpg detections.json results.json

`detections.json` holds the photo's detections in COCO's form: [{"image_id": 1, "category_id": 3, "bbox": [x, y, width,
height], ...}, ...].
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import evsam


def read(file: Path) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The detections of a file, and their boxes, float64 (N, 4), x0, y0, x1, y1."""
    expected = "expected a list of COCO detections, each with a bbox of four numbers"
    try:
        detections = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(detections, list):
            sys.exit(f"{file}: {expected}, got {type(detections).__name__}")
        sizes = np.array([detection["bbox"] for detection in detections], float).reshape(len(detections), 4)
    except KeyError as error:
        sys.exit(f"{file}: {expected}, got one without {error}")
    except (ValueError, TypeError, OverflowError) as error:
        sys.exit(f"{file}: {expected} ({error})")
    photos = {str(detection.get("image_id")) for detection in detections}
    if len(photos) > 1:
        sys.exit(f"{file}: expected detections of one photo, got the image_ids {', '.join(sorted(photos)[:5])}")
    return detections, np.hstack([sizes[:, :2], sizes[:, :2] + sizes[:, 2:]])  # COCO's boxes end with their size


def main() -> None:
    """The whole program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("detections", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()

    detections, boxes = read(arguments.detections)
    sam = evsam.load(arguments.model)
    result = sam.predict(arguments.photo, boxes=boxes)

    for detection, rle in zip(detections, result.to_coco_rle(), strict=True):
        detection["segmentation"] = rle
    arguments.results.write_text(json.dumps(detections), encoding="utf-8")
    print(f"wrote {len(detections)} masks to {arguments.results}")


if __name__ == "__main__":
    try:
        main()
    except (evsam.EvsamError, OSError) as error:  # says which argument was wrong, and how
        sys.exit(f"many_boxes.py: {error}")
