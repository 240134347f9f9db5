"""What the encoder knows about an image: all that a prediction needs, and all that has to be kept or sent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evsam.arguments import path_text
from evsam.errors import ImageError
from evsam.network import describe_encoder
from evsam.transforms import fitted_size
from evsam.zoo import VARIANTS, Variant, get_variant

if TYPE_CHECKING:
    from evsam.engines.base import FeatureMap

Array = npt.NDArray[np.float32]

_FORMAT = "evsam.embedding.1"
_LONGEST = 2**31 - 1  # pixels of a side; type, not isinstance, below: true is no size


class Embedding:
    """An encoded image. Immutable, picklable, and independent of the engine that computed it.

    Engines on a GPU leave the feature maps there until somebody asks for ``features`` or ``lateral``, saves or pickles
    the embedding, or gives it to another engine; :meth:`on_host` frees the GPU of them.

    Args:
        features: float32 (C, G, G), C order, on the host or the engine's device: (256, 64, 64), for nano (128, 32, 32).
            The grid covers the image padded to a square at the bottom or right.
        lateral: finer feature maps for the decoder, float32 (C_i, G_i, G_i), coarse to fine; only nano has them.
        original_size: height and width of the image in pixels.
        resized_size: its height and width in the 1024 frame in which prompts live.
        variant: name of the model variant.
        fingerprint: digest of the encoder's weights; embeddings of other weights are refused.
    """

    def __init__(
        self,
        features: FeatureMap,
        lateral: tuple[FeatureMap, ...],
        original_size: tuple[int, int],
        resized_size: tuple[int, int],
        variant: str,
        fingerprint: str,
    ) -> None:
        self._arrays = (features, *lateral)
        self._original_size = original_size
        self._resized_size = resized_size
        self._variant = variant
        self._fingerprint = fingerprint
        for array in self._arrays:
            if isinstance(array, np.ndarray):
                array.setflags(write=False)

    @property
    def features(self) -> Array:
        """Float32 (C, G, G), C order, on the host: a copy of your own, which ``torch.from_numpy`` takes too."""
        return np.array(_host(self._arrays[0]))

    @property
    def lateral(self) -> tuple[Array, ...]:
        """Finer feature maps, float32 (C_i, G_i, G_i), coarse to fine; like :attr:`features`."""
        return tuple(np.array(_host(array)) for array in self._arrays[1:])

    @property
    def arrays(self) -> tuple[FeatureMap, ...]:
        """What engines decode from, read-only: features, then lateral maps, on the GPU if they have stayed there."""
        return self._arrays

    @property
    def original_size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self._original_size

    @property
    def resized_size(self) -> tuple[int, int]:
        """Height and width of the image in the 1024 frame."""
        return self._resized_size

    @property
    def variant(self) -> str:
        """Name of the model variant."""
        return self._variant

    @property
    def fingerprint(self) -> str:
        """Digest of the encoder's weights."""
        return self._fingerprint

    def on_host(self) -> Embedding:
        """The same embedding without memory of a GPU: itself if it has none."""
        if all(isinstance(array, np.ndarray) for array in self.arrays):
            return self
        function, arguments = self.__reduce__()
        return function(*arguments)

    def __reduce__(self) -> tuple[Callable[..., Embedding], tuple[Any, ...]]:
        features, *lateral = map(_host, self._arrays)  # through the constructor, so that copies are read-only too
        return Embedding, (
            features,
            tuple(lateral),
            self.original_size,
            self.resized_size,
            self.variant,
            self.fingerprint,
        )

    def __repr__(self) -> str:
        height, width = self.original_size
        return f"<Embedding of an image of {width} x {height} pixels by {self.variant} {self.fingerprint}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the embedding to a safetensors file, whole or not at all; missing folders are made.

        Raises:
            EvsamError: path is none.
            OSError: the file cannot be written.

        Example:
            >>> embedding.save(folder / "photo.safetensors")
            >>> Embedding.load(folder / "photo.safetensors").original_size
            (80, 120)
        """
        from evsam.weights.files import write_tensor_file
        from evsam.writing import replaced

        features, *lateral = map(_host, self._arrays)
        tensors = {"features": features, **{f"lateral.{i}": array for i, array in enumerate(lateral)}}
        metadata = {
            "format": _FORMAT,
            "original_size": json.dumps(self.original_size),
            "resized_size": json.dumps(self.resized_size),
            "variant": self.variant,
            "fingerprint": self.fingerprint,
        }
        with replaced(Path(path_text("path", path))) as temporary:
            write_tensor_file(temporary, tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Embedding:
        """Read an embedding that :meth:`save` wrote.

        Raises:
            ImageError: the file is missing, damaged or not an embedding; the message says which.
        """
        from evsam.weights.files import read_tensor_file

        name = path_text("path", path, ImageError)
        if not Path(name).is_file():
            raise ImageError(f"path: expected an embedding file, got {name!r}, which is no file")
        try:
            file = read_tensor_file(Path(name))
        except (OSError, ValueError) as error:
            raise ImageError(f"path: expected an embedding file, got {name!r}, which is damaged ({error})") from error
        metadata = file.metadata
        tensors = {key: np.array(tensor) for key, tensor in file.tensors.items()}  # copies: nothing stays mapped
        if metadata.get("format") != _FORMAT:
            raise ImageError(f"path: expected a file of format {_FORMAT}, got {name!r} of {metadata.get('format')}")
        try:
            embedding = cls(
                features=tensors.pop("features"),
                lateral=tuple(tensors.pop(f"lateral.{i}") for i in range(len(tensors))),
                original_size=_read_size(metadata["original_size"]),
                resized_size=_read_size(metadata["resized_size"]),
                variant=metadata["variant"],
                fingerprint=metadata["fingerprint"],
            )
            _check(embedding)
        except (KeyError, ValueError, RecursionError) as error:
            raise ImageError(f"path: expected an embedding file, got {name!r}, which is damaged ({error})") from error
        return embedding


def embedding_shapes(variant: str | Variant) -> list[tuple[int, int, int]]:
    """Shapes of the feature arrays of a variant, a name or a record: the embedding, then the lateral maps.

    Example:
        >>> embedding_shapes("l0")
        [(256, 64, 64)]
        >>> embedding_shapes("nano")[:2]
        [(128, 32, 32), (64, 64, 64)]
    """
    return [output.shape for output in describe_encoder(get_variant(variant)).outputs]


def _host(array: FeatureMap) -> Array:
    """The array itself, or what was copied from the GPU when it was first asked for; read-only."""
    return np.asarray(array)


def _read_size(text: str) -> tuple[int, int]:
    size = json.loads(text)
    if not (isinstance(size, list) and len(size) == 2 and all(type(n) is int and 0 < n <= _LONGEST for n in size)):
        raise ValueError(f"size {text}")
    return size[0], size[1]


def _check(embedding: Embedding) -> None:
    arrays = [_host(array) for array in embedding.arrays]
    shapes = [array.shape for array in arrays]
    if embedding.variant in VARIANTS:
        expected = embedding_shapes(embedding.variant)
    else:  # somebody's own: what holds for all
        side = shapes[0][-1] if shapes[0] else 0
        expected = [(*shape[:1], side << i, side << i) for i, shape in enumerate(shapes)]
    if shapes != expected or any(array.dtype != np.float32 for array in arrays):
        raise ValueError(f"features of shapes {shapes}, expected float32 {expected}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("features that are not finite")
    if embedding.resized_size != fitted_size(embedding.original_size):
        raise ValueError(f"resized size {embedding.resized_size} for an image of size {embedding.original_size}")
