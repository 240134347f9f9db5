"""Loading, saving and converting weights, and telling encoders apart."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from evsam import _C
from evsam.errors import WeightsError
from evsam.record import read_record, same_architecture, write_record
from evsam.weights.files import of_each, write_tensor_file
from evsam.weights.locate import resolve
from evsam.weights.matching import check_finite, check_shapes, choose_variant
from evsam.weights.reading import RawFile, read_file
from evsam.writing import replaced
from evsam.zoo import VARIANTS, Variant, get_variant

_VARIANT_KEY = "evsam.variant"
_FORMAT_KEY = "evsam.format"
_FORMAT = "1"

StorageDtype = Literal["float32", "float16"]


@dataclass(frozen=True)
class Weights:
    """The checked tensors of one model.

    Attributes:
        variant: what they are the weights of.
        tensors: float32 arrays by name, exactly those of :func:`expected_tensors`. They may be views of the mapped
            file: not to be written to.
        path: file they were read from, or None.
        metadata: text that the file carries about itself.
    """

    variant: Variant
    tensors: Mapping[str, np.ndarray]
    path: Path | None
    metadata: Mapping[str, str]


def load_weights(source: str | os.PathLike[str], variant: str | Variant | None = None) -> Weights:
    """Read and check the weights of a model.

    The variant is the one whose record (:mod:`evsam.record`) or name is in the file's metadata, else the argument, else
    the one of the zoo whose tensors have exactly these names and shapes.

    Args:
        source: path of a safetensors file or of a PyTorch checkpoint (a plain state dict, or one under ``state_dict``,
            ``model``, ``ema`` and the like), or a variant's name, see :func:`resolve`. Tensors are float32, float16 or
            bfloat16; what all names begin with, such as ``module.``, is taken off.
        variant: what the file is expected to hold, a record or its name; None takes what it holds.

    Raises:
        WeightsError: not found, damaged, not weights, of another variant, or with tensors that are missing, unknown,
            misshaped, of another dtype or not finite; the message says which.
        BackendUnavailable: a package is missing that is needed to read or to fetch the file.

    Example:
        >>> load_weights("nano").variant.image_size
        512
    """
    path = resolve(source)
    if variant is None and not Path(source).expanduser().is_file():
        variant = os.fspath(source)
    raw = read_file(path)
    label = f"weights {path}"
    declared = _declared_variant(label, raw)
    shapes = {name: tensor.shape for name, tensor in raw.tensors.items()}
    chosen = choose_variant(label, shapes, declared, variant)
    check_shapes(label, shapes, chosen)
    tensors = {key: np.asarray(raw.tensors[key], dtype=np.float32) for key in raw.tensors}
    check_finite(label, tensors)
    return Weights(chosen, tensors, path, raw.metadata)


def save_weights(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    variant: str | Variant,
    metadata: Mapping[str, str] | None = None,
    dtype: StorageDtype | None = None,
) -> None:
    """Write weights as a safetensors file, whole or not at all.

    Args:
        path: file to write; missing folders are made.
        tensors: float arrays by name; batch counters (``num_batches_tracked``) are left out.
        variant: what they are the weights of: a record, or the name of one in the zoo.
        metadata: text to store about them; the record as ``evsam.variant``, and ``evsam.format``, are added.
        dtype: how to store them, None for float32.

    Raises:
        WeightsError: unknown variant or dtype, a variant that no engine can build, tensors that do not fit it, values
            that are not finite or, in float16, would not be, or a path that cannot be written.

    Example:
        >>> weights = load_weights("nano")
        >>> save_weights("copy.safetensors", weights.tensors, "nano", dtype="float16")
    """
    path = Path(path)
    stored = "float32" if dtype is None else dtype
    if stored not in ("float32", "float16"):
        raise WeightsError(f"dtype: expected 'float32', 'float16' or None, got {dtype!r}")
    label = f"weights for {path}"
    kept = {name: np.asarray(tensor) for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    for name, tensor in kept.items():
        if tensor.dtype.kind != "f":
            raise WeightsError(f"{label}: tensor {name}: expected a float array, got {tensor.dtype}")
    check_shapes(label, {name: tensor.shape for name, tensor in kept.items()}, get_variant(variant))
    check_finite(label, kept)
    with np.errstate(over="ignore"):  # what overflows is found by the next check
        ready = {name: np.asarray(tensor, dtype=stored) for name, tensor in kept.items()}
    check_finite(f"{label}, stored as {stored}", ready)
    texts = {**(metadata or {}), **weight_metadata(get_variant(variant))}
    try:
        with replaced(path) as temporary:
            write_tensor_file(temporary, ready, texts)
    except OSError as error:
        raise WeightsError(f"weights {path}: cannot be written: {error.strerror or error}") from error


def weight_metadata(variant: Variant) -> dict[str, str]:
    """What files of weights say about themselves, for :func:`load_weights` and the C interface."""
    return {_VARIANT_KEY: write_record(variant), _FORMAT_KEY: _FORMAT}


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    variant: str | Variant | None = None,
    dtype: StorageDtype | None = None,
) -> Weights:
    """Turn any weights file into a safetensors file that holds the record of its variant.

    Args:
        source: as for :func:`load_weights`.
        destination: file to write, ending in ``.safetensors``; may be the source.
        variant: what the source is expected to hold; None takes what it holds.
        dtype: how to store the tensors, None for float32.

    Returns:
        The weights as read back from the new file.

    Raises:
        WeightsError: the source cannot be loaded or the destination not be written.
        BackendUnavailable: a package is missing that is needed to read or to fetch the source.

    Example:
        >>> convert("efficientvit_sam_l0.pt", "l0.safetensors").variant.name
        'l0'
    """
    destination = Path(destination)
    if destination.suffix != ".safetensors":
        raise WeightsError(f"destination: expected a path that ends in .safetensors, got {destination}")
    weights = load_weights(source, variant)
    save_weights(destination, weights.tensors, weights.variant, weights.metadata, dtype)
    return load_weights(destination)


def encoder_fingerprint(weights: Weights) -> str:
    """Digest of what an embedding depends on: the variant and the tensors of its image encoder.

    Models that differ only in their decoders share embeddings, so they share fingerprints.

    Returns:
        16 hexadecimal digits.
    """
    variant = weights.variant
    identity = variant.name
    known = VARIANTS.get(variant.name)
    if known is None or not same_architecture(known, variant):  # a name of one's own says nothing
        fields = json.loads(write_record(variant))
        del fields["everything"]  # which came later, and is about masks
        identity = json.dumps({**fields, "decoder": None})
    return _digest(identity, {name: t for name, t in weights.tensors.items() if name.startswith("image_encoder.")})


def model_fingerprint(weights: Weights) -> str:
    """Digest of all that a model answers with: its record and all of its tensors.

    Returns:
        16 hexadecimal digits.
    """
    return _digest(write_record(weights.variant), weights.tensors)


def _digest(identity: str, tensors: Mapping[str, np.ndarray]) -> str:
    # Of each tensor, so that threads can share the work, at the pace of reading it: loading a model waits for this.
    each = of_each(tensors, lambda tensor: _C.hash_bytes(np.ascontiguousarray(tensor)).to_bytes(8, "little"))
    digest = hashlib.blake2b(identity.encode(), digest_size=8)
    for name in sorted(each):
        digest.update(name.encode() + each[name])
    return digest.hexdigest()


def _declared_variant(label: str, raw: RawFile) -> str | Variant | None:
    """What the metadata say: a record, a name as in files of earlier versions, or nothing."""
    version = raw.metadata.get(_FORMAT_KEY, _FORMAT)
    if version != _FORMAT:
        raise WeightsError(f"{label}: expected format {_FORMAT}, got {version!r}: a newer evsam is needed")
    text = raw.metadata.get(_VARIANT_KEY)
    if text is None or not text.startswith("{"):
        return text
    try:
        return read_record(text)
    except WeightsError as error:
        raise WeightsError(f"{label}: its metadata: {error}") from error
