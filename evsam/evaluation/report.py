"""What people read of an evaluation: tables in Markdown, and one HTML page with curves and pictures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from evsam.evaluation.cases import Case
from evsam.evaluation.charts import CHART_STYLE, RELIABILITY, Curve, Dots, chart, reliability_chart
from evsam.evaluation.protocols import Tables
from evsam.evaluation.tables import Table, is_part, markdown, overview, published_table, reliabilities, set_tables

if TYPE_CHECKING:
    from evsam.evaluation.runner import Results

_QUALITY = 85
_CHART = "IoU after each click"


@dataclass(frozen=True)
class Section:
    """A data set, or another part of a page.

    Attributes:
        title: of the section.
        tables: that it shows.
        curves: of its chart; none for no chart.
        cases: pictures of objects.
        reliability: of its chart of predicted IoU; none for no chart.
    """

    title: str
    tables: tuple[Table, ...] = ()
    curves: tuple[Curve, ...] = ()
    cases: tuple[Case, ...] = ()
    reliability: tuple[Dots, ...] = ()


def _items(document: Mapping[str, Any]) -> str:
    """What was scored."""
    return "videos" if document["given"].get("video") else "photos"


def sections(
    tables: Mapping[str, Mapping[str, Tables]],
    document: Mapping[str, Any],
    results: Results,
    cases: Mapping[str, Sequence[Case]],
) -> list[Section]:
    """What is told of an evaluation: of all sets together, and of each.

    Args:
        tables: by set and protocol.
        document: ``settings`` and what was ``given``.
        results: that the tables are of.
        cases: pictures by set.
    """
    published = published_table(tables, document)
    first = ([overview(tables)] if len(tables) > 1 else []) + ([published] if published else [])
    found = [Section("All sets" if len(tables) > 1 else "The paper", tuple(first))] if first else []
    for name, of_set in tables.items():
        count = sum(place[0] == name for place in results.scored)
        shown, curves = set_tables(of_set)
        found.append(
            Section(
                f"{name}: {count:,} {_items(document)[: None if count != 1 else -1]}",
                tuple(shown),
                tuple(curves),
                tuple(cases.get(name, ())),
                tuple(reliabilities(of_set)),
            )
        )
    return found


def finite(value: Any) -> Any:
    """The value with None for NaN and infinities, at any depth: JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_markdown(parts: Sequence[Section]) -> str:
    """All tables, in Markdown."""
    return "\n\n".join(f"### {part.title}\n\n{markdown(part.tables)}" for part in parts)


def as_page(document: Mapping[str, Any], parts: Sequence[Section], results: Results) -> str:
    """The page of an evaluation."""
    settings, given = document["settings"], document["given"]
    told = {
        "model": f"{given['model']} ({settings['model']['variant']}, weights {settings['model']['weights']})",
        "engine": f"{settings['model']['engine']}, {settings['model']['precision']}",
        "photos": ", ".join(str(given[key]) for key in ("data", "annotations") if given.get(key)),
        "protocol": given["protocol"],
        **{
            f"prompts {name}": ", ".join(
                f"{key} {value}" for key, value in values.items() if key not in ("name", "kind")
            )
            for name, values in settings["prompts"].items()
        },
        "evsam": settings["evsam"],
    }
    broken = [f"{one['set']}: {one['photo']}: {one['broken']}" for one in results.broken]
    part = ", which are a part of it" if is_part(document) else ""
    summary = f"{len(results.scored):,} {_items(document)} of {', '.join(settings['photos']['sets'])}{part}"
    return page(f"What {given['model']} scores", summary, parts, told, broken)


def page(title: str, summary: str, parts: Sequence[Section], settings: Mapping[str, Any], broken: Sequence[str]) -> str:
    """One HTML page that needs no other file.

    Args:
        title: of the page.
        summary: a sentence below it.
        parts: see :class:`Section`.
        settings: by name, how it was computed.
        broken: photos that could not be used, and why.
    """
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>",
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(summary)}</p></header>',
    ]
    for section in parts:
        lines.append(f"<section><h2>{escape(section.title)}</h2>")
        lines += [_html_table(table) for table in section.tables]
        if section.curves:
            lines.append(f"<figure><h3>{_CHART}</h3>{chart(section.curves, _CHART)}</figure>")
        if section.reliability:
            lines.append(f"<figure>{reliability_chart(section.reliability, RELIABILITY)}</figure>")
        if section.cases:
            lines.append(_LEGEND)
        for name in dict.fromkeys(case.title for case in section.cases):
            lines.append(f'<h3>{escape(name)}</h3><div class="cases">')
            lines += [_html_case(case) for case in section.cases if case.title == name]
            lines.append("</div>")
        lines.append("</section>")
    lines.append("<section><h2>How it was computed</h2><table class='plain'><tbody>")
    lines += [f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in settings.items()]
    lines.append("</tbody></table></section>")
    if broken:
        lines.append(f"<section><h2>Photos that could not be used ({len(broken)})</h2><ul>")
        lines += [f"<li>{escape(text)}</li>" for text in broken]
        lines.append("</ul></section>")
    return "".join([*lines, "</main></body></html>\n"])


def _html_table(table: Table) -> str:
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "".join(
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{cell}</td>" for cell in table.cells(values)) + "</tr>"
        for name, values in table.rows
    )
    return (
        f'<h3>{escape(table.title)}</h3>{note}<div class="wide"><table><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html_case(case: Case) -> str:
    file = io.BytesIO()
    case.picture.save(file, "JPEG", quality=_QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    caption = escape(case.caption)
    return f'<figure><img alt="{caption}" src="{source}"><figcaption>{caption}</figcaption></figure>'


_LEGEND = (
    '<p class="note legend"><b><i class="truth"></i>true mask</b> <b><i class="predicted"></i>predicted mask</b> '
    '<b><i class="box"></i>box that was given</b> <b><i class="plus">+</i>click on the object</b> '
    '<b><i class="minus">−</i>click beside it</b></p>'
)


_STYLE = (
    CHART_STYLE
    + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 48px 0 4px; padding-bottom: 6px; border-bottom: 1px solid var(--line); }
h3 { font-size: 15px; margin: 28px 0 6px; }
.lead { color: var(--soft); margin: 6px 0 0; font-size: 16px; }
.note { color: var(--soft); margin: 0 0 8px; max-width: 76ch; font-size: 13.5px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 14px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; font-size: 13px; white-space: normal; vertical-align: bottom; }
tbody th { text-align: left; font-weight: 500; padding-left: 0; }
tbody tr:hover { background: var(--card); }
table.plain td { text-align: left; white-space: normal; overflow-wrap: anywhere; font-size: 13.5px; }
table.plain th { color: var(--soft); font-size: 13.5px; vertical-align: top; }
figure { margin: 0; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 18px; }
.cases figure { background: var(--card); border-radius: 8px; overflow: hidden; }
.cases img { display: block; width: 100%; height: 220px; object-fit: contain; background: #0b0c0e; }
figcaption { padding: 8px 12px 10px; font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
.legend { margin-top: 14px; }
.legend b { font-weight: 400; white-space: nowrap; margin-right: 16px; }
.legend i { display: inline-block; width: 14px; height: 14px; margin-right: 6px; vertical-align: -2px;
  border-radius: 3px; font-style: normal; }
.legend .truth { border: 2px solid #fff; outline: 1px solid #555; } .legend .predicted { background: #5f9ff5; }
.legend .box { border: 2px dashed #1f8fff; } .legend .plus, .legend .minus { border-radius: 50%; color: #fff;
  text-align: center; line-height: 13px; font-weight: 700; }
.legend .plus { background: #16a34a; } .legend .minus { background: #dc2626; }
ul { padding-left: 18px; font-size: 13.5px; }
"""
)
