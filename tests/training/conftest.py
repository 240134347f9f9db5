"""A tiny annotated data directory, coloured ellipses on noise, and a run on it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evsam.boxes import bounding_box

torch = pytest.importorskip("torch")
coco_mask = pytest.importorskip("pycocotools.mask")
pytest.importorskip("scipy")
pytest.importorskip("tqdm")
pytest.importorskip("pydantic")


def encode(mask: np.ndarray) -> dict[str, object]:
    """Run-length encoding of a mask (H, W) as json can hold it."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """A photo (H, W, 3) as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, quality=95)
    return file.getvalue()


def jpg(pixels: np.ndarray) -> bytes:
    """A photo (H, W, 3) as the bytes of a JPEG file."""
    return png(pixels, "JPEG")


def _write_set(root: Path, split: str, name: str, photos: int, rng: np.random.Generator) -> None:
    folder = root / split / name
    folder.mkdir(parents=True)
    images, annotations = [], []
    for index in range(photos):
        height, width = 120, 160
        pixels = rng.integers(90, 140, (height, width, 3)).astype(np.uint8)
        y, x = np.mgrid[:height, :width]
        for _ in range(3):
            centre_x, centre_y, radius = rng.uniform(40, 120), rng.uniform(30, 90), rng.uniform(12, 28)
            mask = ((x - centre_x) / radius) ** 2 + ((y - centre_y) / (0.7 * radius)) ** 2 <= 1
            pixels[mask] = rng.integers(0, 256, 3)
            x0, y0, x1, y1 = bounding_box(mask)
            annotations.append(
                {
                    "image": index,
                    "rle": encode(mask),
                    "area": int(mask.sum()),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "kind": "object",
                }
            )
        file = f"{index}.png"
        Image.fromarray(pixels).save(folder / file)
        images.append({"file": file, "w": width, "h": height})
    (root / split / f"{name}.json").write_text(json.dumps({"images": images, "anns": annotations}))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` with the sets blobs and more, ``val`` with blobs."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    _write_set(root, "train", "blobs", 3, rng)
    _write_set(root, "train", "more", 2, rng)
    _write_set(root, "val", "blobs", 2, rng)
    return root


@pytest.fixture(scope="session")
def run(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of fine-tuning."""
    from evsam.training import finetune
    from tests.training.runs import settings, write

    folder = tmp_path_factory.mktemp("finetune")
    config = write(folder / "tiny.yaml", settings(data_dir))
    assert finetune.main([str(config), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever ran before; and models as small as these only wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
