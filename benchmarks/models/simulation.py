"""What a 16-bit or 8-bit network computes, found on the CPU.

Every tensor that the network would store in the narrow format is rounded to it as soon as it is computed, and every
weight as it is made; what happens inside a node, such as the sums of a convolution, is float32. So the result is that
of hardware that stores narrow numbers and adds up in float32, whatever the machine this runs on can do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from evsam.engines.onnxruntime import OnnxRuntimeEngine
from evsam.errors import EvsamError
from evsam.export.encoder import EncoderModel, read_encoder, write_encoder
from evsam.export.graph import FLOAT, HALF, Graph
from evsam.export.onnx import measure_decoder, write_decoder
from evsam.export.options import ExportOptions
from evsam.export.ranges import Ranges, measure_encoder

if TYPE_CHECKING:
    from evsam.weights import Weights

Storage = Literal["float16", "bfloat16", "float8_e4m3"]

STORAGE_TYPES: dict[str, int] = {
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float8_e4m3": TensorProto.FLOAT8E4M3FN,
}

FLOAT8_MAX = 448.0

_MOVING = frozenset(
    {"Concat", "Expand", "Gather", "Identity", "Pad", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Transpose"}
    | {"Unsqueeze", "Where", "Max", "Min", "Clip"}
)
"""Ops that only move or choose numbers, which are rounded already."""


class SimulatedGraph(Graph):
    """A graph that is written like one in float16, and computes in float32 with roundings.

    Args:
        name: of the graph.
        storage: the narrow format.
        ranges: for ``float8_e4m3``, largest magnitude by name of tensor, measured on such a graph in ``float16``; each
            tensor gets the power of two as scale that uses the format's range best.
    """

    def __init__(
        self, name: str, storage: Storage, ranges: Mapping[str, npt.NDArray[np.float32]] | None = None
    ) -> None:
        super().__init__(name, half=True)
        if storage not in STORAGE_TYPES:
            raise EvsamError(f"storage: expected one of {', '.join(STORAGE_TYPES)}, got {storage!r}")
        self.storage = storage
        self._ranges = ranges

    def constant(self, array: npt.ArrayLike, name: str | None = None) -> str:
        """As in the base; numbers in float16 are kept in float32."""
        values = np.asarray(array)
        if values.dtype != np.float16:
            return super().constant(values, name)
        key = super().constant(values.astype(np.float32), name or f"narrow.{values.item()}")
        self.types[key] = HALF
        return key

    def weight(self, name: str, array: npt.ArrayLike) -> str:
        """As in the base, rounded to the narrow format."""
        key = super().constant(self._rounded(np.asarray(array, np.float32)), name)
        self.types[key] = HALF
        return key

    def _rounded(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        narrow = helper.tensor_dtype_to_np_dtype(STORAGE_TYPES[self.storage])
        scale = np.float32(1)
        if self.storage == "float8_e4m3":
            scale = np.float32(_float8_scale(float(np.abs(values).max(initial=0))))
        with np.errstate(over="ignore"):
            rounded: npt.NDArray[np.float32] = (values / scale).astype(narrow).astype(np.float32) * scale
        return rounded

    def _add(self, op: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]) -> None:
        if op == "Cast" and {self.types[inputs[0]], attributes["to"]} <= {FLOAT, HALF}:
            if attributes["to"] == HALF:
                self._round(inputs[0], outputs[0])
            else:
                super()._add("Identity", inputs, outputs, {})
            return
        exact = op in _MOVING or all(self.types[output] != HALF for output in outputs)
        computed = list(outputs) if exact else [f"{output}.float32" for output in outputs]
        super()._add(op, inputs, computed, attributes)
        for value, output in zip(computed, outputs, strict=True):
            if value != output:
                self._round(value, output)

    def _round(self, value: str, output: str) -> None:
        scale = self._scale_of(output)
        if scale != 1:
            factor = super().constant(np.float32(1 / scale))
            super()._add("Mul", [value, factor], [f"{output}.scaled"], {})
            value = f"{output}.scaled"
        narrow = f"{output}.narrow"
        super()._add("Cast", [value], [narrow], {"to": STORAGE_TYPES[self.storage]})
        stored = f"{output}.stored" if scale != 1 else output
        super()._add("Cast", [narrow], [stored], {"to": FLOAT})
        if scale != 1:
            super()._add("Mul", [stored, super().constant(np.float32(scale))], [output], {})

    def _scale_of(self, output: str) -> float:
        if self.storage != "float8_e4m3":
            return 1.0
        if self._ranges is None or output not in self._ranges:
            raise EvsamError(f"ranges: expected one for {output}, got none; measure the float16 network first")
        return _float8_scale(float(np.max(self._ranges[output])))


def _float8_scale(largest: float) -> float:
    """Power of two that brings the largest magnitude below 448 and above 224."""
    return float(2.0 ** np.ceil(np.log2(largest / FLOAT8_MAX))) if largest > 0 else 1.0


def simulate(
    weights: Weights,
    storage: Storage,
    encoder: EncoderModel | None = None,
    calibration: Sequence[npt.NDArray[np.float32]] = (),
    threads: int | None = None,
) -> OnnxRuntimeEngine:
    """An engine that computes what narrow hardware would, encoder and decoder; to look at its masks.

    Args:
        weights: the model.
        storage: the narrow format.
        encoder: the network, where it is not what the weights say: with folded ranges.
        calibration: for ``float8_e4m3``, what the encoder sees of the images that find the tensors' scales.
        threads: upper limit of CPU threads.
    """
    network = encoder or read_encoder(weights)
    ranges: dict[str, Ranges] = {}
    if storage == "float8_e4m3":
        half = SimulatedGraph("encoder", "float16")
        ranges["encoder"] = measure_encoder(network, calibration, threads, half)
        half = SimulatedGraph("decoder", "float16")
        ranges["decoder"] = measure_decoder(weights, network, calibration, threads, half)
    graphs = {part: SimulatedGraph(part, storage, ranges.get(part)) for part in ("encoder", "decoder")}
    write_encoder(graphs["encoder"], network)
    write_decoder(graphs["decoder"], weights, ExportOptions(precision="fp16"))
    encoder_model, decoder_model = (graph.model({}).SerializeToString() for graph in graphs.values())
    return OnnxRuntimeEngine(encoder_model, decoder_model, threads)
