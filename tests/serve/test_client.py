"""The client has the model's methods, results and errors."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

import httpx

import evsam
from evsam.client import ServerError
from tests.serve.conftest import encoded

PROMPTS = [
    {"points": [(150, 100)]},
    {"points": [(150, 100), (5, 5)], "labels": [1, 0]},
    {"points": [[(150, 100)], [(60, 40), (5, 5)]], "labels": [[1], [1, 0]]},
    {"points": [[(150, 100), (0, 0)], [(60, 40), (5, 5)]], "labels": [[1, -1], [1, 0]]},
    {"box": (50, 25, 200, 150)},
    {"box": (50, 25, 200, 150), "points": [(100, 80)]},
    {"boxes": np.array([(50, 25, 200, 150), (0, 0, 40, 40)])},
    {"boxes": np.zeros((0, 4))},
    {"box": (50, 25, 200, 150), "multimask": True},
]


@pytest.fixture(scope="module")
def client(server):
    with evsam.Client(str(server.base_url)) as one:
        yield one


@pytest.fixture(scope="module")
def there(client, png) -> evsam.client.RemoteEmbedding:
    return client.encode(png)


@pytest.fixture(scope="module")
def here(sam, pixels) -> evsam.Embedding:
    return sam.encode(pixels)


def assert_same(found: evsam.Prediction, expected: evsam.Prediction) -> None:
    assert found.masks.shape == expected.masks.shape
    assert (found.masks == expected.masks).all()
    assert np.allclose(found.scores, expected.scores, atol=1e-6)
    assert np.allclose(found.logits, expected.logits, atol=0.02, rtol=1e-3)
    assert found.masks.dtype == bool
    assert found.scores.dtype == found.logits.dtype == np.float32


@pytest.mark.parametrize("prompt", PROMPTS)
def test_predictions_are_the_model_s(client, sam, there, here, prompt) -> None:
    assert_same(client.predict(there, **prompt), sam.predict(here, **prompt))


def test_masks_as_prompts(client, sam, there, here) -> None:
    first = sam.predict(here, boxes=[(50, 25, 200, 150), (0, 0, 40, 40)])
    assert_same(client.predict(there, mask=first.masks[:, 0]), sam.predict(here, mask=first.masks[:, 0]))
    again = client.predict(there, points=[(100, 80)], mask=client.predict(there, box=(50, 25, 200, 150)).logits[0, 0])
    expected = sam.predict(here, points=[(100, 80)], mask=first.logits[0, 0].astype(np.float16).astype(np.float32))
    assert_same(again, expected)


def test_results_know_their_prompts_and_can_leave_logits_out(client, there) -> None:
    result = client.predict(there, boxes=[(50, 25, 200, 150)], logits=False)
    assert np.isnan(result.logits).all()
    assert result.prompts is not None
    assert np.allclose(result.prompts.boxes, [(50, 25, 200, 150)])


def test_everything_and_embeddings(client, sam, there, here) -> None:
    options = {"points_per_side": 6, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.3}
    assert client.segment_everything(there, **options) == sam.segment_everything(here, **options)
    fetched = client.fetch(there)
    sam.check_embedding(fetched)
    assert np.allclose(fetched.features, here.features, atol=0.01)
    assert [array.shape for array in fetched.lateral] == [array.shape for array in here.lateral]


def test_trackers_are_the_model_s(client, sam, pixels) -> None:
    frames = [np.roll(pixels, 3 * step, 1) for step in range(3)]
    there = client.track(frames[0], box=(50, 25, 200, 150))
    here = sam.track(frames[0], box=(50, 25, 200, 150))
    for frame in frames[1:]:
        found, expected = there.step(frame), here.step(frame)
        assert list(found) == list(expected) == [1]
        assert (found[1].mask == expected[1].mask).all()
        assert (found[1].box == expected[1].box).all()
        assert (found[1].score, found[1].lost) == (expected[1].score, expected[1].lost)
    assert there.add(frames[2], points=[(30, 30)]) == here.add(frames[2], points=[(30, 30)]) == 2
    assert there.ids == here.ids == (1, 2)
    there.remove(1)
    assert there.ids == (2,)
    with pytest.raises(evsam.PromptError, match="id: expected one of"):
        there.remove(1)
    assert list(there.step(frames[2])) == [2]
    there.close()
    with pytest.raises(ServerError, match="404"):
        there.step(frames[2])


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(lambda pixels: pixels, id="array"),
        pytest.param(lambda pixels: np.dstack([pixels, pixels[..., :1]]), id="alpha"),
        pytest.param(lambda pixels: pixels[..., 0], id="grey"),
        pytest.param(lambda pixels: encoded(pixels, "GIF"), id="another format"),
    ],
)
def test_images_of_every_kind(client, sam, pixels, picture) -> None:
    image = picture(pixels)
    box = (50, 25, 200, 150)
    assert (client.predict(image, box=box).masks == sam.predict(image, box=box).masks).all()


def test_files_and_bgr(client, sam, pixels, png, tmp_path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png)
    expected = sam.predict(pixels, box=(50, 25, 200, 150)).masks
    assert (client.predict(path, box=(50, 25, 200, 150)).masks == expected).all()
    assert (client.predict(pixels[..., ::-1], bgr=True, box=(50, 25, 200, 150)).masks == expected).all()
    with pytest.raises(evsam.ImageError, match="expected the path of an image"):
        client.encode(tmp_path / "none.png")


def test_errors_are_the_model_s(client, there) -> None:
    with pytest.raises(evsam.PromptError, match="box: expected x0 < x1 and y0 < y1"):
        client.predict(there, box=(9, 9, 5, 5))
    with pytest.raises(evsam.PromptError, match="expected one of the two, got both"):
        client.predict(there, box=(0, 0, 5, 5), boxes=[(0, 0, 5, 5)])
    with pytest.raises(evsam.ImageError, match="readable image file"):
        client.encode(b"no image")
    with pytest.raises(evsam.PromptError, match="frame: expected the one that box belongs to, got None"):
        client.track(box=(0, 0, 5, 5))
    with pytest.raises(ServerError, match="points_per_side") as refused:
        client.segment_everything(there, points_per_side=1000)
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    with pytest.raises(evsam.EvsamError, match="got pickled"):
        pickle.dumps(client)


def test_a_server_that_dropped_the_embedding_gets_the_photo_again(serving, sam, pixels, png, here) -> None:
    with serving(cache_bytes=5_767_168) as server, evsam.Client(str(server.base_url)) as client:
        embedding = client.encode(png)
        client.encode(np.ascontiguousarray(pixels[:, 1:]))
        assert_same(client.predict(embedding, box=(9, 9, 90, 90)), sam.predict(here, box=(9, 9, 90, 90)))
        client.encode(np.ascontiguousarray(pixels[:, 1:]))
        assert client.fetch(embedding).original_size == (200, 300)


class Flaky(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Refuses or loses the first requests, whose answers it lets through afterwards."""

    def __init__(self, *failures: int | Exception) -> None:
        self.failures = list(failures)
        self.seen = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen += 1
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(
                failure, headers={"Retry-After": "0"}, json={"error": {"code": "busy", "message": "m"}}
            )
        return httpx.Response(200, json={"variant": "nano"})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def client_of(transport: Flaky, retries: int) -> evsam.Client:
    client = evsam.Client("http://server", retries=retries)
    client._http.close()
    client._http = httpx.Client(base_url="http://server", transport=transport)
    return client


def test_busy_servers_and_lost_answers_are_asked_again() -> None:
    flaky = Flaky(429, 503, httpx.ReadError("lost"), httpx.ConnectError("away"))
    with client_of(flaky, 5) as client:
        assert client.model() == {"variant": "nano"}
    assert flaky.seen == 5


def test_retries_end() -> None:
    with client_of(Flaky(*[429] * 9), 2) as client, pytest.raises(ServerError, match="429: m") as refused:
        client.model()
    assert (refused.value.status, refused.value.code) == (429, "busy")
    lost = Flaky(*[httpx.ReadError("lost")] * 9)
    with client_of(lost, 1) as client, pytest.raises(ServerError, match="expected an answer, got none"):
        client.model()
    assert lost.seen == 2


def test_what_is_wrong_is_not_asked_again() -> None:
    flaky = Flaky(422)
    with client_of(flaky, 5) as client, pytest.raises(ServerError, match="422"):
        client.model()
    assert flaky.seen == 1


def test_the_async_client_does_the_same(server, sam, pixels, here) -> None:
    async def run() -> None:
        async with evsam.AsyncClient(str(server.base_url)) as client:
            assert (await client.model())["variant"] == "nano"
            embedding = await client.encode(pixels)
            boxes = [(50, 25, 200, 150), (0, 0, 40, 40), (9, 9, 90, 90)]
            found = await asyncio.gather(*(client.predict(embedding, box=box) for box in boxes))
            for one, box in zip(found, boxes, strict=True):
                assert_same(one, sam.predict(here, box=box))
            assert (await client.fetch(embedding)).variant == "nano"
            options: dict[str, Any] = {"points_per_side": 4, "pred_iou_thresh": 0.3}
            found_all = await client.segment_everything(embedding, **options)
            assert found_all == sam.segment_everything(here, **options)
            tracker = await client.track(pixels, box=(50, 25, 200, 150))
            tracks = await tracker.step(pixels)
            assert list(tracks) == [1]
            assert await tracker.add(pixels, points=[(9, 9)]) == 2
            await tracker.remove(1)
            assert tracker.ids == (2,)
            await tracker.close()
            with pytest.raises(evsam.PromptError, match="frame: expected the one that box belongs to, got None"):
                await client.track(box=(0, 0, 5, 5))
            await client._http.aclose()
            client._http = httpx.AsyncClient(base_url="http://server", transport=Flaky(429, httpx.ReadError("lost")))
            assert await client.model() == {"variant": "nano"}

    asyncio.run(run())


def test_a_token_goes_with_every_request(serving) -> None:
    with serving(token="correct-horse-battery") as server:
        with evsam.Client(str(server.base_url), token="correct-horse-battery") as client:
            assert client.model()["variant"] == "nano"
        with evsam.Client(str(server.base_url)) as client, pytest.raises(ServerError, match="401"):
            client.model()
