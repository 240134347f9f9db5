"""The TensorRT engine: plans compiled for the GPU at hand, embeddings that stay on it. NVIDIA GPUs only."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from evsam.embedding import embedding_shapes
from evsam.engines.base import ALL_MASKS, MASKS, AnyFeatures, FloatArray
from evsam.engines.tensorrt_runtime.arrays import DeviceMap, MapMemory, take_array
from evsam.engines.tensorrt_runtime.cuda import FLOAT_BYTES
from evsam.engines.tensorrt_runtime.execution import Execution, Gate, OnDevice, Plan, Pool
from evsam.engines.tensorrt_runtime.facts import WITH_POINTS, WITHOUT_POINTS, Facts, check_machine
from evsam.engines.tensorrt_runtime.library import Setup, load_library
from evsam.engines.tensorrt_runtime.library import plugin_library as find_plugin_library
from evsam.engines.tensorrt_runtime.library import register_plugins as _register
from evsam.errors import BackendUnavailable, EvsamError, ImageError, PromptError
from evsam.export.folder import PARTS, ExportFolder
from evsam.ops import mask_upsample, preprocess
from evsam.ops._device import is_device_array
from evsam.weights.matching import check_shapes
from evsam.zoo import LOGITS_SIZE, Variant

if TYPE_CHECKING:
    from evsam.engines.tensorrt_runtime.facts import BuildOptions, Profiles
    from evsam.export.options import ExportPrecision
    from evsam.weights import Weights

logger = logging.getLogger("evsam.tensorrt")

CALLS = 2
"""Calls that run at the same time, so that one copies while another computes; each takes memory of its own."""

PRECISIONS = ("fp32", "fp16", "int8", "fp8")


def create(weights: Weights, threads: int | None, device: str | None, precision: str = "fp16") -> TensorRTEngine:
    """See :func:`evsam.engines.create_engine`."""
    return TensorRTEngine(weights, threads, device, precision)


def open_folder(folder: ExportFolder, threads: int | None, device: str | None) -> TensorRTEngine:
    """See :func:`evsam.engines.open_folder`."""
    return TensorRTEngine.from_folder(folder, threads, device)


def register_plugins(required: bool = True) -> str:
    """Register evsam's plugins with TensorRT, for plans that use them; engines do it themselves.

    Args:
        required: whether a build of evsam without them is an error.

    Returns:
        SHA-256 of the plugins' library, or ``none`` where there is none.

    Raises:
        BackendUnavailable: TensorRT is not installed, or the plugins were required and are not there.
    """
    return _register(load_library(), required)


def plugin_library() -> Path:
    """The file with evsam's plugins for the installed TensorRT, for servers that load plans themselves.

    Raises:
        BackendUnavailable: TensorRT is not installed, or this build of evsam has no plugins for it.
    """
    return find_plugin_library(load_library())


class TensorRTEngine:
    """Runs a model with TensorRT.

    Plans are built on this machine when a model is first used, which takes minutes, and kept in the cache; those of
    another GPU, driver, TensorRT, model or evsam are never used. Any number of threads may call the engine; ``calls``
    of them run at the same time and the others wait.

    :meth:`encode` returns features that stay on the GPU (:class:`DeviceMap`), which :meth:`decode` takes without a
    copy; NumPy sees them as arrays. They stay valid after :meth:`close`.

    Args:
        weights: the model; not kept.
        threads: upper limit of CPU threads for images and masks, None for all.
        device: ``cuda`` (the default) or ``cuda:N``.
        precision: ``fp32``, ``fp16``, ``int8`` or ``fp8``; see :func:`evsam.export.tensorrt.cached_plans`.
        plugins: whether evsam's plugins replace groups of layers; None takes them where this build of evsam has them.
        graphs: whether shapes that come again are recorded as CUDA graphs, which start faster; each takes some memory.
        calls: upper limit of calls that run at the same time.
        profiles: limits of the shapes, None for the default ones.
        options: of TensorRT's builder, None for the default ones.

    Raises:
        BackendUnavailable: a package, the device, the precision or demanded plugins are missing.
        WeightsError: the weights lack a tensor or hold one too many.
        EvsamError: TensorRT cannot build or load the plans.
    """

    name = "tensorrt"

    def __init__(
        self,
        weights: Weights,
        threads: int | None = None,
        device: str | None = None,
        precision: str = "fp16",
        *,
        plugins: bool | None = None,
        graphs: bool = False,
        calls: int = CALLS,
        profiles: Profiles | None = None,
        options: BuildOptions | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            expected = ", ".join(PRECISIONS)
            raise BackendUnavailable(f"precision: expected one of {expected} for engine tensorrt, got {precision!r}")
        check_shapes("weights", {name: tensor.shape for name, tensor in weights.tensors.items()}, weights.variant)
        from evsam.export.tensorrt import cached_plans

        setup = Setup.find(device, plugins)
        get_plans = partial(
            cached_plans,
            setup,
            weights,
            cast("ExportPrecision", precision),
            profiles=profiles,
            options=options,
            threads=threads,
        )
        plans = get_plans()
        try:
            loaded = _load_plans(setup, plans.facts, plans.data)
        except EvsamError as error:
            logger.warning("plans of the cache are built again: %s", str(error))
            plans = get_plans(unusable=plans.digest)
            loaded = _load_plans(setup, plans.facts, plans.data)
        self._start(setup, weights.variant, loaded, threads, graphs, calls)

    @classmethod
    def from_folder(
        cls,
        folder: ExportFolder,
        threads: int | None = None,
        device: str | None = None,
        *,
        graphs: bool = False,
        calls: int = CALLS,
    ) -> TensorRTEngine:
        """An engine with the plans of a folder that :func:`evsam.export.tensorrt.export_tensorrt` wrote.

        Raises:
            BackendUnavailable: a package, the device, or plugins that the plans use are missing.
            EvsamError: it is no such folder, or one for another machine or version, or TensorRT refuses the plans.
        """
        facts = Facts.read(folder)
        setup = Setup.find(device, facts.flavour == "plugins")
        check_machine(folder, setup.machine(setup.plugins))
        loaded = _load_plans(setup, facts, {part: folder.read(part) for part in PARTS})
        engine = cls.__new__(cls)
        engine._start(setup, folder.variant, loaded, threads, graphs, calls)
        return engine

    def _start(
        self,
        setup: Setup,
        variant: Variant,
        plans: Mapping[str, Plan],
        threads: int | None,
        graphs: bool,
        calls: int,
    ) -> None:
        if calls < 1:
            raise EvsamError(f"calls: expected a positive number, got {calls}")
        self.device = str(setup.device)
        self._device = setup.device
        self._threads = threads
        self._side = variant.image_size
        self._shapes = embedding_shapes(variant)
        self._names = ("image_embeddings", *(f"lateral_{i}" for i in range(len(self._shapes) - 1)))
        self._plans = plans
        _check_tensors(plans, self._names)
        self._encoders = Pool(lambda: Execution(plans["encoder"], 0, graphs), calls)
        self._decoders = {
            profile: Pool(lambda profile=profile: Execution(plans["decoder"], profile, graphs), calls)  # type: ignore[misc]
            for profile in range(plans["decoder"].profiles)
        }
        self._most_points = plans["decoder"].limits("point_labels", WITH_POINTS).largest[1]
        self._memory = MapMemory(setup.device)
        self._gate = Gate()

    def encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[tuple[DeviceMap, ...]]:
        """See :meth:`evsam.engines.base.Engine.encode`.

        Frames that are on the GPU already (uint8 (H, W, 3) of PyTorch, CuPy and others) never leave it; that needs
        evsam's CUDA kernels.

        Returns:
            Features on the GPU, see :class:`DeviceMap`.

        Raises:
            BackendUnavailable: an image is on the GPU, and this build of evsam has no CUDA kernels.
        """
        out: list[tuple[DeviceMap, ...]] = []
        with self._gate, self._device.current(), self._encoders.use() as execution:
            step = execution.largest("images")[0]
            for start in range(0, len(images), step):
                part = images[start : start + step]
                out += self._run_encoder(execution, self._prepare(execution, part))
        return out

    def encode_pixels(self, pixels: Any) -> list[tuple[DeviceMap, ...]]:
        """The encoder alone, for those who prepare images themselves.

        Args:
            pixels: float32 (B, 3, S, S), C order: normalised RGB with zeros where padded, as
                :func:`evsam.transforms.image_to_pixels` makes it; S is the variant's image size. NumPy, or an array on
                the engine's GPU that has ``__cuda_array_interface__`` or speaks DLPack, which is read where it is.

        Returns:
            The features of each image, on the GPU.

        Raises:
            ImageError: another shape.
            TypeError: another dtype or kind of array.
            ValueError: an array that is not in C order, or on another GPU.
        """
        out: list[tuple[DeviceMap, ...]] = []
        image = (3, self._side, self._side)
        nbytes = FLOAT_BYTES * math.prod(image)
        with self._gate, self._device.current(), self._encoders.use() as execution:
            given: Any = pixels
            if is_device_array(pixels):
                given = take_array(pixels, "pixels", self._device.index, execution.stream)
            elif not isinstance(pixels, np.ndarray) or pixels.dtype != np.float32:
                kind = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
                raise TypeError(f"pixels: expected a float32 array, got {kind}")
            if len(given.shape) != 4 or given.shape[1:] != image:
                raise ImageError(f"pixels: expected shape (B, 3, {self._side}, {self._side}), got {given.shape}")
            step = execution.largest("images")[0]
            for start in range(0, given.shape[0], step):
                stop = min(start + step, given.shape[0])
                if isinstance(given, OnDevice):
                    part = OnDevice(given.address + start * nbytes, (stop - start, *image), given)
                else:
                    part = execution.upload("images", given[start:stop])
                out += self._run_encoder(execution, part)
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
        """See :meth:`evsam.engines.base.Engine.decode`.

        Raises:
            PromptError: more points for a prompt than the plan was built for.
        """
        count, length = labels.shape
        masks_each = chosen.stop - chosen.start
        logits = np.empty((count, masks_each, LOGITS_SIZE, LOGITS_SIZE), np.float32)
        scores = np.empty((count, masks_each), np.float32)
        decoder = self._decoder(length)
        with self._gate, self._device.current(), decoder.use() as execution:
            maps = self._place_features(execution, features)
            step = execution.largest("point_labels")[0]
            for start in range(0, count, step):
                part = slice(start, start + step)
                found = execution.download(
                    execution.start(
                        {
                            **maps,
                            "point_coords": execution.upload("point_coords", points[part]),
                            "point_labels": execution.upload("point_labels", labels[part]),
                            **_place_masks(execution, None if masks is None else masks[part]),
                        }
                    )
                )
                logits[part] = found["low_res_masks"][:, chosen]
                scores[part] = found["iou_predictions"][:, chosen]
        return logits, scores

    def masks(
        self, logits: FloatArray, resized_size: tuple[int, int], original_size: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """See :meth:`evsam.engines.base.Engine.masks`; on the CPU, where the logits are."""
        with self._gate:
            array = np.ascontiguousarray(logits)
            return mask_upsample(  # type: ignore[no-any-return]
                array, resized_size, original_size, backend="native", threads=self._threads
            )

    def close(self) -> None:
        """Free all memory but that of features, once the calls in progress have ended."""
        if not self._gate.close():
            return
        with self._device.current():
            for pool in (self._encoders, *self._decoders.values()):
                pool.close()
            self._memory.close()
        for plan in self._plans.values():
            plan.close()

    def _decoder(self, length: int) -> Pool[Execution]:
        """The executions for prompts of this many points."""
        pool = self._decoders.get(WITH_POINTS if length else WITHOUT_POINTS)
        if pool is None:
            raise PromptError(
                "points: expected at least one for each prompt, since the plan was built without a profile for masks "
                "alone, got none"
            )
        if length > self._most_points:
            raise PromptError(
                f"points: expected at most {self._most_points} for each prompt, its padding point or corners of a box "
                f"included, got {length}; plans for more are built with other profiles"
            )
        return pool

    def _prepare(self, execution: Execution, images: Sequence[Any]) -> OnDevice:
        """The encoder's input for images of the host and of the device."""
        shape = (len(images), 3, self._side, self._side)
        staged = None
        for index, image in enumerate(images):
            if is_device_array(image):
                self._prepare_on_device(execution, image, execution.buffer("images", shape), index)
                continue
            staged = execution.staging("images", shape) if staged is None else staged
            pixels = preprocess(np.ascontiguousarray(image), self._side, backend="native", threads=self._threads)
            staged[index] = pixels[0]
            # One by one: the next image is prepared while this one is copied.
            execution.upload_staged("images", shape, index, index + 1)
        return execution.buffer("images", shape)

    def _prepare_on_device(self, execution: Execution, image: Any, target: OnDevice, index: int) -> None:
        pixels = self._side**2
        packed = OnDevice(execution.spare(3 * pixels * FLOAT_BYTES), (1, 3, self._side, self._side), execution)
        preprocess(image, self._side, out=_ChannelsLast(packed), backend="cuda", stream=execution.stream.address)
        for channel in range(3):
            execution.stream.gather(
                target.address + (3 * index + channel) * pixels * FLOAT_BYTES,
                packed.address + channel * FLOAT_BYTES,
                FLOAT_BYTES,
                3 * FLOAT_BYTES,
                pixels,
            )

    def _run_encoder(self, execution: Execution, images: OnDevice) -> list[tuple[DeviceMap, ...]]:
        outputs = execution.start({"images": images})
        found = []
        for index in range(images.shape[0]):
            maps = []
            for name, shape in zip(self._names, self._shapes, strict=True):
                # Maps of their own, because the batch's buffer serves the next call.
                kept = DeviceMap(self._memory, shape)
                execution.stream.on_device(kept.address, outputs[name].address + index * kept.nbytes, kept.nbytes)
                maps.append(kept)
            found.append(tuple(maps))
        execution.stream.synchronize()
        return found

    def _place_features(self, execution: Execution, features: AnyFeatures) -> dict[str, OnDevice]:
        """The features as the decoder's inputs; those of the host are copied, once for all prompts."""
        placed = {}
        for name, shape, array in zip(self._names, self._shapes, features, strict=True):
            if array.shape != shape:
                raise ImageError(f"features: expected {name} of shape {shape}, got {array.shape}")
            if isinstance(array, DeviceMap) and array.device == self.device:
                placed[name] = OnDevice(array.address, (1, *shape), array)
            elif is_device_array(array) and not isinstance(array, DeviceMap):
                there = take_array(array, name, self._device.index, execution.stream)
                placed[name] = OnDevice(there.address, (1, *shape), there)
            else:
                placed[name] = execution.upload(name, np.asarray(array)[None])
        return placed


class _ChannelsLast:
    """Memory of the device as an array for evsam's CUDA kernels: (1, 3, S, S), channels last."""

    def __init__(self, memory: OnDevice) -> None:
        _, channels, height, width = memory.shape
        step = channels * FLOAT_BYTES
        self.__cuda_array_interface__ = {
            "shape": memory.shape,
            "typestr": "<f4",
            "data": (memory.address, False),
            "strides": (height * width * step, FLOAT_BYTES, width * step, step),
            "stream": None,
            "version": 3,
        }


def _place_masks(execution: Execution, masks: FloatArray | None) -> dict[str, OnDevice]:
    given = np.array([masks is not None], np.float32)
    placed = {"has_mask_input": execution.upload("has_mask_input", given)}
    if masks is None:
        # What is left of another call may overflow on its way to where it does not count.
        placed["mask_input"] = execution.zeros("mask_input", (1, 1, LOGITS_SIZE, LOGITS_SIZE))
    else:
        placed["mask_input"] = execution.upload("mask_input", masks)
    return placed


def _load_plans(setup: Setup, facts: Facts, data: Mapping[str, bytes]) -> dict[str, Plan]:
    host_code = bool(facts.build.get("version_compatible"))
    with setup.device.current():
        return {part: Plan(setup.library, setup.device, data[part], part, host_code) for part in PARTS}


def _check_tensors(plans: Mapping[str, Plan], maps: tuple[str, ...]) -> None:
    """Make sure that plans have the inputs and outputs that the engine knows."""
    prompts = ("point_coords", "point_labels", "mask_input", "has_mask_input")
    expected = {
        "encoder": ({"images"}, set(maps)),
        "decoder": ({*maps, *prompts}, {"iou_predictions", "low_res_masks"}),
    }
    for part, plan in plans.items():
        found = set(plan.inputs), set(plan.outputs)
        if found != expected[part]:
            wanted, got = (" and ".join(", ".join(sorted(names)) for names in pair) for pair in (expected[part], found))
            raise EvsamError(f"{part}: expected a plan with inputs and outputs {wanted}, got {got}")
    count = plans["decoder"].shape("iou_predictions")[-1]
    if count != MASKS:
        raise EvsamError(f"decoder: expected a plan for all {MASKS} masks, got one for {count}")
