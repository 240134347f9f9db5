"""The page in Debian's Chromium: what a person does there, by Playwright, and what the page has made of it."""

from __future__ import annotations

import base64
import contextlib
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from evsam.rle import decode_rle
from tests.builds import tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Download, Locator, Page

Place = tuple[float, float]
Mask = npt.NDArray[np.bool_]

CANVAS = "canvas[role=application]"

# In every page before its own scripts: what the policy forbids, where a test finds it.
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} forbids ${event.blockedURI}`);
});
"""

_STORED = """
async () => {
  const database = await new Promise((resolve, reject) => {
    const request = indexedDB.open("evsam");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const all = (store) => new Promise((resolve, reject) => {
    const request = database.transaction(store).objectStore(store).openCursor();
    const found = [];
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor) return resolve(found);
      found.push([cursor.key, cursor.value]);
      cursor.continue();
    };
    request.onerror = () => reject(request.error);
  });
  const [annotations, photos] = [await all("annotations"), await all("photos")];
  database.close();
  const names = new Map(photos.map(([id, photo]) => [id, photo.name]));
  return annotations.map(([id, saved]) => ({ photo: names.get(id) ?? id, document: saved.history.present }));
}
"""

_DRAWN = """
([selector, x, y]) => {
  const [, ...canvases] = document.querySelector(selector).parentElement.querySelectorAll("canvas");
  const pixel = new OffscreenCanvas(1, 1).getContext("2d");
  for (const canvas of canvases) {
    const ratio = canvas.width / canvas.clientWidth;
    pixel.drawImage(canvas, Math.round(x * ratio), Math.round(y * ratio), 1, 1, 0, 0, 1, 1);
  }
  return [...pixel.getImageData(0, 0, 1, 1).data];
}
"""

_TRANSFER = """
(files) => {
  const transfer = new DataTransfer();
  for (const { name, type, content } of files) {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  return transfer;
}
"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; the test is skipped where it or Playwright is missing."""
    path = tool("chromium", "page in Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("page in Chromium: no playwright (pip install 'evsam[test-page]')")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def serving(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of an ``evsam serve`` of its own, and its process."""
    command = [sys.executable, "-m", "evsam", "serve", "--threads", "2", *options]
    if "--port" not in options:
        command += ["--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"on (http://127\.0\.0\.1:\d+)", line)
        assert found, line + process.stderr.read()
        reading = threading.Thread(target=process.stderr.read)
        reading.start()
        try:
            yield found[1], process
        finally:
            process.terminate()
            process.wait(60)
            reading.join()


@contextlib.contextmanager
def static_host(folder: Path) -> Iterator[str]:
    """The address of a folder as any host has it, without headers that let a page have threads."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Driver:
    """A page that is open, with what it logged and asked for.

    Args:
        browser: see :func:`chromium`.
        address: of the page.
        options: of a Playwright context: a viewport, touch, a colour scheme.
    """

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        self.context = browser.new_context(accept_downloads=True, **options)
        self.context.add_init_script(_WATCH)
        self.context.set_default_timeout(30_000)
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.context.on("console", self._logged)
        self.context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))
        self.context.on("request", self._requested)
        self.page: Page = self.context.new_page()
        self.page.on("filechooser", lambda _: None)  # dialogs are caught from the beginning, not from the first wish on
        self.page.goto(address)

    def _logged(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.foreign.append(request.url)

    def close(self) -> None:
        """End it; nothing may have been complained about, forbidden, or asked for elsewhere."""
        violations = [] if self.page.is_closed() else self.page.evaluate("window.violations")
        self.context.close()
        found = [*self.complaints, *violations, *(f"request: {url}" for url in self.foreign)]
        assert not found, "\n".join(found)

    # Photos

    def choose(self, button: str, *paths: Path) -> None:
        """Pick files, or a folder, by a button that opens the system's dialog."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name=button, exact=True).first.click()
        chooser.value.set_files([str(path) for path in paths] if len(paths) > 1 else str(paths[0]))

    def transfer(self, *paths: Path) -> Any:
        """Files as an event of dropping or pasting brings them."""
        types = {".png": "image/png", ".jpg": "image/jpeg", ".txt": "text/plain"}
        files = [
            {"name": path.name, "type": types[path.suffix], "content": base64.b64encode(path.read_bytes()).decode()}
            for path in paths
        ]
        return self.page.evaluate_handle(_TRANSFER, files)

    def drop(self, *paths: Path) -> None:
        """Drop files on the page."""
        transfer = self.transfer(*paths)
        for kind in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event("body", kind, {"dataTransfer": transfer})

    def drop_from_disk(self, *paths: Path) -> None:
        """Drop files or folders as the system's file manager does."""
        box = self.page.locator(CANVAS).or_(self.page.locator("body")).first.bounding_box()
        assert box is not None
        session = self.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
            session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})
        session.detach()

    def paste(self, path: Path) -> None:
        """Paste a file."""
        self.page.evaluate(
            "(data) => document.body.dispatchEvent("
            "new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))",
            self.transfer(path),
        )

    def ready_for_photos(self) -> None:
        """Wait until the model is loaded."""
        self.page.locator(".chip.ready").wait_for()

    def ready(self) -> None:
        """Wait until the photo is encoded: then all tools can be used."""
        self.until(lambda: self.button("Find everything").is_enabled(), 60)

    # What is seen and said

    def said(self, text: str) -> None:
        """Wait until the page says something to screen readers."""
        self.page.locator("#said").filter(has_text=text).wait_for(state="attached")

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """A button, by its accessible name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def until(self, what: Callable[[], object], seconds: float = 20) -> None:
        """Wait until something holds."""
        for _ in range(int(seconds / 0.05)):
            if what():
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"still not so after {seconds} s")

    def rows(self) -> int:
        """Objects in the list."""
        return self.page.get_by_role("complementary", name="Objects").get_by_role("listitem").count()

    # Places. They are x and y in pixels of the photo.

    def on_screen(self, place: Place, size: tuple[int, int]) -> Place:
        """Where a place of a photo of that height and width is in the window, while the whole photo is shown."""
        box = self.page.locator(CANVAS).bounding_box()
        assert box is not None
        margin = min(24, box["width"] / 16, box["height"] / 16)
        height, width = size
        scale = min(4, (box["width"] - 2 * margin) / width, (box["height"] - 2 * margin) / height)
        left = box["x"] + (box["width"] - width * scale) / 2
        top = box["y"] + (box["height"] - height * scale) / 2
        return left + (place[0] + 0.5) * scale, top + (place[1] + 0.5) * scale

    def drawn(self, place: Place, size: tuple[int, int]) -> list[int]:
        """R, G, B, A of what is drawn above the photo there, on whichever canvas."""
        x, y = self.on_screen(place, size)
        box = self.page.locator(CANVAS).bounding_box()
        assert box is not None
        return list(self.page.evaluate(_DRAWN, [CANVAS, x - box["x"], y - box["y"]]))

    # What is stored

    def documents(self) -> dict[str, Any]:
        """What is said about photos, by their names."""
        return {each["photo"]: each["document"] for each in self.page.evaluate(_STORED)}

    def things(self, photo: str | None = None) -> list[dict[str, Any]]:
        """The objects of a photo, or of the only one."""
        documents = self.documents()
        if photo is None:
            ((photo, _),) = documents.items() if documents else ((None, None),)
        return documents[photo]["things"] if photo in documents else []

    def settled(self, count: int, photo: str | None = None) -> list[dict[str, Any]]:
        """The objects, once there are so many, and all of them have masks."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.things(photo)
            return len(found) == count and all(thing["candidates"] or thing["strokes"] for thing in found)

        self.until(there)
        return found

    def export(self, form: str) -> Download:
        """The file of a format, by the button whose name begins like that."""
        self.button("Export").click()
        dialog = self.page.get_by_role("dialog", name="Export")
        with self.page.expect_download() as download:
            dialog.get_by_role("button", name=re.compile(f"^{form}")).click()
        dialog.wait_for(state="hidden")
        return download.value


def mask_of(thing: dict[str, Any]) -> Mask:
    """The chosen mask of an object that the brush did not change."""
    assert not thing["strokes"]
    return decode_rle(thing["candidates"][thing["chosen"]]["rle"])


def prompts_of(thing: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``Sam.predict`` for what an object was shown by."""
    points, box = thing["prompts"]["points"], thing["prompts"]["box"]
    found: dict[str, Any] = {}
    if points:
        found["points"] = [[point["x"], point["y"]] for point in points]
        found["labels"] = [point["label"] for point in points]
    if box:
        found["box"] = box
    return found


def overlap(one: Mask, other: Mask) -> float:
    """Their IoU."""
    return float((one & other).sum() / max(1, (one | other).sum()))
