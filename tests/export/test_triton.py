"""What export writes for Triton, read with the schema of Triton itself, as its client has it compiled."""

from __future__ import annotations

import warnings
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from evsam.cli import main

onnx = pytest.importorskip("onnx")
text_format = pytest.importorskip("google.protobuf.text_format")

OWN_AXES = {"encoder": 1, "decoder": 0}
"""Axes of the graph that Triton adds itself: the batch, where there is one."""


@pytest.fixture(scope="module")
def schema() -> Any:
    client = find_spec("tritonclient")
    if client is None or client.origin is None:
        pytest.skip("needs tritonclient, which has Triton's schema of configurations")
    # the file itself: its package loads the client, with gRPC and more
    spec = spec_from_file_location("model_config_pb2", Path(client.origin).parent / "grpc" / "model_config_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # compiled for an older protobuf
        spec.loader.exec_module(module)
    return module


def shape_of(value: Any, own_axes: int) -> list[int]:
    axes = value.type.tensor_type.shape.dim
    return [axis.dim_value if axis.HasField("dim_value") else -1 for axis in axes][own_axes:]


@pytest.mark.parametrize("options", [[], ["--masks", "auto"]])
def test_configurations_follow_the_schema_and_the_graphs(tmp_path, schema, options) -> None:
    assert main(["export", "nano", "--format", "triton", "-o", str(tmp_path), *options]) == 0
    models = sorted((tmp_path / "models").iterdir())
    assert [model.name for model in models] == ["evsam_nano_decoder", "evsam_nano_encoder"]
    for model in models:
        part = model.name.rsplit("_", 1)[1]
        config = text_format.Parse((model / "config.pbtxt").read_text(), schema.ModelConfig())
        assert (config.name, config.backend) == (model.name, "onnxruntime")
        assert config.max_batch_size == (4 if part == "encoder" else 0)
        assert config.HasField("dynamic_batching") == (config.max_batch_size > 1)
        graph = onnx.load(model / "1" / "model.onnx").graph
        for configured, actual in ((config.input, graph.input), (config.output, graph.output)):
            assert [tensor.name for tensor in configured] == [value.name for value in actual]
            for tensor, value in zip(configured, actual, strict=True):
                assert tensor.data_type == schema.TYPE_FP32
                assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
                assert list(tensor.dims) == shape_of(value, OWN_AXES[part])


def test_a_field_that_triton_has_not_is_noticed(schema) -> None:
    with pytest.raises(text_format.ParseError, match="max_batches"):
        text_format.Parse("max_batches: 8", schema.ModelConfig())
