"""The open inference protocol, tensors as JSON and as bytes."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

URL = "/v2/models/nano"
BOXES = [[50.0, 25.0, 200.0, 150.0], [0.0, 0.0, 40.0, 40.0]]
DTYPES = {"BOOL": "?", "FP32": "<f4"}


def tensor(name, values, datatype, **parameters):
    values = np.asarray(values)
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "parameters": parameters}


def binary(client, inputs, outputs, **more):
    """A request whose tensors are bytes behind its JSON, as Triton's clients make it, and the arrays of its answer."""
    described, behind = [], []
    for name, datatype, content, shape in inputs:
        behind.append(content)
        size = {"binary_data_size": len(content)}
        described.append({"name": name, "shape": shape, "datatype": datatype, "parameters": size})
    head = json.dumps({"inputs": described, "outputs": outputs, **more}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    answer = client.post(f"{URL}/infer", content=head + b"".join(behind), headers=headers)
    if answer.status_code != 200:
        return answer
    at = int(answer.headers["Inference-Header-Content-Length"])
    found = json.loads(answer.content[:at])
    arrays = {}
    for output in found["outputs"]:
        size = output["parameters"]["binary_data_size"]
        values = np.frombuffer(answer.content[at : at + size], DTYPES[output["datatype"]])
        arrays[output["name"]] = values.reshape(output["shape"])
        at += size
    assert at == len(answer.content)
    return found, arrays


def test_the_server_and_the_model_describe_themselves(server) -> None:
    assert server.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert server.get("/v2/health/live").status_code == server.get("/v2/health/ready").status_code == 200
    assert server.get(f"{URL}/ready").json() == {"name": "nano", "ready": True}
    model = server.get(URL).json()
    assert [one["name"] for one in model["inputs"]] == ["image", "points", "labels", "boxes"]
    assert [one["name"] for one in model["outputs"]] == ["masks", "scores", "logits"]
    assert server.get("/v2/models/other").status_code == 404


def test_tensors_as_json(server, sam, pixels) -> None:
    small = np.ascontiguousarray(pixels[:40, :60])
    inputs = [
        {**tensor("image", small, "UINT8"), "data": small.ravel().tolist()},
        {**tensor("boxes", [[5.0, 5.0, 50.0, 30.0]], "FP32"), "data": [[5.0, 5.0, 50.0, 30.0]]},
    ]
    answer = server.post(f"{URL}/infer", json={"id": "7", "inputs": inputs}).json()
    assert (answer["id"], answer["model_name"]) == ("7", "nano")
    masks, scores = answer["outputs"]
    expected = sam.predict(small, box=(5, 5, 50, 30))
    assert (np.array(masks["data"]).reshape(masks["shape"]) == expected.masks).all()
    assert np.allclose(scores["data"], expected.scores)


def test_tensors_as_bytes(server, sam, pixels, png) -> None:
    expected = sam.predict(pixels, boxes=BOXES)
    boxes = np.array(BOXES, "<f4")
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in ("scores", "masks", "logits")]
    for image in (
        ("image", "UINT8", pixels.tobytes(), list(pixels.shape)),
        ("image", "BYTES", struct.pack("<I", len(png)) + png, [1]),
    ):
        found, arrays = binary(server, [image, ("boxes", "FP32", boxes.tobytes(), [2, 4])], wanted)
        assert [output["name"] for output in found["outputs"]] == ["scores", "masks", "logits"]
        assert (arrays["masks"] == expected.masks).all()
        assert np.allclose(arrays["scores"], expected.scores)
        assert np.allclose(arrays["logits"], expected.logits, atol=1e-3)


def test_points_with_labels(server, sam, pixels) -> None:
    points, labels = np.array([[[150, 100], [5, 5]]], "<f4"), np.array([[1, 0]], "<i4")
    inputs = [
        ("image", "UINT8", pixels.tobytes(), list(pixels.shape)),
        ("points", "FP32", points.tobytes(), [1, 2, 2]),
        ("labels", "INT32", labels.tobytes(), [1, 2]),
    ]
    _, arrays = binary(server, inputs, [], parameters={"binary_data_output": True})
    assert (arrays["masks"] == sam.predict(pixels, points=points, labels=labels).masks).all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([("image", "UINT8", b"\0" * 5, [1, 1, 3])], "expected bytes of shape"),
        ([("image", "UINT8", b"", [0, 1, 3])], "expected uint8 of shape"),
        ([("image", "FP16", b"\0" * 3, [1, 1, 3])], "another datatype"),
        ([("image", "BYTES", b"\0\0", [1])], "its length before it"),
        ([("boxes", "FP32", b"\0" * 16, [1, 4])], "expected image"),
        ([("image", "UINT8", b"\0" * 3, [1, 1, 3])], "prompts: expected 1 to"),
        ([("image", "UINT8", b"\0" * 3, [1, 1, 3]), ("labels", "INT32", b"\0" * 4, [1, 1])], "points"),
        ([("image", "UINT8", b"\0" * 3, [1, 1, 3]), ("boxes", "FP32", b"\0" * 16, [-1, 4])], "inputs.1.shape.0"),
    ],
)
def test_wrong_tensors_are_refused(server, inputs, message) -> None:
    answer = binary(server, inputs, [])
    assert answer.status_code == 422
    assert message in answer.text


def test_what_an_answer_would_take_has_a_limit(serving, png) -> None:
    boxes = np.array(BOXES, "<f4").tobytes()
    inputs = [("image", "BYTES", struct.pack("<I", len(png)) + png, [1]), ("boxes", "FP32", boxes, [2, 4])]
    masks = {"name": "masks", "parameters": {"binary_data": True}}
    with serving(answer_bytes=2 * 200 * 300) as client:
        assert binary(client, inputs, [masks])[1]["masks"].shape == (2, 1, 200, 300)
        for outputs in ([masks, masks], [{"name": "masks"}], [{"name": "logits", "parameters": {"binary_data": True}}]):
            answer = binary(client, inputs, outputs)
            assert answer.status_code == 422
            assert "outputs: expected at most 120000 bytes" in answer.text


def test_outputs_that_nobody_knows_are_refused(server) -> None:
    image = {**tensor("image", np.zeros((1, 1, 3), np.uint8), "UINT8"), "data": [0, 0, 0]}
    answer = server.post(f"{URL}/infer", json={"inputs": [image], "outputs": [{"name": "mask"}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "tensor")
    assert answer.json()["error"]["message"] == "outputs: expected masks, scores, logits, got others"


def test_numbers_beyond_a_type_are_refused_without_a_word_on_standard_error(server) -> None:
    image = {**tensor("image", np.zeros((1, 1, 3), np.uint8), "UINT8"), "data": [0, 0, 0]}
    boxes = {"name": "boxes", "shape": [1, 4], "datatype": "FP32", "data": [1e300, 0, 1, 1]}
    assert server.post(f"{URL}/infer", json={"inputs": [image, boxes]}).status_code == 422


def test_wrong_lengths_are_refused(server) -> None:
    body = b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 99}}]}'
    for length in ("10", "999", "-1", "x", str(len(body))):
        headers = {"Inference-Header-Content-Length": length}
        assert server.post(f"{URL}/infer", content=body, headers=headers).status_code == 422
