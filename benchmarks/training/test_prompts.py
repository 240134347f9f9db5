"""The model card's table of prompts is that of the stored scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.training import prompts

FOLDER = Path(__file__).resolve().parents[2] / "docs"


def test_the_card_has_the_table_of_the_scores(capsys: pytest.CaptureFixture[str]) -> None:
    prompts.main([str(FOLDER / "nano" / f"prompts-{half}.json") for half in ("select", "report")])
    printed = capsys.readouterr().out.strip()
    assert printed in (FOLDER / "nano.md").read_text(encoding="utf-8")
    assert len(printed.splitlines()) == 19
    assert "–" not in printed


def test_weights_that_read_masks_as_they_are_have_no_other_row() -> None:
    sizes = {"all": 0.5, "small": None}
    names = ["IoU, box", "IoU, click", "IoU, click with the box's mask", "the box's mask alone, IoU with it"]
    error = {"mean absolute error": 0.25}
    tables = {
        "box": {"mean": {"IoU": sizes, "in pieces": sizes, "objects": {"all": 3}}, "calibration": {"box": error}},
        "clicks": {
            "mean": {"IoU, 1 click": sizes, "IoU, 5 clicks": sizes},
            "calibration": {"1 click": error, "5 clicks": error},
        },
        "clicks-alone": {"mean": {"IoU, 5 clicks": {"all": 0.375}}},
        "masks": {"mean": dict.fromkeys(names, sizes)},
    }
    lines = prompts.table([{"given": {}, "tables": {"a": tables}}]).splitlines()
    assert lines[0] == "| | goal | a, all |"
    assert "| the same, logits as they are | at least .90 | – |" in lines
    assert "| five clicks, above those without masks fed back | at least .02 | 0.125 |" in lines
    assert lines[-1] == "| objects |  | 3 |"
