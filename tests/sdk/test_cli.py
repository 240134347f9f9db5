from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam import cli, info
from evsam.rle import decode_rle
from evsam.zoo import VARIANTS, get_variant


@pytest.fixture
def photo_file(image, tmp_path) -> Path:
    Image.fromarray(image).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def predict(photo_file, seeded_file, tmp_path):
    """Runs `evsam predict` and returns the JSON document."""

    def run(*arguments: object) -> dict[str, Any]:
        command = [
            "predict",
            photo_file,
            "--model",
            seeded_file("nano"),
            "--threads",
            1,
            "--json",
            tmp_path / "out.json",
        ]
        assert cli.main([str(a) for a in (*command, *arguments)]) == 0
        return json.loads((tmp_path / "out.json").read_text())

    return run


def failure(capsys, *arguments: object) -> str:
    assert cli.main([str(a) for a in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("evsam: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.filterwarnings("default")
def test_warnings_are_a_line(capsys, photo_file, seeded_file, tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    arguments = ["predict", photo_file, "--model", seeded_file("nano"), "--threads", 1, "--point", 9, 9]
    assert cli.main([*map(str, arguments), "--precision", "fp16", "--json", str(tmp_path / "out.json")]) == 0
    assert capsys.readouterr().err == (
        "evsam: warning: engine: native has no fp16 on cpu, onnxruntime computes instead; "
        "give engine='onnxruntime' to take it without this warning\n"
    )


def usage_error(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(a) for a in arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


class TestPredict:
    def test_box(self, predict, sam, image, tmp_path, capsys) -> None:
        document = predict("--box", 20, 10, 90, 70, "-o", tmp_path / "out.png")
        result = sam.predict(image, box=(20, 10, 90, 70))
        assert (document["height"], document["width"], document["variant"]) == (80, 120, "nano")
        assert document["image"] == str(tmp_path / "photo.png")
        (prediction,) = document["predictions"]
        assert prediction["prompt"] == {"box": [20, 10, 90, 70]}
        (mask,) = prediction["masks"]
        decoded = decode_rle(mask["segmentation"])
        assert (decoded == result.masks[0, 0]).mean() > 0.999
        assert mask["area"] == decoded.sum()
        assert mask["score"] == pytest.approx(float(result.scores[0, 0]), abs=1e-3)
        y, x = decoded.nonzero()
        assert mask["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        with Image.open(tmp_path / "out.png") as overlay:
            assert overlay.size == (120, 80)
            drawn = np.asarray(overlay)
        assert (drawn != image).any(-1).sum() >= 0.99 * decoded.sum() > 0
        assert np.mean(drawn == np.asarray(result.overlay(image))) > 0.99  # with the box and the score
        output = capsys.readouterr().out
        assert "mask 1 (box): score" in output
        assert f"wrote {tmp_path / 'out.png'}" in output

    def test_boxes(self, predict) -> None:
        document = predict("--box", 20, 10, 90, 70, "--box", 0, 0, 30, 30)
        assert [p["prompt"]["box"] for p in document["predictions"]] == [[20, 10, 90, 70], [0, 0, 30, 30]]

    def test_points(self, predict, sam, image) -> None:
        (prediction,) = predict("--point", 60, 40, "--negative-point", 5, 5)["predictions"]
        assert prediction["prompt"] == {"points": [[60, 40], [5, 5]], "labels": [1, 0]}
        expected = sam.predict(image, points=[(60, 40), (5, 5)], labels=[1, 0])
        decoded = decode_rle(prediction["masks"][0]["segmentation"])
        assert (decoded == expected.masks[0, 0]).mean() > 0.999

    def test_box_and_points(self, predict) -> None:
        (prediction,) = predict("--box", 20, 10, 90, 70, "--point", 60, 40)["predictions"]
        assert prediction["prompt"] == {"points": [[60, 40]], "labels": [1], "box": [20, 10, 90, 70]}

    @pytest.mark.parametrize(("flag", "masks"), [((), 3), (("--multimask",), 3), (("--no-multimask",), 1)])
    def test_masks_come_best_first(self, predict, flag, masks) -> None:
        (prediction,) = predict("--point", 60, 40, *flag)["predictions"]
        scores = [mask["score"] for mask in prediction["masks"]]
        assert len(scores) == masks
        assert scores == sorted(scores, reverse=True)

    def test_empty_mask(self) -> None:
        entry = cli._mask_entry(np.zeros((4, 5), bool), 0.5)
        assert (entry["area"], entry["bbox"]) == (0, [0, 0, 0, 0])

    def test_missing_photo(self, capsys, tmp_path) -> None:
        message = failure(capsys, "predict", tmp_path / "none.jpg", "--point", 1, 1, "-o", tmp_path / "o.png")
        assert "none.jpg" in message
        assert "does not exist" in message

    def test_point_outside(self, capsys, photo_file, seeded_file, tmp_path) -> None:
        output = tmp_path / "o.png"
        message = failure(
            capsys, "predict", photo_file, "--model", seeded_file("nano"), "--point", -5, 1, "-o", output
        )  # fmt: skip
        assert "points: expected 0 <= x < 120" in message
        assert not output.exists()

    def test_unknown_model_and_engine(self, capsys, photo_file, tmp_path) -> None:
        command = ("predict", photo_file, "--point", 1, 1, "-o", tmp_path / "o.png")
        assert "l9" in failure(capsys, *command, "--model", "l9")
        assert "engine: expected one of" in failure(capsys, *command, "--engine", "warp")
        assert "threads: expected" in failure(capsys, *command, "--threads", 0)

    def test_folder_that_does_not_exist(self, capsys, photo_file, tmp_path) -> None:
        for option in ("-o", "--json"):
            message = failure(capsys, "predict", photo_file, "--point", 1, 1, option, tmp_path / "no" / "out.png")
            assert "expected an existing folder" in message

    def test_format_without_rgb(self, capsys, photo_file, tmp_path) -> None:
        message = failure(capsys, "predict", photo_file, "--point", 1, 1, "-o", tmp_path / "out.blp")
        assert "-o: expected a format that holds RGB" in message

    def test_usage_errors(self, capsys, photo_file, tmp_path) -> None:
        output = ("-o", tmp_path / "o.png")
        box = ("--box", 1, 2, 30, 40)
        assert "give at least one --box or --point" in usage_error(capsys, "predict", photo_file, *output)
        assert "at most one --box" in usage_error(capsys, "predict", photo_file, *box, *box, "--point", 1, 1, *output)
        assert "give -o IMAGE, --json FILE or both" in usage_error(capsys, "predict", photo_file, *box)
        assert "-o: expected the name of an image" in usage_error(
            capsys, "predict", photo_file, *box, "-o", "masks.xyz"
        )
        assert "-o: expected the name of an image" in usage_error(capsys, "predict", photo_file, *box, "-o", "masks")
        assert "expected 4 arguments" in usage_error(capsys, "predict", photo_file, "--box", 1, 2, *output)
        assert "invalid float value" in usage_error(capsys, "predict", photo_file, "--point", 1, "y", *output)
        assert "required" in usage_error(capsys)
        for seconds in ("nan", "inf", "-1"):
            assert "expected 0 to 86400 seconds" in usage_error(capsys, "bench", "--seconds", seconds)
        assert "expected a whole number from 0" in usage_error(capsys, "convert", "a", "b", "--photos", -1)
        for option in ("--threads", "--max-batch", "--max-prompts"):
            for number in (-1, 0, 10**30):
                message = usage_error(capsys, "export", "nano", "--format", "onnx", "-o", "x", option, number)
                assert "expected a whole number from 1" in message
        assert "invalid choice" in usage_error(capsys, "predictt")


class TestInfo:
    def test_text(self, capsys) -> None:
        assert cli.main(["info"]) == 0
        output = capsys.readouterr().out
        for name in (*VARIANTS, "torch", "numpy", f"evsam {version('evsam')}"):
            assert name in output

    def test_json(self, capsys) -> None:
        assert cli.main(["info", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert [v["name"] for v in document["variants"]] == list(VARIANTS)
        assert document["variants"][1]["image_size"] == 512
        assert document["cpu"]["cpus"] >= 1
        assert document["cpu"]["isa"]
        assert document["packages"]["numpy"] == version("numpy")

    def test_cuda(self, capsys, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "evsam._cuda", None)
        assert info.cuda() == {
            "kernels": 0,
            "devices": [],
            "problem": "not in this build: needs -C cmake.define.EVSAM_CUDA=ON",
        }
        module = SimpleNamespace(
            kernels=lambda: [{}] * 3,
            device_count=lambda: 2,
            device_name=lambda index: f"GPU {index}",
            driver_error=lambda: None,
        )
        monkeypatch.setitem(sys.modules, "evsam._cuda", module)
        assert info.cuda() == {"kernels": 3, "devices": ["GPU 0", "GPU 1"], "problem": None}
        assert cli.main(["info"]) == 0
        assert "CUDA     GPU 0, GPU 1\nkernels  3\n" in capsys.readouterr().out

    def test_engine_that_is_not_installed(self, capsys, monkeypatch) -> None:
        from evsam import engines

        absent = engines.EngineInfo(
            name="warp", module="evsam.engines.warp", summary="", requires=("no_such_package",), extra="warp"
        )
        monkeypatch.setattr(info, "ENGINES", {"warp": absent})
        assert cli.main(["info"]) == 0
        assert "warp         not installed: pip install 'evsam[warp]'" in capsys.readouterr().out

    def test_whereabouts(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("EVSAM_CACHE", str(tmp_path))
        l0 = get_variant("l0")
        assert info.whereabouts(l0) == "hub"
        (tmp_path / "l0.safetensors").touch()
        assert info.whereabouts(l0) == "cached"
        monkeypatch.setattr(info, "bundled", lambda _: tmp_path)
        assert info.whereabouts(l0) == "bundled"
        monkeypatch.setattr(info, "bundled", lambda _: None)
        assert info.whereabouts(get_variant("nano")) == "missing"


class TestWeights:
    def test_convert(self, capsys, seeded_file, tmp_path) -> None:
        target = tmp_path / "half.safetensors"
        assert cli.main(["convert", str(seeded_file("nano")), str(target), "--dtype", "float16"]) == 0
        assert f"wrote {target}: nano" in capsys.readouterr().out
        assert target.stat().st_size < 0.6 * seeded_file("nano").stat().st_size

    def test_convert_the_wrong_variant(self, capsys, seeded_file, tmp_path) -> None:
        message = failure(capsys, "convert", seeded_file("nano"), tmp_path / "x.safetensors", "--variant", "l0")
        assert "nano" in message

    def test_download(self, capsys, monkeypatch) -> None:
        from evsam import weights

        monkeypatch.setattr(weights, "download", lambda variant: Path(f"/somewhere/{variant}.pt"))
        assert cli.main(["download", "l0"]) == 0
        assert capsys.readouterr().out == "/somewhere/l0.pt\n"

    def test_download_of_an_unknown_variant(self, capsys) -> None:
        assert "variant: expected one of" in failure(capsys, "download", "l7")


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"evsam {version('evsam')}\n"


def test_interrupt(monkeypatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_info", interrupt)
    assert cli.main(["info"]) == 130


def test_errors_take_one_line(monkeypatch, capsys) -> None:
    def fail(_: object) -> None:
        raise OSError("first\n  second")

    monkeypatch.setattr(cli, "_info", fail)
    assert failure(capsys, "info") == "evsam: first second\n"


def test_module_runs_as_a_program(tmp_path) -> None:
    command = [
        sys.executable,
        "-m",
        "evsam",
        "predict",
        tmp_path / "none.png",
        "--point",
        "1",
        "1",
        "--json",
        tmp_path / "o",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "none.png" in done.stderr
    assert "Traceback" not in done.stderr
