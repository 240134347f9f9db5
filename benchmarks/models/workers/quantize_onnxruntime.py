"""Static int8 for onnxruntime: `PYTHON quantize_onnxruntime.py MODEL OUT CALIBRATION.npy`.

QDQ form, activations uint8, weights int8 per channel. reduce_range keeps weights to 7 bits: on CPUs without VNNI the
products of two neighbours are added in 16 bits with saturation, which full-range weights run into.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Photos(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, path: str) -> None:
        self.items: Iterator[np.ndarray] = iter(np.load(path))

    def get_next(self) -> dict[str, np.ndarray] | None:
        item = next(self.items, None)
        return None if item is None else {"pixels": item[None]}


def main(model: str, out: str, calibration: str) -> None:
    prepared = out + ".prepared"
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        out,
        Photos(calibration),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=["Conv"],
    )
    Path(prepared).unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
