"""Static int8 for OpenVINO by nncf: `PYTHON quantize_openvino.py MODEL OUT CALIBRATION.npz`; OUT is a folder."""

import sys

import nncf
import numpy as np
import openvino as ov


def main(model: str, out: str, calibration: str) -> None:
    read = ov.Core().read_model(model)
    types = {name: port.element_type.to_dtype() for port in read.inputs for name in port.names}
    with np.load(calibration) as file:
        arrays = {name: x.astype(types[name]) for name, x in file.items()}
    count = len(next(iter(arrays.values())))
    examples = nncf.Dataset([{name: x[i : i + 1] for name, x in arrays.items()} for i in range(count)])
    quantized = nncf.quantize(read, examples, subset_size=count)
    ov.save_model(quantized, f"{out}/model.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
