"""The native engine: the compiled runtime of this package, which needs neither torch nor ONNX. CPU only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evsam import _C
from evsam.engines.base import ALL_MASKS, MASKS, AnyFeatures, Features, FloatArray
from evsam.errors import BackendUnavailable, EvsamError, WeightsError, warn
from evsam.record import write_record
from evsam.weights.files import is_mapped
from evsam.weights.locate import packed_dir
from evsam.weights.matching import check_shapes
from evsam.zoo import LOGITS_SIZE

if TYPE_CHECKING:
    from evsam.weights import Weights


@dataclass(frozen=True)
class PackedCache:
    """What became of the cache of packed weights when a model was loaded.

    Attributes:
        state: ``off``: not asked for; ``small``: the encoder has too few weights for it to save time; ``read``: the
            weights are those of the file, which processes share; ``written``: they were packed, and the file was made;
            ``busy``: they were packed, while another process wrote to the folder; ``failed``: they were packed, and no
            file was made.
        path: of the file, empty where there is none.
        problem: where it failed, what was expected and what came.
    """

    state: str
    path: str
    problem: str


def create(
    weights: Weights,
    threads: int | None,
    device: str | None,
    precision: str = "fp32",
    packed_cache: bool | None = None,
) -> NativeEngine:
    """See :func:`evsam.engines.create_engine`."""
    return NativeEngine(weights, threads, device, precision, packed_cache)


def pin_threads(pinned: bool = True) -> bool:
    """Tie the worker threads of the process, which all native engines share, to one processor each, or free them.

    For machines that do nothing else, where a thread that moves loses its caches. The calling threads are left alone.

    Returns:
        Whether the system can do it.
    """
    return _C.pin_threads(pinned)


class NativeEngine:
    """Runs a model on the CPU with kernels for its instruction set.

    Any number of threads may call it; each call in progress takes its memory from a list that the engine keeps. Worker
    threads are shared by all engines of the process, so engines that run at the same time do not add threads.

    Args:
        weights: the model; not kept.
        threads: upper limit of CPU threads; None for all that the process may use (``EVSAM_NUM_THREADS`` overrides it).
        device: ``cpu`` or None.
        precision: ``fp32``, or how narrow the numbers may be that dense layers of encoder and decoder multiply:
            ``bf16``, ``fp16`` or ``int8``. Where this CPU has no instructions for them that are faster, they are
            float32 (``evsam info`` tells).
        packed_cache: see :func:`evsam.load`.
        packed_least: an encoder with fewer bytes of weights is packed each time; None for the engine's own choice.

    Attributes:
        packed_cache: what became of the cache.

    Raises:
        BackendUnavailable: another device, or a precision that this version does not have.
        WeightsError: the weights lack a tensor or hold one too many.
    """

    name = "native"
    device = "cpu"

    def __init__(
        self,
        weights: Weights,
        threads: int | None = None,
        device: str | None = None,
        precision: str = "fp32",
        packed_cache: bool | None = None,
        packed_least: int | None = None,
    ) -> None:
        if device not in (None, "cpu"):
            raise BackendUnavailable(f"device: expected cpu for engine native, got {device!r}")
        check_shapes("weights", {name: tensor.shape for name, tensor in weights.tensors.items()}, weights.variant)
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in weights.tensors.items()}
        try:
            engine = _C.Engine(
                write_record(weights.variant),
                tensors,
                threads=threads,
                precision=precision,
                mapped={name for name, tensor in tensors.items() if is_mapped(tensor)},
                packed_cache=packed_cache,
                packed_folder=str(packed_dir()),
                packed_least=packed_least,
            )
        except (TypeError, ValueError) as error:
            raise WeightsError(f"weights: {error}") from error
        self._engine: _C.Engine | None = engine
        self.packed_cache = PackedCache(**engine.packed_cache)
        if self.packed_cache.state == "failed":
            warn(f"packed_cache: weights were packed anew and not kept: {self.packed_cache.problem}")

    @property
    def threads(self) -> int:
        """Upper limit of CPU threads."""
        return self._open().threads

    def encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Features]:
        """See :meth:`evsam.engines.base.Engine.encode`."""
        engine = self._open()
        out = []
        for image in images:
            features = tuple(np.empty(shape, np.float32) for shape in engine.feature_shapes)
            engine.encode(np.ascontiguousarray(image), features)
            out.append(features)
        return out

    def encode_pixels(self, pixels: FloatArray) -> Features:
        """The encoder alone, for those who prepare images themselves and for benchmarks.

        Args:
            pixels: float32 (3, S, S), normalised RGB with zeros where padded, as
                :func:`evsam.transforms.image_to_pixels` makes it; S is the variant's image size.

        Returns:
            The features of the image.

        Raises:
            ValueError: another shape or dtype.
        """
        engine = self._open()
        features = _empty_features(engine)
        engine.encode_pixels(np.ascontiguousarray(pixels), features)
        return features

    def decode(
        self,
        features: AnyFeatures,
        points: FloatArray,
        labels: npt.NDArray[np.int32],
        masks: FloatArray | None,
        chosen: slice = ALL_MASKS,
        above: float = -math.inf,
    ) -> tuple[FloatArray, FloatArray]:
        """See :meth:`evsam.engines.base.Engine.decode`; masks that are not wanted are not computed."""
        engine = self._open()
        logits = np.empty((len(points), chosen.stop - chosen.start, LOGITS_SIZE, LOGITS_SIZE), np.float32)
        scores = np.empty((len(points), MASKS), np.float32)
        maps = [np.ascontiguousarray(array) for array in features]
        given = None if masks is None else np.ascontiguousarray(masks)
        xy, kinds = np.ascontiguousarray(points), np.ascontiguousarray(labels)
        engine.decode(maps, xy, kinds, given, logits, scores, first=chosen.start, above=above)
        return logits, scores[:, chosen]

    def masks(
        self, logits: FloatArray, resized_size: tuple[int, int], original_size: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """See :meth:`evsam.engines.base.Engine.masks`."""
        engine = self._open()
        planes = np.ascontiguousarray(logits).reshape(-1, *logits.shape[2:])
        out = np.empty((len(planes), *original_size), np.bool_)
        engine.masks(planes, *resized_size, out.view(np.uint8))
        return out.reshape(*logits.shape[:2], *original_size)

    def follow(self, tracker: _C.Tracker, features: AnyFeatures, part: Sequence[int]) -> None:
        """See :meth:`evsam.engines.base.GeneratorEngine.follow`."""
        tracker.step(self._open(), [np.ascontiguousarray(array) for array in features], part)

    def answer(self, generator: _C.EverythingGenerator, features: AnyFeatures) -> None:
        """See :meth:`evsam.engines.base.GeneratorEngine.answer`."""
        generator.ask(self._open(), [np.ascontiguousarray(array) for array in features])

    def begin_profile(self) -> None:
        """Begin to measure the blocks of the model, anew."""
        self._open().begin_profile()

    def end_profile(self) -> list[_C.ProfileRow]:
        """Stop measuring: seconds and calls of each block since the beginning, multiply-accumulates of one call."""
        return self._open().end_profile()

    def close(self) -> None:
        """Drop the model, once the calls in progress have ended; see :meth:`evsam.engines.base.Engine.close`."""
        self._engine = None

    def _open(self) -> _C.Engine:
        engine = self._engine
        if engine is None:
            raise EvsamError("engine: expected an open engine, got one after close()")
        return engine


def _empty_features(engine: _C.Engine) -> Features:
    return tuple(np.empty(shape, np.float32) for shape in engine.feature_shapes)
