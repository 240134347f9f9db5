"""What the cases of the ablation change."""

from __future__ import annotations

import pytest

pytest.importorskip("pydantic")
pytest.importorskip("pycocotools")

from benchmarks.training.ablation import CASES, WHOLE, cases_of, changed


def test_a_case_changes_its_part_of_the_recipe_and_nothing_else() -> None:
    base = {"base": "evsam", "dice": 4, "prompts": {"jitter": 0.6}}
    assert changed(base, {"prompts": {"negative": 0}}) == {**base, "prompts": {"jitter": 0.6, "negative": 0}}
    assert changed(base, {"iou": 0}) == {**base, "iou": 0}
    assert changed({"base": "evsam"}, {"iou": 0}) == {"base": "evsam", "iou": 0}
    assert changed(base, {"base": "paper"}) == {"base": "paper"}


@pytest.mark.parametrize(("dice", "left_out"), [(1, "dice once"), (4, "dice four times")])
def test_what_a_recipe_has_so_already_is_no_case_of_it(dice: int, left_out: str) -> None:
    base = {"base": "evsam", "dice": dice, "boundary": 1, "resemblance": 0.2}
    base["prompts"] = {"jitter": 0.6, "jitter_limit": None, "negative": 0.3}
    assert set(CASES) - set(cases_of(base)) == {left_out, "boxes jittered without limit"}
    assert {WHOLE, "bfloat16"} <= set(cases_of({"base": "paper"}))
