"""What people read of an evaluation: tables, curves, pictures, and the page around them."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

import evsam
from evsam.datasets import Photo
from evsam.evaluation import cases, charts, report, tables
from evsam.evaluation.cases import Case, Pick
from evsam.evaluation.charts import Curve, Dots
from evsam.evaluation.protocols import Boxes, Clicks, Ellipses
from evsam.evaluation.report import Section
from evsam.evaluation.runner import Results
from evsam.evaluation.tables import Table
from evsam.evaluation.truth import Truth
from evsam.prompts import PhotoPrompts
from tests.evaluation.made import annotation, rectangle

MEAN: Any = {
    "box": {"mean": {"IoU": {"all": 0.7, "small": None}, "objects": {"all": 3, "small": 0}}},
    "clicks": {
        "mean": {"IoU, 1 click": {"all": 0.4, "small": 0.3}, "objects": {"all": 3, "small": 0}},
        "clicks": {"number of clicks": {"NoC@80": 2.5, ">=5@80": 2.0}},
        "curve": {"IoU": {"1": 0.4, "2": 0.6}},
    },
}


def test_means_of_all_prompts_are_one_table() -> None:
    (means, clicks), (curve,) = tables.set_tables(MEAN)
    assert means.columns == ("all", "small")
    assert dict(means.rows) == {"box: IoU": (0.7, None), "clicks: IoU, 1 click": (0.4, 0.3), "objects": (3, 0)}
    assert dict(clicks.rows) == {"number of clicks": (2.5, 2)}
    assert curve == Curve("clicks", (0.4, 0.6))
    assert tables.markdown([means, clicks]) == (
        "**Mean IoU**\n\n| | all | small |\n|---|---:|---:|\n| box: IoU | 0.700 | – |\n"
        "| clicks: IoU, 1 click | 0.400 | 0.300 |\n| objects | 3 | 0 |\n\n"
        "**clicks: clicks that objects need** "
        "(NoC@80: clicks until IoU is 0.8, mean of objects; >=5@80: objects that took all 5 clicks)\n\n"
        "| | NoC@80 | >=5@80 |\n|---|---:|---:|\n"
        "| number of clicks | 2.500 | 2 |"
    )


def test_charts_of_reliability() -> None:
    values: Any = {"box, predicted": {"a": 0.5, "b": None}, "box, real": {"a": 0.25, "b": None}}
    rows = {**values, "box, masks": {"a": 4.0, "b": 0.0}}
    (line,) = tables.reliabilities({"box": {"mean": {}, "reliability": rows}})
    assert line == Dots("box", ((0.5, 0.25, 4.0),))
    several = {name.replace("box", click): cells for click in ("1 click", "5 clicks") for name, cells in rows.items()}
    (table,), _ = tables.set_tables({"box": {"reliability": rows}})
    assert dict(table.rows)["box, masks"] == (4, 0)
    assert table.cells(table.rows[2][1]) == ["4", "0"]
    assert tables.overview({"a": {"box": {"reliability": rows}}}).columns == ()
    names = [one.name for one in tables.reliabilities({"clicks": {"reliability": several}})]
    assert names == ["clicks, 1 click", "clicks, 5 clicks"]
    drawn = charts.reliability_chart([line, Dots("none", ())], "a < b", alone=True)
    tree = ET.fromstring(drawn)
    (circle,) = tree.iter("{http://www.w3.org/2000/svg}circle")
    assert circle.get("cx") == "166.0"
    assert circle.get("cy") == "210.0", "30 from above and three quarters of 240"
    assert "xmlns" not in charts.reliability_chart([line], "in a page")


def test_names_of_sets_do_not_end_cells() -> None:
    text = tables.markdown([tables.Table("AP", ("a|b",), (("x|y", (0.5,)),))])
    assert text == "**AP**\n\n| | a\\|b |\n|---|---:|\n| x\\|y | 0.500 |"


def test_sets_have_an_overview_with_their_mean() -> None:
    other: Any = {"box": {"mean": {"IoU": {"all": 0.5, "small": 0.1}}}}
    table = tables.overview({"a": MEAN, "b": other})
    assert table.columns == ("box: IoU", "clicks: IoU, 1 click", "clicks: number of clicks, NoC@80")
    assert table.rows == (("a", (0.7, 0.4, 2.5)), ("b", (0.5, None, None)), ("mean of sets", (0.6, 0.4, 2.5)))


def document(**given: Any) -> dict[str, Any]:
    return {
        "settings": {
            "evsam": "1",
            "model": {"variant": "xl1", "weights": "ab", "engine": "native", "precision": "fp32"},
            "photos": {"every_nth": 1, "limit": None, "sets": {"instances_val2017": {}}},
            "prompts": {"box": {"multimask": True}},
        },
        "given": {
            "model": "xl1", "data": "coco", "annotations": None, "kind": "auto", "detections": None,
            "protocol": "paper", **given,
        },
    }  # fmt: skip


def test_the_papers_numbers_are_those_of_the_same_data_and_detector() -> None:
    box: Any = {"box": {"mean": {"IoU": {"all": 0.5, "small": 0.25}}}}
    boxes: Any = {"detections": {"AP": {"masks": {"AP": 0.125}}}}
    told = tables.published_table({"instances_val2017": box}, document())
    assert told is not None
    assert told.columns == ("coco box", "coco box small")
    assert dict(told.rows)["this evaluation"] == (50, 25)
    assert dict(told.rows)["xl1"] == (79.927, 75.833)
    assert dict(told.rows)["SAM ViT-H"] == (77.4, None)
    assert "nano" not in dict(told.rows)
    told = tables.published_table({"lvis_v1_val": boxes}, document(detections="x/lvis_vitdet.json"))
    assert told is not None
    assert dict(told.rows)["l2"] == (42.7,)
    told = tables.published_table(dict.fromkeys(map(str, range(25)), boxes), document(kind="sginw"))
    assert told is not None
    assert dict(told.rows)["this evaluation"] == (12.5,)
    for found, given in (
        ({"instances_val2017": box}, {"protocol": "evsam"}),
        ({"mine": box}, {}),
        ({"instances_val2017": boxes}, {"detections": "other.json"}),
        (dict.fromkeys(map(str, range(24)), boxes), {"kind": "sginw"}),
    ):
        assert tables.published_table(found, document(**given)) is None
    part = document()
    part["settings"]["photos"]["limit"] = 10
    assert tables.published_table({"instances_val2017": box}, part) is None


def row(photo: str, iou: Any, number: int = 0) -> dict[str, Any]:
    return {"photo": photo, "object": number, "iou": iou}


def test_the_worst_and_the_median_of_many_photos_are_chosen() -> None:
    rows = [row(name, value) for name, value in zip("abcdefg", (0.9, 0.1, 0.5, 0.2, 0.8, 0.7, 0.3), strict=True)]
    rows += [row("b", 0.15, 1), row("b", 0.12, 2)]
    clicks = [row("a", [0.1, 0.9]), row("b", [0.8, 0.2])]
    protocols = (Boxes("box"), Ellipses("ellipse"), Clicks("clicks"))
    picks = cases.choose_cases(protocols, {"box": rows, "ellipse": rows, "clicks": clicks}, 2)
    chosen: dict[str, list[str]] = {}
    for pick in picks:
        chosen.setdefault(pick.title, []).append(pick.row["photo"])
    assert chosen == {
        "Worst, box": ["b", "d"],  # one of each photo
        "Median, box": ["g", "d"],
        "Worst, clicks": ["b", "a"],  # after the last click
        "Median, clicks": ["a", "b"],
    }
    assert cases.choose_cases(protocols, {"box": rows}, 0) == []


def test_cases_are_asked_for_again(tmp_path: Any) -> None:
    sam = evsam.load("nano", threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    photo = Photo("photo.png", tuple(annotation(rectangle(*box, size=(120, 160))) for box in BOXES), path.read_bytes)
    truth = Truth.read(photo, pixels)
    protocols = Boxes("box", multimask=False), Clicks("clicks", clicks=2)
    embedding = sam.encode(pixels)
    picks = [Pick(one, one.rows(sam, embedding, truth)[1], "Worst") for one in protocols]
    drawn = cases.draw_cases(sam, picks, {"photo.png": photo}.__getitem__)
    for case, pick in zip(drawn, picks, strict=True):
        value = pick.row["iou"] if isinstance(pick.row["iou"], float) else pick.row["iou"][-1]
        assert case.caption.startswith(f"photo.png, object 1: IoU {value:.3f}, predicted 0.")
        assert max(case.picture.size) == cases.PICTURE_SIDE


BOXES = [(10, 10, 50, 60), (80, 40, 130, 100)]


def test_pictures_show_the_object_both_masks_and_prompts() -> None:
    pixels = np.zeros((400, 600, 3), np.uint8)
    true, predicted = (rectangle(*box, size=(400, 600)) for box in ((300, 200, 340, 240), (310, 200, 350, 240)))
    prompts = PhotoPrompts(np.array([[[320.0, 220.0], [345.0, 230.0]]]), np.array([[1, 0]]))
    picture = np.asarray(cases.draw_case(pixels, true, predicted, prompts)).astype(int)
    assert picture.shape == (360, 360, 3), "the surroundings of the object, not the whole photo"
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    assert ((blue > 90) & (red < 60)).mean() > 0.1, "what was predicted"
    assert ((red > 240) & (green > 240) & (blue > 240)).mean() > 0.01, "the true outline"
    assert ((green > 150) & (red < 60) & (blue < 100)).any(), "a click on the object"
    assert ((red > 200) & (green < 60) & (blue < 60)).any(), "a click beside it"
    whole = cases.draw_case(pixels, np.zeros_like(true), np.zeros_like(true), None)
    assert whole.size == (360, 240), "where there is nothing, the photo"


@pytest.mark.parametrize("values", [[(0.4, 0.9), (0.401, 0.899)], [(0.5, None, 0.7)], [(1.0, 1.0)], [(0.0, 0.0)]])
def test_charts_keep_lines_and_names_inside(values: list[tuple[float | None, ...]]) -> None:
    svg = charts.chart([Curve(f"<{index}>", curve) for index, curve in enumerate(values)], "a & b")
    assert 'aria-label="a &amp; b"' in svg
    assert "&lt;0&gt;" in svg
    numbers = [float(text) for text in re.findall(r'(?:y|cy|y1|y2)="([\d.-]+)"', svg)]
    assert all(0 <= number <= 300 for number in numbers)
    assert svg.count("<polyline") == len(values)
    assert svg.count("<circle") == sum(value is not None for curve in values for value in curve)
    names = [float(text) for text in re.findall(r'<text class="c\d" x="[\d.]+" y="([\d.]+)"', svg)]
    assert all(abs(a - b) >= 14.9 for a, b in pairwise(names)), "names do not cover each other"


def test_what_comes_from_files_is_escaped() -> None:
    picture = Image.new("RGB", (8, 8))
    parts = [Section("<set>", (Table("<t>", ("<c>",), (("<r>", (math.nan,)),)),), (), (Case("<w>", '"<x>', picture),))]
    page = report.page("<title>", "<lead>", parts, {"<key>": "<value>"}, ["<broken>"])
    assert not re.search(r"<(title>|lead|set|t|c|r|w|x|key|value|broken)>", page.partition("</title>")[2])
    assert "&quot;&lt;x&gt;" in page
    assert "<td>–</td>" in page
    assert "Photos that could not be used (1)" in page


def test_numbers_that_are_none_are_null() -> None:
    assert report.finite({"a": [math.nan, 1.0, (math.inf,)], "b": "text"}) == {"a": [None, 1.0, [None]], "b": "text"}


def test_a_page_tells_how_it_was_computed() -> None:
    results = Results(scored={("instances_val2017", 0): "a.jpg"})
    parts = report.sections({"instances_val2017": MEAN}, document(data="<coco>"), results, {})
    page = report.as_page(document(data="<coco>"), parts, results)
    assert "<title>What xl1 scores</title>" in page
    assert "&lt;coco&gt;" in page
    assert "<svg" in page
    assert "instances_val2017: 1 photo\n" in report.as_markdown(parts)


@pytest.mark.parametrize(
    ("box", "columns"),
    # 30 pixels wide, with 12 more on either side; moved where the photo ends
    [((50, 40, 80, 70), (38, 92)), ((0, 40, 30, 70), (0, 54)), ((130, 40, 160, 70), (106, 160))],
    ids=["middle", "left", "right"],
)
def test_what_is_shown_is_moved_into_the_photo(box: tuple[int, int, int, int], columns: tuple[int, int]) -> None:
    pixels = np.zeros((120, 160, 3), np.uint8)
    mask = rectangle(*box, size=(120, 160))
    pixels[:, columns[0] : columns[1]] = 90
    picture = np.asarray(cases.draw_case(pixels, mask, mask & False, None))
    assert picture.shape == (cases.PICTURE_SIDE, cases.PICTURE_SIDE, 3)
    assert (picture[0] > 80).all(), "these columns are shown"
    picture = np.asarray(cases.draw_case(90 - pixels, mask, mask & False, None))
    assert (picture[0] < 10).all(), "and no others"
