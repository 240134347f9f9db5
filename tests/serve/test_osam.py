"""osam's protocol, with requests as its clients make them."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image


def generate(server, image, points, labels):
    body = {"model": "efficientsam:10m", "image": image, "prompt": {"points": points, "point_labels": labels}}
    return server.post("/api/generate", json=body)


@pytest.mark.parametrize(
    ("points", "labels", "prompt"),
    [
        ([[150.0, 100.0]], [1], {"points": [(150, 100)]}),
        ([[150.0, 100.0], [5.0, 5.0]], [1, 0], {"points": [(150, 100), (5, 5)], "labels": [1, 0]}),
        ([[50.0, 25.0], [200.0, 150.0]], [2, 3], {"box": (50, 25, 200, 150)}),
        (
            [[50.0, 25.0], [100.0, 80.0], [200.0, 150.0]],
            [2, 1, 3],
            {"box": (50, 25, 200, 150), "points": [(100, 80)]},
        ),
    ],
)
def test_masks_are_those_of_the_library(server, sam, pixels, image, points, labels, prompt) -> None:
    answer = generate(server, image, points, labels).json()
    assert (answer["model"], answer["image_embedding"]) == ("efficientsam:10m", None)
    (annotation,) = answer["annotations"]
    box = annotation["bounding_box"]
    with Image.open(BytesIO(base64.b64decode(annotation["mask"]))) as picture:
        part = np.asarray(picture)
    assert part.shape == (box["ymax"] - box["ymin"] + 1, box["xmax"] - box["xmin"] + 1)
    assert set(np.unique(part).tolist()) <= {0, 255}
    mask = np.zeros((200, 300), bool)
    mask[box["ymin"] : box["ymax"] + 1, box["xmin"] : box["xmax"] + 1] = part > 0
    expected = sam.predict(pixels, **prompt)
    assert (mask == expected.best()[0]).all()
    assert annotation["score"] == pytest.approx(float(expected.scores.max()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": {"texts": ["cup"]}}, "texts have no meaning"),
        ({"prompt": {"points": [[1, 1]], "point_labels": [1, 0]}}, "as many point_labels"),
        ({"prompt": {"points": [[1, 1]], "point_labels": [2]}}, "expected 2 and 3 together"),
        ({"prompt": {"points": [[1, 1], [9, 9], [20, 20]], "point_labels": [2, 3, 3]}}, "2 and 3 together, once"),
        ({"image": None}, "image: expected one in base64"),
    ],
)
def test_what_has_no_meaning_is_said(server, image, change, message) -> None:
    body = {"model": "sam", "image": image, "prompt": {"points": [[1, 1]], "point_labels": [1]}, **change}
    answer = server.post("/api/generate", json=body)
    assert answer.status_code == 422
    assert message in answer.text
