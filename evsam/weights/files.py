"""Checksums of files, and safetensors files as named arrays and text metadata."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from evsam import _C

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "F8_E4M3": "<u1",
    "F8_E5M2": "<u1",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "|b1",
}
"""Dtypes of the format, with those of arrays that hold the same bytes."""

_STORED = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16"}

_HEADER_ALIGNMENT = 8

_CHUNK = 1 << 24
"""Bytes read at once."""

Found = TypeVar("Found")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class TensorFile:
    """Content of a safetensors file.

    Attributes:
        tensors: read-only arrays by name, in the file's order: views of the mapped file, whose pages are read when
            touched. bfloat16 is widened to float32; 8-bit floats, which numpy
            lacks, are given as bytes.
        dtypes: how the file spells their dtypes, for example ``F32``.
        metadata: text that the file carries about itself.
    """

    tensors: Mapping[str, np.ndarray]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]


def read_tensor_file(path: Path) -> TensorFile:
    """Map a safetensors file into memory.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no safetensors file, damaged or truncated; the message says what does not add up.
    """
    if path.stat().st_size == 0:  # which cannot be mapped
        raise ValueError("file: expected a safetensors file, got an empty one")
    return parse_tensor_file(np.asarray(np.memmap(path, np.uint8, mode="r")))


def parse_tensor_file(content: np.ndarray) -> TensorFile:
    """The content of a safetensors file, uint8 (N,), as arrays that are views of it.

    Raises:
        ValueError: see :func:`read_tensor_file`.
    """
    entries, metadata = _C.read_safetensors_header("file", content)
    tensors, dtypes = {}, {}
    for name, dtype, shape, begin, end in entries:
        data = content[begin:end]
        if begin % np.dtype(_DTYPES[dtype]).itemsize:
            data = data.copy()
        tensor = data.view(_DTYPES[dtype]).reshape(shape)
        tensors[name] = _widen_bfloat16(tensor) if dtype == "BF16" else tensor
        dtypes[name] = dtype
    return TensorFile(tensors, dtypes, metadata)


def is_mapped(tensor: np.ndarray) -> bool:
    """Whether an array lies in a file that is mapped read-only, as :func:`read_tensor_file` gives them."""
    base: object = tensor
    while isinstance(base, np.ndarray):
        base = base.base
    if not isinstance(base, mmap.mmap):
        return False
    with memoryview(base) as content:
        return content.readonly


def of_each(tensors: Mapping[str, np.ndarray], function: Callable[[np.ndarray], Found]) -> dict[str, Found]:
    """What a function says of each tensor, by name: for those that read all numbers of large models.

    As many threads as evsam uses read tensors side by side, and pages of mapped files are given back afterwards, so
    that the file does not count as memory in use.

    Args:
        tensors: arrays by name.
        function: of an array; numpy lets other threads run meanwhile.
    """

    def once(tensor: np.ndarray) -> Found:
        found = function(tensor)
        if is_mapped(tensor):
            _C.drop_file_pages(tensor)
        return found

    try:
        with ThreadPoolExecutor(_C.get_num_threads()) as pool:
            found = list(pool.map(once, tensors.values()))
    except RuntimeError:  # the process is out of threads, or of memory for them
        found = [once(tensor) for tensor in tensors.values()]
    return dict(zip(tensors, found, strict=True))


def write_tensor_file(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file.

    Args:
        path: file to write, in a folder that exists.
        tensors: float32 or float16 arrays by name, of any strides.
        metadata: text to store about them.

    Raises:
        OSError: the file cannot be written.
        TypeError: an array has another dtype.
    """
    parts = tensor_file_parts(tensors, metadata)
    with path.open("wb") as file:
        for part in parts:
            file.write(part)


def tensor_file_parts(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """What :func:`write_tensor_file` writes, piece by piece: for files that go over a network.

    Raises:
        TypeError: an array has another dtype.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _STORED:
            raise TypeError(f"tensor {name}: expected float32 or float16, got {tensor.dtype}")
    return _parts(tensors, metadata)


def _parts(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    # Wide elements first, so that every tensor is aligned.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name in order:
        tensor = tensors[name]
        offsets = [position, position + tensor.nbytes]
        header[name] = {"dtype": _STORED[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        position += tensor.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        little = np.ascontiguousarray(tensors[name], dtype=tensors[name].dtype.newbyteorder("<"))
        yield little.data.cast("B") if little.size else b""


def _widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Float32 of the same value: bfloat16 is its upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
