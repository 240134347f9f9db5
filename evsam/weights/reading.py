"""Reading weights files: safetensors, and PyTorch checkpoints without running what may be hidden in them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from evsam.errors import BackendUnavailable, WeightsError
from evsam.weights.files import read_tensor_file

_COUNTERS = ("num_batches_tracked", "n_averaged")
"""Counters of training, of batches and of averaged models; PyTorch saves them, nothing reads them."""

_STATE_KEYS = ("state_dict", "model", "model_state_dict", "module", "net", "weights", "ema", "model_ema")
"""Where training programs put the state dict of a model, beside that of the optimiser; the first one found counts."""

_NESTED = 3
"""Dicts in each other at most: ``{"ema": {0.9998: {...}}}`` is what the authors' program writes."""

_COMPILED = "_orig_mod"
"""What torch.compile puts into names."""

_SAFETENSORS_DTYPES = ("F32", "F16", "BF16")

_ZIP = b"PK\x03\x04"

_ROOTS = frozenset({"image_encoder", "prompt_encoder", "mask_decoder"})
"""What the names of all tensors of a model begin with."""

_LISTED, _SHOWN = 5, 64
"""How many names a message lists, and how many characters of each."""

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
    if head.startswith(_ZIP):
        return _read_checkpoint(path)
    # A safetensors file is a 64-bit header length, then JSON; the length may begin like a pickle, so this comes first.
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(b"\x80"):
        return _read_checkpoint(path)
    # The reader of safetensors names what else it is, in Python and C alike.
    return _read_safetensors(path, "neither a PyTorch checkpoint nor a safetensors file")


def _read_safetensors(path: Path, otherwise: str = "damaged or truncated safetensors file") -> RawFile:
    """Map the file into memory: float32 tensors are views of it, and pages are read when touched."""
    try:
        file = read_tensor_file(path)
    except (ValueError, OSError) as error:
        raise WeightsError(f"weights {path}: {otherwise}: {error}") from error
    tensors = {name: tensor for name, tensor in file.tensors.items() if not name.endswith(_COUNTERS)}
    for name in tensors:
        if file.dtypes[name] not in _SAFETENSORS_DTYPES:
            raise WeightsError(f"weights {path}: tensor {name}: {_ALLOWED}, got {file.dtypes[name]}")
    return RawFile(_without_wrappers(tensors), file.metadata)


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
            _check_archive(path, file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
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
    return RawFile(_without_wrappers(_state_dict(path, content)), {})


def _check_archive(path: Path, file: BinaryIO) -> None:
    """Say what a zip archive is that is no checkpoint of a state dict; leaves the file at its start.

    Raises:
        WeightsError: it is cut off, TorchScript, or an archive of something else.
    """
    zipped = file.read(len(_ZIP)) == _ZIP
    file.seek(0)
    if not zipped:
        return
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise WeightsError(
            f"weights {path}: damaged or truncated checkpoint: the table at the end of the zip archive is missing"
        ) from error
    file.seek(0)
    inside = {name.partition("/")[2] for name in names}
    if "data.pkl" not in inside:
        raise WeightsError(
            f"weights {path}: a zip archive, but not of a PyTorch checkpoint; it holds {_listed(names)}: unpack it if "
            "the weights are in it"
        )
    if "constants.pkl" in inside:
        raise WeightsError(
            f"weights {path}: a TorchScript model, which is a program; save its state dict alone: "
            "torch.save(torch.jit.load(path).state_dict(), 'weights.pt')"
        )


def _find_state(content: Any, depth: int = _NESTED) -> Any:
    """The state dict of a model in what a training program saved, or what is there instead."""
    if not isinstance(content, Mapping) or depth == 0:
        return content
    for key in _STATE_KEYS:
        if isinstance(content.get(key), Mapping):
            return _find_state(content[key], depth - 1)
    values = list(content.values())
    if len(values) == 1 and isinstance(values[0], Mapping):
        return _find_state(values[0], depth - 1)
    return content


def _without_wrappers(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors by the names that the model itself gives them.

    DistributedDataParallel, torch.compile and programs that keep the model in another one put ``module.``,
    ``_orig_mod.``, ``model.`` and so on in front of all names.
    """
    names = {name: [part for part in name.split(".") if part != _COMPILED] for name in tensors}
    while len({parts[0] for parts in names.values()}) == 1 and all(
        len(parts) > 1 and parts[0] not in _ROOTS for parts in names.values()
    ):
        names = {name: parts[1:] for name, parts in names.items()}
    found = {".".join(parts): tensors[name] for name, parts in names.items()}
    return found if len(found) == len(tensors) else dict(tensors)  # two models in one would mix


def _state_dict(path: Path, content: Any) -> dict[str, np.ndarray]:
    """Arrays of a plain state dict, or of one where training programs put it."""
    import torch

    content = _find_state(content)
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"weights {path}: expected a state dict, or one under the key 'state_dict', 'model' or 'ema', "
            f"got {type(content).__name__}"
        )
    if not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(
            f"weights {path}: expected a state dict, or one under the key 'state_dict', 'model' or 'ema', got a dict "
            f"without tensors that holds {_listed(list(content))}"
        )
    tensors = {}
    for name, value in content.items():
        if str(name).endswith(_COUNTERS):
            continue
        if not isinstance(value, torch.Tensor):
            raise WeightsError(f"weights {path}: entry {name!r}: expected a tensor, got {type(value).__name__}")
        if value.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise WeightsError(f"weights {path}: tensor {name}: {_ALLOWED}, got {str(value.dtype)[6:]}")
        if value.is_meta or value.layout != torch.strided:
            kind = "on the device 'meta'" if value.is_meta else f"of layout {str(value.layout)[6:]}"
            raise WeightsError(f"weights {path}: tensor {name}: expected numbers of every element, got one {kind}")
        tensor = value.detach()
        tensors[str(name)] = (tensor.float() if value.dtype == torch.bfloat16 else tensor).numpy()
    return tensors


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(repr(name)[:_SHOWN] for name in names[:_LISTED])
    return (shown + (", ..." if len(names) > _LISTED else "")) or "nothing"


def _reason(error: Exception) -> str:
    """The first sentence, without torch's advice to load the file unsafely."""
    sentence = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {sentence}"
