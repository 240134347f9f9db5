"""The C interface as another project gets it: built, installed, found by CMake, and with the answers of Python."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

import evsam
from evsam.record import write_record
from evsam.weights import expected_tensors, resolve, save_weights
from evsam.weights.files import read_tensor_file, write_tensor_file
from evsam.zoo import VARIANTS, Block
from tests.builds import ROOT, cpu_build, run, tool
from tests.documents import blocks
from tests.own_variants import NANO_LIKE, SAM_LIKE, own_weights
from tests.sdk.prompt_cases import ORIGINAL, prompt_cases

BOX = (5, 0, 420, 300)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> Path:
    """Where the library is installed."""
    prefix: Path = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", cpu_build(), "--component", "library", "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def sam() -> Iterator[evsam.Sam]:
    with evsam.load("nano", engine="native") as model:
        yield model


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(ROOT / "examples" / "cat.jpg") as file:
        return np.array(file.convert("RGB"))


def test_only_the_interface_is_installed(prefix) -> None:
    headers = {path.relative_to(prefix).as_posix() for path in (prefix / "include").rglob("*.*")}
    assert headers == {"include/evsam/evsam.h", "include/evsam/evsam.hpp"}


@pytest.fixture(scope="module", params=["shared", "static"])
def programs(prefix, request, tmp_path_factory) -> Path:
    """Where the examples are, linked with one library or the other."""
    folder: Path = tmp_path_factory.mktemp("examples")
    run("cmake", "-S", ROOT / "examples" / "cpp", "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DEVSAM_EXAMPLE_STATIC={'ON' if request.param == 'static' else 'OFF'}",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror")  # fmt: skip
    run("cmake", "--build", folder)
    return folder


def test_example(programs, sam, photo, tmp_path) -> None:
    Image.fromarray(photo).save(tmp_path / "cat.ppm")
    names = [tmp_path / name for name in ("cat.ppm", "mask.pgm", "overlay.ppm")]
    output = run(programs / "segment", resolve("nano"), names[0], *BOX, *names[1:])
    expected = sam.predict(photo, box=BOX)
    mask = expected.masks[0, 0]
    assert f"{mask.sum()} pixels" in output
    assert float(output.split("score ")[1].split(",")[0]) == pytest.approx(float(expected.scores[0, 0]), abs=1e-5)
    with Image.open(names[1]) as file:
        assert np.array_equal(np.asarray(file), np.where(mask, 255, 0))
    with Image.open(names[2]) as file:
        drawn = np.asarray(file)
    assert np.array_equal((drawn != photo).any(-1) & ~mask, np.zeros_like(mask))

    def fails(*arguments: object) -> str:
        command = [programs / "segment", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == (1 if len(arguments) == 7 else 2)
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "mask.pgm: expected a binary PPM file" in fails(resolve("nano"), names[1], 1, 1, 9, 9, "out.pgm")
    assert "expected numbers, got '9px'" in fails(resolve("nano"), names[0], 1, 1, 9, "9px", "out.pgm")
    assert "expected numbers, got ''" in fails(resolve("nano"), names[0], "", 1, 9, 9, "out.pgm")
    assert "expected x0 < x1" in fails(resolve("nano"), names[0], 9, 1, 1, 9, "out.pgm")
    assert "no.ppm" in fails(resolve("nano"), "no.ppm", 1, 1, 9, 9, "out.pgm")
    assert "no.safetensors" in fails("no.safetensors", names[0], 1, 1, 9, 9, "out.pgm")
    assert "nothing/out.pgm: cannot be written" in fails(resolve("nano"), names[0], 1, 1, 9, 9, "nothing/out.pgm")
    assert "usage: segment WEIGHTS" in fails(resolve("nano"), names[0], 1, 1, 9)

    found = sam.segment_everything(photo, points_per_side=6)
    output = run(programs / "everything", resolve("nano"), names[0], tmp_path / "labels.ppm", 6)
    assert f"\n{len(found)} masks\n1: {found[0].area} pixels in {' '.join(map(str, found[0].box))}, pred" in output
    with Image.open(tmp_path / "labels.ppm") as file:
        colours = np.asarray(file)
    labels = found.label_map()
    assert np.array_equal(colours.any(-1), labels > 0)
    assert len({tuple(colours[labels == label][0]) for label in np.unique(labels)}) == len(np.unique(labels)) > 2


def test_tutorial(prefix, sam, photo, tmp_path) -> None:
    """docs/tutorials/cpp.md: its files, its commands, in a folder of their own."""
    files = {"cmake": "CMakeLists.txt", "cpp": "cutout.cpp"}
    there = [block for block in blocks("docs/tutorials/cpp.md") if block.mark.endswith("::test_tutorial")]
    assert [block.language for block in there] == ["cmake", "cpp", "sh"]
    for block in there[:2]:
        (tmp_path / files[block.language]).write_text(block.code)
    Image.fromarray(photo).save(tmp_path / "cat.ppm")
    shutil.copy(resolve("nano"), tmp_path / "nano.safetensors")
    commands = there[2].code.replace("$HOME/evsam", str(prefix))
    output = run("bash", "-ec", f"cd {shlex.quote(str(tmp_path))}\n{commands}", CXXFLAGS="-Wall -Wextra -Werror")
    with evsam.load("nano", precision="fast") as fast:
        expected = fast.predict(photo, boxes=[BOX, (60, 60, 180, 150)])
    for line, area in zip(output.splitlines()[-2:], expected.areas, strict=True):
        assert line.startswith(f"{area} pixels, score "), output


def moving(photo: np.ndarray, count: int) -> list[np.ndarray]:
    """Frames through which the photo moves to the left and upwards."""
    height, width = photo.shape[0] - 40, photo.shape[1] - 80
    return [np.ascontiguousarray(photo[3 * i :][:height, 6 * i :][:, :width]) for i in range(count)]


COUNTER = """
#include "allocations.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>

extern "C" int fflush(std::FILE* file) {  // once a frame
  static const auto real = reinterpret_cast<int (*)(std::FILE*)>(dlsym(RTLD_NEXT, "fflush"));
  const int result = real(file);
  char line[32];  // dprintf() would allocate
  std::snprintf(line, sizeof(line), "%ld\\n", static_cast<long>(evsam::test::allocations));
  static_cast<void>(!write(2, line, std::strlen(line)));
  return result;
}
"""


def test_track_example(programs, sam, photo, tmp_path) -> None:
    frames = moving(photo, 9)
    box = (20, 5, 330, 250)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:05d}.ppm")
    lines = run(programs / "track", resolve("nano"), folder, *box).splitlines()
    tracker = sam.track(frames[0], box=box)
    assert len(lines) == len(frames) - 1
    for number, line in enumerate(lines, 1):
        track = tracker.step(frames[number])[1]
        expected = f"frame {number}: object 1, box {' '.join(f'{side:.1f}' for side in track.box)}, "
        assert line.startswith(f"{expected}{track.mask.sum()} pixels, score ")
        assert float(line.split("score ")[1].split(",")[0]) == pytest.approx(track.score, abs=1e-4)
        assert line.endswith(", lost") == track.lost

    def fails(*arguments: object) -> str:
        done = subprocess.run([programs / "track", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == (1 if len(arguments) == 6 else 2)
        return done.stderr

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty: expected PPM files, got none" in fails(resolve("nano"), empty, *box)
    assert "usage: track WEIGHTS" in fails(resolve("nano"), folder)
    Image.fromarray(frames[0][:-1]).save(folder / "00004.ppm")
    assert "frame: expected height and width (" in fails(resolve("nano"), folder, *box)
    (folder / "00004.ppm").write_bytes(b"P6\n4 4\n255\n123")
    assert "00004.ppm: expected more pixels" in fails(resolve("nano"), folder, *box)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="counts what goes through glibc")
def test_track_example_allocates_nothing_in_its_loop(programs, photo, tmp_path) -> None:
    for number, frame in enumerate(moving(photo, 12)):
        Image.fromarray(frame).save(tmp_path / f"{number:05d}.ppm")
    source, library = tmp_path / "counter.cpp", tmp_path / "counter.so"
    source.write_text(COUNTER)
    run(tool("c++", "a counter of allocations"), "-std=c++17", "-shared", "-fPIC", f"-I{ROOT / 'csrc' / 'tests'}",
        source, "-o", library, "-ldl")  # fmt: skip
    done = subprocess.run([programs / "track", resolve("nano"), tmp_path, "20", "5", "330", "250"], check=True,
                          capture_output=True, text=True, env={**os.environ, "LD_PRELOAD": str(library)})  # fmt: skip
    counts = [int(line) for line in done.stderr.split()][:11]  # at its end the program flushes more
    assert len(counts) == len(done.stdout.splitlines()) == 11
    assert 0 < counts[2] == counts[-1]


class CPrompts(ctypes.Structure):
    """``evsam_prompts``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("count", ctypes.c_int64),
        ("points_each", ctypes.c_int64),
        ("points", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("boxes", ctypes.c_void_p),
        ("masks", ctypes.c_void_p),
        ("multimask", ctypes.c_int32),
    ]


PROMPTS: dict[str, dict[str, Any]] = {
    "click": {"points": [(200, 100)]},
    "clicks": {"points": [(200.25, 100.5), (424, 148)], "labels": [1, 0]},
    "box": {"boxes": [BOX]},
    "clipped boxes": {"boxes": [(-0.75, -1, 451.5, 301), (385, 40, 450, 280)]},
    "boxes and clicks": {"boxes": [BOX, (0, 0, 90, 90)], "points": [[(200, 100)], [(30, 30)]], "labels": [[1], [0]]},
    "clicks of some": {"points": [[(200, 100), (9, 9)], [(30, 30), (0, 0)]], "labels": [[1, 0], [1, -1]]},
    "many clicks": {"points": [[(3 * i, 2 * i)] for i in range(20)]},
    "mask": {"mask": np.linspace(-8, 8, 65536, dtype=np.float32).reshape(1, 256, 256)},
    "mask and click beside it": {
        "mask": np.where(np.arange(65536).reshape(1, 256, 256) % 256 < 99, np.float32(3), np.float32(-3)),
        "points": [[(300, 90)]],
        "labels": [[0]],
    },
    "mask and click": {"mask": np.full((1, 256, 256), 3, np.float32), "points": [(60, 40)], "multimask": True},
}


@pytest.fixture(scope="module")
def library(prefix) -> ctypes.CDLL:
    suffix = "dylib" if sys.platform == "darwin" else "so"
    made = ctypes.CDLL(str(next(prefix.glob(f"lib*/libevsam.{suffix}"))))
    made.evsam_last_error.restype = ctypes.c_char_p
    return made


@pytest.fixture(scope="module")
def handles(library, photo) -> Iterator[tuple[ctypes.c_void_p, ctypes.c_void_p]]:
    model, embedding = ctypes.c_void_p(), ctypes.c_void_p()
    height, width = photo.shape[:2]
    sizes = [ctypes.c_int64(n) for n in (height, width, 3 * width)]
    assert library.evsam_load(os.fsencode(resolve("nano")), None, None, ctypes.byref(model)) == 0
    assert library.evsam_embedding_create(model, ctypes.byref(embedding)) == 0
    assert library.evsam_encode(model, photo.ctypes.data_as(ctypes.c_void_p), *sizes, embedding) == 0
    yield model, embedding
    library.evsam_embedding_free(embedding)
    library.evsam_free(model)


DTYPES = {"points": np.float32, "labels": np.int32, "boxes": np.float32, "mask": np.float32}


def c_prompts(given: dict[str, Any], count: int) -> tuple[CPrompts, dict[str, np.ndarray]]:
    """The structure, and the arrays that it points to."""
    arrays = {name: np.ascontiguousarray(given[name], dtype) for name, dtype in DTYPES.items() if name in given}
    pointers = [arrays[name].ctypes.data if name in arrays else None for name in DTYPES]
    each = arrays["points"].shape[-2] if "points" in arrays else 0
    multimask = int(given.get("multimask", False))
    return CPrompts(ctypes.sizeof(CPrompts), count, each, *pointers, multimask), arrays


@pytest.mark.parametrize("kind", PROMPTS)
def test_same_answers_as_python(library, handles, sam, photo, kind) -> None:
    given = PROMPTS[kind]
    expected = sam.predict(photo, **given)
    prompts, _arrays = c_prompts(given, expected.masks.shape[0])
    shape = (ctypes.c_int64 * 4)()
    assert library.evsam_prediction_shape(handles[1], ctypes.byref(prompts), shape) == 0
    assert tuple(shape) == expected.masks.shape
    masks, scores, logits = (
        np.empty(tuple(shape), np.uint8),
        np.empty_like(expected.scores),
        np.empty_like(expected.logits),
    )
    outputs = [array.ctypes.data_as(ctypes.c_void_p) for array in (masks, scores, logits)]
    status = library.evsam_predict(*handles, ctypes.byref(prompts), *outputs)
    assert status == 0, library.evsam_last_error()
    assert np.array_equal(logits, expected.logits)
    assert np.array_equal(scores, expected.scores)
    assert np.array_equal(masks.astype(bool), expected.masks)


class CEverythingOptions(ctypes.Structure):
    """``evsam_everything_options``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("mode", ctypes.c_int32),
        ("points_per_side", ctypes.c_int64),
        ("points_per_batch", ctypes.c_int64),
        ("pred_iou_thresh", ctypes.c_double),
        ("stability_score_thresh", ctypes.c_double),
        ("stability_score_offset", ctypes.c_double),
        ("box_nms_thresh", ctypes.c_double),
        ("crop_n_layers", ctypes.c_int64),
        ("crop_nms_thresh", ctypes.c_double),
        ("crop_overlap_ratio", ctypes.c_double),
        ("crop_n_points_downscale_factor", ctypes.c_int64),
        ("min_mask_region_area", ctypes.c_int64),
        ("progress", ctypes.c_void_p),
        ("user", ctypes.c_void_p),
        ("point_grid_count", ctypes.c_int64),
        ("point_grid_sizes", ctypes.c_void_p),
        ("point_grids", ctypes.c_void_p),
    ]


class CImage(ctypes.Structure):
    """``evsam_image``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("pixels", ctypes.c_void_p),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("row_bytes", ctypes.c_int64),
        ("format", ctypes.c_int32),
    ]


class CSegment(ctypes.Structure):
    """``evsam_segment``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("box", ctypes.c_int64 * 4),
        ("area", ctypes.c_int64),
        ("predicted_iou", ctypes.c_float),
        ("stability_score", ctypes.c_float),
        ("point", ctypes.c_double * 2),
        ("crop_box", ctypes.c_int64 * 4),
        ("counts_length", ctypes.c_int64),
        ("counts", ctypes.POINTER(ctypes.c_int64)),
        ("rle", ctypes.c_char_p),
    ]


GRID = np.random.default_rng(0).random((12, 2))

EVERYTHING: dict[str, dict[str, Any]] = {
    "default": {"points_per_side": 8},
    "exact": {"points_per_side": 6, "mode": "exact", "points_per_batch": 7, "stability_score_thresh": 0.7},
    "crops": {
        "points_per_side": 4,
        "crop_n_layers": 1,
        "crop_overlap_ratio": 0.2,
        "crop_nms_thresh": 0.5,
        "box_nms_thresh": 0.6,
        "min_mask_region_area": 30,
        "crop_n_points_downscale_factor": 2,
        "pred_iou_thresh": 0.5,
        "stability_score_offset": 0.5,
    },
    "points": {"point_grids": [GRID], "pred_iou_thresh": 0.1, "stability_score_thresh": 0.1},
    "points of crops": {"point_grids": [GRID, GRID[::3]], "crop_n_layers": 1, "mode": "exact"},
}


@pytest.mark.parametrize("kind", EVERYTHING)
def test_everything_as_in_python(library, handles, sam, photo, kind) -> None:
    given = EVERYTHING[kind]
    expected = sam.segment_everything(photo, **given)
    assert len(expected) > 1
    options = CEverythingOptions(ctypes.sizeof(CEverythingOptions), given.get("mode") == "exact")
    for name, value in given.items():
        if name not in ("mode", "point_grids"):
            setattr(options, name, value)
    grids = [np.ascontiguousarray(grid) for grid in given.get("point_grids", ())]
    sizes = (ctypes.c_int64 * len(grids))(*map(len, grids))
    starts = (ctypes.c_void_p * len(grids))(*(grid.ctypes.data for grid in grids))
    options.point_grid_count = len(grids)
    options.point_grid_sizes, options.point_grids = ctypes.addressof(sizes), ctypes.addressof(starts)
    bgra = np.ascontiguousarray(np.dstack([photo[..., ::-1], photo[..., :1]]))
    image = CImage(ctypes.sizeof(CImage), bgra.ctypes.data, *photo.shape[:2], 0, 3)
    model, embedding = handles
    segments = ctypes.c_void_p()
    library.evsam_segments_count.restype = ctypes.c_int64
    for by_image in (True, False) if "crops" not in kind else (True,):
        one, other = (ctypes.byref(image), None) if by_image else (None, embedding)
        status = library.evsam_everything(model, one, other, ctypes.byref(options), ctypes.byref(segments))
        assert status == 0, library.evsam_last_error()
        assert library.evsam_segments_count(segments) == len(expected)
        for index, wanted in enumerate(expected):
            got = CSegment(ctypes.sizeof(CSegment))
            assert library.evsam_segments_get(segments, ctypes.c_int64(index), ctypes.byref(got)) == 0
            assert got.rle.decode() == wanted.rle["counts"]
            assert (tuple(got.box), got.area) == (wanted.box, wanted.area)
            assert (tuple(got.point), tuple(got.crop_box)) == (wanted.point, wanted.crop_box)
            scores = (got.predicted_iou, got.stability_score)
            assert scores == (np.float32(wanted.predicted_iou), np.float32(wanted.stability_score))
            painted = np.zeros(photo.shape[:2], np.uint8)
            arguments = (ctypes.c_int64(index), ctypes.c_uint8(1), painted.ctypes.data_as(ctypes.c_void_p))
            assert library.evsam_segments_paint(segments, *arguments, ctypes.c_int64(0)) == 0
            assert np.array_equal(painted.view(bool), wanted.mask)
        labels = np.full(photo.shape[:2], -1, np.int32)
        assert library.evsam_segments_labels(segments, labels.ctypes.data_as(ctypes.c_void_p)) == 0
        assert np.array_equal(labels, expected.label_map())
        library.evsam_segments_free(segments)


class CTrack(ctypes.Structure):
    """``evsam_track``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("id", ctypes.c_int64),
        ("lost", ctypes.c_int64),
        ("score", ctypes.c_float),
        ("box", ctypes.c_float * 4),
    ]


class CTrackerOptions(ctypes.Structure):
    """``evsam_tracker_options``."""

    _fields_: ClassVar = [("struct_size", ctypes.c_size_t), ("window", ctypes.c_float)]


@pytest.mark.parametrize("window", [None, 1])
def test_tracker_as_in_python(library, handles, sam, photo, window) -> None:
    """Three objects, shown by each kind of prompt; the second half of the frames by a tracker that was restored."""
    model = handles[0]
    frames = moving(photo, 6)
    frames += [np.full_like(frames[0], 90)] * 2  # where nothing is to be seen
    size = frames[0].shape[:2]
    left = np.arange(65536).reshape(256, 256) % 256 < 99
    shown: list[dict[str, Any]] = [
        {"box": (20, 5, 330, 250)},
        {"points": [(150, 120)], "labels": [1]},
        {"mask": np.where(left, np.float32(3), np.float32(-3))},
    ]
    if window is not None:  # in frames that are large enough for one
        frames = [np.pad(frame, ((0, 300), (150, 300), (0, 0)), mode="reflect") for frame in frames]
        size = frames[0].shape[:2]
        shown = [{"box": (170, 5, 480, 250)}]
    expected = sam.track(frames[0], window=window, **shown[0])
    tracker, identity = ctypes.c_void_p(), ctypes.c_int64(0)
    options = CTrackerOptions(ctypes.sizeof(CTrackerOptions), window or 0)
    assert library.evsam_tracker_create(model, ctypes.byref(options), ctypes.byref(tracker)) == 0
    first = CImage(ctypes.sizeof(CImage), frames[0].ctypes.data, *size, 0, 0)
    for number, given in enumerate(shown, 1):
        if number > 1:
            assert expected.add(frames[0], **given) == number
        named = {"boxes" if name == "box" else name: value for name, value in given.items()}
        prompts, _arrays = c_prompts(named, 1)
        identity.value = 0
        arguments = (tracker, ctypes.byref(first), None, ctypes.byref(prompts), ctypes.byref(identity))
        assert library.evsam_tracker_add(*arguments) == 0, library.evsam_last_error()
        assert identity.value == number
    lost = 0
    for number, frame in enumerate(frames[1:]):
        tracks = expected.step(frame)
        image = CImage(ctypes.sizeof(CImage), frame.ctypes.data, *size, 0, 0)
        assert library.evsam_tracker_step(tracker, ctypes.byref(image), None) == 0, library.evsam_last_error()
        for identity.value, wanted in tracks.items():
            got = CTrack(ctypes.sizeof(CTrack))
            mask = np.full(size, 7, np.uint8)
            assert library.evsam_tracker_get(tracker, identity, ctypes.byref(got)) == 0
            assert library.evsam_tracker_mask(tracker, identity, mask.ctypes.data_as(ctypes.c_void_p)) == 0
            assert (got.id, got.lost > 0, got.score) == (wanted.id, wanted.lost, np.float32(wanted.score))
            assert np.array_equal(mask, wanted.mask.astype(np.uint8))
            assert np.array_equal(np.array(got.box), wanted.box)
            lost += wanted.lost
        labels = np.full(size, -1, np.int32)
        assert library.evsam_tracker_labels(tracker, labels.ctypes.data_as(ctypes.c_void_p)) == 0
        assert np.array_equal(labels, tracks.label_map())
        if number == 2:
            bytes_ = ctypes.c_int64()
            assert library.evsam_tracker_save(tracker, None, ctypes.byref(bytes_)) == 0
            state = np.zeros(bytes_.value, np.uint8)
            data = state.ctypes.data_as(ctypes.c_void_p)
            assert library.evsam_tracker_save(tracker, data, ctypes.byref(bytes_)) == 0
            library.evsam_tracker_free(tracker)
            assert library.evsam_tracker_restore(model, data, bytes_, ctypes.byref(tracker)) == 0
    assert 0 < lost < 3 * len(frames)
    library.evsam_tracker_free(tracker)


def test_states_of_other_models_are_refused(library, handles, tmp_path) -> None:
    file = read_tensor_file(resolve("nano"))
    record = {"evsam.variant": file.metadata["evsam.variant"]}
    name = next(name for name in file.tensors if name.startswith("image_encoder.") and name.endswith(".bias"))
    changed = np.array(file.tensors[name])
    changed.flat[-1] += 1
    path = tmp_path / "changed.safetensors"
    write_tensor_file(path, {**file.tensors, name: changed}, record)
    status, other = load(library, path, None)
    assert status == 0
    tracker, size = ctypes.c_void_p(), ctypes.c_int64(1000)
    state = np.zeros(1000, np.uint8).ctypes.data_as(ctypes.c_void_p)
    assert library.evsam_tracker_create(handles[0], None, ctypes.byref(tracker)) == 0
    assert library.evsam_tracker_save(tracker, state, ctypes.byref(size)) == 0
    library.evsam_tracker_free(tracker)
    assert library.evsam_tracker_restore(other, state, size, ctypes.byref(tracker)) == 1
    message = "state: expected that of a tracker of nano with this encoder, got one of another model"
    assert library.evsam_last_error().decode() == message
    assert library.evsam_tracker_restore(handles[0], state, size, ctypes.byref(tracker)) == 0
    library.evsam_tracker_free(tracker)
    library.evsam_free(other)


def test_same_rules_as_python(library, handles) -> None:
    """Every case that has as many prompts of each kind, which is all that the C interface can say."""
    model, embedding = handles[0], ctypes.c_void_p()
    assert library.evsam_embedding_create(model, ctypes.byref(embedding)) == 0
    image = np.zeros((*ORIGINAL, 3), np.uint8)
    sizes = [ctypes.c_int64(n) for n in (*ORIGINAL, 3 * ORIGINAL[1])]
    assert library.evsam_encode(model, image.ctypes.data_as(ctypes.c_void_p), *sizes, embedding) == 0
    refused = 0
    for case in prompt_cases():
        counts = {len(array) for array in case.given.values()} or {1}  # of 0 prompts there is nothing to refuse
        if len(counts) > 1:
            continue
        prompts, _arrays = c_prompts(case.given, counts.pop())
        shape = (ctypes.c_int64 * 4)()
        if case.message is None:
            assert library.evsam_prediction_shape(embedding, ctypes.byref(prompts), shape) == 0, case.line
            assert shape[1] == (3 if case.ambiguous else 1), case.line
        assert (library.evsam_predict(model, embedding, ctypes.byref(prompts), None, None, None) == 0) == (
            case.message is None
        ), case.line
        if case.message is not None:
            assert library.evsam_last_error().decode() == case.message
            refused += 1
    assert refused > 20
    library.evsam_embedding_free(embedding)


def load(library, path: Path, name: str | None) -> tuple[int, ctypes.c_void_p]:
    model = ctypes.c_void_p()
    status = library.evsam_load(os.fsencode(path), None if name is None else name.encode(), None, ctypes.byref(model))
    return status, model


def answer(library, path: Path, photo: np.ndarray) -> tuple[int, str]:
    """Status and message of the first of loading, encoding and predicting that fails."""
    status, model = load(library, path, None)
    if status == 0:
        embedding = ctypes.c_void_p()
        height, width = photo.shape[:2]
        sizes = [ctypes.c_int64(n) for n in (height, width, 3 * width)]
        assert library.evsam_embedding_create(model, ctypes.byref(embedding)) == 0
        assert library.evsam_encode(model, photo.ctypes.data_as(ctypes.c_void_p), *sizes, embedding) == 0
        prompts, _arrays = c_prompts({"boxes": [BOX]}, 1)
        status = library.evsam_predict(model, embedding, ctypes.byref(prompts), None, None, None)
        library.evsam_embedding_free(embedding)
        library.evsam_free(model)
    return status, library.evsam_last_error().decode() if status else ""


@pytest.mark.parametrize("variant", [SAM_LIKE, NANO_LIKE], ids=lambda variant: variant.name)
@pytest.mark.parametrize("stored", ["F32", "F16", "huge"])
def test_weights_that_are_not_finite(library, photo, tmp_path, variant, stored) -> None:
    bad_weights = 2
    tensors = dict(own_weights(variant).tensors)
    name = "prompt_encoder.point_embeddings.2.weight"
    dtype = np.float16 if stored == "F16" else np.float32
    damaged = np.array(tensors[name], dtype)
    for value in (np.nan, np.inf, -np.inf) if stored != "huge" else (3e38,):
        damaged.flat[7] = value
        path = tmp_path / "damaged.safetensors"
        write_tensor_file(path, {**tensors, name: damaged}, {"evsam.variant": write_record(variant)})
        status, message = answer(library, path, photo)
        assert status == bad_weights
        if stored == "huge":
            assert message == "weights or embedding: expected finite results, got NaN or infinity"
        else:
            assert message == f"{path}: {name}: expected finite numbers, got NaN or infinity"


def test_whose_embeddings_a_model_takes(library, handles, photo, tmp_path) -> None:
    """Those of the same encoder, as in Python, whatever the precision and the decoder; of another one's none."""
    file = read_tensor_file(resolve("nano"))
    record = {"evsam.variant": file.metadata["evsam.variant"]}
    prompts, _arrays = c_prompts({"boxes": [BOX]}, 1)
    score = np.zeros(1, np.float32)
    outputs = (None, score.ctypes.data_as(ctypes.c_void_p), None)

    def predict(path: Path, precision: int = 0) -> int:
        options = (ctypes.c_size_t * 3)(24, precision << 32, 0)  # struct_size; threads and precision; packed_cache
        model = ctypes.c_void_p()
        assert library.evsam_load(os.fsencode(path), None, options, ctypes.byref(model)) == 0
        status: int = library.evsam_predict(model, handles[1], ctypes.byref(prompts), *outputs)
        library.evsam_free(model)
        return status

    assert predict(resolve("nano")) == 0
    expected = score.copy()
    assert predict(resolve("nano"), precision=1) == 0
    assert np.allclose(score, expected, atol=0.02)  # the decoder's own rounding to int8
    for part, status in (("mask_decoder.", 0), ("image_encoder.", 1)):
        name = next(name for name in file.tensors if name.startswith(part) and name.endswith(".bias"))
        changed = np.array(file.tensors[name])
        changed.flat[-1] += 1
        path = tmp_path / "changed.safetensors"
        write_tensor_file(path, {**file.tensors, name: changed}, record)
        assert predict(path) == status
    assert library.evsam_last_error() == b"embedding: expected one of this model's encoder, got one of another"


def test_what_is_no_weights_file(library, tmp_path) -> None:
    bad_weights = 2
    kinds = {
        b"\xff\xd8\xff\xe0\x00\x10JFIF": "a JPEG image",
        b"\x89PNG\r\n\x1a\n": "a PNG image",
        b"version https://git-lfs.github.com/spec/v1\n": "a Git LFS pointer; fetch the file that it stands for",
        b"\n  <!DOCTYPE html><html>": "a web page; the download went wrong",
        b"<Error><Code>AccessDenied": "a web page; the download went wrong",
        b"PK\x03\x04\x00\x00\x08\x08\x00\x00": "a PyTorch checkpoint or another zip archive; `evsam convert`",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j": "a PyTorch checkpoint of an old format; `evsam convert`",
        b'{"name": "nano"}': "a JSON file",
    }
    path = tmp_path / "weights.safetensors"
    for start, kind in kinds.items():
        for content in (start, start + b"x" * 40_000):
            path.write_bytes(content)
            status, _model = load(library, path, "nano")
            assert status == bad_weights
            assert f"{path}: expected a safetensors file, got {kind}" in library.evsam_last_error().decode()
    path.write_bytes(b"\x80\x02\0\0\0\0\0\0" + b"x" * 1000)  # a length, and what should be a header
    assert load(library, path, "nano")[0] == bad_weights
    assert "expected a safetensors header that begins with '{'" in library.evsam_last_error().decode()


@pytest.mark.parametrize(
    ("value", "fails"), [("abc", True), ("2x", True), ("-1", True), ("1e3", True), ("99999999999", True),
                         ("", False), ("0", False), ("3", False)]
)  # fmt: skip
def test_number_of_threads_in_the_environment(value, fails) -> None:
    code = "import evsam; print(evsam.load('nano', engine='native').engine.threads)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={**os.environ, "EVSAM_NUM_THREADS": value},
        capture_output=True,
        text=True,
    )
    if fails:
        expected = f"EVSAM_NUM_THREADS: expected a number of threads, 1 or more, or 0 for all processors, got {value}"
        assert done.returncode == 1
        assert expected in done.stderr
        assert "BackendUnavailable" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) == 3 if value == "3" else int(done.stdout) >= 1


def test_pkg_config_finds_what_was_moved(prefix, tmp_path) -> None:
    """Installed with another --prefix than it was configured with, then moved."""
    moved = tmp_path / "elsewhere"
    shutil.copytree(prefix, moved, symlinks=True)
    (description,) = moved.rglob("evsam.pc")
    text = description.read_text()
    assert str(prefix) not in text
    if (pkg_config := shutil.which("pkg-config")) is None:
        pytest.skip("pkg-config is not installed")
    output = subprocess.run(
        [pkg_config, "--cflags", "--libs", "evsam"], env={**os.environ, "PKG_CONFIG_PATH": str(description.parent)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    flags = {flag[:2]: Path(flag[2:]) for flag in output.split()}
    assert flags["-l"] == Path("evsam")
    assert flags["-I"].resolve() == moved / "include"
    assert next(flags["-L"].glob("libevsam.*")).resolve().is_relative_to(moved)


@pytest.mark.parametrize("variant", [SAM_LIKE, NANO_LIKE], ids=lambda variant: variant.name)
def test_a_variant_that_somebody_made_up(library, photo, tmp_path, variant) -> None:
    path = tmp_path / "own.safetensors"
    save_weights(path, own_weights(variant).tensors, variant)
    status, model = load(library, path, None)
    assert status == 0, library.evsam_last_error()
    library.evsam_variant.restype = ctypes.c_char_p
    assert library.evsam_variant(model) == variant.name.encode()
    embedding = ctypes.c_void_p()
    height, width = photo.shape[:2]
    sizes = [ctypes.c_int64(n) for n in (height, width, 3 * width)]
    assert library.evsam_embedding_create(model, ctypes.byref(embedding)) == 0
    assert library.evsam_encode(model, photo.ctypes.data_as(ctypes.c_void_p), *sizes, embedding) == 0
    with evsam.load(path, engine="native") as own:
        expected = own.predict(photo, boxes=[BOX])
    prompts, _arrays = c_prompts({"boxes": [BOX]}, 1)
    logits = np.empty_like(expected.logits)
    given = (None, None, logits.ctypes.data_as(ctypes.c_void_p))
    assert library.evsam_predict(model, embedding, ctypes.byref(prompts), *given) == 0, library.evsam_last_error()
    assert np.array_equal(logits, expected.logits)
    library.evsam_embedding_free(embedding)
    library.evsam_free(model)


def test_files_of_earlier_versions(library, tmp_path) -> None:
    """Their metadata names a variant, or nothing."""
    path, tensors = tmp_path / "w.safetensors", read_tensor_file(resolve("nano")).tensors
    bad_weights, invalid = 2, 1

    def check(metadata: dict[str, str], name: str | None, status: int, message: str = "") -> None:
        write_tensor_file(path, tensors, metadata)
        got, model = load(library, path, name)
        assert got == status, library.evsam_last_error()
        if status == 0:
            assert library.evsam_variant(model) == b"nano"
            library.evsam_free(model)
        else:
            assert message in library.evsam_last_error().decode()

    library.evsam_variant.restype = ctypes.c_char_p
    check({"evsam.variant": "nano", "evsam.format": "1"}, None, 0)
    check({"evsam.variant": "nano"}, "nano", 0)
    check({}, "nano", 0)
    check({}, None, bad_weights, f"variant: expected a name, for {path} does not tell, got NULL")
    check(
        {}, "l9", invalid, "variant: expected one of nano, l0, l1, l2, xl0, xl1 for a file without a record, got 'l9'"
    )
    check({"evsam.variant": "l9"}, None, bad_weights, f"{path}: variant: expected one of nano, l0")
    check({"evsam.variant": "l0"}, None, bad_weights, f"{path}: image_encoder.")
    check({"evsam.variant": "{}"}, None, bad_weights, f"{path}: variant: expected the field 'name', got none")
    check({"evsam.variant": write_record(VARIANTS["nano"])}, "l0", bad_weights, "expected variant 'l0', got 'nano' in")
    check({"evsam.format": "2"}, "nano", bad_weights, f"{path}: expected format 1, got '2': a newer evsam is needed")


def test_packed_weights_on_disk(library, tmp_path, monkeypatch) -> None:
    """The second time they are read, where EVSAM_CACHE says; the variable decides for callers who do not."""
    wide = (Block("mb", 512, stride=2, expand=1), Block("fmb", 512, expand=4))  # enough to be worth a file
    stages = (*SAM_LIKE.encoder.stages[:3], wide)
    variant = replace(SAM_LIKE, name="own-wide", encoder=replace(SAM_LIKE.encoder, stages=stages))
    path = tmp_path / "wide.safetensors"
    tensors = {name: np.full(shape, 0.01, np.float32) for name, shape in expected_tensors(variant).items()}
    save_weights(path, tensors, variant)
    monkeypatch.setenv("EVSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EVSAM_PACKED_CACHE", raising=False)
    library.evsam_packed_cache_state.restype = ctypes.c_char_p

    def state(packed_cache: int = 0) -> str:
        options = (ctypes.c_size_t * 3)(24, 0, packed_cache)  # struct_size; threads and precision; packed_cache
        model = ctypes.c_void_p()
        assert library.evsam_load(os.fsencode(path), None, options, ctypes.byref(model)) == 0
        text: bytes = library.evsam_packed_cache_state(model)
        found = text.decode()
        library.evsam_free(model)
        return found

    assert state() == "off"
    written = state(1)
    (file,) = (tmp_path / "cache" / "packed").iterdir()
    assert written == f"written: {file}"
    monkeypatch.setenv("EVSAM_PACKED_CACHE", "1")
    assert state() == state(1) == f"read: {file}"
    assert state(2) == "off"
    monkeypatch.setenv("EVSAM_PACKED_CACHE_GIB", "nonsense")
    assert library.evsam_load(os.fsencode(path), None, None, ctypes.byref(ctypes.c_void_p())) == 3
    message = library.evsam_last_error().decode()
    assert message == "EVSAM_PACKED_CACHE_GIB: expected a whole number of GiB, 1 to 1048576, got nonsense"
