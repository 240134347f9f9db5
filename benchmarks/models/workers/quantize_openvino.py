"""Static int8 for OpenVINO by nncf: `PYTHON quantize_openvino.py MODEL OUT CALIBRATION.npy`; OUT is a folder."""

import sys

import nncf
import numpy as np
import openvino as ov


def main(model: str, out: str, calibration: str) -> None:
    photos = nncf.Dataset([item[None] for item in np.load(calibration)])
    quantized = nncf.quantize(ov.Core().read_model(model), photos, subset_size=len(np.load(calibration)))
    ov.save_model(quantized, f"{out}/model.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
