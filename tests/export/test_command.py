"""`evsam export`, the images that ranges are found on, and what happens to decoders with large values."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import evsam
from evsam import EvsamError, ImageError
from evsam.cli import main
from evsam.export.calibration import GENERATED, generated_calibration, read_calibration
from evsam.export.onnx import build_models
from evsam.export.options import ExportOptions
from evsam.transforms import image_to_pixels
from tests.export.networks import weights_of


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


def test_half_precision_with_plugins(tmp_path, picture, capsys) -> None:
    out = tmp_path / "model"
    arguments = ["export", "nano", "--format", "onnx", "-o", str(out), "--precision", "fp16", "--plugins"]
    assert main([*arguments, "--calibration", str(picture.parent)]) == 0
    printed = capsys.readouterr().out
    assert "neck.output" in printed
    assert "on 1 images" in printed
    assert "generated images" not in printed
    manifest = json.loads((out / "evsam.json").read_text())
    assert (manifest["precision"], manifest["decoder_precision"], manifest["flavour"]) == ("fp16", "fp16", "plugins")
    assert json.loads((out / "ranges.json").read_text())["images"] == 1
    with evsam.load(out) as half, evsam.load("nano") as exact:
        photo = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
        a, b = (sam.encode(photo).features for sam in (half, exact))
    assert float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)) >= 0.9999


def test_ranges_of_an_earlier_export_do_not_stay(tmp_path) -> None:
    (tmp_path / "ranges.json").write_text("{}")
    assert main(["export", "nano", "--format", "onnx", "-o", str(tmp_path)]) == 0
    assert not (tmp_path / "ranges.json").exists()


def test_triton(tmp_path, capsys) -> None:
    assert main(["export", "nano", "--format", "triton", "-o", str(tmp_path / "t"), "--masks", "auto"]) == 0
    assert "Triton model repository" in capsys.readouterr().out
    text = (tmp_path / "t" / "models" / "evsam_nano_decoder" / "config.pbtxt").read_text()
    assert 'name: "low_res_masks"\n    data_type: TYPE_FP32\n    dims: [ -1, 1, 256, 256 ]' in text
    assert "evsam_nano_encoder" in (tmp_path / "t" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "onnx", "--plugins", "EvsamWarp"], "plugins: expected names among .*, got EvsamWarp"),
        (["--format", "onnx", "--plugins", "EvsamLiteMLA"], "plugins: expected ones that take fp32, got EvsamLiteMLA"),
        (
            ["--format", "onnx", "--precision", "fp16", "--calibration", "no-such.jpg"],
            "no-such.jpg",
        ),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path, arguments, message, capsys) -> None:
    assert main(["export", "nano", "-o", str(tmp_path / "x"), *arguments]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "tensorrt", "--masks", "auto"],
        ["--format", "tensorrt", "--plugins", "EvsamLiteMLA"],
        ["--format", "onnx", "--device", "cuda"],
        ["--format", "onnx", "--precision", "fp16", "--least-iou", "0.9"],
    ],
)
def test_wrong_usage(tmp_path, arguments) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", "nano", "-o", str(tmp_path / "x"), *arguments])
    assert stop.value.code == 2


def test_calibration_images(picture, tmp_path) -> None:
    (found,) = read_calibration([picture.parent], 64)
    expected = image_to_pixels(np.asarray(Image.open(picture)), 64)
    np.testing.assert_array_equal(found, expected)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"calibration: expected images in .*empty, got none"):
        read_calibration([tmp_path / "empty"], 64)


def test_generated_images_are_the_same_every_time_and_differ() -> None:
    first, second = generated_calibration(64), generated_calibration(64)
    assert len(first) == GENERATED
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(np.array_equal(first[0], other) for other in first[1:])


def test_decoder_with_large_values_stays_in_float32() -> None:
    weights = weights_of("nano")
    name = "mask_decoder.iou_prediction_head.layers.0.weight"
    large = replace(weights, tensors={**weights.tensors, name: weights.tensors[name] * np.float32(1e5)})
    images = generated_calibration(512)[:1]
    assert build_models(weights, "fp16", calibration=images).decoder_precision == "fp16"
    models = build_models(large, "fp16", calibration=images)
    assert (models.options.precision, models.decoder_precision) == ("fp16", "fp32")


def test_options_are_checked() -> None:
    with pytest.raises(EvsamError, match="precision: expected one of fp32, fp16, int8, fp8, got 'bf16'"):
        ExportOptions(precision="bf16")  # type: ignore[arg-type]
    with pytest.raises(EvsamError, match="masks: expected one of all, single, multi, auto, got 'best'"):
        ExportOptions(masks="best")  # type: ignore[arg-type]
    with pytest.raises(EvsamError, match="opset: expected 20 for int8, got 17"):
        ExportOptions(precision="int8")
    with pytest.raises(EvsamError, match="opset: expected 17 or 20, got 18"):
        ExportOptions(opset=18)


@pytest.mark.parametrize(("arguments", "opset"), [([], 17), (["--opset", "20"], 20)])
def test_opset(tmp_path, arguments, opset) -> None:
    assert main(["export", "nano", "--format", "onnx", "-o", str(tmp_path), *arguments]) == 0
    assert json.loads((tmp_path / "evsam.json").read_text())["opset"] == opset
    for part in ("encoder", "decoder"):
        (stated,) = onnx.load(tmp_path / f"{part}.onnx").opset_import
        assert stated.version == opset


def test_opset_of_plans(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["export", "nano", "--format", "tensorrt", "-o", str(tmp_path), "--opset", "17"])
    assert "--opset: not for TensorRT" in capsys.readouterr().err
