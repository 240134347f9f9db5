"""The estimate of a run over SA-1B."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.scale_estimate import Assumed, embedding_bytes, estimate, main


def test_numbers_by_hand() -> None:
    assumed = Assumed(photos=7_200_000, photo_bytes=10**6, decode_seconds=0.03, cores=60, reached=0.5, price=2.0)
    line = estimate(1e-3, 2 * 10**6, 4, assumed)
    assert line.photos_per_second == pytest.approx(2000)  # 4 GPUs at half of 1000 a second
    assert (line.hours, line.gpu_hours, line.dollars) == pytest.approx((1.0, 4.0, 8.0))
    assert (line.read_gbs, line.written_gbs) == pytest.approx((2.0, 4.0))
    assert line.bound == "GPU"


def test_cores_that_decode_too_slowly_set_the_hours() -> None:
    line = estimate(1e-3, 1, 2, Assumed(decode_seconds=0.1, cores=4, reached=1.0))
    assert line.bound == "decoding"
    assert line.photos_per_second == pytest.approx(80)


def test_bytes_of_features() -> None:
    assert embedding_bytes("l0") == 2 * 256 * 64 * 64


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--variant", "l0", "--json", str(tmp_path / "numbers.json")]) == 0
    printed = capsys.readouterr().out
    assert "estimate on paper, not a measurement" in printed
    assert "11,200,000 photos" in printed
    document = json.loads((tmp_path / "numbers.json").read_text())
    assert [line["gpus"] for line in document["lines"]] == [1, 8, 64]
    hours = [line["gpu_hours"] for line in document["lines"]]
    assert hours == pytest.approx([hours[0]] * 3)
    assert document["encode_seconds"] > 0
