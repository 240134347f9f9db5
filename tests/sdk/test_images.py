from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from evsam import EvsamError, ImageError
from evsam.images import read_image

UNREADABLE = r"image: expected (a readable image file|one that can be decoded)"


@pytest.fixture
def small() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def test_rgb_array_is_taken_as_it_is(small) -> None:
    assert np.shares_memory(read_image(small), small)
    assert np.array_equal(read_image(small), small)


def test_bgr_array_is_reversed(small) -> None:
    assert np.array_equal(read_image(small, bgr=True), small[..., ::-1])


@pytest.mark.parametrize("bgr", [False, True])
def test_grey_is_repeated(small, bgr) -> None:
    grey = small[..., 0]
    expected = np.stack([grey] * 3, -1)
    assert np.array_equal(read_image(grey, bgr=bgr), expected)
    assert np.array_equal(read_image(grey[..., None], bgr=bgr), expected)


@pytest.mark.parametrize("bgr", [False, True])
def test_alpha_is_dropped(small, bgr) -> None:
    rgba = np.dstack([small[..., ::-1] if bgr else small, np.zeros((5, 7), np.uint8)])
    assert np.array_equal(read_image(rgba, bgr=bgr), small)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-2],
        lambda a: a[..., ::-1],
        lambda a: a.transpose(1, 0, 2),
        np.asfortranarray,
    ],
)
def test_any_strides(small, view) -> None:
    strided = view(small)
    result = read_image(strided)
    assert result.flags.c_contiguous
    assert np.array_equal(result, strided)


def test_input_is_not_changed(small) -> None:
    before = small.copy()
    small.setflags(write=False)
    for bgr in (False, True):
        read_image(small, bgr=bgr)
        read_image(small[..., :1], bgr=bgr)
    assert np.array_equal(small, before)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa"])
def test_pil_modes(small, mode) -> None:
    colour = Image.fromarray(small)
    # Pillow reaches some modes only by way of another.
    converted = colour.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, mode)).convert(mode)
    result = read_image(converted)
    assert result.shape == (5, 7, 3)
    assert result.dtype == np.uint8
    if mode in ("RGB", "RGBA", "RGBX", "RGBa"):
        assert np.array_equal(result, small)


def test_palette_with_transparency(small) -> None:
    palette = Image.fromarray(small).quantize(8)
    expected = np.asarray(palette.convert("RGB"))
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=bytes([0, 128, 255]))
    buffer.seek(0)
    with Image.open(buffer) as reopened:
        assert np.array_equal(read_image(reopened), expected)


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_pil_modes_without_known_range(mode) -> None:
    with pytest.raises(ImageError, match=r"image: expected 8 bits per channel, got a PIL image of mode"):
        read_image(Image.new(mode, (4, 4)))


def test_pil_image_that_cannot_be_decoded(tmp_path) -> None:
    data = _encoded("PNG")
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "half.png") as opened, pytest.raises(ImageError, match="decoded and converted to RGB"):
        read_image(opened)


def test_pil_image_without_pixels() -> None:
    with pytest.raises(ImageError, match="at least one pixel"):
        read_image(Image.new("RGB", (0, 4)))


@pytest.mark.parametrize("kind", [str, Path])
def test_path(tmp_path, small, kind) -> None:
    Image.fromarray(small).save(tmp_path / "photo.png")
    assert np.array_equal(read_image(kind(tmp_path / "photo.png")), small)
    assert np.array_equal(read_image(kind(tmp_path / "photo.png"), bgr=True), small)  # files know their order


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a.transpose(1, 0, 2)[::-1, ::-1]),
        (8, np.rot90),
    ],
)
def test_exif_orientation_of_files(tmp_path, small, orientation, turned) -> None:
    stored = Image.fromarray(small)
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png"), turned(small))
    with Image.open(tmp_path / "turned.png") as opened:
        assert np.array_equal(read_image(opened), turned(small))
        assert np.array_equal(np.asarray(opened), small), "the caller's image is not turned"
        assert np.array_equal(read_image(ImageOps.exif_transpose(opened)), turned(small))


@pytest.mark.parametrize("value", [0, 9, 2**16 - 1])
def test_orientations_that_do_not_exist(tmp_path, small, value) -> None:
    stored = Image.fromarray(small)
    exif = stored.getexif()
    exif[0x0112] = value
    stored.save(tmp_path / "odd.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "odd.png"), small)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_encoded_images(tmp_path, small, kind) -> None:
    stored = Image.fromarray(small)
    exif = stored.getexif()
    exif[0x0112] = 8
    stored.save(tmp_path / "photo.png", exif=exif)
    content = (tmp_path / "photo.png").read_bytes()
    assert np.array_equal(read_image(kind(content)), np.rot90(small))
    with (tmp_path / "photo.png").open("rb") as file:
        assert np.array_equal(read_image(file), np.rot90(small))
        assert not file.closed


def test_file_that_cannot_seek(tmp_path, small) -> None:
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "PNG")
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        writer.write(buffer.getvalue())
        writer.close()
        assert np.array_equal(read_image(reader), small)


def test_encoded_images_that_are_none(tmp_path) -> None:
    for content in (b"", bytearray(b"not an image"), memoryview(bytes(99)), io.BytesIO(b"x")):
        with pytest.raises(ImageError, match=UNREADABLE) as caught:
            read_image(content)
        assert "0x" not in str(caught.value), "no addresses of objects"
    (tmp_path / "file").write_text("text")
    with (tmp_path / "file").open() as file, pytest.raises(ImageError, match="a binary file, got one that reads str"):
        read_image(file)
    with (tmp_path / "file").open("rb") as file:
        pass
    with pytest.raises(ImageError, match="closed file"):
        read_image(file)
    with pytest.raises(ImageError, match="a file or bytes that can be read, got TypeError"):
        read_image(io.BytesIO)  # the class


class Failing:
    """Raises what no part of Python does, as clients of servers and plugins of Pillow do."""

    def __call__(self, *_: object) -> bytes:
        raise RuntimeError("half a frame")

    read = __call__


def test_errors_of_all_kinds_are_of_the_image(tmp_path, small, monkeypatch) -> None:
    with pytest.raises(ImageError, match="half a frame"):
        read_image(Failing())
    Image.fromarray(small).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as closed:
        pass
    with pytest.raises(ImageError, match="expected one that can be decoded"):
        read_image(closed)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", Failing())
    with pytest.raises(ImageError, match="half a frame"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("bgr", [None, "yes", [], np.array([]), 2])
def test_bgr_is_a_truth_value(small, bgr) -> None:
    with pytest.raises(ImageError, match="bgr: expected True or False, got"):
        read_image(small, bgr=bgr)


class TestSixteenBits:
    deep = np.array([[0, 257, 32896], [65535, 1000, 128]], np.uint16)

    def test_full(self, tmp_path) -> None:
        Image.fromarray(self.deep).save(tmp_path / "deep.png")
        expected = np.rint(self.deep / 65535.0 * 255).astype(np.uint8)
        for given in (tmp_path / "deep.png", Image.fromarray(self.deep), self.deep, self.deep[..., None]):
            result = read_image(given, scale_16bit="full")
            assert result.dtype == np.uint8
            assert np.array_equal(result, np.repeat(expected[..., None], 3, 2))

    def test_stretch(self, tmp_path) -> None:
        values = (self.deep // 100 + 300).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "deep.tif")
        wide = values.astype(np.float64) - values.min()
        expected = np.repeat(np.rint(wide / wide.max() * 255).astype(np.uint8)[..., None], 3, 2)
        for given in (tmp_path / "deep.tif", values, Image.fromarray(values.astype(np.float32))):
            assert np.array_equal(read_image(given, scale_16bit="stretch"), expected)
        assert not read_image(np.full((2, 2), 7, np.uint16), scale_16bit="stretch").any()

    def test_colours_and_their_order(self) -> None:
        deep = np.random.default_rng(0).integers(0, 65536, (4, 5, 4)).astype(np.uint16)
        expected = np.rint(deep[..., :3] / 65535.0 * 255).astype(np.uint8)
        assert np.array_equal(read_image(deep, scale_16bit="full"), expected)
        assert np.array_equal(read_image(deep, scale_16bit="full", bgr=True), expected[..., ::-1])

    def test_eight_bits_stay(self, small) -> None:
        for how in ("full", "stretch"):
            assert np.array_equal(read_image(small, scale_16bit=how), small)

    def test_what_cannot_be_scaled(self) -> None:
        for image, how, message in (
            (Image.fromarray(np.array([[1.0, np.nan]], np.float32)), "stretch", "expected finite values"),
            (Image.fromarray(np.array([[1, 70_000]], np.int32)), "full", "expected values from 0 to 65535"),
            (self.deep, "half", "scale_16bit: expected 'full', 'stretch' or None, got 'half'"),
            (self.deep, None, "scale_16bit='full' or 'stretch'"),
            (Image.fromarray(self.deep), None, "scale_16bit='full' or 'stretch'"),
        ):
            with pytest.raises(ImageError, match=message):
                read_image(image, scale_16bit=how)  # type: ignore[arg-type]


BAD_ARRAYS = {
    "float": (np.zeros((4, 4, 3)), "got shape (4, 4, 3), dtype float64; for values in 0..1"),
    "float32": (np.zeros((4, 4, 3), np.float32), "dtype float32"),
    "16 bits": (np.zeros((4, 4, 3), np.uint16), "dtype uint16; for 16 bits use"),
    "signed": (np.zeros((4, 4, 3), np.int64), "dtype int64"),
    "bool": (np.zeros((4, 4), bool), "dtype bool"),
    "object": (np.array([[None]]), "dtype object"),
    "no rows": (np.zeros((0, 4, 3), np.uint8), "expected at least one pixel, got shape (0, 4, 3)"),
    "no columns": (np.zeros((4, 0), np.uint8), "expected at least one pixel"),
    "no channels": (np.zeros((4, 4, 0), np.uint8), "expected at least one pixel"),
    "no axes": (np.array(3, np.uint8), "got shape ()"),
    "one axis": (np.zeros(4, np.uint8), "got shape (4,)"),
    "batch": (np.zeros((2, 4, 4, 3), np.uint8), "pass list(images) for a batch"),
    "two channels": (np.zeros((5, 4, 2), np.uint8), "expected 1, 3 or 4 channels, got shape (5, 4, 2), dtype uint8"),
    "five channels": (np.zeros((6, 4, 5), np.uint8), "expected 1, 3 or 4 channels"),
    "channels first": (np.zeros((3, 20, 30), np.uint8), "channels come last: image.transpose(1, 2, 0)"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(name) -> None:
    array, message = BAD_ARRAYS[name]
    with pytest.raises(ImageError) as caught:
        read_image(array)
    assert str(caught.value).startswith("image: expected")
    assert message in str(caught.value)


@pytest.mark.parametrize("thing", [None, 3, {"image": 1}, [[1, 2], [3, 4]]])
def test_things_that_are_no_images(thing) -> None:
    with pytest.raises(
        ImageError,
        match="image: expected a path, an encoded image, a PIL image or a uint8 array H x W x 3, got builtins",
    ):
        read_image(thing)


def test_tensor_gets_a_hint() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ImageError, match=r"got torch.Tensor; use tensor.permute\(1, 2, 0\)"):
        read_image(torch.zeros(3, 4, 4))


def test_missing_file(tmp_path) -> None:
    with pytest.raises(ImageError, match=r"image: expected the path of an image, got '.*nowhere.jpg', which does not"):
        read_image(tmp_path / "nowhere.jpg")


def test_folder(tmp_path) -> None:
    with pytest.raises(ImageError, match=UNREADABLE):
        read_image(tmp_path)


def _encoded(kind: str) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
def test_truncated_files(tmp_path, kind) -> None:
    data = _encoded(kind)
    (tmp_path / "half").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=UNREADABLE):
        read_image(tmp_path / "half")


@pytest.mark.parametrize("content", [b"", b"not an image at all", bytes(1000)])
def test_files_that_are_no_images(tmp_path, content) -> None:
    (tmp_path / "file.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=UNREADABLE):
        read_image(tmp_path / "file.jpg")


def test_damaged_png_chunk(tmp_path) -> None:
    data = bytearray(_encoded("PNG"))
    data[40] ^= 0xFF
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "damaged.png").write_bytes(data)
    with pytest.raises(ImageError, match=UNREADABLE):
        read_image(tmp_path / "damaged.png")


def test_16_bit_file(tmp_path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ImageError, match=r"expected 8 bits per channel.* in '.*deep.png'"):
        read_image(tmp_path / "deep.png")


def test_decompression_bomb(tmp_path, monkeypatch, small) -> None:
    Image.fromarray(small).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8)
    with pytest.raises(ImageError, match=r"expected no more pixels than the limit \(.*\), got 35 pixels in"):
        read_image(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(ImageError, match="35 pixels"):
        read_image(tmp_path / "bomb.png")  # Pillow warns, and tests make errors of warnings


def test_error_is_also_a_value_error() -> None:
    assert issubclass(ImageError, ValueError)
    assert issubclass(ImageError, EvsamError)
