"""Folders of photos and masks: which file belongs to which photo, and what values mean."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam.datasets.masks import MaskPhotos, read_list, read_values, split_values
from evsam.datasets.records import BrokenSample, DataError, Photo

EMPTY = np.zeros((6, 9), np.uint8)


def values_of(*boxes: tuple[int, slice, slice]) -> np.ndarray:
    values = EMPTY.copy()
    for value, rows, columns in boxes:
        values[rows, columns] = value
    return values


def save(path: Path, values: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette([channel for index in range(256) for channel in (index, 255 - index, 7 * index % 256)])
    image.save(path)


def photos_in(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        save(folder / name, np.full((*EMPTY.shape, 3), number, np.uint8))


def masks_of(photo: Photo) -> dict[Any, list[list[int]]]:
    """Pixels (row, column) of each object."""
    return {one.id: np.argwhere(one.decode()).tolist() for one in photo.annotations}


LEFT = (1, slice(1, 3), slice(0, 2))
RIGHT = (2, slice(4, 5), slice(7, 9))
LEFT_PIXELS = [[1, 0], [1, 1], [2, 0], [2, 1]]
RIGHT_PIXELS = [[4, 7], [4, 8]]


@pytest.mark.parametrize("value", [1, 255, 7])
@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("photo", ["7.jpg", "7.bmp"])
def test_one_value_is_the_object(tmp_path: Path, value: int, palette: bool, photo: str) -> None:
    photos_in(tmp_path / "images", photo)
    save(tmp_path / "masks" / "7.png", values_of((value, *LEFT[1:])), palette)
    source = MaskPhotos(tmp_path / "images", tmp_path / "masks")
    assert len(source) == 1
    found = source[0]
    assert (found.key, found.sequence, found.size) == (photo, "", EMPTY.shape)
    assert masks_of(found) == {value: LEFT_PIXELS}
    (annotation,) = found.annotations
    assert (annotation.box, annotation.area, annotation.ignore) == ((0, 1, 2, 2), 4, None)
    assert found.pixels().shape == (6, 9, 3)


def test_grabcut_ignores_128_beside_255(tmp_path: Path) -> None:
    photos_in(tmp_path / "data_GT", "b.jpg", "a.jpg")
    grey = values_of((255, *LEFT[1:]), (128, *RIGHT[1:]))
    save(tmp_path / "boundary_GT" / "a.bmp", grey)
    save(tmp_path / "boundary_GT" / "b.bmp", np.repeat(grey[..., None], 3, axis=2))  # grey stored as colours
    source = MaskPhotos(tmp_path / "data_GT", tmp_path / "boundary_GT")
    assert [photo.key for photo in source] == ["a.jpg", "b.jpg"]
    for photo in source:
        assert masks_of(photo) == {255: LEFT_PIXELS}
        ignored = photo.annotations[0].decode_ignore()
        assert ignored is not None
        assert np.argwhere(ignored).tolist() == RIGHT_PIXELS


def test_davis_keeps_videos_frames_and_objects(tmp_path: Path) -> None:
    photos, masks = tmp_path / "JPEGImages" / "480p", tmp_path / "Annotations" / "480p"
    photos_in(photos, "dog/9.jpg", "dog/10.jpg", "cow/0.jpg")
    save(masks / "dog" / "9.png", values_of(LEFT, RIGHT), palette=True)
    save(masks / "dog" / "10.png", values_of(RIGHT), palette=True)
    save(masks / "cow" / "0.png", values_of(LEFT, (255, *RIGHT[1:])), palette=True)
    source = MaskPhotos(photos, masks)
    found = list(pickle.loads(pickle.dumps(source)))
    assert [(photo.sequence, photo.key) for photo in found] == [
        ("cow", "cow/0.jpg"),
        ("dog", "dog/9.jpg"),
        ("dog", "dog/10.jpg"),
    ]
    cow, first, second = found
    assert masks_of(first) == {1: LEFT_PIXELS, 2: RIGHT_PIXELS}
    assert masks_of(second) == {2: RIGHT_PIXELS}
    assert masks_of(cow) == {1: LEFT_PIXELS}  # 255 is void
    ignored = cow.annotations[0].decode_ignore()
    assert ignored is not None
    assert np.argwhere(ignored).tolist() == RIGHT_PIXELS
    listed = tmp_path / "val.txt"
    for text in ("dog\n", "/JPEGImages/480p/dog/9.jpg /Annotations/480p/dog/9.png\n\n/x/dog/10.jpg /y/dog/10.png\n"):
        listed.write_text(text)
        only = MaskPhotos(photos, masks, listed=read_list(listed))
        assert [photo.key for photo in only] == ["dog/9.jpg", "dog/10.jpg"]
    with pytest.raises(DataError, match="expected photos of the split, got none"):
        MaskPhotos(photos, masks, listed={"bird"})


def test_a_frame_without_its_objects_stays(tmp_path: Path) -> None:
    photos_in(tmp_path / "p", "a/0.jpg")
    save(tmp_path / "m" / "a" / "0.png", EMPTY, palette=True)
    photo = MaskPhotos(tmp_path / "p", tmp_path / "m")[0]
    assert photo.annotations == ()
    assert photo.size == EMPTY.shape


def test_several_files_of_a_photo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos_in(tmp_path / "p", "a.jpg", "a_1.jpg", "b.jpg", "c.jpg", "d.jpg")
    for name in ("a_left_0", "a_2", "a_1", "b/x", "b/7", "e"):
        save(tmp_path / "m" / f"{name}.png", values_of((255, *(LEFT if "1" in name else RIGHT)[1:])))
    save(tmp_path / "m" / "c_2.png", values_of(LEFT, RIGHT), palette=True)
    source = MaskPhotos(tmp_path / "p", tmp_path / "m")
    assert {photo.key: masks_of(photo) for photo in source} == {
        "a.jpg": {2: RIGHT_PIXELS, "left_0": RIGHT_PIXELS},
        "a_1.jpg": {255: LEFT_PIXELS},
        "b.jpg": {7: RIGHT_PIXELS, "x": RIGHT_PIXELS},
        "c.jpg": {"2/1": LEFT_PIXELS, "2/2": RIGHT_PIXELS},
    }
    assert source.remarks == ("left out: 1 masks without a photo (e.png); 1 photos without a mask (d.jpg)",)
    assert source.remarks[0] in caplog.text


def test_a_mask_belongs_to_the_photo_with_the_longest_name(tmp_path: Path) -> None:
    photos_in(tmp_path / "images", "a.png", "a_b.png")
    for name, values in (("a_1", values_of(LEFT)), ("a_b_1", values_of((1, *RIGHT[1:])))):
        save(tmp_path / "masks" / f"{name}.png", values)
    first, second = MaskPhotos(tmp_path / "images", tmp_path / "masks")
    assert (first.key, masks_of(first)) == ("a.png", {1: LEFT_PIXELS})
    assert (second.key, masks_of(second)) == ("a_b.png", {1: RIGHT_PIXELS})


def split(values: np.ndarray, **options: Any) -> tuple[list[int], int | None]:
    parts, ignored = split_values(values.astype(np.int64), **options)
    for value, inside in parts:
        if options.get("objects") != "one":
            assert np.array_equal(inside, values == value)
    return [value for value, _ in parts], None if ignored is None else int(values[ignored][0])


@pytest.mark.parametrize(
    ("present", "options", "expected"),
    [
        ([], {}, ([], None)),
        ([128, 255], {"palette": True}, ([128], 255)),
        ([1, 2, 255], {"palette": True}, ([1, 2], 255)),
        ([1, 2, 255], {"palette": True, "ignore": None}, ([1, 2, 255], None)),
        ([1, 2, 255], {"palette": True, "ignore": 2}, ([1, 255], 2)),
        ([1, 2], {"objects": "each"}, ([1, 2], None)),
        ([1, 255], {"objects": "each", "ignore": 255}, ([1], 255)),
        ([1, 255], {"objects": "each", "ignore": None}, ([1, 255], None)),
        ([1, 255], {"ignore": 255}, ([1], 255)),
        ([128], {"ignore": None}, ([128], None)),
        ([128], {"ignore": 128}, ([], 128)),
        ([128], {"palette": True}, ([128], None)),
        ([128, 255], {"ignore": 7}, None),
        ([1, 2], {}, None),
        ([1, 128, 255], {}, None),
        ([3, 17, 255], {"objects": "one"}, ([1], None)),
        ([128, 255], {"objects": "one"}, ([1], None)),
        ([128, 255], {"objects": "one", "ignore": 128}, ([1], 128)),
        ([65535, 300], {"objects": "each"}, ([300, 65535], None)),
        ([255 << 16, 255], {"objects": "each", "ignore": None}, ([255, 255 << 16], None)),
    ],
)
def test_what_values_mean(present: list[int], options: dict[str, Any], expected: tuple[list[int], Any] | None) -> None:
    values = np.array([[0, *present]])
    options = {"palette": False, **options}
    if expected is None:
        with pytest.raises(ValueError, match=r"2 values \(|3 values \("):
            split(values, **options)
    else:
        assert split(values, **options) == expected


def test_the_union_of_values() -> None:
    parts, ignored = split_values(np.array([[0, 3, 128, 255]]), palette=False, objects="one", ignore=128)
    assert [(value, inside.tolist()) for value, inside in parts] == [(1, [[False, True, False, True]])]
    assert ignored is not None
    assert ignored.tolist() == [[False, False, True, False]]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (values_of(LEFT, RIGHT), {}, r"2 values \(1, 2\): expected one besides 0; objects='each' or 'one' says"),
        (values_of((128, *LEFT[1:])), {}, r"the value 128 alone: .* ignore=None or 128 says which"),
        (
            values_of(LEFT, (255, *RIGHT[1:])),
            {"objects": "each"},
            ".*255 is an object, or ignored; ignore=None or",
        ),
        (np.arange(54, dtype=np.uint8).reshape(6, 9), {}, r"53 values \(1, 2, 3, 4, 5, \.\.\.\)"),
        (np.eye(6, 9, dtype=np.float32), {}, "expected whole numbers, got an image of mode F"),
    ],
)
def test_ambiguous_masks_break_their_photo(tmp_path: Path, values: np.ndarray, options: Any, message: str) -> None:
    photos_in(tmp_path / "p", "a.jpg")
    save(tmp_path / "m" / "a.tif", values)
    source = MaskPhotos(tmp_path / "p", tmp_path / "m", **options)
    with pytest.raises(BrokenSample, match=rf"a\.jpg: its mask a\.tif cannot be read: {message}"):
        source[0]


def test_colours_and_wide_values(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[[0, 0, 0], [1, 2, 3]]], np.uint8))
    assert (read_values(tmp_path / "a.png")[0].tolist(), read_values(tmp_path / "a.png")[1]) == ([[0, 66051]], False)
    save(tmp_path / "b.png", np.array([[0, 40000]], np.uint16))
    assert read_values(tmp_path / "b.png")[0].tolist() == [[0, 40000]]
    save(tmp_path / "c.png", np.array([[[0, 9], [255, 0]]], np.uint8))  # grey and alpha, which does not count
    assert read_values(tmp_path / "c.png")[0].tolist() == [[0, 255]]
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "d.png")
    assert np.count_nonzero(read_values(tmp_path / "d.png")[0]) == 1


def test_a_palette_of_greys_is_grey(tmp_path: Path) -> None:
    def stored(name: str, values: np.ndarray, palette: list[int]) -> tuple[list[list[int]], bool]:
        image = Image.fromarray(values)
        image.putpalette(palette)
        image.save(tmp_path / name)
        found, coloured = read_values(tmp_path / name)
        return found.tolist(), coloured

    indices = np.array([[0, 1, 2]], np.uint8)
    for name in ("a.png", "a.bmp"):
        assert stored(name, indices, [0, 0, 0, 128, 128, 128, 255, 255, 255]) == ([[0, 128, 255]], False)
        assert stored(name, indices, [0, 0, 0, 128, 0, 0, 0, 128, 0]) == ([[0, 1, 2]], True)
    # of VOC's colours, number 7 is grey, but the palette is not
    colours = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128, 128, 128, 128]
    assert stored("b.png", np.array([[0, 7]], np.uint8), colours) == ([[0, 7]], True)


def test_photos_and_masks_that_do_not_fit(tmp_path: Path) -> None:
    photos, masks = tmp_path / "p", tmp_path / "m"
    with pytest.raises(DataError, match=r"path .*p: expected a folder with photos"):
        MaskPhotos(photos, masks)
    photos_in(photos, "a.jpg", "b.jpg")
    with pytest.raises(DataError, match=r"masks .*m: expected a folder with masks"):
        MaskPhotos(photos, masks)
    save(masks / "x.png", EMPTY)
    with pytest.raises(DataError, match=r"names of the photos, such as a in .*p, got x\.png"):
        MaskPhotos(photos, masks)
    save(masks / "a.png", np.ones((6, 8), np.uint8))
    (masks / "b.png").write_bytes(b"no picture")
    source = MaskPhotos(photos, masks)
    with pytest.raises(BrokenSample, match=r"a\.jpg: expected masks of 6 x 9 pixels .*got size \[6, 8\]"):
        source[0].pixels()
    with pytest.raises(BrokenSample, match=r"b\.jpg: its mask b\.png cannot be read: .*cannot identify image"):
        source[1]
    photos_in(photos, "a.png")
    with pytest.raises(DataError, match=r"expected photos with different names, got a\.jpg and a\.png"):
        MaskPhotos(photos, masks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objects": "all"}, "objects: expected auto, each or one, got 'all'"),
        ({"ignore": 0}, "ignore: expected a value above 0, auto or None, got 0"),
        ({"ignore": True}, "ignore: expected a value above 0"),
        ({"ignore": "255"}, "ignore: expected a value above 0"),
    ],
)
def test_arguments(tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MaskPhotos(tmp_path, tmp_path, **options)
