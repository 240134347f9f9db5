from __future__ import annotations

import numpy as np
import pytest

from evsam import _C
from evsam.rle import compressed, decode_rle, encode_rle, mask_extent, mask_window, run_ends


def _masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    masks = [rng.random(rng.integers(1, 50, 2)) < density for density in np.linspace(0, 1, 60)]
    masks += [np.zeros((1, 1), bool), np.ones((1, 1), bool), np.ones((1, 700), bool), np.eye(333, dtype=bool)]
    huge = np.zeros((3000, 4000), bool)  # counts that need five groups of bits, and differences of either sign
    huge[100:2900, 5:9] = True
    huge[:, 2000:3999] = True
    return [*masks, huge, ~huge]


def test_equal_to_pycocotools() -> None:
    tools = pytest.importorskip("pycocotools.mask")
    for mask in _masks():
        theirs = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
        ours = encode_rle(mask)
        assert ours == {"size": theirs["size"], "counts": theirs["counts"].decode()}
        assert np.array_equal(tools.decode(ours), mask)


def test_decoding_gives_the_mask_back() -> None:
    for mask in _masks():
        rle = encode_rle(mask)
        assert np.array_equal(decode_rle(rle), mask)
        assert np.array_equal(decode_rle({"size": rle["size"], "counts": rle["counts"].encode()}), mask)


def test_runs_end_where_the_pixels_change() -> None:
    for mask in _masks():
        pixels = mask.ravel(order="F")
        ends = run_ends(encode_rle(mask))
        assert ends.dtype == np.int64
        assert ends[-1] == mask.size
        inside = ends[(ends > 0) & (ends < mask.size)]
        assert np.array_equal(inside, np.flatnonzero(pixels[1:] != pixels[:-1]) + 1)
        assert (ends[0] == 0) == bool(pixels[0])


def test_windows_of_arrays_and_of_runs() -> None:
    full = np.zeros((6, 9), bool)
    full[:, 3:5] = True  # a run that goes on in the next column
    for mask in [*_masks(), full]:
        area, (x0, y0, x1, y1) = _C.mask_extent(mask.view(np.uint8))
        for form in (mask, encode_rle(mask)):
            assert mask_extent(form) == (area, (x0, y0, x1, y1))
            window = mask_window(form)
            assert (window.area, window.box) == (area, (x0, y0, x1, y1))
            assert np.array_equal(window.pixels.astype(bool), mask[y0:y1, x0:x1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("inside", [1, 255])
def test_numbers_that_can_only_be_one_mask(dtype: type, inside: int) -> None:
    mask = np.random.default_rng(2).random((30, 40)) < 0.5
    assert encode_rle(mask.astype(dtype) * dtype(inside)) == encode_rle(mask)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.array([[0, 255], [255, 254]], np.uint8), "got also 254, 255"),
        (np.array([[0, 1], [255, 0]], np.uint8), "got also 1, 255"),
        (np.array([[0, 7]]), "got also 7"),
        (np.array([[0.0, 0.5]]), "got also 0.5"),
        (np.array([[0.0, np.nan]]), "got also nan"),
        (np.zeros((1, 3, 4), bool), r"expected shape \(H, W\), got \(1, 3, 4\)"),
    ],
)
def test_other_numbers_are_refused(mask: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_rle(mask)


def test_counts_as_numbers() -> None:
    for mask in _masks():
        counts = np.diff(run_ends(encode_rle(mask)), prepend=0)
        size = list(mask.shape)
        assert np.array_equal(decode_rle({"size": size, "counts": counts}), mask)
        assert np.array_equal(decode_rle({"size": size, "counts": counts.tolist()}), mask)


@pytest.mark.parametrize("counts", [[], [4.5, 4.5], [[9]], [True], None, ["9"]])
def test_counts_that_are_no_numbers(counts: object) -> None:
    with pytest.raises(ValueError, match="expected counts as text, bytes or a list of integers"):
        decode_rle({"size": [3, 3], "counts": counts})


def test_strides_do_not_matter() -> None:
    mask = np.random.default_rng(1).random((30, 40)) < 0.5
    for view in (mask[::-1], mask[:, ::2], mask.T):
        assert encode_rle(view) == encode_rle(view.copy())


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "damaged text"),
        ("0 1", "damaged text"),
        ("0~", "damaged text"),
        ("01P", "damaged text"),  # the last number says that it goes on
        ("PPPPPPPPPP0", "a number that is too long"),
        ("01", "expected counts that add up to 3 x 3, got 1"),
        ("0O:", "add up to 3 x 3"),  # negative run
        ("\x01\x02", "damaged text"),
        ("\xff", "damaged text"),
        ("01\ud80030", "damaged text"),
        (encode_rle(np.ones((10, 10), bool))["counts"], "add up to 3 x 3, got 100"),
    ],
)
def test_damaged_counts(counts, message) -> None:
    for read in (decode_rle, run_ends):
        with pytest.raises(ValueError, match=message):
            read({"size": [3, 3], "counts": counts})


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        (None, "expected a mapping with size and counts, got NoneType"),
        ([3, 3], "expected a mapping with size and counts, got list"),
        ({}, "expected size as height and width, got None"),
        ({"size": [9]}, r"expected size as height and width, got \[9\]"),
        ({"size": ["3", "3"], "counts": "09"}, "expected size as height and width"),
        ({"size": [[3], [3, 3]], "counts": "09"}, "expected size as height and width"),
        ({"size": [-3, -3], "counts": [9]}, "expected size as height and width"),
        ({"size": [3.5, 2], "counts": [7]}, "expected size as height and width"),
        ({"size": [float("nan"), 3], "counts": [9]}, "expected size as height and width"),
        ({"size": [float("inf"), 3], "counts": [9]}, "expected size as height and width"),
        ({"size": [10**400, 3], "counts": [9]}, "expected size as height and width"),
        ({"size": [3, 3]}, "expected counts as text, bytes or a list of integers"),
        ({"size": [3, 3], "counts": [2**63 - 1, 2**63 - 1, 11]}, "expected counts that add up to 3 x 3"),
        ({"size": [3, 3], "counts": [float("inf")]}, "expected counts as text, bytes or a list of integers"),
        ({"size": [3, 3], "counts": "\ud800"}, "rle: expected counts"),
    ],
)
def test_what_is_no_rle(rle: object, message: str) -> None:
    for read in (decode_rle, run_ends):
        with pytest.raises(ValueError, match=message):
            read(rle)  # type: ignore[arg-type]


def test_every_form_that_pycocotools_takes() -> None:
    tools = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(3).random((13, 17)) < 0.4
    theirs = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = np.diff(run_ends(theirs), prepend=0)
    forms = [theirs, {**theirs, "counts": theirs["counts"].decode()}, {**theirs, "size": (13, 17)}]
    for size in ([13, 17], (13, 17), np.array([13, 17]), [13.0, 17.0]):
        lists = [counts.tolist(), counts, counts.astype(np.uint32), counts.astype(float).tolist(), tuple(counts)]
        forms += [{"size": size, "counts": one} for one in lists]
    for form in forms:
        assert np.array_equal(decode_rle(form), mask)
        assert compressed(form) == {"size": [13, 17], "counts": theirs["counts"].decode()}
    assert decode_rle({"size": [0, 5], "counts": [0]}).shape == (0, 5)
