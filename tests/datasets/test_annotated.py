"""Sets of a data directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evsam.boxes import bounding_box
from evsam.datasets.annotated import list_sets, read_set
from evsam.datasets.records import BrokenSample, DataError
from tests.datasets.made import encode, mask_of


def test_sets_are_found_and_read(data_dir: Path) -> None:
    assert list_sets(data_dir, "train") == ["blobs", "more"]
    photos = read_set(data_dir, "train", "blobs")
    assert [photo.key for photo in photos] == ["0.png", "1.png", "2.png"]
    for photo in photos:
        assert photo.pixels().shape == (120, 160, 3)
        for annotation in photo.annotations:
            mask = annotation.decode()
            assert mask.sum() == annotation.area
            x, y, w, h = annotation.box
            assert bounding_box(mask) == (x, y, x + w, y + h)


def test_sets_leave_out_photos_without_masks_and_keep_ignored_pixels(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    annotation = {"image": 1, "rle": encode(mask_of(1)), "area": 5, "bbox": [1, 2, 3, 4]}
    content = {
        "images": [{"file": "a.jpg"}, {"file": "b.jpg"}, {"file": "c.jpg"}],
        "anns": [{**annotation, "ignore_rle": encode(mask_of(3))}, {**annotation, "image": 2, "rle": {}}],
    }
    (tmp_path / "val" / "x.json").write_text(json.dumps(content))
    photos = read_set(tmp_path, "val", "x")
    assert len(photos) == 2
    assert photos[0].key == "b.jpg"
    ignored = photos[0].annotations[0].decode_ignore()
    assert ignored is not None
    assert np.array_equal(ignored, mask_of(3))
    with pytest.raises(BrokenSample, match=r"c\.jpg: its annotations cannot be read"):
        photos[1]


MINUS_ONE = '{"images": [{"file": "a.jpg"}], "anns": [{"image": -1}]}'


def test_sets_that_cannot_be_used(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set blobz: no file .*; sets of split train: blobs, more"):
        read_set(data_dir, "train", "blobz")
    (tmp_path / "val").mkdir()
    for text in ("no json", '{"images": []}', '{"images": [], "anns": [{"image": 0}]}', MINUS_ONE):
        (tmp_path / "val" / "x.json").write_text(text)
        with pytest.raises(DataError, match=r"expected .* as json"):
            read_set(tmp_path, "val", "x")
