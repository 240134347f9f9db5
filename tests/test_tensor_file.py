"""Safetensors files by our own reader and writer, against the format's own library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from evsam import _C
from evsam.weights.files import is_mapped, read_tensor_file, write_tensor_file

DTYPES = (
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
)


def some_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "b": rng.standard_normal((3, 1, 5)).astype(np.float16),
        "a.weight": rng.standard_normal((2, 3)).astype(np.float32),
        "scalar": np.array(1.5, np.float32),
        "empty": np.zeros((4, 0), np.float32),
        'Größe "\\\n 😀': rng.standard_normal(7).astype(np.float16),
    }


def equal(one: Any, other: Any) -> bool:
    return set(one) == set(other) and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and np.array_equal(one[name], other[name])
        for name in one
    )


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "a"
    metadata = {"evsam.variant": "nano", 'Ä\t"': "😀"}
    write_tensor_file(path, some_tensors(), metadata)
    assert equal(load_file(path), some_tensors())
    with safe_open(path, "numpy") as file:
        assert file.metadata() == metadata
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0, "the data is not aligned"


def test_we_read_what_the_library_writes(tmp_path: Path) -> None:
    tensors = {**some_tensors(), **{dtype: np.arange(6).astype(dtype).reshape(2, 3) for dtype in DTYPES}}
    save_file(tensors, tmp_path / "a", {"k": "v", "é": "\n"})
    file = read_tensor_file(tmp_path / "a")
    assert equal(file.tensors, tensors)
    assert file.metadata == {"k": "v", "é": "\n"}
    assert (file.dtypes["float32"], file.dtypes["uint16"], file.dtypes["bool"]) == ("F32", "U16", "BOOL")


def test_round_trip_without_metadata(tmp_path: Path) -> None:
    for tensors in (some_tensors(), {}):
        write_tensor_file(tmp_path / "a", tensors, {})
        file = read_tensor_file(tmp_path / "a")
        assert equal(file.tensors, tensors)
        assert file.metadata == {}


def test_strides_and_byte_order(tmp_path: Path) -> None:
    tensor = np.arange(24, dtype=np.float32).reshape(4, 6)
    write_tensor_file(tmp_path / "a", {"t": tensor.T[::2], "big": tensor.astype(">f4").astype("=f4")}, {})
    assert np.array_equal(load_file(tmp_path / "a")["t"], tensor.T[::2])


@pytest.mark.parametrize("dtype", ["float64", "int32", "bool", ">f4"])
def test_other_dtypes_are_not_written(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(TypeError, match="tensor t: expected float32 or float16, got"):
        write_tensor_file(tmp_path / "a", {"t": np.zeros(3, dtype)}, {})
    assert not (tmp_path / "a").exists()


def test_tensors_are_read_only_views_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensor_file(path, {"x": np.arange(6, dtype=np.float32)}, {})
    tensor = read_tensor_file(path).tensors["x"]
    assert is_mapped(tensor)
    assert is_mapped(tensor[2:].reshape(2, 2))
    with pytest.raises(ValueError, match="read-only"):
        tensor[0] = 1
    assert not is_mapped(tensor.copy())
    assert not is_mapped(np.frombuffer(path.read_bytes(), np.uint8))
    private = np.memmap(path, np.uint8, mode="c")  # what was written to such pages would be lost with them
    private.flags.writeable = False
    assert not is_mapped(np.asarray(private))


@pytest.mark.parametrize(
    ("header", "size", "message"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 7, "within the file's 7 bytes of data"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, 4, "8 bytes for its shape and dtype, got 4"),
        ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, 8, "a whole number"),
        ({"a": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 8]}}, 8, "the end of a whole number"),
        ({"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 8]}}, 8, "a dtype of F64, .* got 'F31'"),
        ({"a": [1, 2]}, 0, "'{' at byte 6"),
        ([1], 0, "begins with '{'"),
    ],
)
def test_damaged_files(tmp_path: Path, header: Any, size: int, message: str) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "a").write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    with pytest.raises(ValueError, match=f"^file: expected (.*)?{message}"):
        read_tensor_file(tmp_path / "a")
    with pytest.raises(SafetensorError):
        load_file(tmp_path / "a")


def test_empty_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(ValueError, match="file: expected a safetensors file, got an empty one"):
        read_tensor_file(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        read_tensor_file(tmp_path / "b")


def test_header_wants_bytes() -> None:
    with pytest.raises(TypeError, match="content: expected contiguous bytes"):
        _C.read_safetensors_header("file", np.zeros((2, 2), np.uint8))
    with pytest.raises(TypeError, match="content: expected contiguous bytes"):
        _C.read_safetensors_header("file", np.zeros(8, np.uint8)[::2])
