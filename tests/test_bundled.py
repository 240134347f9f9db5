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
from evsam.weights import resolve
from evsam.zoo import VARIANTS

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "astronaut.jpg"
FACE, HAIR, SUIT = (225, 120), (225, 50), (200, 400)
WALL, FLAG, HELMET = (330, 40), (40, 150), (400, 400)


@pytest.fixture(scope="module")
def sam() -> evsam.Sam:
    return evsam.load("nano", threads=2)


def test_weights_are_small_and_half_precision() -> None:
    path = resolve("nano")
    assert path.name == VARIANTS["nano"].bundled
    assert path.stat().st_size <= 8e6
    with safe_open(path, framework="numpy") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - not a dict
        assert file.metadata()["evsam.variant"] == "nano"


def test_box_around_the_head(sam: evsam.Sam) -> None:
    mask = sam.predict(PHOTO, box=(155, 5, 310, 190)).best()[0]
    for x, y in (FACE, HAIR):
        assert mask[y, x]
    for x, y in (WALL, FLAG, SUIT):
        assert not mask[y, x]
    assert 0.4 < mask[5:190, 155:310].mean() < 0.9
    assert mask[5:190, 155:310].sum() > 0.97 * mask.sum()


def test_box_around_the_person(sam: evsam.Sam) -> None:
    mask = sam.predict(PHOTO, box=(20, 5, 380, 511)).best()[0]
    for x, y in (FACE, HAIR, SUIT):
        assert mask[y, x]
    for x, y in (WALL, (500, 20)):
        assert not mask[y, x]


def test_clicks(sam: evsam.Sam) -> None:
    embedding = sam.encode(PHOTO)
    one = sam.predict(embedding, points=[FACE], labels=[1])
    assert one.masks.shape == (1, 3, 512, 512)
    assert one.best()[0][FACE[1], FACE[0]]
    two = sam.predict(embedding, points=[SUIT, HELMET], labels=[1, 0])
    assert two.best()[0][SUIT[1], SUIT[0]]


def test_scores_follow_quality(sam: evsam.Sam) -> None:
    """A box that fits an object is worth more than one across the wall and the flag."""
    result = sam.predict(PHOTO, boxes=[(155, 5, 310, 190), (60, 60, 130, 240)])
    assert result.scores[0, 0] > result.scores[1, 0]


def test_first_command_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"^python3 -m venv .*&& (evsam predict .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert found
    arguments = shlex.split(found[1])[1:]
    photo, output = arguments[1], arguments.index("-o") + 1
    arguments[1], arguments[output] = str(ROOT / photo), str(tmp_path / arguments[output])
    assert main(arguments) == 0
    with Image.open(arguments[output]) as drawn, Image.open(ROOT / photo) as original:
        changed = (np.asarray(drawn.convert("RGB")) != np.asarray(original.convert("RGB"))).any(2)
    assert 0.01 < changed.mean() < 0.5
