"""A second of load: the script works, and a busy server says nothing but 200 and 429."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("skimage")

from benchmarks.serving.__main__ import library, load, running_server


def test_a_busy_server_answers_or_refuses() -> None:
    with running_server(wait=0.05) as (url, process):
        found = asyncio.run(load(url, process, clients=16, seconds=1.5))
    assert set(found["statuses"]) == {"200", "429"}
    assert found["answers"] == found["statuses"]["200"] > 0
    assert found["p50_ms"] <= found["p99_ms"]
    assert len(found["memory_mib"]) == 3


def test_the_library_without_a_server() -> None:
    found = library(0.3)
    assert found["answers"] > 0
    assert found["per_second"] > 0
