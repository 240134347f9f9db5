"""The pictures of the docs: ``python -m benchmarks.pictures`` draws them again, with weights and code as they are.

The outputs of the notebook too. A test draws them too, and fails where what is stored is no longer the same; but for
those of the page (docs/page.md), for which Debian's chromium and the extra ``test-page`` are needed.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import evsam
from benchmarks.models.inputs import photo
from evsam.images import read_image
from evsam.overlay import draw_masks

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "docs" / "images" / "result.png"
EVERYTHING = ROOT / "docs" / "images" / "everything.png"
TRACK = ROOT / "docs" / "images" / "track.png"
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
PHOTO = ROOT / "examples" / "cat.jpg"
BOX = (5, 0, 420, 300)
"""That of the README's first command."""

_GAP = 10  # pixels between the parts of a picture, transparent, since pages are light or dark

_FRAME = (320, 240)
_ROCKET = (150, 60, 205, 238)  # in the first frame
_SHOWN = (15, 30, 43, 60)

_ON_THE_TABLE = (("cup", 165, 15, 410, 290), ("spoon", 322, 238, 408, 328), ("coffee", 200, 95, 370, 200))
"""In the photo that the page shows: names and boxes."""


def draw_result() -> Image.Image:
    """The photo with the box on the left, and with the mask that nano gives for it on the right."""
    with evsam.load("nano") as sam:
        result = sam.predict(PHOTO, box=BOX)
    prompted = draw_masks(read_image(PHOTO), [], prompts=result.prompts)
    masked = result.overlay(PHOTO, prompts=False)
    picture = Image.new("RGBA", (prompted.width + _GAP + masked.width, masked.height))
    picture.paste(prompted, (0, 0))
    picture.paste(masked, (prompted.width + _GAP, 0))
    return picture


def draw_everything() -> Image.Image:
    """All that nano finds in the photo, with the thresholds of its record."""
    with evsam.load("nano") as sam:
        return sam.segment_everything(PHOTO, mode="exact").overlay(PHOTO)


def camera() -> list[NDArray[np.uint8]]:
    """What a camera sees that pans over the photo of a rocket, comes closer, and has its view covered for a while."""
    scene = Image.fromarray(photo("rocket.jpg"))
    positions = np.interp(range(61), [0, 15, 30, 60], [100, 220, 170, 235])
    widths = np.interp(range(61), [0, 15, 30, 60], [400, 400, 280, 280])
    frames = []
    for index, (left, width) in enumerate(zip(positions, widths, strict=True)):
        window = (left, 330 - width * 3 / 4, left + width, 330)
        frame = scene.resize(_FRAME, Image.Resampling.BICUBIC, window)
        if 40 <= index < 48:  # by a board that slides through
            edge = _FRAME[0] * (index - 36) // 8
            frame.paste((96, 74, 52), (edge - _FRAME[0] * 2 // 3, 0, edge, _FRAME[1]))
        frames.append(np.asarray(frame))
    return frames


def draw_track() -> Image.Image:
    """Frames of the camera, with the rocket that a box showed in the first one."""
    frames = camera()
    with evsam.load("nano") as sam:
        tracker = sam.track(frames[0], box=_ROCKET)
        panels = [draw_masks(frames[0], [], prompts=sam.predict(frames[0], box=_ROCKET).prompts)]
        for index, frame in enumerate(frames[1:], 1):
            tracks = tracker.step(frame)
            if index in _SHOWN:
                panels.append(tracks.overlay(frame))
    width, height = _FRAME
    picture = Image.new("RGBA", (len(panels) * (width + _GAP) - _GAP, height))
    for column, panel in enumerate(panels):
        picture.paste(panel, (column * (width + _GAP), 0))
    return picture


def draw_page(scheme: str) -> Image.Image:
    """The page in a browser's window, light or dark, with a cup, a spoon and coffee marked in a photo."""
    from tests.page.driver import Driver, chromium, serving

    cup = photo("coffee.png")
    size = (cup.shape[0], cup.shape[1])
    with tempfile.TemporaryDirectory() as folder, serving() as (address, _), chromium() as browser:
        Image.fromarray(cup).save(Path(folder, "coffee.png"))
        view = {"width": 1080, "height": 675}
        driver = Driver(browser, address, viewport=view, color_scheme=scheme, device_scale_factor=1.5)
        driver.drop(Path(folder, "coffee.png"))
        driver.ready()
        for count, (name, x0, y0, x1, y1) in enumerate(_ON_THE_TABLE, 1):
            mouse = driver.page.mouse
            mouse.move(*driver.on_screen((x0, y0), size))
            mouse.down()
            mouse.move(*driver.on_screen((x1, y1), size), steps=3)
            mouse.up()
            driver.settled(count)
            field = driver.page.get_by_label(re.compile("^Name of")).last
            field.fill(name)
            field.press("Enter")
            if count < len(_ON_THE_TABLE):
                driver.button("Done").click()
        mouse.move(*driver.on_screen((20, 20), size))
        driver.page.wait_for_timeout(500)  # until nothing fades any more
        with Image.open(io.BytesIO(driver.page.screenshot())) as shot:
            picture: Image.Image = shot.convert("RGB")
        driver.close()
    return picture


def run_notebook() -> dict[str, Any]:
    """The notebook with the outputs of a run of it: text, and pictures as JPEG, which is small."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client.NotebookClient(notebook, resources=place, timeout=600, startup_timeout=300).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # when each cell was run
        for output in cell.get("outputs", ()):
            if "image/jpeg" in output.get("data", {}):
                output.data = {"image/jpeg": output.data["image/jpeg"]}
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec, "language_info": {"name": "python"}}
    found: dict[str, Any] = notebook
    return found


def notebook_pictures(notebook: dict[str, Any]) -> list[Image.Image]:
    """Those that are stored in a notebook, in order."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    stored = [output["data"]["image/jpeg"] for output in outputs if "image/jpeg" in output.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode("".join(content)))) for content in stored]


PAGES = {ROOT / "docs" / "images" / f"page-{scheme}.webp": scheme for scheme in ("light", "dark")}
"""Colour schemes of the page's pictures, by their paths."""

PICTURES = {RESULT: draw_result, EVERYTHING: draw_everything, TRACK: draw_track}
"""By their paths."""


def is_stale(stored: Image.Image, drawn: Image.Image) -> bool:
    """Whether a picture shows something else: more than rounding, other instruction sets or another FreeType change.

    These move single pixels of an outline and shades of letters. Other weights move outlines.
    """
    if stored.size != drawn.size:
        return True
    difference = np.abs(np.asarray(stored.convert("RGBA"), np.int16) - np.asarray(drawn.convert("RGBA"), np.int16))
    return float((difference.max(-1) > 32).mean()) > 0.002


if __name__ == "__main__":
    for path, draw in PICTURES.items():
        draw().save(path, optimize=True)
        print(f"wrote {path.relative_to(ROOT)}")
    NOTEBOOK.write_text(json.dumps(run_notebook(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {NOTEBOOK.relative_to(ROOT)}")
    try:
        for path, scheme in PAGES.items():
            draw_page(scheme).save(path, quality=80, method=6)
            print(f"wrote {path.relative_to(ROOT)}")
    except pytest.skip.Exception as reason:
        print(f"left those of the page as they are: {reason}")
