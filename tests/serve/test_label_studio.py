"""The ML backend, with requests as Label Studio makes them, and what may be fetched for them."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

pytest.importorskip("fastapi")

from evsam import EvsamError
from evsam.serve.fetching import Fetcher
from evsam.serve.protocols.label_studio import encode_brush
from evsam.serve.settings import Settings

CONFIG = """<View>
  <Image name="image" value="$photo" zoom="true"/>
  <BrushLabels name="tag" toName="image"><Label value="Cup" background="#FF0000"/></BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true"><Label value="Cup" smart="true"/></KeyPointLabels>
  <RectangleLabels name="tag3" toName="image" smart="true"><Label value="Cup"/></RectangleLabels>
</View>"""


def keypoint(x, y, positive=1):
    """A click at x, y in pixels of a photo of 300 x 200."""
    value = {"x": x / 3, "y": y / 2, "width": 0.3, "labels": ["Cup"], "keypointlabels": ["Cup"]}
    sizes = {"original_width": 300, "original_height": 200, "image_rotation": 0}
    names = {"from_name": "tag2", "to_name": "image", "type": "keypointlabels", "origin": "manual", "id": "x"}
    return {**sizes, **names, "value": value, "is_positive": positive}


def rectangle(x0, y0, x1, y1):
    value = {"x": x0 / 3, "y": y0 / 2, "width": (x1 - x0) / 3, "height": (y1 - y0) / 2, "rectanglelabels": ["Cup"]}
    return {"original_width": 300, "original_height": 200, "type": "rectanglelabels", "value": {**value, "rotation": 0}}


def request(url, *regions, **change):
    body = {
        "tasks": [{"id": 7, "data": {"photo": url}, "meta": {}, "annotations": [], "predictions": []}],
        "project": "1.1700000000",
        "label_config": CONFIG,
        "params": {"login": None, "password": None, "context": {"result": list(regions)} if regions else None},
    }
    return {**body, **change}


def decode_brush(rle) -> np.ndarray:
    """The values, read bit by bit as thi.ng's rle-pack describes them."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    at = 0

    def read(count):
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    count, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        run = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if run else [read(word) for _ in range(length)]
    assert len(values) == count
    assert len(bits) - at < 8
    return np.array(values)


@contextlib.contextmanager
def label_studio(png, key=None):
    """A server that has a photo, and asks for a key; what it was asked."""
    seen: list[tuple[str, str | None, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Authorization"], self.headers["Host"]))
            good = key is None or self.headers["Authorization"] == f"Token {key}"
            status = 302 if self.path == "/moved" else 200 if good and "photo" in self.path else 404
            self.send_response(status)
            self.send_header("Location", "/data/photo.png")
            self.end_headers()
            self.wfile.write(png if status == 200 else b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def backend(serving, png):
    with (
        label_studio(png, "a-key") as (url, seen),
        serving(label_studio=url, label_studio_key="a-key") as client,
    ):
        yield client, url, seen


def predict(client, body):
    return client.post("/label-studio/predict", json=body)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 5), (64, 257), (200, 300)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_brushes_are_packed_as_label_studio_unpacks_them(shape, share) -> None:
    mask = np.random.default_rng(0).random(shape) < share
    assert (decode_brush(encode_brush(mask)) == np.repeat(mask.ravel() * 255, 4)).all()


def test_runs_of_every_length() -> None:
    lengths = [1, 2, 3, 4, 5, 63, 64, 65, 16383, 16384, 16385, 40000]
    mask = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)[None]
    assert (decode_brush(encode_brush(mask)) == np.repeat(mask.ravel() * 255, 4)).all()


def test_health_and_setup(server) -> None:
    assert server.get("/label-studio/health").json() == {"status": "UP", "model_class": "evsam"}
    assert server.get("/label-studio/").json()["status"] == "UP"
    setup = {"project": "1.17", "schema": CONFIG, "hostname": "http://ls", "access_token": "x", "extra_params": None}
    version = server.post("/label-studio/setup", json=setup).json()["model_version"]
    assert version.startswith("evsam-nano-")
    assert server.get("/label-studio/versions").json() == {"versions": [version]}
    assert server.post("/label-studio/webhook", json={"action": "PROJECT_UPDATED"}).status_code == 200


@pytest.mark.parametrize(
    ("regions", "prompt"),
    [
        ([keypoint(150, 100)], {"points": [(150, 100)]}),
        ([keypoint(150, 100), keypoint(6, 6, 0)], {"points": [(150, 100), (6, 6)], "labels": [1, 0]}),
        ([rectangle(51, 26, 201, 150)], {"box": (51, 26, 201, 150)}),
        ([rectangle(51, 26, 201, 150), keypoint(99, 80)], {"box": (51, 26, 201, 150), "points": [(99, 80)]}),
    ],
)
def test_masks_are_those_of_the_library(backend, sam, pixels, regions, prompt) -> None:
    client, _, _ = backend
    answer = predict(client, request("/data/photo.png", *regions)).json()
    (result,) = answer["results"]
    (region,) = result["result"]
    assert (region["from_name"], region["to_name"], region["type"]) == ("tag", "image", "brushlabels")
    assert (region["original_width"], region["original_height"], region["image_rotation"]) == (300, 200, 0)
    assert region["value"]["brushlabels"] == ["Cup"]
    assert region["value"]["format"] == "rle"
    expected = sam.predict(pixels, **prompt)
    mask = decode_brush(region["value"]["rle"]).reshape(200, 300, 4)
    assert (mask[..., 3] == expected.best()[0] * 255).all()
    assert result["score"] == region["score"] == pytest.approx(float(expected.scores.max()))


def test_a_task_that_is_opened_is_encoded_ahead(serving, png) -> None:
    with label_studio(png) as (url, seen), serving(label_studio=url) as client:
        answer = predict(client, request("/data/photo.png")).json()
        assert [(one["result"], one["score"]) for one in answer["results"]] == [([], 0.0)]
        for _ in range(300):
            if "evsam_cache_photos 1.0" in client.get("/metrics").text:
                break
        assert predict(client, request("/data/photo.png", keypoint(9, 9))).status_code == 200
        assert [path for path, _, _ in seen] == ["/data/photo.png"]


def test_the_key_goes_to_label_studio_alone(backend, png) -> None:
    client, url, seen = backend
    assert predict(client, request(f"{url}/another-photo", keypoint(9, 9))).status_code == 200
    assert seen[-1] == ("/another-photo", "Token a-key", url.removeprefix("http://"))


def test_nothing_else_is_fetched(backend, serving, png) -> None:
    client, url, seen = backend
    port = url.rpartition(":")[2]
    before = len(seen)
    for other in (
        f"http://localhost:{port}/photo",
        f"http://127.0.0.1:{port}@evil.example/photo",
        f"http://user@127.0.0.1:{port}/photo",
        "http://169.254.169.254/latest/meta-data",
        "https://evil.example/photo.png",
        "file:///etc/passwd",
        "s3://bucket/photo.png",
        "http://[",
        f"http://127.0.0.1:{port}0000/photo",
        "http://\u2100/photo",
        "//evil.example/photo",
    ):
        answer = predict(client, request(other, keypoint(9, 9)))
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "url"), other
    assert len(seen) == before
    assert predict(client, request("/moved", keypoint(9, 9))).status_code == 422
    assert [path for path, _, _ in seen[before:]] == ["/moved"]  # and not where it leads
    with label_studio(png) as (private, asked), serving(fetched_hosts=("127.0.0.1", "localhost")) as careful:
        for host in ("127.0.0.1", "localhost"):
            there = private.replace("127.0.0.1", host)
            answer = predict(careful, request(f"{there}/photo", keypoint(9, 9)))
            assert "expected a host with public addresses" in answer.text
        assert asked == []
        answer = predict(careful, request("/data/photo.png", keypoint(9, 9)))
        assert answer.json()["error"]["code"] == "url"


def test_named_hosts_are_fetched_from_at_the_address_that_was_checked(serving, png, monkeypatch) -> None:
    with label_studio(png) as (url, seen), serving(fetched_hosts=("photos.example",)) as client:
        port = int(url.rpartition(":")[2])
        asked: list[str] = []

        async def lookup(self, host, *rest, **options):
            asked.append(host)
            return [(2, 1, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", lookup)
        there = f"http://photos.example:{port}/photo"
        assert "public addresses" in predict(client, request(there, keypoint(9, 9))).text
        monkeypatch.setattr("ipaddress.IPv4Address.is_global", True)
        assert predict(client, request(there, keypoint(9, 9))).status_code == 200
        assert seen == [("/photo", None, f"photos.example:{port}")]
        assert asked == ["photos.example"] * 2


def test_photos_in_the_task_itself(server, image, sam, pixels) -> None:
    answer = predict(server, request(f"data:image/png;base64,{image}", keypoint(150, 100)))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_config": "<View/>"}, "expected BrushLabels for an Image"),
        ({"label_config": "<View><BrushLabels name='a' toName='b'/>"}, "expected BrushLabels for an Image"),
        ({"label_config": "<View><![<!["}, "expected BrushLabels for an Image"),
        ({"tasks": [{"data": {"other": "x"}}]}, "expected a URL as 'photo'"),
        ({"params": {"context": {"result": [{"type": "x", "value": {"x": 1, "y": 1}}]}}}, "expected keypointlabels or"),
        ({"tasks": None}, "tasks"),
    ],
)
def test_what_has_no_meaning_is_said(server, image, change, message) -> None:
    answer = predict(server, request(f"data:image/png;base64,{image}", keypoint(9, 9), **change))
    assert answer.status_code == 422
    assert message in answer.text


@pytest.mark.parametrize("url", ["nonsense", "localhost:8080", "ftp://host", "http://host:port"])
def test_a_label_studio_that_is_no_url_is_an_error(url) -> None:
    with pytest.raises(EvsamError, match="label_studio: expected a URL such as http://localhost:8080"):
        Fetcher(Settings(label_studio=url))


def test_large_photos_are_not_fetched_to_their_end(serving) -> None:
    with label_studio(b"x" * 100_000) as (url, _), serving(label_studio=url, photo_bytes=10_000) as client:
        answer = predict(client, request("/photo", keypoint(9, 9)))
        assert answer.status_code == 413
        assert json.loads(answer.text)["error"]["code"] == "too_large"
