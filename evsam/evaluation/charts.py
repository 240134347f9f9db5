"""Charts of evaluations, as SVG: IoU after each click, and how far predicted IoU can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

RELIABILITY = "Real IoU over predicted IoU"
"""What the chart of reliability shows."""


@dataclass(frozen=True)
class Curve:
    """Values of one line of a chart: IoU after 1, 2, ... clicks.

    Attributes:
        name: of the line.
        values: None where there is none.
    """

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Dots:
    """Points of one line of a chart of reliability.

    Attributes:
        name: of the line.
        points: mean predicted IoU, mean real IoU, and how many masks, of those whose prediction is in one tenth.
    """

    name: str
    points: tuple[tuple[float, float, float], ...]


def chart(curves: Sequence[Curve], title: str) -> str:
    """An SVG of curves of IoU over clicks, in the colours of the page."""
    width, height, left, right, top, bottom = 560, 300, 46, 150, 16, 40
    count = max(len(curve.values) for curve in curves)
    shown = [value for curve in curves for value in curve.values if value is not None]
    low = max(0.0, math.floor(min(shown, default=0) * 10) / 10)
    high = min(1.0, math.ceil(max(shown, default=1) * 10 + 1e-9) / 10)
    high = high if high > low else low + 0.1

    def x(click: int) -> float:
        return left + (width - left - right) * (click / max(1, count - 1))

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    steps = round((high - low) * 10)
    for step in range(steps + 1):
        value = low + step * (high - low) / steps
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    every = math.ceil(count / 10)
    parts += [
        f'<text x="{x(click):.1f}" y="{height - bottom + 20}" text-anchor="middle">{click + 1}</text>'
        for click in range(0, count, every)
    ]
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">clicks</text>')
    labels = _apart([y(next((v for v in reversed(c.values) if v is not None), low)) for c in curves])
    for index, (curve, label) in enumerate(zip(curves, labels, strict=True)):
        points = [(x(i), y(value)) for i, value in enumerate(curve.values) if value is not None]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline class="c{index % 6}" points="{line}"/>')
        parts += [f'<circle class="c{index % 6}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in points]
        name = escape(curve.name)
        parts.append(f'<text class="c{index % 6}" x="{width - right + 10}" y="{label + 4:.1f}">{name}</text>')
    return "".join([*parts, "</svg>"])


def reliability_chart(lines: Sequence[Dots], title: str, alone: bool = False) -> str:
    """An SVG of the real IoU of masks over the predicted one; calibrated predictions lie on the dashed line.

    Dots are as large as their tenth has masks: their areas are.

    Args:
        lines: what is drawn.
        title: above the chart.
        alone: whether the SVG is a file of its own, which brings the page's colours.
    """
    side, left, top, right, bottom = 240, 46, 30, 150, 40
    width, height = left + side + right, top + side + bottom
    most = max((count for line in lines for *_, count in line.points), default=1.0)

    def place(predicted: float, real: float) -> tuple[float, float]:
        return left + side * min(max(predicted, 0.0), 1.0), top + side * (1 - real)

    opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"'
    parts = [f'{opening} xmlns="http://www.w3.org/2000/svg"><style>{CHART_STYLE}</style>' if alone else f"{opening}>"]
    parts.append(f'<text x="{left}" y="{top - 12}">{escape(title)}</text>')
    for fifth in range(6):
        x, y = place(fifth / 5, fifth / 5)
        parts += [
            f'<line class="grid" x1="{left}" x2="{left + side}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{fifth / 5:.1f}</text>',
            f'<text x="{x:.1f}" y="{top + side + 18}" text-anchor="middle">{fifth / 5:.1f}</text>',
        ]
    parts.append(
        f'<line class="grid" stroke-dasharray="5 4" x1="{left}" x2="{left + side}" y1="{top + side}" y2="{top}"/>'
    )
    parts.append(
        f'<text x="{left + side / 2}" y="{height - 6}" text-anchor="middle">predicted IoU (real: upwards)</text>'
    )
    labels = _apart([place(*line.points[-1][:2])[1] if line.points else top for line in lines])
    for index, (line, label) in enumerate(zip(lines, labels, strict=True)):
        spots = [(*place(x, y), 1.5 + 4.5 * math.sqrt(count / most)) for x, y, count in line.points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in spots)
        parts.append(f'<polyline class="c{index % 6}" points="{joined}"/>')
        parts += [f'<circle class="c{index % 6}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>' for x, y, r in spots]
        parts.append(
            f'<text class="c{index % 6}" x="{left + side + 10}" y="{label + 4:.1f}">{escape(line.name)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _apart(heights: Sequence[float], gap: float = 15) -> list[float]:
    """Heights of texts near those of their lines, at least ``gap`` from one another."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = list(heights)
    for before, index in pairwise(order):
        placed[index] = max(placed[index], placed[before] + gap)
    return placed


CHART_STYLE = """
:root { color-scheme: light dark; --ink: #1a1d23; --soft: #626873; --line: #dfe2e7; --back: #fff; --card: #f6f7f9;
  --c0: #2563eb; --c1: #d9480f; --c2: #0f8a5f; --c3: #9333ea; --c4: #b7791f; --c5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --soft: #9aa1ad; --line: #333841; --back: #14161a;
  --card: #1c1f25; --c0: #7aa5ff; --c1: #ff9466; --c2: #4fd1a1; --c3: #c79bff; --c4: #e8b75a; --c5: #5bc8de; } }
svg { width: 100%; max-width: 640px; font: 12px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg .grid { stroke: var(--line); }
svg polyline { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
""" + "".join(
    f"svg polyline.c{i} {{ stroke: var(--c{i}); }} svg circle.c{i}, svg text.c{i} {{ fill: var(--c{i}); }}\n"
    for i in range(6)
)
"""Style of charts, and the colours of the page."""
