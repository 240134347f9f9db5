"""CVAT's functions, with requests as its server makes them."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from evsam.serve.protocols.cvat import _rows
from tests.serve.conftest import encoded

HEADERS = {
    "x-nuclio-project-name": "cvat",
    "x-nuclio-function-namespace": "nuclio",
    "x-nuclio-invoke-via": "domain-name",
    "X-Nuclio-Invoke-Timeout": "30s",
    "x-nuclio-path": "/",
}


def invoke(server, name, **body):
    headers = {**HEADERS, "x-nuclio-function-name": name}
    return server.post("/api/function_invocations", json=body, headers=headers)


def test_cvat_finds_both_functions(server) -> None:
    found = server.get("/api/functions", headers=HEADERS).json()
    assert sorted(found) == ["evsam-interactor", "evsam-tracker"]
    for name, function in found.items():
        assert function["metadata"]["name"] == name
        notes = function["metadata"]["annotations"]
        assert notes["type"] == name.partition("-")[2]
        assert json.loads(notes["spec"] or "[]") == []
        assert int(notes["version"]) == 2
        assert function["status"]["state"] == "ready"
        assert function["spec"]["description"]
        assert server.get(f"/api/functions/{name}").json() == function
    assert server.get("/api/functions/other").status_code == 404


@pytest.mark.parametrize(
    ("sent", "prompt"),
    [
        ({"pos_points": [[150, 100]], "neg_points": []}, {"points": [(150, 100)]}),
        (
            {"pos_points": [[150, 100]], "neg_points": [[5, 5]], "obj_bbox": None},
            {"points": [(150, 100), (5, 5)], "labels": [1, 0]},
        ),
        ({"pos_points": [], "neg_points": [], "obj_bbox": [[50, 25], [200, 150]]}, {"box": (50, 25, 200, 150)}),
        (
            {"pos_points": [[100, 80]], "neg_points": [], "obj_bbox": [[200, 150], [50, 25]]},
            {"points": [(100, 80)], "box": (50, 25, 200, 150)},
        ),
    ],
)
def test_the_interactor_gives_the_library_s_masks(server, sam, pixels, image, sent, prompt) -> None:
    answer = invoke(server, "evsam-interactor", image=image, **sent).json()
    expected = sam.predict(pixels, **prompt).best()[0]
    assert (np.array(answer["mask"]) == expected).all()
    points = np.array(answer["points"])
    assert points.shape[1] == 2
    assert (points >= 0).all()
    assert (points <= (300, 200)).all()


def test_rows_are_json() -> None:
    mask = np.array([[True, False, True], [False, False, True]])
    assert json.loads(_rows(mask)) == [[1, 0, 1], [0, 0, 1]]
    assert json.loads(_rows(mask[:1, :1])) == [[1]]


def test_the_tracker_goes_on_from_its_states(server, sam, pixels) -> None:
    frames = [np.roll(pixels, 3 * step, 1) for step in range(3)]
    images = [base64.b64encode(encoded(frame)).decode() for frame in frames]
    boxes = [(50, 25, 200, 150), (0, 0, 40, 40)]
    first = invoke(server, "evsam-tracker", image=images[0], shapes=[list(box) for box in boxes], states=[]).json()
    assert first["shapes"] == [list(box) for box in boxes]
    trackers = [sam.track(frames[0], box=box) for box in boxes]
    states = first["states"]
    for image, frame in zip(images[1:], frames[1:], strict=True):
        answer = invoke(server, "evsam-tracker", image=image, shapes=[None, None], states=states).json()
        tracks = [tracker.step(frame)[1] for tracker in trackers]
        assert answer["shapes"] == [None if track.lost else track.box.tolist() for track in tracks]
        states = answer["states"]
    assert answer["shapes"][0] is not None


def test_what_cvat_never_sends_is_refused(server, image) -> None:
    assert invoke(server, "other", image=image).status_code == 404
    assert invoke(server, "evsam-interactor", image=image, pos_points=[], neg_points=[]).status_code == 422
    assert invoke(server, "evsam-interactor", image=image, pos_points=[[1, 1]], obj_bbox=[[1, 1]]).status_code == 422
    assert invoke(server, "evsam-tracker", image=image, shapes=[None], states=[]).status_code == 422
    good = invoke(server, "evsam-tracker", image=image, shapes=[[0, 0, 40, 40]]).json()["states"][0]
    content = bytearray(base64.b64decode(good))
    content[len(content) // 2 :] = b""
    for state in ("???", "AAAA", base64.b64encode(content).decode()):
        answer = invoke(server, "evsam-tracker", image=image, shapes=[None], states=[state])
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "state")
