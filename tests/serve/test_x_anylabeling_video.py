"""The remote server of X-AnyLabeling with sequences of frames, asked as the program asks."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time

import numpy as np
import pytest

pytest.importorskip("fastapi")

from evsam.serve.clips import Clips
from evsam.serve.metrics import Metrics
from evsam.serve.photos import photo_from_bytes
from evsam.serve.problems import Problem
from evsam.serve.settings import Settings
from tests.serve.conftest import encoded

MODEL = "evsam-nano-video"
PATH = "/x-anylabeling/v1/video"
SHOWN = [[0.35, 0.35], [0.95, 0.05]], [1, 0]


@pytest.fixture(scope="module")
def photos(pixels):
    return [np.ascontiguousarray(np.roll(pixels[:128, :192], 3 * step, 1)) for step in range(5)]


@pytest.fixture(scope="module")
def frames(photos):
    return ["data:image/png;base64," + base64.b64encode(encoded(photo)).decode() for photo in photos]


def post(server, path, expected=200, **body):
    answer = server.post(f"{PATH}/{path}", json={"model": MODEL, **body}, headers={"Token": ""})
    assert answer.status_code == expected, answer.text
    return answer.json()["data"] if expected == 200 else answer.json()["error"]["code"]


def begin(server, frames, first=0):
    return post(server, "init", frames=frames, start_frame_index=first)["session_id"]


def show(server, session, frame, expected=200, shown=SHOWN, **more):
    params = {"conf_threshold": 0.0, "epsilon_factor": 0.001}
    body = {"session_id": session, "frame_index": frame, "points": shown[0], "point_labels": shown[1], **more}
    return post(server, "prompt", expected, obj_id=10000, params=params, **body)


def follow(server, session, **more):
    """Events of a pass, as the program reads them."""
    body = {"session_id": session, "model": MODEL, **more}
    with server.stream("POST", f"{PATH}/propagate/stream", json=body) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]


def metric(server, name) -> float:
    (line,) = [line for line in server.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def test_an_object_is_followed_as_by_the_library(server, sam, photos, frames) -> None:
    model = server.get("/x-anylabeling/v1/models").json()["data"][MODEL]
    assert model["batch_processing_mode"] == "video"
    assert "button_add_rect" not in {widget["name"] for widget in model["widgets"]}
    session = begin(server, frames)
    prompted = show(server, session, 1)
    assert (prompted["frame_index"], prompted["num_objects"]) == (1, len(prompted["masks"]))
    assert {(one["label"], one["shape_type"], one["group_id"]) for one in prompted["masks"]} == {
        ("AUTOLABEL_OBJECT", "polygon", 10000)
    }
    started, *progress, completed = follow(server, session, start_frame=1)
    assert started == {"type": "started", "total_frames": 5, "start_frame_index": 0}
    assert [event["current_frame"] for event in progress] == [1, 2, 3, 4]
    assert progress[-1] == {"type": "progress", "current_frame": 4, "total_frames": 5, "progress": 1.0}
    assert completed["type"] == "completed"
    assert list(completed["results"]) == ["1", "2", "3", "4"]
    assert completed["results"]["1"]["masks"] == prompted["masks"]
    points = [(x * 192, y * 128) for x, y in SHOWN[0]]
    tracker = sam.track(photos[1], points=points, labels=SHOWN[1])
    for number in range(2, 5):
        (track,) = tracker.step(photos[number]).values()
        shapes = completed["results"][str(number)]["masks"]
        assert not track.lost
        x, y = np.concatenate([shape["points"] for shape in shapes]).T
        assert [x.min(), y.min(), x.max(), y.max()] == pytest.approx(track.box.tolist(), abs=4)
        assert shapes[0]["score"] == pytest.approx(track.score, abs=1e-4)
    assert post(server, f"cleanup/{session}", model=MODEL)
    assert show(server, session, 1, 404) == "session"


def test_a_pass_begins_where_an_object_was_shown(server, frames) -> None:
    session = begin(server, frames, first=7)
    show(server, session, 7)
    assert metric(server, "evsam_clips") == 1
    whole = follow(server, session)[-1]["results"]
    assert list(whole) == ["7", "8", "9", "10", "11"]
    events = follow(server, session, start_frame=9, end_frame=10)
    assert [event["current_frame"] for event in events[1:-1]] == [7, 8, 9, 10]
    assert events[-1]["results"] == {number: whole[number] for number in ("9", "10")}
    shown = show(server, session, 9)["masks"]  # again, which corrects it from there on
    events = follow(server, session, start_frame=9)
    assert [event["current_frame"] for event in events[1:-1]] == [9, 10, 11]
    assert events[-1]["results"]["9"]["masks"] == shown
    post(server, f"cleanup/{session}")
    assert metric(server, "evsam_clips") == metric(server, "evsam_clip_bytes") == 0


def test_a_task_that_nobody_waits_for(server, frames) -> None:
    session = begin(server, frames)
    show(server, session, 0)
    expected = follow(server, session)[-1]["results"]
    task = post(server, "propagate", session_id=session)
    assert task["status"] == "processing"
    while (answer := server.get(f"{PATH}/status/{task['task_id']}").json()["data"])["status"] == "processing":
        time.sleep(0.02)
    assert (answer["status"], answer["progress"], answer["current_frame"]) == ("completed", 1.0, 4)
    assert answer["results"] == expected
    again = post(server, "propagate", session_id=session)["task_id"]
    assert server.get(f"{PATH}/status/{task['task_id']}").status_code == 404
    assert post(server, f"cancel/{again}") == {"message": "cancelled"}
    assert server.get(f"{PATH}/status/{again}").json()["data"]["status"] == "cancelled"
    post(server, f"cleanup/{session}")
    assert server.get(f"{PATH}/status/{again}").status_code == 404


def test_what_cannot_be_meant(server, frames, photos) -> None:
    assert post(server, "init", 422, frames=[]) == "invalid"
    assert post(server, "init", 422, frames=[frames[0], "?"]) == "image"
    assert post(server, "init", 422, frames=[base64.b64encode(b"no photo").decode()]) == "image"
    assert post(server, "init", 422, frames=["/etc/passwd", "file:///etc/passwd"]) == "image"
    small = base64.b64encode(encoded(photos[0][:64])).decode()
    assert post(server, "init", 422, frames=[frames[0], small]) == "image"
    body = {"model": "sam", "frames": frames}
    assert server.post(f"{PATH}/init", json=body).json()["error"]["code"] == "model"
    session = begin(server, frames)
    assert post(server, "propagate/stream", 422, session_id=session) == "prompt"
    assert show(server, session, 5, 422) == "frame"
    assert show(server, session, 0, 422, text_prompt="cup") == "prompt"
    assert show(server, session, 0, 422, points=[[1.5, 0]]) == "invalid"
    assert show(server, session, 0, 422, points=[]) == "prompt"
    assert show(server, session, 0, 422, point_labels=[1]) == "prompt"
    show(server, session, 2)
    for wanted in ({"start_frame": 5}, {"end_frame": 5}, {"start_frame": 3, "end_frame": 2}):
        assert post(server, "propagate", 422, session_id=session, **wanted) == "frame"
    for name in ("x", "../../etc/passwd", "x" * 65):
        assert post(server, "prompt", 422 if len(name) > 64 else 404, session_id=name) in ("session", "invalid")
    post(server, f"cleanup/{session}")
    assert post(server, f"cleanup/{session}", 404) == "session"


def test_a_frame_that_is_broken_behind_its_header_ends_a_pass(server, frames, photos) -> None:
    broken = base64.b64encode(encoded(photos[0])[:3000]).decode()
    session = begin(server, [*frames[:2], broken])
    show(server, session, 0)
    last = follow(server, session)[-1]
    assert last["type"] == "error"
    assert "image" in last["message"]
    post(server, f"cleanup/{session}")


def test_who_goes_away_in_the_middle_leaves_nothing_behind(serving, frames) -> None:
    with serving() as client:
        session = begin(client, frames * 40)
        show(client, session, 0)
        before = metric(client, "evsam_clip_bytes")
        with client.stream("POST", f"{PATH}/propagate/stream", json={"session_id": session, "model": MODEL}) as answer:
            lines = answer.iter_lines()
            while "progress" not in next(lines):
                pass
        deadline = time.monotonic() + 20
        while metric(client, "evsam_clip_bytes") > before or metric(client, "evsam_waiting_jobs"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        post(client, f"cleanup/{session}")


def test_sequences_have_limits(serving, frames) -> None:
    size = sum(len(base64.b64decode(frame.partition(",")[2])) for frame in frames)
    with serving(clips_each=2, clip_bytes=3 * size, session_seconds=0.5) as client:
        first, second, third = (begin(client, frames) for _ in range(3))  # of which the first one ends
        assert show(client, first, 0, 404) == "session"
        assert post(client, "init", 413, frames=frames * 4) == "too_large"
        last = begin(client, frames * 3)  # for which there is room without the others
        assert show(client, second, 0, 404) == show(client, third, 0, 404) == "session"
        deadline = time.monotonic() + 20
        while metric(client, "evsam_clips"):  # nobody asks for it any more, and it ends
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert show(client, last, 0, 404) == "session"


def test_others_keep_their_sequences(png) -> None:
    async def run() -> None:
        settings = Settings(sessions=2, clips_each=2)
        clips, photo = Clips(settings, Metrics()), photo_from_bytes(png, settings)
        one, two = clips.begin([photo], 0, "a"), clips.begin([photo], 0, "a")
        with pytest.raises(Problem, match="expected room") as refused:
            clips.begin([photo], 0, "b")
        assert 3590 < (refused.value.retry_after or 0) <= 3600
        clips.get(one.name)
        three = clips.begin([photo], 0, "a")
        assert clips.get(one.name) is one
        with pytest.raises(Problem, match="another"):
            clips.get(two.name)
        with one.under_way(), three.under_way(), pytest.raises(Problem, match="expected room"):
            clips.begin([photo], 0, "a")
        clips.close()

    asyncio.run(run())


def test_several_passes_at_a_time_do_not_disturb_each_other(server, frames) -> None:
    session = begin(server, frames)
    show(server, session, 0)
    expected = follow(server, session)[-1]
    found = []
    threads = [threading.Thread(target=lambda: found.append(follow(server, session)[-1])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected, expected]
    post(server, f"cleanup/{session}")
