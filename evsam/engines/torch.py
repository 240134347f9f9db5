"""The PyTorch engine: the reference, and the way to run on GPUs where TensorRT is not wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from evsam.engines.base import ALL_MASKS, AnyFeatures, FeatureMap, Features, FloatArray
from evsam.errors import BackendUnavailable, EvsamError, WeightsError
from evsam.nn import EfficientViTSam
from evsam.transforms import image_to_pixels
from evsam.zoo import FRAME_SIZE

if TYPE_CHECKING:
    from evsam.weights import Weights

T = TypeVar("T")

CPU_PIXELS, GPU_PIXELS = 1 << 20, 1 << 23
"""Pixels that are encoded together: four images of 512 x 512 on a CPU, whose caches overflow long before."""

CPU_PROMPTS, GPU_PROMPTS = 8, 64
"""Prompts that are decoded together; each takes about 40 MB of activations."""

UPSCALED_VALUES = 1 << 24
"""Logits that are held at the size of the frame or of the image at a time (64 MiB), but at least those of one mask."""


def create(weights: Weights, threads: int | None, device: str | None, precision: str = "fp32") -> TorchEngine:
    """See :func:`evsam.engines.create_engine`."""
    if precision != "fp32":
        raise BackendUnavailable(f"precision: expected fp32 for engine torch, got {precision!r}")
    return TorchEngine(weights, threads, device)


class TorchEngine:
    """Runs :class:`evsam.nn.EfficientViTSam` with folded norms, in float32.

    Any number of threads may call it: the model is never changed, and inference mode is a state of each thread.

    PyTorch's number of CPU threads is a setting of the whole process as far as its interface goes, but OpenMP below it
    keeps the number for each calling thread. With ``threads`` given, the engine therefore runs all its work, one call
    after the other, in a thread of its own that has that number, and leaves the process as it found it. Without it,
    calls run in the callers' threads with PyTorch's current setting.

    On CUDA, PyTorch's own settings decide whether convolutions use TF32.

    Args:
        weights: the model.
        threads: upper limit of CPU threads; None for PyTorch's setting.
        device: ``cpu`` (the default), ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        BackendUnavailable: the device does not exist here.
        WeightsError: the weights lack a tensor or hold one too many.
    """

    name = "torch"

    def __init__(self, weights: Weights, threads: int | None = None, device: str | None = None) -> None:
        self._hold(_build(weights).to(_find_device(device or "cpu")))
        self._worker = None if threads is None else _start_worker(threads)

    @classmethod
    def of_module(cls, model: EfficientViTSam) -> TorchEngine:
        """An engine around a model that exists already, such as one that is being trained; it stays where it is.

        Args:
            model: in eval mode; whoever changes its weights changes the answers. ``close`` only lets go of it.
        """
        engine = cls.__new__(cls)
        engine._hold(model)
        engine._worker = None
        return engine

    def _hold(self, model: EfficientViTSam) -> None:
        self._model: EfficientViTSam | None = model
        self._device = next(model.parameters()).device
        self.device = str(self._device)
        self._image_size = model.variant.image_size

    def encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Features]:
        """See :meth:`evsam.engines.base.Engine.encode`."""
        pixels = CPU_PIXELS if self._device.type == "cpu" else GPU_PIXELS
        step = max(1, pixels // self._image_size**2)
        out: list[Features] = []
        for start in range(0, len(images), step):
            out += self._run(self._encode, images[start : start + step])
        return out

    def decode(
        self,
        features: AnyFeatures,
        points: FloatArray,
        labels: npt.NDArray[np.int32],
        masks: FloatArray | None,
        chosen: slice = ALL_MASKS,
        above: float = -math.inf,  # noqa: ARG002 - all come out of the model at once
    ) -> tuple[FloatArray, FloatArray]:
        """See :meth:`evsam.engines.base.Engine.decode`."""
        return self._run(self._decode, features, points, labels, masks, chosen)

    def masks(
        self, logits: FloatArray, resized_size: tuple[int, int], original_size: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """See :meth:`evsam.engines.base.Engine.masks`."""
        return self._run(self._masks, logits, resized_size, original_size)

    def close(self) -> None:
        """Drop the model and end the thread; see :meth:`evsam.engines.base.Engine.close`."""
        self._model = None
        if self._worker is not None:
            self._worker.shutdown()

    def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._model is None:
            raise EvsamError("engine: expected an open engine, got one after close()")
        if self._worker is None:
            return function(self._model, *arguments)
        return self._worker.submit(function, self._model, *arguments).result()

    @torch.inference_mode()
    def _encode(self, model: EfficientViTSam, images: Sequence[npt.NDArray[np.uint8]]) -> list[Features]:
        pixels = torch.from_numpy(np.stack([image_to_pixels(image, self._image_size) for image in images]))
        maps = model.encode(pixels.to(self._device, memory_format=torch.channels_last))
        arrays = [m.cpu().numpy() for m in maps]
        # Copies, because a view would keep the maps of the whole batch in memory for as long as one image's are held.
        return [tuple(np.array(array[i], np.float32, order="C") for array in arrays) for i in range(len(images))]

    @torch.inference_mode()
    def _decode(
        self,
        model: EfficientViTSam,
        features: AnyFeatures,
        points: FloatArray,
        labels: npt.NDArray[np.int32],
        masks: FloatArray | None,
        chosen: slice,
    ) -> tuple[FloatArray, FloatArray]:
        maps = tuple(self._tensor(array)[None] for array in features)
        step = CPU_PROMPTS if self._device.type == "cpu" else GPU_PROMPTS
        logits, scores = [], []
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            mask = None if masks is None else self._tensor(masks[part])
            low, iou = model.decode(maps, self._tensor(points[part]), self._tensor(labels[part]).long(), mask)
            logits.append(low[:, chosen].cpu().numpy())
            scores.append(iou[:, chosen].cpu().numpy())
        return np.concatenate(logits), np.concatenate(scores)

    @torch.inference_mode()
    def _masks(
        self,
        _: EfficientViTSam,
        logits: FloatArray,
        resized_size: tuple[int, int],
        original_size: tuple[int, int],
    ) -> npt.NDArray[np.bool_]:
        flat = logits.reshape(-1, 1, *logits.shape[2:])
        out = np.empty((len(flat), *original_size), np.bool_)
        step = max(1, UPSCALED_VALUES // max(FRAME_SIZE**2, original_size[0] * original_size[1]))
        for start in range(0, len(flat), step):
            part = slice(start, start + step)
            x = _resize(self._tensor(flat[part]), (FRAME_SIZE, FRAME_SIZE))
            x = _resize(x[..., : resized_size[0], : resized_size[1]], original_size)
            out[part] = (x[:, 0] > 0).cpu().numpy()
        return out.reshape(*logits.shape[:2], *original_size)

    def _tensor(self, array: npt.NDArray[Any] | FeatureMap) -> torch.Tensor:
        return torch.from_numpy(np.asarray(_Shared(array))).to(self._device)


class _Shared:
    """A view of an array that claims to be writable: PyTorch warns about others, though nothing here writes to it."""

    def __init__(self, array: npt.NDArray[Any] | FeatureMap) -> None:
        self._array = np.ascontiguousarray(array)
        self.__array_interface__ = {**self._array.__array_interface__, "data": (self._array.ctypes.data, False)}


def _resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(x, size, mode="bilinear", align_corners=False)


def _find_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BackendUnavailable(f"device: expected cpu, cuda, cuda:N or mps, got {name!r}") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise BackendUnavailable(f"device: expected one of {count} CUDA devices that PyTorch sees, got {name!r}")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise BackendUnavailable("device: expected a machine with Apple's GPU for 'mps', got none")
    elif device.type != "cpu":
        raise BackendUnavailable(f"device: expected cpu, cuda, cuda:N or mps, got {name!r}")
    return device


def _build(weights: Weights) -> EfficientViTSam:
    with torch.device("meta"):  # no time is spent on initial values
        model = EfficientViTSam(weights.variant)
    tensors = {name: torch.tensor(np.asarray(array)) for name, array in weights.tensors.items()}
    keys = model.load_state_dict(tensors, strict=False, assign=True)
    missing = [key for key in keys.missing_keys if not key.endswith("num_batches_tracked")]  # training's counters
    if missing or keys.unexpected_keys:
        raise WeightsError(
            f"weights: expected the tensors of {weights.variant.name}, "
            f"got none for {missing} and unknown ones for {keys.unexpected_keys}"
        )
    model.eval().requires_grad_(False)
    model.fold_norms_()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]
    return model


def _start_worker(threads: int) -> ThreadPoolExecutor:
    before = torch.get_num_threads()
    worker = ThreadPoolExecutor(1, "evsam-torch", torch.set_num_threads, (threads,))
    worker.submit(torch.get_num_threads).result()
    # Setting a number also makes it the default of threads that have not used PyTorch yet; this puts that right.
    torch.set_num_threads(before)
    return worker
