"""Shared memory of blocks, and which nodes of exported models become quick plugins."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_model.launches import launches
from evsam.costs import FusedMBConv as FusedMBConvOp
from evsam.export.options import FLOAT32_PLUGINS, PLUGINS
from evsam.export.quick_plugins import QUICK_PLUGINS, SHARED_BYTES
from evsam.export.quick_plugins.plugins import FusedMBConv, ReluLinearAttention
from evsam.layers import encoder_ops
from evsam.selftest.devices import get_device
from evsam.zoo import VARIANTS
from tests.cuda.toolchain import CSRC


def fused_layers() -> list[FusedMBConvOp]:
    layers = [op for variant in VARIANTS.values() for op in encoder_ops(variant) if isinstance(op, FusedMBConvOp)]
    assert len({(op.in_channels, op.out_channels, op.stride) for op in layers}) > 5
    return layers


def test_names() -> None:
    assert set(PLUGINS) - QUICK_PLUGINS == {"EvsamLiteMLA"}
    assert FLOAT32_PLUGINS <= QUICK_PLUGINS


def test_shared_memory_is_that_of_the_launchers() -> None:
    for op in fused_layers():
        launch = launches(op, replace(get_device("a100"), multiprocessors=1))[0]
        shared_bytes = FusedMBConv.placement(op.in_channels, op.out_channels, op.stride, 99 * 1024)[2]
        columns, _, threads = FusedMBConv.tile(op.out_channels)
        assert (shared_bytes, threads) == (launch.shared_bytes, launch.threads)
        assert f"128x{columns}" in launch.kernel


def test_layers_with_stride_1_fit() -> None:
    for op in fused_layers():
        shared_bytes = FusedMBConv.placement(op.in_channels, op.out_channels, op.stride, SHARED_BYTES)[2]
        assert (shared_bytes <= SHARED_BYTES) == (op.stride == 1)


def test_shared_memory_of_attention() -> None:
    text = (CSRC / "ops" / "relu_linear_attention" / "README.md").read_text()
    sizes = [ReluLinearAttention.shared_bytes(dim, size) for size in (2, 4) for dim in (16, 32)]
    kib = [f"{size / 1024 + 0.01:.1f}" for size in sizes]  # halves up
    assert f"{kib[0]} / {kib[1]} KiB (float32: {kib[2]} / {kib[3]})" in text


@pytest.fixture
def exported() -> Callable[[str], Any]:
    """A function that writes a model of three blocks with plugin nodes."""
    pytest.importorskip("onnx", reason="exports need onnx")
    from onnx import TensorProto, helper

    def make(precision: str) -> Any:
        kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT

        def weight(name: str, *shape: int) -> Any:
            return helper.make_tensor(name, kind, shape, [0.0] * math.prod(shape))

        nodes: list[tuple[str, list[str], str, dict[str, Any], str]] = [
            ("EvsamFusedMBConv", ["x", "weight", "b", "point", "c"], "wide", {"stride": 1, "residual": 0}, ""),
            ("EvsamFusedMBConv", ["wide", "weight", "b", "point", "c"], "half", {"stride": 2, "residual": 0}, "two"),
            ("EvsamReluLinearAttention", ["half"], "attended", {"head_dim": 32, "eps": 1e-15}, ""),
            ("EvsamUpsampleAdd", ["attended", "half", "wide"], "sum", {"mode": "bicubic"}, ""),
            ("EvsamUpsampleAdd", ["half", "sum"], "again", {"mode": "bicubic"}, "one"),
            ("EvsamLiteMLA", ["again"], "out", {"head_dim": 32}, ""),
        ]
        made, functions = [], []
        for op, inputs, output, attributes, overload in nodes:
            made.append(helper.make_node(op, inputs, [output], name=output, domain="evsam", **attributes))
            made[-1].overload = overload
            body = helper.make_node("Identity", ["a0"], ["y"])
            names = [f"a{i}" for i in range(len(inputs))]
            functions.append(
                helper.make_function("evsam", op, names, ["y"], [body], [helper.make_opsetid("", 20)], list(attributes))
            )
            functions[-1].overload = overload
        values = [helper.make_tensor_value_info(name, kind, None) for name in ("x", "out")]
        weights = [weight("weight", 8, 3, 3, 8), weight("b", 8), weight("point", 96, 8), weight("c", 96)]
        graph = helper.make_graph(made, "graph", values[:1], values[1:], weights)
        return helper.make_model(graph, functions=functions, opset_imports=[helper.make_opsetid("evsam", 1)])

    return make


def test_retarget(exported) -> None:
    from evsam.export.quick_plugins import retarget

    model = exported("fp16")
    assert retarget(model, precision="fp16") == ("half",)
    nodes = {node.name: node for node in model.graph.node}
    attributes = {name: {a.name: a.s or a.i for a in node.attribute} for name, node in nodes.items()}
    for name in ("wide", "attended", "sum", "again"):
        assert attributes[name]["plugin_namespace"] == b"evsam"
        assert attributes[name]["aot"] == 1
        assert nodes[name].overload == ""
    assert {name: node.op_type for name, node in nodes.items()} == {
        "wide": "EvsamFusedMBConv",
        "half": "EvsamFusedMBConvPlain0",
        "attended": "EvsamReluLinearAttention",
        "sum": "EvsamUpsampleAddTwo",
        "again": "EvsamUpsampleAdd",
        "out": "EvsamLiteMLA",
    }
    assert "aot" not in attributes["half"]
    assert "aot" not in attributes["out"]
    assert [(f.name, f.overload) for f in model.functions] == [("EvsamFusedMBConvPlain0", ""), ("EvsamLiteMLA", "")]


def test_retarget_by_precision_and_limit(exported) -> None:
    from evsam.export.quick_plugins import retarget

    assert retarget(exported("fp32"), precision="fp32") == ("half", "attended")
    assert retarget(exported("fp16"), precision="fp16", shared_limit=99 * 1024) == ()


def test_registers_with_tensorrt(ptx: Path) -> None:
    """In a process of its own, as a registration cannot be taken back."""
    if find_spec("tensorrt") is None:
        pytest.skip("tensorrt is not installed")
    program = (
        "import pathlib, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from evsam.export.quick_plugins import register\n"
        "register(ptx=pathlib.Path(sys.argv[1]))\n"
        "import tensorrt.plugin\n"
        "print(tensorrt.plugin.op.evsam.EvsamLayerNorm2d.aot_impl_func is not None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, ptx], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
