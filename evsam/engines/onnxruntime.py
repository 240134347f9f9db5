"""The onnxruntime engine: for hardware that only speaks ONNX."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evsam.engines.base import ALL_MASKS, AnyFeatures, Features, FloatArray
from evsam.errors import BackendUnavailable, EvsamError
from evsam.transforms import image_to_pixels, masks_from_logits
from evsam.weights.matching import check_shapes
from evsam.zoo import LOGITS_SIZE

if TYPE_CHECKING:
    import onnxruntime

    from evsam.export.folder import ExportFolder
    from evsam.weights import Weights

PIXELS, PROMPTS = 1 << 20, 8
"""Pixels that are encoded together, and prompts that are decoded together: their activations stay below 500 MB."""

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Execution providers of onnxruntime by the name of the device."""

AS_WRITTEN = ("session.disable_quant_qdq", "1")
"""Setting that leaves Q/DQ nodes as they are. With float16 scales onnxruntime (seen with 1.32) would else store biases
as whole numbers, in a scale that float16 does not hold, and compute something else."""

CLIP_BEFORE_QUANTIZE = "ClipQuantRewrite"
"""An optimiser that ends with an error where a Clip stands before a float8 QuantizeLinear (seen with 1.32)."""

SILENT = 3
"""Severity from which onnxruntime logs: errors."""


def create(weights: Weights, threads: int | None, device: str | None, precision: str = "fp32") -> OnnxRuntimeEngine:
    """See :func:`evsam.engines.create_engine`; the models are built in memory, of standard operators."""
    from evsam.export.onnx import build_models

    find_providers(device)  # before the work
    tensors = {name: tensor.shape for name, tensor in weights.tensors.items()}
    check_shapes("weights", tensors, weights.variant)
    models = build_models(weights, precision)
    encoder, decoder = models.encoder.SerializeToString(), models.decoder.SerializeToString()
    del models  # as large as the weights, and onnxruntime makes copies of its own
    return OnnxRuntimeEngine(encoder, decoder, threads, device)


def open_folder(folder: ExportFolder, threads: int | None, device: str | None) -> OnnxRuntimeEngine:
    """See :func:`evsam.engines.open_folder`; both flavours run."""
    return OnnxRuntimeEngine(folder.read("encoder"), folder.read("decoder"), threads, device)


def open_session(
    model: bytes | str | os.PathLike[str],
    threads: int | None = None,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
    optimise: bool = True,
) -> onnxruntime.InferenceSession:
    """A session for a model.

    Args:
        model: its bytes, or the path of its file.
        threads: upper limit of CPU threads, None for onnxruntime's own choice.
        providers: of onnxruntime, the first choice first.
        optimise: whether onnxruntime may change the graph.

    Raises:
        BackendUnavailable: there is no onnxruntime.
        EvsamError: onnxruntime does not take the model; the message says why.
    """
    onnxruntime = _import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.add_session_config_entry(*AS_WRITTEN)
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model if isinstance(model, bytes) else os.fspath(model)
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=list(providers), disabled_optimizers=[CLIP_BEFORE_QUANTIZE]
        )
    except Exception as error:  # onnxruntime's exceptions share no other base
        name = "model" if isinstance(model, bytes) else os.fspath(model)
        raise EvsamError(f"{name}: expected a model that onnxruntime can run, got: {error}") from error


def _import_onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable("onnxruntime is needed; use pip install 'evsam[onnx]'") from error
    module: ModuleType = onnxruntime
    return module


class OnnxRuntimeEngine:
    """Runs an exported encoder and decoder.

    Any number of threads may call it: sessions are not changed by running them.

    Args:
        encoder: bytes or path of the encoder, see :mod:`evsam.export.onnx`.
        decoder: bytes or path of the decoder, with all four masks.
        threads: upper limit of CPU threads, None for onnxruntime's own choice.
        device: ``cpu`` (the default), ``cuda``, ``cuda:N``, ``tensorrt`` or ``tensorrt:N``: onnxruntime's provider of
            that name, in an onnxruntime that has it.

    Raises:
        BackendUnavailable: the installed onnxruntime does not have the provider.
        EvsamError: a model that onnxruntime does not take, or one with other inputs or outputs.
    """

    name = "onnxruntime"

    def __init__(
        self,
        encoder: bytes | str | os.PathLike[str],
        decoder: bytes | str | os.PathLike[str],
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        self.device, providers = find_providers(device)
        encoder_session = open_session(encoder, threads, providers)
        decoder_session = open_session(decoder, threads, providers)
        _check_provider(encoder_session, self.device)
        self._outputs = [output.name for output in encoder_session.get_outputs()]
        self._image_size = _image_size(encoder_session)
        _check_decoder(decoder_session, self._outputs)
        self._sessions: tuple[Any, Any] | None = (encoder_session, decoder_session)

    def encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Features]:
        """See :meth:`evsam.engines.base.Engine.encode`."""
        step = max(1, PIXELS // self._image_size**2)
        out: list[Features] = []
        for start in range(0, len(images), step):
            part = images[start : start + step]
            maps = self.encode_pixels(np.stack([image_to_pixels(image, self._image_size) for image in part]))
            # Copies, because a view would keep the maps of the whole batch in memory.
            out += [tuple(np.array(m[i], np.float32) for m in maps) for i in range(len(part))]
        return out

    def encode_pixels(self, pixels: FloatArray) -> tuple[FloatArray, ...]:
        """The encoder alone, for those who prepare images themselves.

        Args:
            pixels: float32 (B, 3, S, S), normalised RGB with zeros where padded, as
                :func:`evsam.transforms.image_to_pixels` makes it; S is the variant's image size.

        Returns:
            The features, each with the batch in front.
        """
        encoder, _ = self._open()
        return tuple(encoder.run(self._outputs, {"images": pixels}))

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
        _, decoder = self._open()
        feed = {name: np.asarray(array)[None] for name, array in zip(self._outputs, features, strict=True)}
        feed["has_mask_input"] = np.array([masks is not None], np.float32)
        count = chosen.stop - chosen.start
        logits = np.empty((len(points), count, LOGITS_SIZE, LOGITS_SIZE), np.float32)
        scores = np.empty((len(points), count), np.float32)
        for start in range(0, len(points), PROMPTS):
            part = slice(start, start + PROMPTS)
            feed["point_coords"] = points[part]
            feed["point_labels"] = labels[part].astype(np.float32)
            feed["mask_input"] = _NO_MASK if masks is None else masks[part]
            found = decoder.run(["low_res_masks", "iou_predictions"], feed)
            logits[part], scores[part] = (array[:, chosen] for array in found)
        return logits, scores

    def masks(
        self, logits: FloatArray, resized_size: tuple[int, int], original_size: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """See :meth:`evsam.engines.base.Engine.masks`."""
        self._open()
        return masks_from_logits(logits, resized_size, original_size)

    def close(self) -> None:
        """Drop the models, once the calls in progress have ended; see :meth:`evsam.engines.base.Engine.close`."""
        self._sessions = None

    def _open(self) -> tuple[Any, Any]:
        sessions = self._sessions
        if sessions is None:
            raise EvsamError("engine: expected an open engine, got one after close()")
        return sessions


_NO_MASK = np.zeros((1, 1, LOGITS_SIZE, LOGITS_SIZE), np.float32)


def find_providers(device: str | None) -> tuple[str, list[Any]]:
    """Name of the device, and onnxruntime's providers for it.

    Raises:
        BackendUnavailable: no such device, or an onnxruntime without its provider.
    """
    onnxruntime = _import_onnxruntime()
    kind, _, number = (device or "cpu").partition(":")
    if kind not in PROVIDERS or (number and (kind == "cpu" or not number.isdecimal())):
        raise BackendUnavailable(
            f"device: expected cpu, cuda, cuda:N, tensorrt or tensorrt:N for engine onnxruntime, got {device!r}"
        )
    wanted, available = PROVIDERS[kind], onnxruntime.get_available_providers()
    if wanted not in available:
        raise BackendUnavailable(
            f"device: expected an onnxruntime with {wanted} for {device!r}, got one with {', '.join(available)}"
        )
    if kind == "cpu":
        return "cpu", [wanted]
    index = int(number or 0)
    # What a provider has no kernel for runs on the next one.
    chain = [wanted, "CUDAExecutionProvider"] if kind == "tensorrt" else [wanted]
    return f"{kind}:{index}", [*((name, {"device_id": index}) for name in chain), "CPUExecutionProvider"]


def _check_provider(session: Any, device: str) -> None:
    """Onnxruntime goes on with the CPU where a provider's own libraries are missing."""
    wanted = PROVIDERS[device.partition(":")[0]]
    if wanted not in (found := session.get_providers()):
        raise BackendUnavailable(
            f"device: expected onnxruntime to compute on {device!r} by {wanted}, got {', '.join(found)}: libraries "
            "that the provider needs cannot be loaded here"
        )


def _image_size(encoder: Any) -> int:
    inputs = encoder.get_inputs()
    if [entry.name for entry in inputs] != ["images"] or not isinstance(inputs[0].shape[-1], int):
        raise EvsamError(f"encoder: expected the input images (batch, 3, S, S), got {_described(inputs)}")
    return int(inputs[0].shape[-1])


def _check_decoder(decoder: Any, features: Sequence[str]) -> None:
    wanted = {*features, "point_coords", "point_labels", "mask_input", "has_mask_input"}
    inputs = {entry.name for entry in decoder.get_inputs()}
    if inputs != wanted:
        cure = "; export it without --image-size-masks" if "orig_im_size" in inputs else ""
        raise EvsamError(f"decoder: expected the inputs {sorted(wanted)}, got {sorted(inputs)}{cure}")
    outputs = {entry.name: entry.shape for entry in decoder.get_outputs()}
    if outputs.get("low_res_masks", [None, None])[1] != 4 or "iou_predictions" not in outputs:
        raise EvsamError(
            f"decoder: expected the outputs low_res_masks (prompts, 4, 256, 256) and iou_predictions, "
            f"got {_described(decoder.get_outputs())}; export it with --masks all"
        )


def _described(entries: Sequence[Any]) -> str:
    return ", ".join(f"{entry.name} {tuple(entry.shape)}" for entry in entries)
