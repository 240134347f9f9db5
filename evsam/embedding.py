"""What the encoder knows about an image: all that a prediction needs, and all that has to be kept or sent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evsam.errors import ImageError, WeightsError
from evsam.transforms import fitted_size
from evsam.zoo import get_variant

if TYPE_CHECKING:
    from evsam.engines.base import FeatureMap

Array = npt.NDArray[np.float32]

_FORMAT = "evsam.embedding.1"


@dataclass(frozen=True, eq=False, init=False)
class Embedding:
    """An encoded image. Immutable, picklable, and independent of the engine that computed it.

    Engines on a GPU leave the feature maps there until somebody asks for ``features`` or ``lateral``, saves or pickles
    the embedding, or gives it to another engine; :meth:`on_host` frees the GPU of them.

    Attributes:
        features: float32 (C, G, G), C order, on the host: (256, 64, 64), for nano (128, 32, 32). The grid covers the
            image padded to a square at the bottom or right.
        lateral: finer feature maps for the decoder, float32 (C_i, G_i, G_i), coarse to fine; only nano has them.
        original_size: height and width of the image in pixels.
        resized_size: its height and width in the 1024 frame in which prompts live.
        variant: name of the model variant.
        fingerprint: digest of the encoder's weights; embeddings of other weights are refused.
    """

    features: Array
    lateral: tuple[Array, ...]
    original_size: tuple[int, int]
    resized_size: tuple[int, int]
    variant: str
    fingerprint: str

    def __init__(
        self,
        features: FeatureMap,
        lateral: tuple[FeatureMap, ...],
        original_size: tuple[int, int],
        resized_size: tuple[int, int],
        variant: str,
        fingerprint: str,
    ) -> None:
        for array in (features, *lateral):
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
        vars(self).update(
            _arrays=(features, *lateral),
            original_size=original_size,
            resized_size=resized_size,
            variant=variant,
            fingerprint=fingerprint,
        )

    if not TYPE_CHECKING:  # for which any name would be an attribute

        def __getattr__(self, name: str) -> Any:
            """``features`` and ``lateral``, copied to the host when they are first asked for."""
            if name not in ("features", "lateral"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            features, *lateral = (np.asarray(array) for array in vars(self)["_arrays"])
            vars(self).update(features=features, lateral=tuple(lateral))
            return vars(self)[name]

    @property
    def arrays(self) -> tuple[FeatureMap, ...]:
        """What engines decode from: the features, then the lateral maps, on the GPU if they have stayed there."""
        return vars(self)["_arrays"]  # type: ignore[no-any-return]

    def on_host(self) -> Embedding:
        """The same embedding without memory of a GPU: itself if it has none."""
        if all(isinstance(array, np.ndarray) for array in self.arrays):
            return self
        function, arguments = self.__reduce__()
        return function(*arguments)

    def __reduce__(self) -> tuple[Callable[..., Embedding], tuple[Any, ...]]:
        # through the constructor, so that copies are read-only too
        return Embedding, (
            self.features,
            self.lateral,
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
            OSError: the file cannot be written.

        Example:
            >>> embedding.save(folder / "photo.safetensors")
            >>> Embedding.load(folder / "photo.safetensors").original_size
            (80, 120)
        """
        from evsam.weights.atomic import replaced
        from evsam.weights.tensor_file import write_tensor_file

        tensors = {"features": self.features, **{f"lateral.{i}": array for i, array in enumerate(self.lateral)}}
        metadata = {
            "format": _FORMAT,
            "original_size": json.dumps(self.original_size),
            "resized_size": json.dumps(self.resized_size),
            "variant": self.variant,
            "fingerprint": self.fingerprint,
        }
        with replaced(Path(path)) as temporary:
            write_tensor_file(temporary, tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Embedding:
        """Read an embedding that :meth:`save` wrote.

        Raises:
            ImageError: the file is missing, damaged or not an embedding; the message says which.
        """
        from evsam.weights.tensor_file import read_tensor_file

        name = os.fspath(path)
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
        except (KeyError, ValueError) as error:
            raise ImageError(f"path: expected an embedding file, got {name!r}, which is damaged ({error})") from error
        return embedding


def embedding_shapes(variant: str) -> list[tuple[int, int, int]]:
    """Shapes of the feature arrays of a variant: the embedding, then the lateral maps.

    Example:
        >>> embedding_shapes("l0")
        [(256, 64, 64)]
        >>> embedding_shapes("nano")[:2]
        [(128, 32, 32), (64, 64, 64)]
    """
    neck = get_variant(variant).encoder.neck
    widths = [neck.width, *(width for _, width in neck.lateral)]
    return [(width, neck.grid << i, neck.grid << i) for i, width in enumerate(widths)]


def _read_size(text: str) -> tuple[int, int]:
    size = json.loads(text)
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        raise ValueError(f"size {text}")
    return size[0], size[1]


def _check(embedding: Embedding) -> None:
    try:
        expected = embedding_shapes(embedding.variant)
    except WeightsError:
        raise ValueError(f"unknown variant {embedding.variant!r}") from None
    arrays = (embedding.features, *embedding.lateral)
    shapes = [array.shape for array in arrays]
    if shapes != expected or any(array.dtype != np.float32 for array in arrays):
        raise ValueError(f"features of shapes {shapes}, expected float32 {expected}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("features that are not finite")
    if embedding.resized_size != fitted_size(embedding.original_size):
        raise ValueError(f"resized size {embedding.resized_size} for an image of size {embedding.original_size}")
