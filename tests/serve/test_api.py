"""evsam's own paths against the library."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import time

import numpy as np
import pytest

pytest.importorskip("fastapi")

from evsam.rle import decode_rle, encode_rle
from evsam.serve.cache import EmbeddingCache, embedding_bytes
from evsam.serve.metrics import Metrics
from tests.serve.conftest import encoded


def masks_of(answer) -> np.ndarray:
    return np.array([[decode_rle(mask["rle"]) for mask in own] for own in answer["prompts"]])


def test_masks_and_scores_are_the_library_s(server, sam, pixels, image) -> None:
    answer = server.post("/v1/predict", json={"image": image, "prompts": [{"points": [[150, 100]]}]}).json()
    expected = sam.predict(pixels, points=[(150, 100)])
    assert (masks_of(answer) == expected.masks).all()
    assert np.allclose([[mask["score"] for mask in own] for own in answer["prompts"]], expected.scores)
    assert [mask["area"] for mask in answer["prompts"][0]] == expected.masks[0].sum((1, 2)).tolist()
    assert answer["size"] == [200, 300]
    assert answer["logits"] is None


def test_prompts_of_every_kind_in_one_request(server, sam, pixels, image) -> None:
    embedding = sam.encode(pixels)
    mask = sam.predict(embedding, box=(50, 25, 200, 150))
    logits = mask.logits[0, 0].astype("<f2")
    prompts = [
        {"points": [[150, 100], [5, 5]], "labels": [1, 0]},
        {"box": [50, 25, 200, 150]},
        {"points": [[100, 80]], "box": [50, 25, 200, 150]},
        {"mask": {"rle": encode_rle(mask.masks[0, 0])}},
        {
            "points": [[100, 80]],
            "mask": {"logits": {"shape": [256, 256], "data": base64.b64encode(logits.tobytes()).decode()}},
        },
    ]
    answer = server.post("/v1/predict", json={"image": image, "prompts": prompts}).json()
    expected = [
        sam.predict(embedding, points=[(150, 100), (5, 5)], labels=[1, 0]),
        mask,
        sam.predict(embedding, points=[(100, 80)], box=(50, 25, 200, 150)),
        sam.predict(embedding, mask=mask.masks[0, 0]),
        sam.predict(embedding, points=[(100, 80)], mask=logits.astype(np.float32), multimask=False),
    ]
    assert [len(own) for own in answer["prompts"]] == [1] * 5
    assert (masks_of(answer)[:, 0] == np.concatenate([one.best() for one in expected])).all()


def test_best_multimask_and_logits(server, sam, pixels, image) -> None:
    box = {"image": image, "prompts": [{"box": [50, 25, 200, 150]}], "multimask": True}
    expected = sam.predict(pixels, box=(50, 25, 200, 150), multimask=True)
    assert (masks_of(server.post("/v1/predict", json=box).json()) == expected.masks).all()
    answer = server.post("/v1/predict", json={**box, "best": True, "logits": True}).json()
    assert (masks_of(answer)[:, 0] == expected.best()).all()
    logits = np.frombuffer(base64.b64decode(answer["logits"]["data"]), "<f2").reshape(answer["logits"]["shape"])
    assert np.abs(logits[0, 0] - expected.logits[0, expected.scores.argmax()]).max() < 0.02


def test_a_photo_is_sent_once(server, image) -> None:
    encoded_photo = server.post("/v1/embeddings", json={"image": image}).json()
    assert encoded_photo["size"] == [200, 300]
    handle = encoded_photo["embedding"]
    by_handle = server.post("/v1/predict", json={"embedding": handle, "prompts": [{"box": [0, 0, 99, 99]}]})
    by_photo = server.post("/v1/predict", json={"image": image, "prompts": [{"box": [0, 0, 99, 99]}]})
    assert by_handle.status_code == 200
    assert by_handle.json() == by_photo.json()


def test_a_photo_is_prepared_without_waiting(serving, image) -> None:
    with serving() as client:
        answer = client.post("/v1/embeddings", json={"image": image, "wait": False})
        assert (answer.status_code, answer.json()["size"]) == (202, None)
        handle = answer.json()["embedding"]
        body = {"embedding": handle, "prompts": [{"box": [0, 0, 99, 99]}]}
        for _ in range(200):
            if (found := client.post("/v1/predict", json=body)).status_code == 200:
                break
        assert found.status_code == 200


def test_photos_to_be_prepared_have_a_limit(sam, png) -> None:
    pytest.importorskip("fastapi")
    from evsam.serve.photos import photo_from_bytes
    from evsam.serve.service import Service
    from evsam.serve.settings import Settings

    async def run() -> None:
        service = Service(sam, Settings(all_body_bytes=2 * len(png) + 2))
        photos = [photo_from_bytes(png + bytes([number]), service.settings) for number in range(3)]
        for photo in photos:
            service.prepare(photo, "me")
        while service._preparing:
            await asyncio.sleep(0.01)
        assert [service._cache.has(photo.digest) for photo in photos] == [True, True, False]
        service.prepare(photos[2], "me")  # once there is room
        while service._preparing:
            await asyncio.sleep(0.01)
        assert service._cache.has(photos[2].digest)
        await service.stop()

    asyncio.run(run())


def test_unknown_handles_are_not_found(server, sam, image) -> None:
    digest = "0" * 64
    for handle in (f"{sam.fingerprint}-{digest}", f"{'0' * 16}-{digest}", "nothing", "../../etc/passwd"):
        answer = server.post("/v1/predict", json={"embedding": handle, "prompts": [{"box": [0, 0, 9, 9]}]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "embedding")


def test_everything_is_the_library_s(server, sam, pixels, image) -> None:
    options = {"points_per_side": 6, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.3}
    answer = server.post("/v1/everything", json={"image": image, **options}).json()
    expected = sam.segment_everything(pixels, **options)
    assert len(expected) > 0
    assert [one["rle"] for one in answer["segments"]] == [segment.rle for segment in expected]
    assert [tuple(one["point"]) for one in answer["segments"]] == [segment.point for segment in expected]


@pytest.mark.parametrize(
    ("change", "status", "code", "message"),
    [
        ({"prompts": [{"box": [9, 9, 5, 5]}]}, 422, "prompt", "box: expected x0 < x1 and y0 < y1, got"),
        ({"prompts": [{"points": [[999, 0]]}]}, 422, "prompt", "points: expected"),
        ({"prompts": [{}]}, 422, "prompt", "expected"),
        ({"prompts": []}, 422, "invalid", "prompts: "),
        ({"prompts": [{"box": [0, 0, 9, 9]}] * 65}, 422, "prompt", "prompts: expected 1 to 64 on a photo of 300 x 200"),
        ({"prompts": [{"points": [[1, 1]] * 257}]}, 422, "prompt", "points: expected at most 256"),
        ({"prompts": [{"mask": {"rle": {"size": [10**9, 10**9], "counts": "0"}}}]}, 422, "prompt", "the photo's size"),
        ({"prompts": [{"mask": {"rle": {"size": [200, 300], "counts": "!"}}}]}, 422, "prompt", "mask: "),
        ({"prompts": [{"mask": {"logits": {"shape": [2, 2], "data": "AAAA"}}}]}, 422, "prompt", "expected shape"),
        ({"image": "???"}, 422, "image", "image: expected base64"),
        ({"image": "data:image/png,abc"}, 422, "image", "expected a data URL in base64"),
        ({"image": None}, 422, "invalid", "expected one of the two, got none"),
        ({"embedding": "x"}, 422, "invalid", "expected one of the two, got both"),
        ({"nonsense": 1}, 422, "invalid", "nonsense"),
    ],
)
def test_what_cannot_be_meant_is_said(server, image, change, status, code, message) -> None:
    body = {"image": image, "prompts": [{"box": [0, 0, 99, 99]}], **change}
    answer = server.post("/v1/predict", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert message in error["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": [5] * 9999},
        {"prompts": [{}] * 9999},
        {"prompts": [{"points": ["x"] * 9999}]},
        {"prompts": [{"labels": [9] * 9999}]},
        {str(number): 0 for number in range(9999)},
    ],
)
def test_long_lists_are_refused_before_they_are_read(change) -> None:
    pytest.importorskip("fastapi")
    from pydantic import ValidationError

    from evsam.serve.schemas import PredictBody

    with pytest.raises(ValidationError) as refused:
        PredictBody.model_validate({"image": "", "prompts": [{}], **change})
    assert refused.value.error_count() == 1


def test_a_body_that_is_not_said_to_be_json_is_refused(server) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain"):  # the first is what curl sends by itself
        answer = server.post("/v1/predict", content=b'{"image": ""}', headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "type")
        assert answer.json()["error"]["message"] == f"Content-Type: expected application/json, got {kind!r}"


def test_of_masks_as_prompts_one_is_unpacked_at_a_time(server, image, monkeypatch) -> None:
    import weakref

    from evsam.serve import api

    unpacked: list[weakref.ref[np.ndarray]] = []
    together = []

    def decode(rle):
        mask = decode_rle(rle)
        unpacked.append(weakref.ref(mask))
        together.append(sum(one() is not None for one in unpacked))
        return mask

    monkeypatch.setattr(api, "decode_rle", decode)
    square = np.zeros((200, 300), bool)
    square[50:100, 50:100] = True
    prompt = {"mask": {"rle": encode_rle(square)}}
    answer = server.post("/v1/predict", json={"image": image, "prompts": [prompt] * 65})
    assert "prompts: expected 1 to 64" in answer.text
    assert not unpacked
    answer = server.post("/v1/predict", json={"image": image, "prompts": [prompt] * 9, "multimask": False})
    assert (answer.status_code, len(unpacked)) == (200, 9)
    assert max(together) <= 2


def test_a_wrong_prompt_leaves_those_beside_it_alone(serving, image) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with serving(workers=1) as client, ThreadPoolExecutor(8) as pool:
        handle = client.post("/v1/embeddings", json={"image": image}).json()["embedding"]

        def ask(number: int) -> int:
            box = [0, 0, 99, 99] if number % 2 else [9, 9, 5, 5]
            return client.post("/v1/predict", json={"embedding": handle, "prompts": [{"box": box}]}).status_code

        assert list(pool.map(ask, range(16))) == [422, 200] * 8
        assert 'evsam_jobs_together_bucket{kind="predict",le="1.0"}' in client.get("/metrics").text


def test_a_large_photo_leaves_room_for_fewer_masks(serving, image) -> None:
    with serving(mask_pixels=4 * 200 * 300) as client:
        body = {"image": image, "prompts": [{"points": [[9, 9]]}] * 2}
        assert "expected 1 to 1 on a photo of 300 x 200, got 2" in client.post("/v1/predict", json=body).text
        assert client.post("/v1/predict", json={**body, "best": True}).status_code == 200


def test_the_examples_of_the_api_are_answered(server) -> None:
    paths = server.get("/openapi.json").json()
    schemas = paths["components"]["schemas"]
    for path in ("/v1/embeddings", "/v1/predict", "/v1/everything", "/v1/track"):
        name = paths["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        fields = schemas[name.rpartition("/")[2]]["properties"]
        body = {key: value["examples"][0] for key, value in fields.items() if "examples" in value}
        body |= {"revision": 0} if path == "/v1/track" else {}
        answer = server.post(path, json=body)
        assert answer.status_code == 200, (path, answer.text)


def test_photos_turned_by_exif_are_upright(server, sam, pixels) -> None:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=95)
    image = base64.b64encode(file.getvalue()).decode()
    answer = server.post("/v1/embeddings", json={"image": f"data:image/jpeg;base64,{image}"}).json()
    assert answer["size"] == [300, 200]


def test_watching(server) -> None:
    assert server.get("/health").json() == {"status": "UP"}
    assert server.get("/ready").json() == {"ready": True}
    model = server.get("/v1/model").json()
    assert model["variant"] == "nano"
    assert model["limits"]["prompts"] == 64
    text = server.get("/metrics").text
    for name in ("evsam_requests_total", "evsam_wait_seconds", "evsam_cache_bytes", "process_resident_memory_bytes"):
        assert name in text


def test_the_cache_keeps_what_was_used_last(serving, pixels) -> None:
    photos = [base64.b64encode(encoded(pixels[:, start:])).decode() for start in range(3)]
    with serving(cache_bytes=2 * 5_767_168) as client:
        a, b, c = (client.post("/v1/embeddings", json={"image": photo}).json()["embedding"] for photo in photos)
        prompts = [{"box": [0, 0, 50, 50]}]
        status = [
            client.post("/v1/predict", json={"embedding": one, "prompts": prompts}).status_code for one in (a, b, c)
        ]
        assert status == [404, 200, 200]
        client.post("/v1/predict", json={"embedding": b, "prompts": prompts})
        client.post("/v1/embeddings", json={"image": photos[0]})
        status = [
            client.post("/v1/predict", json={"embedding": one, "prompts": prompts}).status_code for one in (a, b, c)
        ]
        assert status == [200, 200, 404]
        assert "evsam_cache_photos 2.0" in client.get("/metrics").text


def test_photos_of_a_folder_are_encoded_ahead(serving, sam, pixels, tmp_path, caplog) -> None:
    size = embedding_bytes(sam.encode(pixels))
    photos = [encoded(np.roll(pixels, step, 1)) for step in range(4)]
    for age, photo in enumerate(photos):
        (tmp_path / f"{age}.png").write_bytes(photo)
        os.utime(tmp_path / f"{age}.png", (1e9 - age, 1e9 - age))
    (tmp_path / "broken.png").write_bytes(photos[0][:2000])
    (tmp_path / "notes.txt").write_text("no photo")
    caplog.set_level("INFO", "evsam.serve")
    with serving(prewarm=tmp_path, cache_bytes=3 * size) as client:
        deadline = time.monotonic() + 60
        while "prewarmed" not in caplog.messages:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        handles = [f"{sam.fingerprint}-{hashlib.sha256(photo).hexdigest()}" for photo in photos]
        box = {"prompts": [{"box": [50, 25, 200, 150]}]}

        def kept() -> list[int]:
            return [client.post("/v1/predict", json={"embedding": one, **box}).status_code for one in handles]

        assert kept() == [200, 200, 200, 404]
        metrics = client.get("/metrics").text
        assert 'evsam_prewarmed_total{how="kept"} 3.0' in metrics
        assert 'evsam_prewarmed_total{how="failed"} 1.0' in metrics
    (record,) = [record for record in caplog.records if record.message == "not prewarmed"]
    assert record.fields["file"].endswith("broken.png")
    with pytest.raises(FileNotFoundError), serving(prewarm=tmp_path / "nowhere"):
        pass


def test_what_nobody_asked_for_goes_first(sam, pixels) -> None:
    embedding = sam.encode(pixels)
    cache = EmbeddingCache(3 * embedding_bytes(embedding), Metrics())
    cache.put("asked", embedding)
    assert [cache.put_spare(key, embedding) for key in ("newest", "older", "oldest")] == [True, True, False]
    cache.put("new", embedding)
    assert [key for key in ("asked", "newest", "older", "new") if cache.has(key)] == ["asked", "newest", "new"]
