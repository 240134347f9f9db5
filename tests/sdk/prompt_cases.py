"""The cases of prompt_cases.txt, which the C++ test reads as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ORIGINAL, RESIZED = (400, 600), (683, 1024)
"""Height and width of the image that the cases are on, and of its resized form in the frame."""


@dataclass(frozen=True)
class PromptCase:
    """One line.

    Attributes:
        line: it, for messages.
        given: arguments: points (N, T, 2), labels (N, T), boxes (N, 4) and mask (N, 256, 256), those that are given.
        prompts: what comes of a good one, for each of N prompts: x, y in the frame and label, (T, 3).
        ambiguous: whether each prompt is a single click.
        message: of a bad one, else None.
    """

    line: str
    given: dict[str, npt.NDArray[np.float64]]
    prompts: list[npt.NDArray[np.float64]]
    ambiguous: bool
    message: str | None


def _numbers(column: str) -> npt.NDArray[np.float64]:
    """(N, T, values), T being the number of points or 1."""
    prompts = [[point.split() for point in prompt.split(",") if point.strip()] for prompt in column.split("/")]
    return np.array(prompts, np.float64).reshape(len(prompts), len(prompts[0]), -1 if prompts[0] else 3)


def _read(line: str) -> PromptCase:
    points, labels, boxes, masks, expected = (column.strip() for column in line.split("|"))
    given = {}
    if points != "-":
        given["points"] = _numbers(points)
    if labels != "-":
        given["labels"] = _numbers(labels)[:, 0]
    if boxes != "-":
        given["boxes"] = _numbers(boxes)[:, 0]
    if masks != "-":
        given["mask"] = np.broadcast_to(_numbers(masks), (masks.count("/") + 1, 256, 256))
    bad = expected.startswith("! ")
    prompts = [] if bad else [_numbers(prompt)[0] for prompt in expected.split(";")[0].split("/")]
    return PromptCase(line, given, prompts, expected.endswith("; ambiguous"), expected[2:] if bad else None)


def prompt_cases() -> list[PromptCase]:
    """All of them."""
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    return [_read(line) for line in text.splitlines() if line and not line.startswith("#")]
