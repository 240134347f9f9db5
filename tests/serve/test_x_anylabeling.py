"""The remote server of X-AnyLabeling, with requests as the program makes them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw


def predict(server, image, **params):
    params = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001, **params}
    body = {"model": "evsam-nano", "image": f"data:image/png;base64,{image}", "params": params}
    return server.post("/x-anylabeling/v1/predict", json=body, headers={"Token": ""})


def filled(shapes) -> np.ndarray:
    """Polygons with their pixels, whose corners are edges of pixels there."""
    picture = Image.new("L", (3000, 2000))
    for shape in shapes:
        ImageDraw.Draw(picture).polygon([(10 * x, 10 * y) for x, y in shape["points"]], fill=1)
    return np.asarray(picture)[5::10, 5::10] > 0


def test_the_program_finds_the_model_and_its_buttons(server) -> None:
    answer = server.get("/x-anylabeling/v1/models", headers={"Token": ""}).json()
    assert answer["success"] is True
    assert list(answer["data"]) == ["evsam-nano", "evsam-nano-video"]
    model = answer["data"]["evsam-nano"]
    assert model["display_name"] == "evsam nano"
    assert {"button_add_point", "button_add_rect"} <= {widget["name"] for widget in model["widgets"]}


def test_marks_become_polygons(server, sam, pixels, image) -> None:
    marks = [{"type": "point", "data": [150, 100], "label": 1}, {"type": "point", "data": [5, 5], "label": 0}]
    answer = predict(server, image, marks=marks).json()
    assert (answer["success"], answer["data"]["replace"]) == (True, False)
    expected = sam.predict(pixels, points=[(150, 100), (5, 5)], labels=[1, 0])
    shapes = answer["data"]["shapes"]
    mask, best = filled(shapes), expected.clean(fill_holes=True).best()[0]
    assert (mask & best).sum() / (mask | best).sum() > 0.95
    for shape in shapes:
        assert (shape["label"], shape["shape_type"]) == ("AUTOLABEL_OBJECT", "polygon")
        assert shape["points"][0] == shape["points"][-1]
        assert shape["score"] == pytest.approx(float(expected.scores.max()))


def test_each_rectangle_is_an_object(server, sam, pixels, image) -> None:
    marks = [{"type": "rectangle", "data": [200, 150, 50, 25]}, {"type": "rectangle", "data": [0, 0, 40, 40]}]
    both = predict(server, image, marks=marks).json()["data"]["shapes"]
    one = predict(server, image, marks=marks[1:]).json()["data"]["shapes"]
    first = predict(server, image, marks=[{"type": "rectangle", "data": [50, 25, 200, 150]}]).json()["data"]["shapes"]
    assert both == first + one


def test_fineness_and_thresholds(server, image) -> None:
    marks = [{"type": "rectangle", "data": [50, 25, 200, 150]}]
    fine, coarse = (
        sum(
            len(shape["points"])
            for shape in predict(server, image, marks=marks, epsilon_factor=e).json()["data"]["shapes"]
        )
        for e in (0.0001, 0.02)
    )
    assert coarse < fine / 2
    assert predict(server, image, marks=marks, conf_threshold=1.0).json()["data"]["shapes"] == []
    assert predict(server, image).json()["data"]["shapes"] == []


def test_wrong_marks_and_models(server, image) -> None:
    assert predict(server, image, marks=[{"type": "point", "data": [1, 2, 3]}]).status_code == 422
    assert predict(server, image, marks=[{"type": "point", "data": [999, 2]}]).status_code == 422
    body = {"model": "sam", "image": image, "params": {}}
    assert server.post("/x-anylabeling/v1/predict", json=body).status_code == 404
