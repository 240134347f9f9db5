"""Static int8 for onnxruntime: `PYTHON quantize_onnxruntime.py MODEL OUT CALIBRATION.npz`.

QDQ form, activations uint8, weights int8 per channel, of convolutions and of products with constant matrices.
reduce_range keeps weights to 7 bits: on CPUs without VNNI the products of two neighbours are added in 16 bits with
saturation, which full-range weights run into.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Photos(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, model: str, path: str) -> None:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        wide = {node.name for node in session.get_inputs() if node.type == "tensor(int64)"}
        with np.load(path) as file:
            self.arrays = {name: x.astype(np.int64) if name in wide else x for name, x in file.items()}
        self.left = iter(range(len(next(iter(self.arrays.values())))))

    def get_next(self) -> dict[str, np.ndarray] | None:
        i = next(self.left, None)
        return None if i is None else {name: x[i : i + 1] for name, x in self.arrays.items()}


def main(model: str, out: str, calibration: str) -> None:
    prepared = out + ".prepared"
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        out,
        Photos(model, calibration),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        extra_options={"MatMulConstBOnly": True},
    )
    Path(prepared).unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
