"""Plans as files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam import BackendUnavailable, EvsamError
from evsam.engines.tensorrt import TensorRTEngine, open_folder, plugin_library
from evsam.engines.tensorrt_runtime.facts import BuildOptions
from evsam.engines.tensorrt_runtime.library import load_library, register_plugins
from evsam.export.folder import ExportFolder, make_manifest, write_folder
from evsam.export.options import FLOAT32_PLUGINS, PLUGINS
from evsam.export.sensitivity import Limits
from evsam.export.tensorrt import _WeightsModel, export_tensorrt
from evsam.weights import encoder_fingerprint
from tests.tensorrt import small_models
from tests.tensorrt.stand_in.install import install_plugins
from tests.tensorrt.test_engine import PROFILES, check_decoding, prompts


def export(weights: Any, folder: Path, **more: Any) -> ExportFolder:
    return export_tensorrt(weights, folder, profiles=PROFILES, **more)


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0"])
def test_export_and_open(machine, small, weights, image, tmp_path, version) -> None:
    world = machine(tensorrt=version)
    folder = export(weights, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["decoder.plan", "encoder.plan", "evsam.json"]
    assert folder.fingerprint == encoder_fingerprint(weights)
    assert folder.manifest["plan"]["profiles"]["points"] == [1, 2, 8]
    engine = open_folder(folder, 1, None)
    (features,) = engine.encode([image])
    check_decoding(engine, features, *prompts(4))
    engine.close()
    assert len(world.built) == 2
    export(weights, tmp_path / "out", options=BuildOptions(level=1))
    assert ExportFolder.open(tmp_path / "out").manifest["key"] != folder.manifest["key"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpu": "Another GPU"}, "for gpu Stand-in GPU, here it is Another GPU"),
        ({"compute_capability": (8, 6)}, r"for compute_capability 8\.7, here it is 8\.6"),
        ({"driver": 12080}, "for driver 12060, here it is 12080"),
        ({"tensorrt": "10.9.0"}, r"for tensorrt 10\.3\.0, here it is 10\.9\.0"),
        (
            {"gpu": "Another GPU", "tensorrt": "11.4.0"},
            r"for gpu Stand-in GPU, here it is Another GPU; for tensorrt 10\.3\.0, here it is 11\.4\.0; export",
        ),
    ],
)
def test_plans_of_another_machine(machine, small, weights, tmp_path, change, message) -> None:
    machine()
    folder = export(weights, tmp_path)
    machine(**change)
    with pytest.raises(EvsamError, match=f"path: expected plans that were built for this machine, got .*{message}"):
        open_folder(folder, 1, None)


def test_compatible_plans(machine, small, weights, image, tmp_path) -> None:
    machine()
    options = BuildOptions(version_compatible=True, hardware_compatible=True)
    folder = export(weights, tmp_path, options=options)
    machine(gpu="Another GPU", compute_capability=(12, 0), tensorrt="10.9.0")
    engine = open_folder(folder, 1, None)
    assert len(engine.encode([image])) == 1
    engine.close()
    machine(tensorrt="11.4.0")
    with pytest.raises(EvsamError, match="for tensorrt 10, here it is 11"):
        open_folder(folder, 1, None)
    machine(compute_capability=(7, 5))
    with pytest.raises(EvsamError, match=r"for compute_capability 8\.7, here it is 7\.5"):
        open_folder(folder, 1, None)


def test_plans_that_are_none(world, small, weights, tmp_path) -> None:
    folder = export(weights, tmp_path)
    (tmp_path / "encoder.plan").write_bytes(b"nothing")
    with pytest.raises(EvsamError, match=r"encoder\.plan: expected \d+ bytes, as evsam\.json says, got 7"):
        open_folder(folder, 1, None)
    for change, message in [
        (lambda m: m.pop("plan"), "whose manifest lacks 'plan'"),
        (lambda m: m["plan"]["machine"].pop("driver"), "whose manifest lacks 'driver'"),
        (lambda m: m.update(plan="x"), "whose manifest lacks"),
        (lambda m: m["plan"].pop("model"), "whose manifest lacks 'model'"),
        (lambda m: m["plan"].update(build=None), "whose manifest lacks"),
        (lambda m: m["plan"]["machine"].update(compute_capability="new"), "whose manifest lacks"),
    ]:
        manifest = json.loads(json.dumps(folder.manifest))
        change(manifest)
        with pytest.raises(EvsamError, match=f"path: expected a folder with TensorRT plans, got .*{message}"):
            open_folder(replace(folder, manifest=manifest), 1, None)


def onnx_folder(path: Path, flavour: str = "plain", kind: str = "onnx", decoder: bytes | None = None) -> ExportFolder:
    files = {"encoder": small_models.encoder(), "decoder": decoder or small_models.decoder()}
    write_folder(path, files, make_manifest(kind, "nano", "fp16", flavour, "f" * 16, files, "onnx"))
    return ExportFolder.open(path)


def test_from_onnx_files(world, image, tmp_path) -> None:
    source = onnx_folder(tmp_path / "onnx")
    folder = export(source, tmp_path / "plans", precision="fp32")
    assert (folder.fingerprint, folder.manifest["precision"], folder.kind) == ("f" * 16, "fp16", "tensorrt")
    engine = open_folder(folder, 1, None)
    (features,) = engine.encode([image])
    check_decoding(engine, features, *prompts(2))
    engine.close()
    (tmp_path / "onnx" / "decoder.onnx").write_bytes(b"other")
    with pytest.raises(EvsamError, match=r"decoder\.onnx: expected"):
        export(source, tmp_path / "plans")


def test_from_something_else(world, tmp_path) -> None:
    with pytest.raises(
        EvsamError, match="source: expected a model that was exported as ONNX, got one of kind tensorrt"
    ):
        export(onnx_folder(tmp_path, kind="tensorrt"), tmp_path / "plans")


def test_plugins_of_onnx_files_are_demanded(world, tmp_path) -> None:
    source = onnx_folder(tmp_path, "plugins")
    with pytest.raises(BackendUnavailable, match=r"plugins: expected evsam built with its plugins for TensorRT 10"):
        export(source, tmp_path / "plans")


def test_demanded_plugins(machine, small, weights) -> None:
    for version in ("10.3.0", "11.4.0"):
        machine(tensorrt=version)
        major = version[:2]
        with pytest.raises(
            BackendUnavailable, match=rf"TensorRT {major} \(docs/tensorrt-plugins\.md says how\), .* evsam\._trt{major}"
        ):
            TensorRTEngine(weights, 1, plugins=True)


def test_missing_plugins_are_logged(world, quiet) -> None:
    assert register_plugins(load_library()) == "none"
    assert "TensorRT's own layers are used: plugins: expected evsam built with its plugins" in quiet.text


def test_plugins_without_their_library(world, monkeypatch, tmp_path) -> None:
    file = tmp_path / "libevsam_plugins_trt10.so"
    file.write_bytes(b"plugins")
    install_plugins(monkeypatch, world, file, PLUGINS)
    assert plugin_library() == file
    file.unlink()
    for call in (plugin_library, lambda: register_plugins(load_library(), required=True)):
        with pytest.raises(
            BackendUnavailable, match=r"plugins: expected their library beside evsam\._trt10\.so, got none"
        ):
            call()
    assert register_plugins(load_library()) == "none"


def test_plugins_that_do_not_fit(world, monkeypatch, tmp_path, quiet) -> None:
    file = tmp_path / "plugins"
    file.write_bytes(b"plugins")
    install_plugins(monkeypatch, world, file, PLUGINS)

    def refuse() -> None:
        raise BackendUnavailable("TensorRT plugins: expected evsam 0.1.0, got another library")

    monkeypatch.setattr(sys.modules["evsam._trt10"], "register_plugins", refuse)
    assert register_plugins(load_library()) == "none"
    assert "got another library" in quiet.text
    with pytest.raises(BackendUnavailable, match="got another library"):
        register_plugins(load_library(), required=True)


@pytest.mark.parametrize(
    ("precision", "names"),
    [("fp16", frozenset(PLUGINS)), ("fp32", FLOAT32_PLUGINS), ("int8", FLOAT32_PLUGINS), ("fp8", FLOAT32_PLUGINS)],
)
def test_which_plugins_are_used(machine, weights, monkeypatch, tmp_path, precision, names) -> None:
    world = machine(tensorrt="11.4.0")
    (tmp_path / "library").write_bytes(b"plugins")
    digest = install_plugins(monkeypatch, world, tmp_path / "library", PLUGINS)
    seen = []

    def part(self: _WeightsModel, name: str) -> bytes:
        seen.append(self._options.plugins)
        return bytes(getattr(small_models, name)())

    monkeypatch.setattr(_WeightsModel, "part", part)
    folder = export(weights, tmp_path / "plans", precision=precision)
    assert seen == [names, names]
    assert world.plugins == set(PLUGINS)
    assert folder.manifest["plan"]["machine"]["plugins"] == digest
    open_folder(folder, 1, None).close()
    (tmp_path / "library2").write_bytes(b"newer plugins")
    newer = install_plugins(monkeypatch, world, tmp_path / "library2", PLUGINS)
    with pytest.raises(EvsamError, match=f"for plugins {digest}, here it is {newer}"):
        open_folder(folder, 1, None)


def test_images_of_a_calibration_count(world, small, weights, tmp_path) -> None:
    keys = {
        export(weights, tmp_path, calibration=images).manifest["key"]
        for images in (None, [np.zeros((3, 512, 512), np.float32)], [np.ones((3, 512, 512), np.float32)])
    }
    keys.add(export(weights, tmp_path, headroom=8).manifest["key"])
    keys.add(export(weights, tmp_path, limits=Limits(iou=0.98)).manifest["key"])
    assert len(keys) == 5


def test_reports_lie_beside_the_plans(world, monkeypatch, weights, tmp_path) -> None:
    """Those of weights, and of a folder that was exported as ONNX; those of an earlier export go."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    models = SimpleNamespace(reports={"layers.json": {"precision": "int8"}})
    for part in ("encoder", "decoder"):
        made = SimpleNamespace(SerializeToString=getattr(small_models, part))
        setattr(models, part, made)
    monkeypatch.setattr("evsam.export.onnx.build_models", lambda *_: models)
    (tmp_path / "ranges.json").write_text("{}")
    export(weights, tmp_path, precision="int8")
    assert json.loads((tmp_path / "layers.json").read_text()) == {"precision": "int8"}
    assert not (tmp_path / "ranges.json").exists()
    files = {part: getattr(small_models, part)() for part in ("encoder", "decoder")}
    manifest = make_manifest("onnx", "nano", "int8", "plain", "fingerprint", files, "onnx")
    write_folder(tmp_path / "onnx", files, manifest, models.reports)
    export(ExportFolder.open(tmp_path / "onnx"), tmp_path / "plans")
    assert json.loads((tmp_path / "plans" / "layers.json").read_text()) == {"precision": "int8"}


def test_scales_are_found_on_stored_photos(monkeypatch, weights, tmp_path, quiet) -> None:
    """Where there are none, a warning says that images are generated."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    seen: list[Any] = []

    def build_models(_: Any, precision: str, options: Any, calibration: Any, *others: Any) -> Any:
        seen.append((precision, options.opset, calibration, others[-1]))
        return SimpleNamespace(encoder=onnx.ModelProto(), decoder=onnx.ModelProto())

    monkeypatch.setattr("evsam.export.onnx.build_models", build_models)
    limits = Limits(iou=0.9)
    _WeightsModel(weights, "int8", plugins=False, limits=limits).part("encoder")
    assert "scales of int8 are found on generated images" in quiet.text
    quiet.clear()
    stored = replace(weights, path=tmp_path / "own.safetensors")
    (tmp_path / "own.calibration").mkdir()
    Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(tmp_path / "own.calibration" / "a.png")
    _WeightsModel(stored, "fp8", plugins=False).part("decoder")
    assert not quiet.text
    assert [entry[:2] for entry in seen] == [("int8", 20), ("fp8", 20)]
    assert seen[0][2:] == (None, limits)
    assert len(seen[1][2]) == 1
    digests = {_WeightsModel(given, "int8", plugins=False).digest for given in (weights, stored)}
    assert len(digests) == 2


def test_a_decoder_for_other_masks(world, tmp_path) -> None:
    import onnx

    model = onnx.load_model_from_string(small_models.decoder())
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = 3
    folder = export(onnx_folder(tmp_path / "onnx", decoder=model.SerializeToString()), tmp_path / "plans")
    with pytest.raises(EvsamError, match="decoder: expected a plan for all 4 masks, got one for 3"):
        open_folder(folder, 1, None)


def test_a_model_with_other_types(world, tmp_path) -> None:
    import onnx

    model = onnx.load_model_from_string(small_models.decoder())
    flag = next(value for value in model.graph.input if value.name == "has_mask_input")
    flag.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    node = onnx.helper.make_node("Cast", ["has_mask_input"], ["flag"], to=onnx.TensorProto.FLOAT)
    for other in model.graph.node:
        other.input[:] = ["flag" if name == "has_mask_input" else name for name in other.input]
    model.graph.node.insert(0, node)
    folder = export(onnx_folder(tmp_path / "onnx", decoder=model.SerializeToString()), tmp_path / "plans")
    with pytest.raises(EvsamError, match=r"decoder: expected tensors of float32, got .* for has_mask_input"):
        open_folder(folder, 1, None)
