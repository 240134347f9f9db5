"""The page that `evsam serve` shows: that its built files are those of its sources, and how they are served."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import numpy as np
import pytest

from evsam.serve.settings import Settings
from evsam.weights import load_weights
from evsam.weights.files import parse_tensor_file
from evsam.weights.store import save_weights, weight_metadata
from tests.builds import ROOT

BUILT = ROOT / "evsam" / "serve" / "page"
# as page/vite.config.ts has them
SOURCES = [
    "page/index.html",
    "page/package-lock.json",
    "page/vite.config.ts",
    "page/src",
    "page/public",
    "csrc/wasm/package",
]


def test_built_files_are_of_these_sources() -> None:
    """`npm run build` in page/ makes them anew."""
    files = [
        path
        for source in SOURCES
        for path in ([ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*"))
        if path.is_file() and ".test." not in path.name
    ]
    lines = [f"{path.relative_to(ROOT).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files]
    digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    built = (BUILT / "sources.sha256").read_text().strip()
    assert built == digest, "page/ or csrc/wasm/package has changed: npm run build (docs/page.md), and commit it"


def test_server_shows_the_page(server) -> None:
    page = server.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "unsafe-inline" not in page.headers["content-security-policy"]
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert page.headers["cross-origin-embedder-policy"] == "require-corp"
    assert page.headers["cache-control"] == "no-cache"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page.text)  # which the policy forbids
    for path in re.findall(r'(?:src|href)="\./([^"]+)"', page.text):
        file = server.get(f"/{path}")
        assert file.content == (BUILT / path).read_bytes()
        assert ("immutable" in file.headers["cache-control"]) == path.startswith("assets/")
        assert server.get(f"/{path}", headers={"If-None-Match": file.headers["etag"]}).status_code == 304
    assert server.get("/evsam/wasm/evsam.wasm").headers["content-type"] == "application/wasm"
    weights = server.get("/nano.safetensors").content
    assert weights == (ROOT / "evsam" / "data" / "nano.safetensors").read_bytes()
    assert server.get("/nothing").status_code == 404


def test_page_can_be_switched_off(serving) -> None:
    with serving(page=False) as client:
        assert client.get("/").status_code == 404
        assert client.get("/v1/model").status_code == 200


def test_page_needs_no_token_but_its_calls_do(serving) -> None:
    with serving(token="a-token-for-tests") as client:
        for path in ("/", "/nano.safetensors", "/evsam/index.js"):
            assert client.get(path).status_code == 200
        for path in ("/v1/model", "/v1/model/decoder", "/nothing"):
            assert client.get(path).status_code == 401


def test_own_pages_need_the_token(serving, tmp_path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>page")
    with serving(token="a-token-for-tests", pages=tmp_path) as client:
        assert client.get("/").status_code == 401


def test_decoder_alone(server) -> None:
    assert server.get("/v1/model").json()["decoder"] is True
    answer = server.get("/v1/model/decoder")
    assert answer.headers["content-type"] == "application/octet-stream"
    file = parse_tensor_file(np.frombuffer(answer.content, np.uint8))
    whole = load_weights("nano")
    assert set(file.tensors) == {name for name in whole.tensors if not name.startswith("image_encoder.")}
    assert all((tensor == whole.tensors[name]).all() for name, tensor in file.tensors.items())
    assert file.metadata == weight_metadata(whole.variant)
    again = server.get("/v1/model/decoder", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_no_decoder_where_there_is_no_file_of_this_model(serving, sam, tmp_path, monkeypatch) -> None:
    whole = load_weights("nano")
    name = "image_encoder.norm.weight"
    other = tmp_path / "other.safetensors"
    save_weights(other, {**whole.tensors, name: whole.tensors[name] + 1}, whole.variant)
    for path, told in ((None, False), (other, True), (tmp_path / "gone.safetensors", True)):
        monkeypatch.setattr(sam, "weights_path", path)
        with serving() as client:
            assert client.get("/v1/model").json()["decoder"] is told
            answer = client.get("/v1/model/decoder")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "decoder")


def test_command_shows_the_page_or_not(monkeypatch) -> None:
    pytest.importorskip("fastapi")
    from evsam.cli import main
    from evsam.serve import server

    seen: list[object] = []

    def serve(_: object, settings: Settings, started: Callable[[str], None]) -> None:
        seen.append(settings.page)
        started("http://127.0.0.1:1")

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr("webbrowser.open", seen.append)
    assert main(["serve", "--threads", "1"]) == 0
    assert main(["serve", "--threads", "1", "--open"]) == 0
    assert main(["serve", "--threads", "1", "--no-page"]) == 0
    assert seen == [True, True, "http://127.0.0.1:1", False]
