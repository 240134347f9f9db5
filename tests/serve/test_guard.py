"""Limits and secrets: what never reaches the model."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import time
import zlib
from collections.abc import AsyncIterator

import pytest

pytest.importorskip("fastapi")

import httpx
from starlette.responses import StreamingResponse

from evsam.errors import EvsamError
from evsam.serve.guard import Guard
from evsam.serve.metrics import Metrics
from evsam.serve.settings import Settings
from tests.serve.conftest import encoded, run_app

TOKEN = "correct-horse-battery"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_token_is_asked_for_everywhere_but_for_health(serving) -> None:
    with serving(token=TOKEN) as client:
        for path in ("/v1/model", "/metrics", "/openapi.json", "/nothing", "/v1/embeddings/x"):
            assert error_of(client.get(path)) == (401, "token")
            assert client.get(path).headers["www-authenticate"] == "Bearer"
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        basic = base64.b64encode(f"user:{TOKEN}".encode()).decode()
        good = [
            {"Authorization": f"Bearer {TOKEN}"},
            {"authorization": f"bearer {TOKEN}"},
            {"Authorization": f"Basic {basic}"},
            {"Token": TOKEN},
        ]
        assert [client.get("/v1/model", headers=headers).status_code for headers in good] == [200] * 4
        wrong = [
            {"Authorization": f"Bearer {TOKEN[:-1]}"},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": "Basic ???"},
            {"Authorization": TOKEN},
            {"Token": ""},
            {"Authorization": b"Bearer \xff\xfe"},
        ]
        assert [client.get("/v1/model", headers=headers).status_code for headers in wrong] == [401] * 6


def test_pages_of_other_sites_reach_nothing(serving) -> None:
    with serving() as client:
        for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", ""):
            assert error_of(client.get("/v1/model", headers={"Host": name})) == (421, "host")
        for name in ("localhost", "127.0.0.1:80", "[::1]:8000", "LOCALHOST"):
            assert client.get("/v1/model", headers={"Host": name}).status_code == 200
        body = json.dumps({"image": "x"})
        simple = client.post("/v1/embeddings", content=body, headers={"Content-Type": "text/plain"})
        assert simple.status_code == 415  # what a browser sends across sites without asking is not read as JSON
        answer = client.options("/v1/predict", headers={"Origin": "http://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
    with serving(names=("masks.example",)) as client:
        assert client.get("/v1/model", headers={"Host": "masks.example:443"}).status_code == 200
        assert client.get("/v1/model").status_code == 421


def test_every_answer_says_that_it_is_no_page(serving) -> None:
    with serving() as client:
        for path in ("/health", "/v1/model", "/nothing", "/openapi.json"):
            headers = client.get(path).headers
            assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["x-content-type-options"] == "nosniff"
            assert len(headers["x-request-id"]) == 32


def test_bodies_have_a_limit(serving, image) -> None:
    with serving(body_bytes=1000) as client:
        assert error_of(client.post("/v1/embeddings", json={"image": image})) == (413, "too_large")

        def pieces():
            for _ in range(20):
                yield b" " * 100

        answer = client.post("/v1/embeddings", content=pieces(), headers={"Content-Type": "application/json"})
        assert error_of(answer) == (413, "too_large")
        assert client.get("/v1/model").status_code == 200
    with serving(all_body_bytes=1000) as client:
        answer = client.post("/v1/embeddings", json={"image": image})
        assert error_of(answer) == (429, "busy")
        assert answer.headers["retry-after"] == "1"
    with serving(photo_bytes=1000) as client:
        assert error_of(client.post("/v1/embeddings", json={"image": image})) == (413, "too_large")


def png_of(width: int, height: int) -> bytes:
    """A small file that says it is large; all its pixels are there, packed well."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pack = zlib.compressobj(9)
    row = bytes(1 + width)
    data = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8000, 8000), (16000, 16000), (50_000_001, 1)])
def test_bombs_are_refused_before_they_are_unpacked(serving, size) -> None:
    bomb = base64.b64encode(png_of(*size)).decode()
    with serving() as client:
        begin = time.perf_counter()
        answer = client.post("/v1/embeddings", json={"image": bomb})
        assert error_of(answer) == (422, "image")
        assert "expected at most 50000000 pixels" in answer.text or "expected no more pixels" in answer.text
        assert time.perf_counter() - begin < 2


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused(server, pixels, kind) -> None:
    content = base64.b64encode(encoded(pixels[:64, :64], kind)).decode()
    answer = server.post("/v1/embeddings", json={"image": content})
    assert error_of(answer) == (422, "image")
    assert "none of JPEG, PNG, WEBP, BMP" in answer.text


def test_a_body_that_does_not_come_ends_with_the_time_limit(serving) -> None:
    with serving(seconds=0.3) as client:
        address = client.base_url.host, client.base_url.port
        with socket.create_connection(address, timeout=10) as connection:
            lines = [b"POST /v1/predict HTTP/1.1", b"Host: localhost", b"Content-Length: 99", b"", b"{"]
            connection.sendall(b"\r\n".join(lines))
            assert connection.recv(4096).startswith(b"HTTP/1.1 504")
        assert client.get("/health").status_code == 200


def test_a_request_that_a_stopping_server_does_not_wait_for_is_told_so(sam) -> None:
    from evsam.serve.app import create_app

    with run_app(create_app(sam), timeout_graceful_shutdown=1) as client:
        address = client.base_url.host, client.base_url.port
        connection = socket.create_connection(address, timeout=10)
        lines = [b"POST /v1/predict HTTP/1.1", b"Host: localhost", b"Content-Length: 99", b"", b"{"]
        connection.sendall(b"\r\n".join(lines))
        assert client.get("/health").status_code == 200
    with connection:
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"code":"stopping"' in answer


def test_names_are_names_alone(capsys) -> None:
    from evsam import cli

    for name in ("localhost:8000", "http://masks.example", "masks.example/", "", "a b", "a\0"):
        with pytest.raises(SystemExit):
            cli.main(["serve", "--name", name])
        assert f"expected a host's name without scheme and port, got {name!r}" in capsys.readouterr().err


def test_an_error_of_the_server_tells_nobody_what_it_was(serving, sam, image, monkeypatch, caplog) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    with serving() as client:
        monkeypatch.setattr(type(sam), "encode", fail)
        answer = client.post("/v1/embeddings", json={"image": image})
        assert error_of(answer) == (500, "internal")
        assert "secret" not in answer.text
        assert answer.headers["x-request-id"] in answer.text
    assert "a secret" in caplog.text


def test_static_pages_have_their_policy(serving, tmp_path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>page")
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "app.js").write_text("1")
    with serving(pages=tmp_path) as client:
        page = client.get("/")
        assert page.text == "<!doctype html>page"
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "script-src 'self' 'wasm-unsafe-eval'" in policy
        assert "unsafe-inline" not in policy
        script = client.get("/js/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert client.get("/js/app.js", headers={"If-None-Match": script.headers["etag"]}).status_code == 304
        (tmp_path / "later.txt").write_text("not there when the server started")
        for path in ("/later.txt", "/js/../../secret", "/%2e%2e/secret", "/js", "/v1/nothing"):
            assert client.get(path).status_code == 404
        assert client.get("/v1/model").json()["variant"] == "nano"


def test_an_answer_in_pieces_has_the_time_limit_for_each_of_them() -> None:
    async def pieces(waits: list[float]) -> AsyncIterator[bytes]:
        for wait in waits:
            await asyncio.sleep(wait)
            yield b"piece"

    async def app(scope, receive, send) -> None:
        waits = [0.4] * 4 if scope["path"] == "/steady" else [0.1, 30]
        await StreamingResponse(pieces(waits))(scope, receive, send)

    guarded = Guard(app, Settings(seconds=1.0), Metrics())
    with run_app(guarded, lifespan="off") as client:
        assert client.get("/steady").content == b"piece" * 4
        begin = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/stuck")
        assert time.monotonic() - begin < 20


def test_connections_without_a_request_are_closed(sam) -> None:
    from evsam.serve.app import create_app
    from evsam.serve.server import Connection

    class Hasty(Connection):
        patience = 0.5

    def seconds_until_closed(address: tuple[str, int], start: bytes) -> float:
        """Of a connection on which a byte comes now and then."""
        begin = time.monotonic()
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(start)
            connection.settimeout(0.05)
            while time.monotonic() < begin + 10:
                try:
                    connection.sendall(b"x")
                    if not connection.recv(4096):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            return time.monotonic() - begin

    half = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    no_body = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n"
    with run_app(create_app(sam, Settings(seconds=0.2)), http=Hasty, timeout_keep_alive=30) as client:
        address = client.base_url.host, client.base_url.port
        for start in (half, b"", whole + half, no_body):
            assert 0.4 < seconds_until_closed(address, start) < 8
        with socket.create_connection(address, timeout=10) as connection:
            assert connection.recv(1) == b""
        with socket.create_connection(address, timeout=10) as connection:
            for _ in range(3):  # requests that do come keep it
                connection.sendall(whole)
                answer = b""
                while not answer.endswith(b'"UP"}'):
                    answer += connection.recv(4096)
                assert answer.startswith(b"HTTP/1.1 200")
                time.sleep(0.3)


def test_the_server_closes_such_connections(sam, monkeypatch) -> None:
    from evsam.serve import server

    seen = []
    monkeypatch.setattr(server._Server, "run", lambda self: seen.append(self.config))
    with pytest.raises(EvsamError, match="expected to start"):
        server.serve(sam, Settings(), lambda _: None)
    assert seen[0].http is server.Connection
