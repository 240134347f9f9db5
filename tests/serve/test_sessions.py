"""Sessions of tracking: nothing happens twice, nothing is half done, nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("fastapi")

import httpx

from evsam.serve.problems import Problem
from evsam.serve.service import Service
from evsam.serve.sessions import Saved, Sessions
from evsam.serve.settings import Settings
from tests.serve.conftest import encoded

NAME = "a-session-of-the-tests-1"
BOX = {"box": [50, 25, 200, 150]}


def tell(client: httpx.Client, image: str | None, revision: int, name: str = NAME, **change) -> httpx.Response:
    body = {"session": name, "revision": revision, "step": False, "image": image, **change}
    return client.post("/v1/track", json={key: value for key, value in body.items() if value is not None})


def test_a_request_that_is_sent_again_gets_the_same_answer(server, image) -> None:
    first = tell(server, image, 0, add=[BOX])
    assert (first.json()["revision"], first.json()["added"]) == (1, [1])
    assert tell(server, image, 0, add=[BOX]).json() == first.json()
    step = tell(server, image, 1, step=True)
    assert tell(server, image, 1, step=True).json() == step.json()
    assert len(step.json()["tracks"]) == 1
    assert tell(server, image, 2, step=True).json()["ids"] == [1]
    for revision, change in ((0, {"add": [BOX]}), (2, {"add": [BOX]}), (7, {"step": True})):
        answer = tell(server, image, revision, **change)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "revision")


def test_a_request_that_is_sent_again_may_bring_its_photo_in_another_way(serving, image, tmp_path) -> None:
    with serving(session_folder=tmp_path) as client:
        handle = client.post("/v1/embeddings", json={"image": image}).json()["embedding"]
        first = tell(client, None, 0, add=[BOX], embedding=handle)
        assert first.json()["added"] == [1]
    with serving(session_folder=tmp_path) as client:  # which has no embedding; a client sends the photo then
        assert tell(client, None, 0, add=[BOX], embedding=handle).status_code == 404
        assert tell(client, image, 0, add=[BOX]).text == first.text
        assert tell(client, image, 0, add=[BOX, BOX]).status_code == 409


def test_a_session_that_ends_while_it_is_told_something_stays_ended(sam, tmp_path) -> None:
    async def run() -> None:
        service = Service(sam, Settings(session_folder=tmp_path))
        sessions = Sessions(service)
        go = threading.Event()
        told = asyncio.create_task(
            sessions.change(NAME, 0, "digest", lambda _, revision: b"{}" if go.wait(10) else b"", "me")
        )
        await asyncio.sleep(0.05)
        ended = asyncio.create_task(sessions.end(NAME))
        await asyncio.sleep(0.05)
        go.set()
        assert await told == b"{}"
        await ended
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(Problem, match="expected one that has begun"):
            await sessions.change(NAME, 1, "digest", lambda *_: b"", "me")
        await service.stop()

    asyncio.run(run())


def test_a_request_that_fails_changes_nothing(server, image) -> None:
    name = "a-session-that-begins-wrong"
    answer = tell(server, image, 0, name, add=[BOX, {"box": [9, 9, 5, 5]}])
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "prompt")
    assert tell(server, image, 1, name, step=True).status_code == 404
    assert tell(server, image, 0, name, add=[BOX]).json()["ids"] == [1]
    assert tell(server, image, 1, name, remove=[1], add=[BOX, {"box": [9, 9, 5, 5]}]).status_code == 422
    assert tell(server, image, 1, name, step=True).json()["ids"] == [1]


def test_a_first_request_that_fails_leaves_one_beside_it_alone(serving, image) -> None:
    name = "a-session-of-two-at-once"
    with serving(workers=1) as client:
        good = threading.Thread(target=lambda: tell(client, image, 0, name, add=[BOX]))
        bad = threading.Thread(target=lambda: tell(client, image, 0, name, add=[{"box": [9, 9, 5, 5]}]))
        for thread in (bad, good):
            thread.start()
        for thread in (bad, good):
            thread.join()
        assert tell(client, image, 1, name, step=True).json()["ids"] == [1]


def test_sessions_end_and_are_counted(serving, image) -> None:
    with serving(sessions=2, session_seconds=3600) as client:
        names = [f"one-of-several-sessions-{number}" for number in range(3)]
        assert [tell(client, image, 0, name, add=[BOX]).status_code for name in names] == [200, 200, 429]
        assert client.delete(f"/v1/track/{names[0]}").status_code == 204
        assert client.delete(f"/v1/track/{names[0]}").status_code == 204
        assert tell(client, image, 0, names[2], add=[BOX]).status_code == 200
        assert tell(client, image, 1, names[0], step=True).status_code == 404
    with serving(sessions=1, session_seconds=0) as client:
        assert [tell(client, image, 0, name, add=[BOX]).status_code for name in names] == [200, 200, 200]


def test_limits_of_a_session(serving, image) -> None:
    with serving(objects=2) as client:
        answer = tell(client, image, 0, add=[BOX] * 3)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "objects")
        for name in ("short", "../../../../etc/passwd", "x" * 65):
            assert tell(client, image, 0, name, add=[BOX]).status_code == 422
        assert tell(client, None, 0, step=True).status_code == 422


def test_requests_at_the_same_time_are_done_one_by_one(server, image) -> None:
    name = "a-session-in-a-hurry-001"
    tell(server, image, 0, name, add=[BOX])
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(tell(server, image, 1, name, step=True))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["revision"] == 2


def test_sessions_outlive_the_server(serving, image, tmp_path) -> None:
    with serving(session_folder=tmp_path) as client:
        tell(client, image, 0, add=[BOX])
        expected = tell(client, image, 1, step=True)
        assert [path.suffix for path in tmp_path.iterdir()] == [".session"]
        assert NAME not in next(tmp_path.iterdir()).name
    with serving(session_folder=tmp_path) as client:
        assert tell(client, image, 1, step=True).text == expected.text
        assert tell(client, image, 2, step=True).json()["ids"] == [1]
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    with serving(session_folder=tmp_path) as client:
        answer = tell(client, image, 3, step=True)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session")
        client.delete(f"/v1/track/{NAME}")
    assert not tmp_path.exists() or list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"format": "evsam.session.1", "lengths": [1, 2]}\nx', b"\xff\n"])
def test_damaged_files_are_noticed(content) -> None:
    with pytest.raises((ValueError, KeyError)):
        Saved.from_bytes(content)


class Process:
    """``evsam serve`` in a process of its own."""

    def __init__(self, folder) -> None:
        command = [sys.executable, "-m", "evsam", "serve", "--port", "0", "--threads", "1", "--sessions", str(folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.fullmatch(r"nano on (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line + self.process.stderr.read()
        self.reading = threading.Thread(target=self.process.stderr.read)
        self.reading.start()
        self.client = httpx.Client(base_url=found[1], timeout=60)

    def end(self, how: int) -> int:
        self.client.close()
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.reading.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def test_nothing_that_was_answered_is_lost_when_the_process_is_killed(pixels, tmp_path) -> None:
    import base64

    frames = [base64.b64encode(encoded(np.roll(pixels[:100, :150], 2 * step, 1))).decode() for step in range(4)]
    box = {"box": [20, 10, 100, 80]}
    answered: dict[str, tuple[int, str]] = {}  # the last revision of each session, and its answer
    stop = threading.Event()

    def follow(client: httpx.Client, name: str) -> None:
        revision, text = answered.get(name, (0, ""))
        while not stop.is_set():
            change = {"step": True} if revision else {"add": [box]}
            try:
                answer = tell(client, frames[revision % 4], revision, name, **change)
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            revision, text = revision + 1, answer.text
            answered[name] = revision, text

    names = [f"a-session-that-is-killed-{number}" for number in range(3)]
    for _ in range(2):
        server = Process(tmp_path)
        threads = [threading.Thread(target=follow, args=(server.client, name)) for name in names]
        for name, (revision, text) in answered.items():
            change = {"step": True} if revision > 1 else {"add": [box]}
            again = tell(server.client, frames[(revision - 1) % 4], revision - 1, name, **change)
            if again.status_code == 409:  # the next one was done too, and its answer got lost
                assert tell(server.client, frames[revision % 4], revision, name, step=True).status_code == 200
            else:
                assert again.text == text
        stop.clear()
        for thread in threads:
            thread.start()
        before = {name: answered.get(name, (0, ""))[0] for name in names}
        while any(answered.get(name, (0, ""))[0] < before[name] + 3 for name in names):
            assert any(thread.is_alive() for thread in threads)
            threads[0].join(0.01)
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        stop.set()
        for thread in threads:
            thread.join()
    assert all(revision >= 6 for revision, _ in answered.values())


def test_a_server_that_is_told_to_stop_finishes(tmp_path, image) -> None:
    server = Process(tmp_path)
    assert server.client.post("/v1/embeddings", json={"image": image}).status_code == 200
    assert server.end(signal.SIGTERM) == 0
    busy = Process(tmp_path)
    for token in ("short", "0123456789abcdef "):
        second = subprocess.run(
            [sys.executable, "-m", "evsam", "serve", "--port", "0", "--sessions", str(tmp_path)],
            env={**os.environ, "EVSAM_TOKEN": token}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "EVSAM_TOKEN: expected 16 printable ASCII characters or more" in second.stderr
        assert second.returncode == 1
    third = subprocess.run(
        [sys.executable, "-m", "evsam", "serve", "--port", "0", "--threads", "1", "--sessions", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert third.stderr == f"evsam: sessions: expected a folder that no other server uses, got {str(tmp_path)!r}\n"
    assert third.returncode == 1
    assert busy.end(signal.SIGINT) == 0
