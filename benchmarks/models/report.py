"""Tables and files of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.contest import Contest, Entry

TOLERANCES = {"fp32": 2e-3, "16bit": 0.045, "int8": 0.14}
"""By the class of precisions, the error (root mean square, relative) against float64 up to which a contestant counts as
correct. The error e of a rounded value goes with a cosine of about 1 - e^2 / 2: .999 for 16 bits, .99 for int8."""


def accuracy(values: Sequence[NDArray[Any]], references: Sequence[NDArray[Any]]) -> dict[str, float]:
    """How far the worst output is from its reference: largest and root-mean-square difference (relative), cosine.

    An output with NaN or infinity counts as one of zeros.
    """
    each = [_accuracy(a, b) for a, b in zip(values, references, strict=True)]
    worst = max(each, key=lambda x: x["relative"])
    return {**worst, "cosine": min(x["cosine"] for x in each)}


def _accuracy(value: NDArray[Any], reference: NDArray[Any]) -> dict[str, float]:
    a, b = value.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    if not np.isfinite(a).all():
        return {"max_abs": float(f"{np.abs(b).max():.3g}"), "relative": 1.0, "cosine": 0.0}
    return {
        "max_abs": float(f"{np.abs(a - b).max():.3g}"),
        "relative": float(f"{np.linalg.norm(a - b) / np.linalg.norm(b):.3g}"),
        "cosine": round(float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))), 7),
    }


def statistics(seconds: Sequence[float]) -> dict[str, float | int]:
    """Median, 10th, 90th and 99th percentile in milliseconds, and how many runs."""
    p10, median, p90, p99 = (round(float(x) * 1e3, 3) for x in np.percentile(seconds, [10, 50, 90, 99]))
    return {"median_ms": median, "p10_ms": p10, "p90_ms": p90, "p99_ms": p99, "runs": len(seconds)}


def lines(
    case: Mapping[str, Any], contest: Contest, rounds: int, references: Sequence[NDArray[Any]]
) -> list[dict[str, Any]]:
    """Has all take turns; the lines of the results, with ratios.

    Args:
        case: what was run; its "precision" is the class whose tolerance holds.
        contest: who competes.
        rounds: turns of each.
        references: of the first outputs of each, in float64.
    """
    samples = contest.measure(rounds)
    found = []
    for entry in contest.entries:
        quality = accuracy(entry.outputs[: len(references)], references)
        correct = quality["relative"] <= TOLERANCES[case["precision"]]
        found.append(line(case, entry, samples[entry.name], {**quality, "correct": correct}))
    add_ratios(found)
    return found


def line(case: Mapping[str, Any], entry: Entry, seconds: Sequence[float], quality: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the results."""
    return {
        **case,
        "contestant": entry.name,
        "version": entry.version,
        "computes": entry.computes,
        **statistics(seconds),
        "load_seconds": round(entry.load_seconds, 3),
        "first_ms": round(entry.first * 1e3, 1),
        **quality,
    }


def add_ratios(lines: list[dict[str, Any]], ours: str = "evsam") -> None:
    """Adds to our lines the time as a multiple of the fastest correct peer's in the same case."""
    peers = [x for x in lines if not x["contestant"].startswith(ours) and x.get("correct", True)]
    if not peers:
        return
    best = min(peers, key=lambda x: float(x["median_ms"]))
    for x in lines:
        if x["contestant"].startswith(ours):
            x["ratio"] = round(x["median_ms"] / best["median_ms"], 3)
            x["fastest_peer"] = best["contestant"]


def table(lines: Sequence[Mapping[str, Any]], case: Sequence[str]) -> str:
    """The lines as text; `case` names the columns that say what was run."""
    rows = [
        [*case, "contestant", "median ms", "p10", "p90", "runs", "ratio", "relative error", "cosine", "computes", ""]
    ]
    for x in lines:
        note = "" if x.get("correct", True) else "incorrect"
        rows.append(
            [
                *(str(x[name]) for name in case),
                str(x["contestant"]),
                *(f"{x[name]:.1f}" for name in ("median_ms", "p10_ms", "p90_ms")),
                str(x["runs"]),
                f"{x['ratio']:.2f} of {x['fastest_peer']}" if "ratio" in x else "",
                f"{x['relative']:.1e}" if "relative" in x else "",
                f"{x['cosine']:.5f}" if "cosine" in x else "",
                str(x.get("computes", "")),
                note,
            ]
        )
    return grid(rows)


def grid(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
