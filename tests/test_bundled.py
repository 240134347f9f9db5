"""What a newcomer gets: the weights in the package, the example photo, and the README's first command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

import evsam
from evsam.cli import main
from evsam.record import read_record, write_record
from evsam.weights import resolve
from evsam.zoo import VARIANTS

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "cat.jpg"
BOX = (5, 0, 420, 300)
CAT = ((190, 37), (88, 160), (278, 210), (200, 100))
BACKGROUND = ((424, 148), (366, 271), (440, 30), (120, 290))


@pytest.fixture(scope="module")
def sam() -> evsam.Sam:
    return evsam.load("nano", threads=2)


def test_weights_are_small_and_half_precision() -> None:
    path = resolve("nano")
    assert path.name == VARIANTS["nano"].bundled
    assert path.stat().st_size <= 8e6
    with safe_open(path, framework="numpy") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - not a dict
        record = file.metadata()["evsam.variant"]
    assert record == write_record(VARIANTS["nano"]), "run python -m tests.named_records"
    assert read_record(record) is VARIANTS["nano"]


def test_box(sam: evsam.Sam) -> None:
    mask = sam.predict(PHOTO, box=BOX).best()[0]
    assert [bool(mask[y, x]) for x, y in CAT] == [True] * len(CAT)
    assert [bool(mask[y, x]) for x, y in BACKGROUND] == [False] * len(BACKGROUND)
    assert 0.55 < mask.mean() < 0.75


def test_clicks(sam: evsam.Sam) -> None:
    embedding = sam.encode(PHOTO)
    one = sam.predict(embedding, points=[CAT[3]], labels=[1])
    assert one.masks.shape == (1, 3, 300, 451)
    two = sam.predict(embedding, points=[CAT[3], BACKGROUND[0]], labels=[1, 0])
    for result in (one, two):
        mask = result.best()[0]
        assert mask[CAT[3][::-1]]
        assert not mask[BACKGROUND[0][::-1]]


def test_scores_follow_quality(sam: evsam.Sam) -> None:
    """A box that fits an object is worth more than one on the blurred background."""
    result = sam.predict(PHOTO, boxes=[BOX, (385, 40, 450, 280)])
    assert result.scores[0, 0] > result.scores[1, 0] + 0.1


def test_first_command_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"^python3 -m venv .*&& (evsam predict .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert found
    arguments = shlex.split(found[1])[1:]
    photo, output = arguments[1], arguments.index("-o") + 1
    arguments[1], arguments[output] = str(ROOT / photo), str(tmp_path / arguments[output])
    assert main(arguments) == 0
    with Image.open(arguments[output]) as drawn, Image.open(ROOT / photo) as original:
        changed = (np.asarray(drawn.convert("RGB")) != np.asarray(original.convert("RGB"))).any(2)
    assert 0.5 < changed.mean() < 0.8
