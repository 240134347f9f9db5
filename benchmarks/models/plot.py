"""A small plot as SVG, without a plotting package: milliseconds against a number, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 36, 46

# Of the second, the reference, grey and dashed.
STYLES = (("#1f6fb4", ""), ("#777777", ' stroke-dasharray="5 4"'))


@dataclass(frozen=True)
class Series:
    """A named line: milliseconds by number."""

    name: str
    points: Mapping[int, float]


@dataclass(frozen=True)
class Panel:
    """One pair of axes; `label` names what is counted."""

    title: str
    label: str
    series: Sequence[Series]


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten that enclose the range."""
    values = [factor * 10.0**power for power in range(-3, 7) for factor in (1, 2, 5)]
    first = max(i for i, value in enumerate(values) if value <= low)
    last = min(i for i, value in enumerate(values) if value >= high)
    return values[first : max(last, first + 1) + 1]


def text(x: float, y: float, words: str, anchor: str = "middle", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def draw_panel(panel: Panel, offset: float) -> list[str]:
    numbers = sorted(panel.series[0].points)
    heights = [value for series in panel.series for value in series.points.values()]
    marks = ticks(min(heights), max(heights))
    left, right = offset + LEFT, offset + WIDTH - RIGHT
    top, bottom = TOP, HEIGHT - BOTTOM
    wide = math.log(numbers[-1] / numbers[0]) or 1.0
    tall = math.log(marks[-1] / marks[0])

    def x(number: float) -> float:
        return left + (right - left) * math.log(number / numbers[0]) / wide

    def y(ms: float) -> float:
        return bottom - (bottom - top) * math.log(ms / marks[0]) / tall

    out = [text((left + right) / 2, 20, panel.title, size=13)]
    for mark in marks:
        out.append(f'<path d="M{left:.1f} {y(mark):.1f}H{right:.1f}" stroke="#dddddd"/>')
        out.append(text(left - 6, y(mark) + 4, f"{mark:g}", "end"))
    for number in numbers:
        out.append(f'<path d="M{x(number):.1f} {bottom}v4" stroke="#333333"/>')
        out.append(text(x(number), bottom + 17, str(number)))
    out.append(f'<path d="M{left:.1f} {top}V{bottom}H{right:.1f}" fill="none" stroke="#333333"/>')
    out.append(text((left + right) / 2, HEIGHT - 10, f"number of {panel.label}"))
    middle = (top + bottom) / 2
    out.append(f'<g transform="rotate(-90 {offset + 16:.1f} {middle})">{text(offset + 16, middle, "ms")}</g>')
    for index, series in reversed(list(enumerate(panel.series))):
        colour, dash = STYLES[index]
        path = "L".join(f"{x(n):.1f} {y(ms):.1f}" for n, ms in sorted(series.points.items()))
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if not dash:
            out += [
                f'<circle cx="{x(n):.1f}" cy="{y(ms):.1f}" r="3" fill="{colour}"/>' for n, ms in series.points.items()
            ]
        row = top + 12 + 16 * index
        out.append(f'<path d="M{left + 10:.1f} {row - 4}h22" stroke="{colour}" stroke-width="2"{dash}/>')
        out.append(text(left + 38, row, series.name, "start"))
    return out


def draw(panels: Sequence[Panel]) -> str:
    """The panels side by side as the text of an SVG file."""
    width = WIDTH * len(panels)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
    body = [f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>']
    for index, panel in enumerate(panels):
        body += draw_panel(panel, index * WIDTH)
    return "\n".join([f'{head} font-family="sans-serif" fill="#222222">', *body, "</svg>"]) + "\n"
