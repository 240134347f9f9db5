"""Reading weights files: safetensors, and PyTorch checkpoints without running what may be hidden in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evsam.errors import BackendUnavailable, WeightsError
from evsam.weights.files import read_tensor_file

_COUNTER = "num_batches_tracked"
"""Batch counters of training; PyTorch saves them, nothing reads them."""

_SAFETENSORS_DTYPES = ("F32", "F16", "BF16")

_ALLOWED = "expected float32, float16 or bfloat16"


@dataclass(frozen=True)
class RawFile:
    """Content of a weights file: float32 or float16 arrays (bfloat16 is widened), and text metadata."""

    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]


def read_file(path: Path) -> RawFile:
    """Read a safetensors file or a PyTorch checkpoint, whichever its content says it is.

    Raises:
        WeightsError: it is neither, damaged, unreadable, or holds something else than float tensors.
        BackendUnavailable: it is a PyTorch checkpoint and torch is not installed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise WeightsError(f"weights {path}: cannot be read: {error.strerror or error}") from error
    if not head:
        raise WeightsError(f"weights {path}: the file is empty")
    if head.startswith(b"PK\x03\x04"):
        return _read_checkpoint(path)
    # A safetensors file is a 64-bit header length, then JSON; the length may begin like a pickle, so this comes first.
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(b"\x80"):
        return _read_checkpoint(path)
    hint = ""
    if head.startswith(b"version https://git-lfs"):
        hint = "; it is a Git LFS pointer, fetch the file that it stands for"
    elif head.lstrip()[:1] == b"<":
        hint = "; it looks like a web page, the download went wrong"
    raise WeightsError(f"weights {path}: neither a safetensors file nor a PyTorch checkpoint{hint}")


def _read_safetensors(path: Path) -> RawFile:
    """Map the file into memory: float32 tensors are views of it, and pages are read when touched."""
    try:
        file = read_tensor_file(path)
    except (ValueError, OSError) as error:
        raise WeightsError(f"weights {path}: damaged or truncated safetensors file: {error}") from error
    tensors = {name: tensor for name, tensor in file.tensors.items() if not name.endswith(_COUNTER)}
    for name in tensors:
        if file.dtypes[name] not in _SAFETENSORS_DTYPES:
            raise WeightsError(f"weights {path}: tensor {name}: {_ALLOWED}, got {file.dtypes[name]}")
    return RawFile(tensors, file.metadata)


def _read_checkpoint(path: Path) -> RawFile:
    try:
        import torch
    except ImportError as error:
        raise BackendUnavailable(
            f"weights {path}: reading a PyTorch checkpoint needs torch (pip install 'evsam[torch]'); or convert it to "
            "safetensors on a machine that has torch: evsam convert in.pt out.safetensors"
        ) from error
    try:
        with path.open("rb") as file:  # given a path, torch would judge by its suffix
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # half a pickle makes torch stumble in many ways
        # Allowed are tensors and plain containers; any other name in the pickle would be imported and called.
        if name := re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", str(error)):
            raise WeightsError(
                f"weights {path}: refused, for it holds more than tensors: loading it would run {name[1]}; "
                "save the state dict alone"
            ) from error
        raise WeightsError(
            f"weights {path}: damaged, truncated or not a checkpoint of tensors: {_reason(error)}"
        ) from error
    return RawFile(_state_dict(path, content), {})


def _state_dict(path: Path, content: Any) -> dict[str, np.ndarray]:
    """Arrays of a plain state dict, or of one under the key ``state_dict``."""
    import torch

    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"weights {path}: expected a state dict, or one under the key 'state_dict', got {type(content).__name__}"
        )
    if not any(isinstance(value, torch.Tensor) for value in content.values()):
        keys = ", ".join(repr(key) for key in list(content)[:5]) or "nothing"
        raise WeightsError(
            f"weights {path}: expected a state dict, or one under the key 'state_dict', got a dict without tensors "
            f"that holds {keys}"
        )
    tensors = {}
    for name, value in content.items():
        if str(name).endswith(_COUNTER):
            continue
        if not isinstance(value, torch.Tensor):
            raise WeightsError(f"weights {path}: entry {name!r}: expected a tensor, got {type(value).__name__}")
        if value.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise WeightsError(f"weights {path}: tensor {name}: {_ALLOWED}, got {str(value.dtype)[6:]}")
        tensor = value.detach()
        tensors[str(name)] = (tensor.float() if value.dtype == torch.bfloat16 else tensor).numpy()
    return tensors


def _reason(error: Exception) -> str:
    """The first sentence, without torch's advice to load the file unsafely."""
    sentence = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {sentence}"
