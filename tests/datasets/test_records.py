"""Photos: pixels, what is broken about them, and sources by number."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from evsam.boxes import bounding_box
from evsam.datasets.files import read_span
from evsam.datasets.records import Annotation, BrokenSample, Photo, Photos, as_id, as_rle, measured
from evsam.errors import ImageError
from evsam.images import read_image
from tests.datasets.made import encode, jpg, png

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)


class Numbers(Photos):
    """Photos that are known by their keys."""

    def __len__(self) -> int:
        return 5

    def photo(self, index: int) -> Photo:
        return Photo(str(index), (), bytes)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
def test_pixels_are_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(PIXELS).convert(mode).save(path)
    pixels = Photo("x", (), path.read_bytes).pixels()
    assert pixels.shape == PIXELS.shape
    assert pixels.dtype == np.uint8
    if mode == "RGB":
        assert np.array_equal(pixels, PIXELS)


@pytest.mark.parametrize(
    "content",
    [b"", b"no photo", jpg(PIXELS)[:-300], png(PIXELS)[:-300], png(PIXELS)[:40], png(PIXELS).replace(b"IDAT", b"IDAX")],
    ids=["nothing", "text", "half a jpg", "half a png", "head of a png", "png without pixels"],
)
def test_damaged_files_are_broken(content: bytes) -> None:
    with pytest.raises(BrokenSample, match="it: cannot be read as a photo: "):
        Photo("it", (), lambda: content).pixels()


def turned_png(orientation: int) -> bytes:
    """The photo with an EXIF orientation."""
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "PNG", exif=image.getexif())
    return file.getvalue()


@pytest.mark.parametrize(
    ("orientation", "turned"), [(1, PIXELS), (3, PIXELS[::-1, ::-1]), (6, np.rot90(PIXELS, -1)), (8, np.rot90(PIXELS))]
)
def test_exif_orientation_is_applied_as_encode_does(orientation: int, turned: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(turned_png(orientation))
    annotations = (measured(encode(np.ones(turned.shape[:2], np.uint8))),)
    pixels = Photo("x", annotations, path.read_bytes).pixels()
    assert np.array_equal(pixels, turned)
    assert np.array_equal(pixels, read_image(path))


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("size", [(20, 31), (30, 20), (1, 1)])
def test_photos_of_another_size_than_their_masks_are_broken(size: tuple[int, int], ignored: bool) -> None:
    right, wrong = (as_rle(encode(np.ones(shape, np.uint8))) for shape in ((20, 30), size))
    annotation = measured(right)
    found = replace(annotation, ignore=wrong) if ignored else replace(annotation, rle=wrong)
    with pytest.raises(
        BrokenSample, match=rf"it: expected masks of 20 x 30 pixels .*got size \[{size[0]}, {size[1]}\]"
    ):
        Photo("it", (annotation, found), lambda: png(PIXELS)).pixels()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_photos_of_more_than_8_bits_are_broken_as_encode_refuses_them(dtype: type, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(PIXELS[..., 0].astype(dtype)).save(path)
    with pytest.raises(BrokenSample, match="it: cannot be read as a photo: image: expected 8 bits per channel"):
        Photo("it", (), path.read_bytes).pixels()
    with pytest.raises(ImageError, match="expected 8 bits per channel"):
        read_image(path)


def test_missing_files_are_broken_and_mistakes_are_not(tmp_path: Path) -> None:
    with pytest.raises(BrokenSample, match="No such file"):
        Photo("it", (), partial(read_span, tmp_path / "absent")).pixels()
    with pytest.raises(BrokenSample, match="null byte"):  # json can hold any text
        Photo("it", (), partial(read_span, tmp_path / "a\0.jpg")).pixels()

    def mistake() -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Photo("it", (), mistake).pixels()


def test_spans(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_span(path) == b"0123456789"
    assert read_span(path, 3, 4) == b"3456"
    assert read_span(path, 3) == b"3456789"
    with pytest.raises(OSError, match="ends at byte 10, expected 12"):
        read_span(path, 8, 4)


def test_broken_samples_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(BrokenSample("key", "reason")))
    assert (error.key, error.reason, str(error)) == ("key", "reason", "key: reason")


def test_photos_by_number_and_by_slice() -> None:
    photos = Numbers()
    assert [photo.key for photo in photos] == ["0", "1", "2", "3", "4"]
    assert photos[-1].key == "4"
    assert [photo.key for photo in photos[1:4:2]] == ["1", "3"]
    assert photos.groups == (5,)
    for index in (5, -6):
        with pytest.raises(IndexError):
            photos[index]


def test_encodings_of_json() -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3, 2:] = 1
    lengths = [9, 2, 2, 2, 2, 2, 1]
    uncompressed = as_rle({"size": [4, 5], "counts": lengths})
    assert np.array_equal(coco_mask.decode(uncompressed), mask)
    assert np.array_equal(coco_mask.decode(as_rle(encode(mask))), mask)
    annotation = measured(uncompressed)
    assert annotation == Annotation(uncompressed, (2, 1, 3, 2), 6)
    assert annotation.decode_ignore() is None


def test_photos_of_hundreds_of_masks_are_measured() -> None:
    masks = np.zeros((300, 20, 30), np.uint8)
    for number, mask in enumerate(masks):
        mask[number % 19 : 20, number % 29 : 29] = 1
    found = [measured(encode(mask), id=number) for number, mask in enumerate(masks)]
    for number, (mask, annotation) in enumerate(zip(masks, found, strict=True)):
        x0, y0, x1, y1 = bounding_box(mask)
        assert (annotation.id, annotation.area) == (number, mask.sum())
        assert list(annotation.box) == [x0, y0, x1 - x0, y1 - y0]
        assert np.array_equal(annotation.decode(), mask)
    assert measured(encode(np.zeros((4, 5), np.uint8))).box == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        ("7", 7),
        (7.0, 7),
        ("0", 0),
        ("007", "007"),
        ("-7", "-7"),
        ("a", "a"),
        (7.5, "7.5"),
        ("7.0", "7.0"),
        ("\u0667", "\u0667"),
        (None, "None"),
        (True, "True"),
        ([1], "[1]"),
    ],
)
def test_ids(value: object, expected: object) -> None:
    assert as_id(value) == expected
