"""The pictures in the README are what weights and code of today draw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import NOTEBOOK, PICTURES, is_stale, notebook_pictures, run_notebook
from evsam.overlay import draw_masks


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_of_the_readme_is_that_of_these_weights_and_this_code(path: Path) -> None:
    with Image.open(path) as stored:
        assert not is_stale(stored, PICTURES[path]()), f"{path.name} is old: run python -m benchmarks.pictures"


def test_the_notebook_shows_what_a_run_of_it_shows() -> None:
    stored = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    run = run_notebook()
    assert [cell["source"] for cell in run["cells"]] == ["".join(cell["source"]) for cell in stored["cells"]]
    pictures = list(zip(notebook_pictures(stored), notebook_pictures(run), strict=True))
    assert len(pictures) == 5
    for number, (before, now) in enumerate(pictures):
        assert not is_stale(before, now), f"picture {number} is old: run python -m benchmarks.pictures"
    assert NOTEBOOK.stat().st_size < 300_000


def test_a_mask_that_moved_is_noticed() -> None:
    photo = np.full((300, 451, 3), 90, np.uint8)
    y, x = np.mgrid[:300, :451]
    disc = (y - 150) ** 2 + (x - 200) ** 2 < 100**2
    drawn = draw_masks(photo, [disc])
    assert not is_stale(drawn, draw_masks(photo, [disc]))
    assert is_stale(drawn, draw_masks(photo, [np.roll(disc, 2, 1)]))
    assert is_stale(drawn, draw_masks(photo, [disc], opacity=0.8))
    assert is_stale(drawn, draw_masks(photo[:-1], [disc[:-1]]))
    speck = disc.copy()
    speck[150, 300:302] = True
    assert not is_stale(drawn, draw_masks(photo, [speck]))
