"""Quick plugins from their registration to the numbers that their PTX computes, without TensorRT and without a GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch has the reference of the ops")

import torch

from evsam.errors import BackendUnavailable, EvsamError
from tests.cuda.ptx import Fault
from tests.tensorrt_qdp.cases import CASES, Case
from tests.tensorrt_qdp.conftest import make_stand_in, registered
from tests.tensorrt_qdp.host import Attributes, Built, build, execute
from tests.tolerance import assert_as_good_as_eager


def signature(trt: ModuleType, tensor: torch.Tensor, *, dynamic: bool) -> tuple[Any, tuple[int | None, ...]]:
    """Type and shape of an input; dynamic: only the execution knows the batch of a map."""
    type_ = trt.DataType.HALF if tensor.dtype == torch.float16 else trt.DataType.FLOAT
    return type_, (None, *tensor.shape[1:]) if dynamic else tuple(tensor.shape)


def node(trt: ModuleType, case: Case, inputs: list[torch.Tensor], *, dynamic: bool = True) -> Built:
    """The case as a node of an engine. Weights are no maps: their first axis is fixed."""
    maps = len(inputs) if case.plugin.startswith("EvsamUpsample") else 1
    described = [signature(trt, x, dynamic=dynamic and i < maps) for i, x in enumerate(inputs)]
    return build(trt, case.plugin, described, case.attributes, case.choice)


def case_named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ptx_of_the_engine_computes_the_op(request: pytest.FixtureRequest, case: Case) -> None:
    inputs = case.make()
    versions = request.getfixturevalue("roomy_tensorrts" if case.roomy else "tensorrts")
    built = [node(trt, case, inputs) for trt in versions]
    assert set(built[0].formats) <= {case.layout, "LINEAR"}
    assert built[0].formats[0] == case.layout == built[0].formats[-1]
    arrays = [x.numpy() for x in inputs]
    results = [execute(one, arrays) for one in built[:1]]
    assert all(same(one, built[0], arrays) for one in built[1:])

    dtype = inputs[0].dtype
    true = case.compute(*(x.double() for x in inputs))
    eager = case.compute(*inputs)
    assert eager.dtype == dtype
    assert_as_good_as_eager(results[0], eager.numpy(), true.numpy())


def same(a: Built, b: Built, arrays: list[np.ndarray[Any, Any]]) -> bool:
    """Two nodes launch the same for inputs of these sizes."""
    sizes = {(i, axis): size for i, array in enumerate(arrays) for axis, size in enumerate(array.shape)}

    def numbers(built: Built) -> list[int]:
        every = [*built.output, *built.grid, *built.block, built.shared_bytes, *built.arguments]
        return [expr.evaluate(sizes) for expr in every]

    return numbers(a) == numbers(b) and (a.name, a.ptx, a.formats) == (b.name, b.ptx, b.formats)


@pytest.mark.parametrize("name", ["layer_norm_f16_HWC8_72", "attention_f16_d16_HWC8", "fused_mbconv_none_24_s1"])
def test_a_built_node_takes_other_batches(tensorrts: list[ModuleType], name: str) -> None:
    case = case_named(name)
    inputs = case.make()
    built = node(tensorrts[-1], case, inputs)
    more = [torch.cat([inputs[0], inputs[0].flip(0)]), *inputs[1:]]
    got = execute(built, [x.numpy() for x in more])
    once = execute(built, [x.numpy() for x in inputs])
    assert np.array_equal(got, np.concatenate([once, once[::-1]]), equal_nan=True)


def test_fixed_shapes(tensorrts: list[ModuleType]) -> None:
    case = case_named("upsample_f16_bicubic_2")
    inputs = case.make()
    fixed = node(tensorrts[0], case, inputs, dynamic=False)
    assert all(expr.is_constant() for expr in [*fixed.grid, *fixed.arguments])
    assert same(fixed, node(tensorrts[0], case, inputs), [x.numpy() for x in inputs])


# Must fail: what the tests above would say of kernels that take their arguments in another order than TensorRT's.
@pytest.mark.parametrize(
    "order", ["inputs, outputs, integers", "outputs, inputs, integers", "integers, inputs, outputs"]
)
@pytest.mark.parametrize(
    "name", ["layer_norm_f16_HWC8_72", "upsample_f16_bilinear_1", "attention_tail", "fused_mbconv_none_24_s1"]
)
def test_another_order_of_arguments_is_noticed(tensorrts: list[ModuleType], name: str, order: str) -> None:
    case = case_named(name)
    inputs = case.make()
    with pytest.raises((Fault, ValueError, AssertionError)):
        checked(case, node(tensorrts[0], case, inputs), inputs, order)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("layer_norm_f16_HWC8_72", 1, 2),
        ("layer_norm_f32_LINEAR_19", 0, 3),
        ("upsample_f16_bilinear_1", 0, 1),
        ("upsample_f16_bicubic_2", 0, 2),
        ("attention_f16_d16_HWC8", 0, 1),
        ("fused_mbconv_gelu_tanh_40_s1", 3, 4),
        ("fused_mbconv_relu6_136_s1", 1, 2),
    ],
)
def test_swapped_integers_are_noticed(tensorrts: list[ModuleType], name: str, first: int, second: int) -> None:
    case = case_named(name)
    inputs = case.make()
    built = node(tensorrts[0], case, inputs)
    arguments = list(built.arguments)
    arguments[first], arguments[second] = arguments[second], arguments[first]
    with pytest.raises((Fault, AssertionError)):
        checked(case, dataclasses.replace(built, arguments=arguments), inputs)


def checked(case: Case, built: Built, inputs: list[torch.Tensor], order: str = "inputs, integers, outputs") -> None:
    got = execute(built, [x.numpy() for x in inputs], order)
    true = case.compute(*(x.double() for x in inputs))
    assert_as_good_as_eager(got, case.compute(*inputs).numpy(), true.numpy())


@pytest.mark.parametrize(
    ("name", "attributes", "change", "message"),
    [
        ("upsample_f16_bicubic_1", {"mode": "nearest"}, None, "mode: expected bilinear or bicubic, got 'nearest'"),
        ("upsample_f16_bicubic_1", {}, (1, 12), "residual: expected a multiple of 8 on axis 1, got 12"),
        ("upsample_f16_bicubic_1", {}, (1, None), "residual: expected axis 1 to have a fixed size, got a dynamic one"),
        ("attention_f16_d16_HWC8", {"head_dim": 8}, None, "head_dim: expected 16 or 32, got 8"),
        ("attention_f16_d16_HWC8", {}, (1, 50), "qkv: expected q, k and v of 16 channels for each head, got 50"),
        ("fused_mbconv_relu_96_s1", {"stride": 3}, None, "stride: expected 1 or 2, got 3"),
        (
            "fused_mbconv_relu_96_s1",
            {"activation": "gelu"},
            None,
            "activation: expected one of none, relu, relu6, ge",
        ),
        ("fused_mbconv_relu_96_s1", {"residual": 1}, None, "residual: expected 0 for 16 channels to 96 with stride 1"),
        (
            "fused_mbconv_relu_96_s1",
            {"stride": 2},
            None,
            r"EvsamFusedMBConv: .* at most 49152 bytes .* 52288",
        ),
        ("attention_f32_d32_LINEAR", {}, None, r"EvsamReluLinearAttention: expected at most 49152 bytes .* got 59904"),
    ],
)
def test_what_does_not_fit_is_refused(
    tensorrts: list[ModuleType], name: str, attributes: Attributes, change: tuple[int, int | None] | None, message: str
) -> None:
    case = dataclasses.replace(case_named(name), attributes={**case_named(name).attributes, **attributes})
    trt = tensorrts[0]
    described = [signature(trt, x, dynamic=False) for x in case.make()]
    if change is not None:
        axis, size = change
        described = [(t, (*shape[:axis], size, *shape[axis + 1 :])) for t, shape in described]
    with pytest.raises(EvsamError, match=message):
        build(trt, case.plugin, described, case.attributes)


def test_float32_fused_mbconv_is_refused(tensorrts: list[ModuleType]) -> None:
    case = case_named("fused_mbconv_relu_96_s1")
    with pytest.raises(EvsamError, match="x: EvsamFusedMBConv expected float16, got float32"):
        node(tensorrts[0], case, [x.float() for x in case.make()])


def test_other_types_are_refused(tensorrts: list[ModuleType]) -> None:
    trt = tensorrts[0]
    with pytest.raises(EvsamError, match=r"qkv: expected float16 or float32, got DataType\.INT32"):
        build(trt, "EvsamReluLinearAttention", [(trt.int32, (1, 48, 2, 2))], {"head_dim": 16, "eps": 0.0})


def test_no_ptx(tmp_path: Path, ptx: Path) -> None:
    """Nothing is registered then, so that another try is not the second one."""
    trt = make_stand_in("11.1.0")
    (tmp_path / "layer_norm.ptx").touch()
    with pytest.raises(BackendUnavailable, match=r"expected resize.ptx in .*, got none; build evsam with nvcc"):
        registered(trt, tmp_path)
    registered(trt, ptx)
    with pytest.raises(ValueError, match="already has a definition"):
        registered(trt, ptx)


def test_tensorrt_without_such_plugins(ptx: Path) -> None:
    trt = make_stand_in("10.8.0")
    del trt.plugin.KernelLaunchParams
    with pytest.raises(BackendUnavailable, match=r"expected TensorRT 10\.9 or later, .*, got 10\.8\.0"):
        registered(trt, ptx)
