"""The page as people use it: a real ``evsam serve``, a real Chromium.

Masks are compared with those of Python's nano. In the tab the page computes in int8, by the same engine on other
instructions, which round differently, so that single pixels of outlines differ. The server's masks are Python's.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evsam
from evsam.rle import decode_rle
from tests.builds import ROOT
from tests.page.driver import CANVAS, Driver, chromium, mask_of, overlap, prompts_of, serving, static_host

PAGE = ROOT / "evsam" / "serve" / "page"
SAME_IN_INT8 = 0.98  # IoU of masks
SAME_IN_FLOAT = 0.999  # the page's decoder gets the server's embedding in float16
SIZE = (300, 451)  # of the cat's photo, which the places below are in
FACE, EYE, WALL = (230, 110), (160, 110), (430, 200)

OpenPage = Callable[..., Driver]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server(browser) -> Iterator[str]:
    with serving() as (address, _):
        yield address


@pytest.fixture(scope="module")
def photos(photo, tmp_path_factory) -> dict[str, Path]:
    """PNG files, so that every reader sees the same pixels."""
    folder = tmp_path_factory.mktemp("photos")
    for name, file in (("cat", "chelsea.png"), ("cup", "coffee.png"), ("rocket", "rocket.jpg")):
        Image.fromarray(photo(file)).save(folder / f"{name}.png")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def nano() -> Iterator[evsam.Sam]:
    """As the page has it in the tab."""
    with evsam.load("nano", precision="int8") as sam:
        yield sam


@pytest.fixture
def open_page(browser, server) -> Iterator[OpenPage]:
    """Opens pages, which must not have complained about anything at the end."""
    drivers: list[Driver] = []

    def open_one(address: str = server, **options: Any) -> Driver:
        drivers.append(Driver(browser, address, **{"viewport": {"width": 1200, "height": 760}, **options}))
        return drivers[-1]

    yield open_one
    for driver in drivers:
        driver.close()


@pytest.fixture
def cat(open_page, photos) -> Driver:
    """A page with the cat's photo, ready to be pointed at."""
    driver = open_page()
    driver.drop(photos["cat"])
    driver.ready()
    return driver


def click(driver: Driver, place: tuple[float, float], **options: Any) -> None:
    driver.page.mouse.click(*driver.on_screen(place, SIZE), **options)


def drag(driver: Driver, *places: tuple[float, float]) -> None:
    mouse = driver.page.mouse
    mouse.move(*driver.on_screen(places[0], SIZE))
    mouse.down()
    for place in places[1:]:
        mouse.move(*driver.on_screen(place, SIZE), steps=5)
    mouse.up()


def as_python(sam: evsam.Sam, path: Path, thing: dict[str, Any], same: float = SAME_IN_INT8) -> None:
    """An object's masks and scores are those of Python's prediction."""
    expected = sam.predict(path, **prompts_of(thing))
    assert len(thing["candidates"]) == expected.masks.shape[1]
    for candidate, mask, score in zip(thing["candidates"], expected.masks[0], expected.scores[0], strict=True):
        assert overlap(decode_rle(candidate["rle"]), mask) >= same
        assert abs(candidate["score"] - score) < 0.02


def test_pointing_shows_a_mask_and_clicks_keep_and_correct_it(cat, photos, nano) -> None:
    assert cat.drawn(FACE, SIZE)[3] == 0
    cat.page.mouse.move(*cat.on_screen(FACE, SIZE))
    cat.until(lambda: cat.drawn(FACE, SIZE)[3] > 0)  # at once, without a click
    assert cat.rows() == 0
    click(cat, FACE)
    (thing,) = cat.settled(1)
    assert prompts_of(thing) == {"points": [list(FACE)], "labels": [1]}
    assert len(thing["candidates"]) == 3
    assert thing["chosen"] == np.argmax([candidate["score"] for candidate in thing["candidates"]])
    as_python(nano, photos["cat"], thing)
    cat.said("Mask ready")

    cat.page.keyboard.down("Shift")
    click(cat, EYE)
    cat.page.keyboard.up("Shift")
    cat.until(lambda: cat.things()[0]["candidates"] != thing["candidates"])
    (second,) = cat.things()
    assert prompts_of(second)["labels"] == [1, 0]
    as_python(nano, photos["cat"], second)

    click(cat, (300, 130), button="right")
    cat.until(lambda: cat.things()[0]["candidates"] != second["candidates"])
    (thing,) = cat.things()
    assert prompts_of(thing)["labels"] == [1, 0, 0]
    as_python(nano, photos["cat"], thing)


def test_places_stay_true_while_zooming_and_the_newest_one_is_shown(cat) -> None:
    mouse = cat.page.mouse
    x, y = cat.on_screen(EYE, SIZE)
    mouse.move(x, y)
    for _ in range(4):
        mouse.wheel(0, -100)
    cat.until(lambda: cat.page.get_by_role("button", name=re.compile("^Zoom is (?!205)")).count())
    mouse.click(x, y)
    (thing,) = cat.settled(1)
    ((found_x, found_y),) = prompts_of(thing)["points"]
    assert abs(found_x - EYE[0]) <= 1
    assert abs(found_y - EYE[1]) <= 1
    cat.button("Delete the object").click()
    cat.button("Show the whole photo").click()
    mouse.move(*cat.on_screen(WALL, SIZE))
    for place in range(80):  # faster than answers come
        mouse.move(*cat.on_screen((WALL[0] - 2 * place, WALL[1] - place), SIZE))
    mouse.move(*cat.on_screen(EYE, SIZE))
    cat.until(lambda: cat.drawn(EYE, SIZE)[3] > 0 and cat.drawn(WALL, SIZE)[3] == 0)


def test_two_tabs_see_each_others_work(cat) -> None:
    other = cat.context.new_page()
    other.goto(cat.address)
    other.get_by_text("Looking at the photo").wait_for(state="hidden")
    cat.page.bring_to_front()
    click(cat, FACE)
    cat.settled(1)
    objects = other.get_by_role("complementary", name="Objects")
    objects.get_by_label(re.compile("^Name of")).fill("from the other tab")
    cat.until(lambda: cat.things()[0]["name"] == "from the other tab")
    cat.page.get_by_role("complementary", name="Objects").get_by_label(re.compile("^Name of")).wait_for()
    name = cat.page.get_by_label(re.compile("^Name of"))
    cat.until(lambda: name.input_value() == "from the other tab")


def test_a_box_the_brush_and_undo(cat, photos, nano) -> None:
    drag(cat, (100, 5), (420, 280))
    (thing,) = cat.settled(1)
    assert np.allclose(thing["prompts"]["box"], (100, 5, 420, 280), atol=1)
    as_python(nano, photos["cat"], thing)
    before = mask_of(thing)
    assert not before[280, 30]

    cat.button("Brush").click()
    drag(cat, (30, 280), (60, 280))
    cat.until(lambda: len(cat.things()[0]["strokes"]) == 1)
    cat.button("Eraser").click()
    row, column = (int(place) for place in np.argwhere(before).mean(0))
    inside = (column, row)
    drag(cat, inside, (inside[0] + 10, inside[1]))
    cat.until(lambda: len(cat.things()[0]["strokes"]) == 2)
    labels = picture(cat.export("Label map"))
    assert labels[280, 30] == labels[280, 60] == 1
    assert labels[inside[1], inside[0]] == 0
    far = np.ones(SIZE, bool)
    far[250:, :90] = far[inside[1] - 40 : inside[1] + 40, inside[0] - 40 : inside[0] + 50] = False
    assert np.array_equal(labels[far] == 1, before[far])

    for strokes in (1, 0):
        cat.button("Undo").click()
        cat.until(lambda strokes=strokes: len(cat.things()[0]["strokes"]) == strokes)
    cat.button("Undo").click()
    cat.until(lambda: cat.things() == [])
    assert cat.button("Undo").is_disabled()
    for _ in range(3):
        cat.button("Redo").click()
    cat.until(lambda: cat.things() and len(cat.things()[0]["strokes"]) == 2)
    assert cat.button("Redo").is_disabled()
    assert np.array_equal(picture(cat.export("Label map")), labels)


def picture(download: Any) -> np.ndarray:
    with Image.open(download.path()) as image:
        return np.asarray(image)


def test_the_slider_goes_through_the_candidates(cat) -> None:
    click(cat, FACE)
    (thing,) = cat.settled(1)
    areas = [decode_rle(candidate["rle"]).sum() for candidate in thing["candidates"]]
    slider = cat.page.get_by_role("slider", name="Which mask")
    slider.focus()
    for key, place in (("Home", 0), ("ArrowRight", 1), ("End", 2)):
        slider.press(key)
        expected = int(np.argsort(areas, kind="stable")[place])
        cat.until(lambda expected=expected: cat.things()[0]["chosen"] == expected)
    cat.page.locator(CANVAS).focus()
    cat.page.keyboard.press("1")
    cat.until(lambda: cat.things()[0]["chosen"] == int(np.argmin(areas)))


def test_all_exports_say_what_the_page_shows(cat, photos) -> None:
    click(cat, FACE)
    cat.settled(1)
    name = cat.page.get_by_label(re.compile("^Name of"))
    name.fill('face <a & "b">')
    name.press("Enter")
    cat.button("Done").click()
    drag(cat, (130, 80), (190, 140))
    things = cat.settled(2)
    masks = [mask_of(thing) for thing in things]
    names = [thing["name"] for thing in things]
    assert names[0] == 'face <a & "b">'
    assert things[0]["colour"] != things[1]["colour"]

    labels = picture(cat.export("Label map"))
    expected = np.zeros(SIZE, int)
    for index in sorted(range(2), key=lambda index: -masks[index].sum()):
        expected[masks[index]] = index + 1
    assert np.array_equal(labels, expected)

    document = json.loads(Path(cat.export("COCO").path()).read_bytes())
    assert document["images"] == [{"id": 1, "file_name": "cat.png", "height": 300, "width": 451}]
    categories = {category["id"]: category["name"] for category in document["categories"]}
    for annotation, mask, name in zip(document["annotations"], masks, names, strict=True):
        assert np.array_equal(decode_rle(annotation["segmentation"]), mask)
        assert annotation["area"] == mask.sum()
        assert categories[annotation["category_id"]] == name

    with Image.open(photos["cat"]) as photo:
        pixels = np.asarray(photo)
    with zipfile.ZipFile(cat.export("Cut-outs").path()) as archive:
        for mask, content in zip(masks, archive.namelist(), strict=True):
            with Image.open(io.BytesIO(archive.read(content))) as image:
                cutout = np.asarray(image)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert np.array_equal(cutout[..., 3] == 255, mask[part])
            assert np.array_equal(cutout[..., :3][mask[part]], pixels[part][mask[part]])

    svg = Path(cat.export("SVG").path()).read_text("utf-8")
    assert svg.count("<path") == 2
    assert "face &lt;a &amp; " in svg
    geojson = json.loads(Path(cat.export("GeoJSON").path()).read_bytes())
    assert [feature["properties"]["area"] for feature in geojson["features"]] == [mask.sum() for mask in masks]
    with zipfile.ZipFile(cat.export("YOLO").path()) as archive:
        assert archive.namelist() == ["labels/cat.txt", "classes.txt", "data.yaml"]
        assert archive.read("classes.txt").decode().splitlines() == list(dict.fromkeys(names))


def test_a_reload_keeps_the_session(cat) -> None:
    click(cat, FACE)
    cat.settled(1)
    name = cat.page.get_by_label(re.compile("^Name of"))
    name.fill("cat")
    name.press("Enter")
    cat.until(lambda: cat.things()[0]["name"] == "cat")
    before = cat.things()
    cat.page.reload()
    cat.ready()
    assert cat.things() == before
    assert cat.page.get_by_label(re.compile("^Name of")).input_value() == "cat"
    cat.until(lambda: cat.drawn(FACE, SIZE)[3] > 0)
    cat.button("Undo").click()  # what was done can still be undone
    cat.until(lambda: cat.things()[0]["name"] == "object")
    cat.button("Undo").click()
    cat.until(lambda: cat.things() == [])


def test_everything_is_found_and_picked_by_clicks(cat) -> None:
    cat.button("Find everything").click()
    bar = cat.page.get_by_role("group", name="Everything")
    bar.get_by_text(re.compile(r"\d+ found")).wait_for(timeout=120_000)
    found = int(re.search(r"(\d+) found", bar.inner_text())[1])  # type: ignore[index]
    assert found >= 3
    click(cat, FACE)
    (thing,) = cat.settled(1)
    assert mask_of(thing)[FACE[1], FACE[0]]
    assert prompts_of(thing) == {}
    bar.get_by_text(f"{found - 1} found").wait_for()
    bar.get_by_role("button", name="Keep all").click()
    things = cat.settled(found)
    assert len({thing["colour"] for thing in things}) == min(found, 24)
    cat.button("Undo").click()
    cat.settled(1)


def test_a_folder_with_next_and_previous(open_page, photos) -> None:
    driver = open_page()
    driver.choose("Folder", photos["cat"].parent)
    driver.ready()
    assert driver.button("Previous photo").is_disabled()
    click(driver, FACE)
    folder = photos["cat"].parent.name
    driver.settled(1, f"{folder}/cat.png")
    driver.button("Next photo").click()
    driver.page.get_by_text("2 / 3").wait_for()
    driver.ready()
    driver.page.keyboard.press("PageDown")
    driver.page.get_by_text("3 / 3").wait_for()
    assert driver.button("Next photo").is_disabled()
    driver.page.get_by_role("button", name=re.compile("cat.png, 1 object")).click()
    driver.page.get_by_text("1 / 3").wait_for()
    driver.ready()
    assert driver.rows() == 1
    driver.until(lambda: driver.drawn(FACE, SIZE)[3] > 0)
    driver.page.reload()
    driver.ready()
    driver.page.get_by_text("1 / 3").wait_for()
    assert driver.rows() == 1


def test_a_folder_is_dropped(open_page, photos, tmp_path) -> None:
    folder = tmp_path / "holiday"
    (folder / "beach").mkdir(parents=True)
    shutil.copy(photos["cat"], folder / "cat.png")
    shutil.copy(photos["cup"], folder / "beach" / "cup.png")
    (folder / "notes.txt").write_text("no photo")
    driver = open_page()
    driver.drop_from_disk(folder)
    driver.page.get_by_text("1 / 2").wait_for()
    for name in ("holiday/beach/cup.png", "holiday/cat.png"):
        driver.page.get_by_role("button", name=f"{name}, ").click()
        driver.ready()
    click(driver, FACE)
    driver.settled(1, "holiday/cat.png")


def test_photos_come_by_the_dialog_by_dropping_and_by_pasting(open_page, photos, tmp_path) -> None:
    driver = open_page()
    driver.choose("Open photos", photos["cat"])
    driver.ready()
    driver.paste(photos["cup"])
    driver.page.get_by_text("2 / 2").wait_for()
    broken = tmp_path / "broken.png"
    broken.write_bytes(photos["cup"].read_bytes()[:3000])
    driver.drop(broken)
    messages = driver.page.get_by_role("list", name="Messages").get_by_role("listitem")
    messages.filter(has_text="broken.png cannot be shown").wait_for()
    text = tmp_path / "notes.txt"
    text.write_text("no photo")
    driver.drop(text)
    messages.filter(has_text="There is no photo in that.").wait_for()
    driver.page.get_by_role("button", name=re.compile("^cat.png")).click()  # all else goes on
    driver.ready()
    click(driver, FACE)
    driver.settled(1, "cat.png")


def choose_engine(driver: Driver, name: str) -> None:
    driver.button(re.compile("^Model:")).click()
    driver.page.get_by_role("radio", name=name).check()
    place = {"Server": "on the server", "This tab": "in this tab"}[name]
    driver.button(f"Model: nano, {place}").wait_for()
    driver.page.keyboard.press("Escape")
    driver.ready()


def test_the_servers_model_and_back(cat, photos, nano) -> None:
    choose_engine(cat, "Server")
    for x in range(200, 260, 10):  # who answers sooner is found out
        cat.page.mouse.move(*cat.on_screen((x, 110), SIZE))
        cat.page.wait_for_timeout(60)
    click(cat, FACE)
    (thing,) = cat.settled(1)
    with evsam.load("nano") as sam:  # as the server has it
        as_python(sam, photos["cat"], thing, SAME_IN_FLOAT)
    cat.page.reload()  # the choice is kept
    cat.ready()
    cat.button("Model: nano, on the server").wait_for()
    choose_engine(cat, "This tab")
    cat.button("Done").click()
    click(cat, EYE)
    as_python(nano, photos["cat"], cat.settled(2)[1])


def test_a_server_that_goes_away_and_comes_back(open_page, photos) -> None:
    with serving() as (address, process):
        driver = open_page(address)
        driver.drop(photos["cat"])
        driver.ready()
        choose_engine(driver, "Server")
        click(driver, FACE)
        driver.settled(1)
        process.terminate()
        process.wait(60)
        driver.drop(photos["cup"])
        driver.page.get_by_text(re.compile("server does not answer")).first.wait_for()
        assert driver.things("cat.png")  # nothing that was marked is lost
    with serving("--port", address.rpartition(":")[2]):
        driver.button("Try again").first.click()
        driver.ready()
    # That requests failed is what this is about, and the browser logs it.
    driver.complaints[:] = [line for line in driver.complaints if "Failed to load resource" not in line]


def test_fingers_on_a_phone(open_page, photos, nano) -> None:
    driver = open_page(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, device_scale_factor=2)
    driver.drop(photos["cat"])
    driver.ready()
    assert driver.page.evaluate("document.documentElement.scrollWidth") <= 390
    driver.page.touchscreen.tap(*driver.on_screen(FACE, SIZE))
    (thing,) = driver.settled(1)
    as_python(nano, photos["cat"], thing)
    x, y = driver.on_screen(EYE, SIZE)
    cdp = driver.context.new_cdp_session(driver.page)  # a finger that stays: not this
    cdp.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    driver.page.wait_for_timeout(700)
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    driver.until(lambda: prompts_of(driver.things()[0])["labels"] == [1, 0])
    zoom = driver.page.locator(".zoom-value")  # hidden on phones
    before = zoom.text_content()
    for apart in range(20, 120, 20):  # two of them zoom
        points = [{"x": 195 - apart, "y": 400, "id": 0}, {"x": 195 + apart, "y": 400, "id": 1}]
        kind = "touchStart" if apart == 20 else "touchMove"
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    driver.until(lambda: zoom.text_content() != before)
    driver.button("Objects").click()
    driver.page.get_by_label(re.compile("^Name of")).wait_for()
    driver.button("Close the list").click()
    small = driver.page.evaluate(
        "[...document.querySelectorAll('button, input')].filter((each) => each.checkVisibility())"
        ".map((each) => [each.ariaLabel ?? each.textContent, each.getBoundingClientRect()])"
        ".filter(([, { width, height }]) => width > 0 && Math.min(width, height) < 24).map(([name]) => name)"
    )
    assert small == []  # WCAG 2.2: targets of 24 pixels


def test_keys_alone(open_page, photos) -> None:
    driver = open_page()
    keyboard, focused = driver.page.keyboard, "document.activeElement.ariaLabel ?? document.activeElement.textContent"
    for _ in range(12):
        keyboard.press("Tab")
        if driver.page.evaluate(focused).strip() == "Open photos":
            break
    assert driver.page.evaluate(focused).strip() == "Open photos"
    with driver.page.expect_file_chooser() as chooser:
        keyboard.press("Space")
    chooser.value.set_files(str(photos["cat"]))
    driver.ready()
    for _ in range(30):
        keyboard.press("Tab")
        if driver.page.evaluate("document.activeElement.matches('canvas')"):
            break
    keyboard.press("ArrowLeft")
    keyboard.press("ArrowUp")
    driver.until(lambda: driver.drawn((SIZE[1] / 2 - 6, SIZE[0] / 2 - 6), SIZE)[3] > 0)
    keyboard.press("Enter")
    driver.settled(1)
    keyboard.press("ArrowRight")
    keyboard.press("Shift+Enter")
    driver.until(lambda: prompts_of(driver.things()[0])["labels"] == [1, 0])
    keyboard.press("Control+z")
    driver.until(lambda: prompts_of(driver.things()[0])["labels"] == [1])
    keyboard.press("Control+Shift+z")
    driver.until(lambda: prompts_of(driver.things()[0])["labels"] == [1, 0])
    keyboard.press("Escape")
    keyboard.press("Enter")
    driver.settled(2)
    keyboard.press("Delete")
    driver.settled(1)
    keyboard.press("Control+s")
    driver.page.get_by_role("dialog", name="Export").wait_for()
    keyboard.press("Escape")
    driver.page.get_by_role("dialog", name="Export").wait_for(state="hidden")
    keyboard.press("?")
    driver.page.get_by_role("dialog", name="Keys and help").wait_for()
    keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page, photos, scheme) -> None:
    module = pytest.importorskip("axe_playwright_python.sync_playwright", reason="page: no axe (evsam[test-page])")
    axe = module.Axe()
    driver = open_page(color_scheme=scheme)
    page = driver.page

    def check(where: str) -> None:
        page.wait_for_timeout(250)  # until nothing fades any more
        found = axe.run(page).response["violations"]
        told = [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]
        assert told == [], where

    check("landing")
    driver.drop(photos["cat"])
    driver.ready()
    click(driver, FACE)
    driver.settled(1)
    check("an object")
    driver.button(re.compile("^Model:")).click()
    check("the choice of the model")
    page.keyboard.press("Escape")
    driver.button("Export").click()
    check("exports")
    page.keyboard.press("Escape")
    driver.button("Keys and help").click()
    check("help")
    page.keyboard.press("Escape")
    driver.button("Light theme" if scheme == "dark" else "Dark theme").click()
    check("the other theme")
    driver.page.set_viewport_size({"width": 390, "height": 780})
    driver.button("Objects").click()
    check("a phone's window")


def test_static_files_on_any_host(open_page, photos, nano, tmp_path) -> None:
    folder = tmp_path / "somewhere" / "below"
    shutil.copytree(PAGE, folder)
    shutil.copy(ROOT / "evsam" / "data" / "nano.safetensors", folder)
    with static_host(tmp_path) as address:
        driver = open_page(f"{address}/somewhere/below/")
        driver.ready_for_photos()
        driver.context.set_offline(True)  # from here on nothing needs a network
        driver.drop(photos["cat"])
        driver.ready()
        click(driver, FACE)
        as_python(nano, photos["cat"], driver.settled(1)[0])
        driver.button(re.compile("^Model:")).click()
        assert driver.page.get_by_role("radio", name="Server").is_disabled()
        driver.page.keyboard.press("Escape")
        assert picture(driver.export("Label map")).max() == 1
    # These files were built for a server: they asked for its model once, and the browser logs that there is none.
    driver.complaints[:] = [line for line in driver.complaints if "Failed to load resource" not in line]
