"""Building plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evsam import EvsamError
from evsam.engines.tensorrt_runtime.builder import build_plan, strip_functions
from evsam.engines.tensorrt_runtime.facts import BuildOptions, Profiles
from evsam.engines.tensorrt_runtime.library import Setup
from tests.tensorrt import small_models
from tests.tensorrt.stand_in import tensorrt as fake
from tests.tensorrt.stand_in.network import unpack

onnx = small_models.onnx
helper = onnx.helper
PROFILES = Profiles(batch=(1, 1, 2), prompts=(1, 2, 3), points=(1, 2, 8))


@pytest.fixture
def build(world) -> Callable[..., bytes]:
    def call(model: bytes | None = None, profiles: Any = None, **more: Any) -> bytes:
        setup = Setup.find(None)
        shapes = PROFILES.encoder("nano") if profiles is None else profiles
        return build_plan(setup.library, setup.device, model or small_models.encoder(), shapes, **more)

    return call


def header(plan: bytes) -> dict[str, Any]:
    found = unpack(plan)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0"])
def test_versions(machine, version) -> None:
    world = machine(tensorrt=version)
    setup = Setup.find(None)
    plan = build_plan(setup.library, setup.device, small_models.decoder(), PROFILES.decoder("nano"))
    assert header(plan)["tensorrt"] == version
    assert header(plan)["profiles"][1]["point_coords"] == [[1, 0, 2], [2, 0, 2], [3, 0, 2]]
    assert world.logged == []


def test_default_options(build) -> None:
    found = header(build())
    assert found["flags"] == [], "float32 is float32 unless TF32 is asked for"
    assert (found["level"], found["workspace"], found["hardware"]) == (3, None, "NONE")


def test_options(build) -> None:
    options = BuildOptions(1 << 20, 5, tf32=True, version_compatible=True, hardware_compatible=True)
    found = header(build(options=options))
    assert found["flags"] == ["TF32", "VERSION_COMPATIBLE"]
    assert (found["level"], found["workspace"], found["hardware"]) == (5, 1 << 20, "AMPERE_PLUS")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workspace": 0}, "workspace: expected a positive number of bytes or None, got 0"),
        ({"level": 6}, "level: expected 0 to 5 or None, got 6"),
    ],
)
def test_options_that_do_not_exist(options, message) -> None:
    with pytest.raises(EvsamError, match=message):
        BuildOptions(**options)


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ({"batch": (0, 1, 2)}, r"batch: expected numbers with 1 <= .* got \(0, 1, 2\)"),
        ({"prompts": (1, 4, 2)}, r"prompts: expected numbers with 1 <= .* got \(1, 4, 2\)"),
        ({"points": (1, 2)}, r"points: expected numbers with 1 <= .* got \(1, 2\)"),
        ({"images": (1, 2, 3)}, r"images: expected \(1, 1, 1\) or those of prompts, .* got \(1, 2, 3\)"),
    ],
)
def test_profiles_that_make_no_sense(profiles, message) -> None:
    with pytest.raises(EvsamError, match=message):
        Profiles(**profiles)


def test_profiles_of_variants() -> None:
    assert Profiles().encoder("xl1")[0]["images"] == ((1, 3, 1024, 1024), (1, 3, 1024, 1024), (4, 3, 1024, 1024))
    first, second = Profiles(images=(1, 16, 64)).decoder("nano")
    assert set(first) == {*small_models.map_names("nano"), "point_coords", "point_labels", "mask_input"}
    assert first["lateral_1"] == ((1, 32, 128, 128), (16, 32, 128, 128), (64, 32, 128, 128))
    assert first["mask_input"][1][0] == 1
    assert second["mask_input"][1][0] == 16
    assert set(Profiles().decoder("l0")[0]) == {"image_embeddings", "point_coords", "point_labels", "mask_input"}
    assert len(Profiles(mask_alone=False).decoder("l0")) == 1


def test_profiles_that_do_not_fit_the_model(build) -> None:
    right = PROFILES.encoder("nano")[0]["images"]
    for shapes, message in [
        ({}, r"profiles: expected shapes of all inputs of model that vary, got none for \['images'\]"),
        ({"images": right, "more": right}, "profiles: expected inputs of model, images, got more"),
        ({"images": ((1, 3, 8, 8),) * 3}, r"profiles: expected shapes like \(-1, 3, 512, 512\) for images of model"),
        ({"images": ((1, 3),) * 3}, r"profiles: expected shapes like \(-1, 3, 512, 512\) for images of model"),
    ]:
        with pytest.raises(EvsamError, match=message):
            build(profiles=[shapes])


def with_plugin(operators: list[str], functions: bool = True) -> bytes:
    """A model whose nodes are of evsam's domain."""
    value = helper.make_tensor_value_info
    names = ["images", *(f"x{i}" for i in range(len(operators)))]
    nodes = [
        helper.make_node(operator, [names[i]], [names[i + 1]], domain="evsam", name=f"node{i}")
        for i, operator in enumerate(operators)
    ]
    float_ = onnx.TensorProto.FLOAT
    shape = ("batch", 3, 512, 512)
    graph = helper.make_graph(nodes, "g", [value("images", float_, shape)], [value(names[-1], float_, shape)])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("evsam", 1)]
    bodies = [
        helper.make_function("evsam", op, ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], imports[:1])
        for op in operators
    ]
    model = helper.make_model(graph, opset_imports=imports, functions=bodies if functions else [], ir_version=9)
    return bytes(model.SerializeToString())


def test_functions_are_stripped() -> None:
    model = with_plugin(["EvsamA", "EvsamB"])
    stripped = onnx.load_model_from_string(strip_functions(model))
    assert len(stripped.functions) == 0
    assert [node.op_type for node in stripped.graph.node] == ["EvsamA", "EvsamB"]
    assert strip_functions(small_models.encoder()) == small_models.encoder()


def test_plugins_that_are_registered(build, world, monkeypatch) -> None:
    monkeypatch.setattr(fake.Builder, "build_serialized_network", lambda self, network, config: b"plan")
    world.plugins.add("EvsamA")
    assert build(with_plugin(["EvsamA"])) == b"plan"


def test_every_error_of_the_parser_is_told(build) -> None:
    with pytest.raises(EvsamError) as caught:
        build(with_plugin(["EvsamA", "EvsamB"]), label="encoder of nano")
    message = str(caught.value)
    assert message.startswith("encoder of nano: expected an ONNX model that TensorRT 10.3.0 can parse, got: ")
    for name, operator in (("node0", "EvsamA"), ("node1", "EvsamB")):
        assert f"namespace correct? {operator} (node {name}, operator {operator})" in message


def test_errors_of_the_builder(build, monkeypatch) -> None:
    def fail(self: fake.Builder, network: Any, config: Any) -> None:
        self.log(fake.Severity.WARNING, "not an error")
        self.log(fake.Severity.ERROR, "Error Code 10: Internal Error (Could not find any implementation for node A)")

    monkeypatch.setattr(fake.Builder, "build_serialized_network", fail)
    with pytest.raises(EvsamError, match=r"can build for Stand-in GPU, got: Error Code 10: .*for node A") as caught:
        build()
    assert "not an error" not in str(caught.value)


def test_messages_go_to_the_log(build, quiet, monkeypatch) -> None:
    def fail(self: fake.Builder, network: Any, config: Any) -> None:
        for severity in fake.Severity:
            self.log(severity, f"message {severity.name}")

    monkeypatch.setattr(fake.Builder, "build_serialized_network", fail)
    quiet.set_level("DEBUG", "evsam.tensorrt")
    with pytest.raises(EvsamError):
        build()
    found = [(record.levelname, record.message) for record in quiet.records if "message" in record.message]
    assert found == [
        ("ERROR", "message INTERNAL_ERROR"),
        ("ERROR", "message ERROR"),
        ("WARNING", "message WARNING"),
        ("INFO", "message INFO"),
        ("DEBUG", "message VERBOSE"),
    ]


def test_timing_cache(build, world, tmp_path, quiet) -> None:
    path = tmp_path / "folder" / "timings"
    build(timing_cache=path)
    assert path.read_bytes() == b"Stand-in GPU+"
    build(timing_cache=path)
    assert path.read_bytes() == b"Stand-in GPU++"
    path.write_bytes(b"Another GPU++++")
    build(timing_cache=path)
    assert path.read_bytes() == b"Stand-in GPU+"
    assert "is of another GPU or version" in quiet.text


def test_timing_cache_that_cannot_be_written(build, tmp_path, quiet) -> None:
    (tmp_path / "file").write_text("")
    assert build(timing_cache=tmp_path / "file" / "timings")
    assert "cannot be written" in quiet.text


def test_a_model_that_is_none(build) -> None:
    with pytest.raises(EvsamError, match="expected an ONNX model"):
        build(np.zeros(8, np.float32).tobytes() + b"\xff")
