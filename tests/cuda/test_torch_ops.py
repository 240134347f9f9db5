"""The PyTorch operators: opcheck, gradients, compilation and export on the CPU; their CUDA side in emulation."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is what the operators are for")
if not hasattr(torch.library, "register_autocast"):
    pytest.skip("torch: expected 2.7 or later for the operators", allow_module_level=True)

from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from evsam.errors import BackendUnavailable
from evsam.ops import torch_ops
from tests.cuda.cases import assert_op, random_map, random_tensor, random_weight


def arguments_of(name: str, dtype: Any = torch.float32, grad: bool = False) -> tuple[Any, ...]:
    """A call of each operator, some optional arguments left out."""
    x = random_map(2, 16, 5, 6, dtype=dtype)

    def weight(*shape: int) -> Any:
        return random_weight(*shape, dtype=dtype)

    calls: dict[str, tuple[Any, ...]] = {
        "relu_linear_attention": (random_tensor(2, 3, 48, 10, dtype=dtype),),
        "lite_mla": (
            *(x, weight(96, 16), random_tensor(96), weight(96, 1, 3, 3), weight(96, 16), weight(16, 64)),
            *(random_tensor(16), random_map(2, 16, 5, 6, dtype=dtype, seed=5)),
        ),
        "fused_mbconv": (x, weight(32, 16, 3, 3), random_tensor(32), weight(8, 32), random_tensor(8), None, 2),
        "mbconv": (x, weight(32, 16), None, weight(32, 1, 3, 3), random_tensor(32), weight(8, 32)),
        "conv3x3": (x, weight(8, 16, 3, 3), None, None, 2),
        "pointwise": (x, weight(8, 16), random_tensor(8), None, "gelu_tanh", 2.0),
        "layer_norm_2d": (x, random_tensor(16), random_tensor(16, seed=1)),
        "upsample_add": (x, random_map(2, 16, 2, 2, dtype=dtype), None, (10, 12)),
    }
    leaves = [leaf.detach().requires_grad_(grad) if isinstance(leaf, torch.Tensor) else leaf for leaf in calls[name]]
    return tuple(leaves)


def operator_of(name: str) -> Any:
    return getattr(torch.ops.evsam, name)


each_operator = pytest.mark.parametrize("operator", torch_ops.OPERATORS, ids=lambda operator: operator.name)


@each_operator
class TestEveryOperator:
    # of PyTorch's own test, which reads the gradient of what its compiler made of a leaf
    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
    def test_opcheck(self, operator: torch_ops.Operator) -> None:
        torch.library.opcheck(operator_of(operator.name).default, arguments_of(operator.name, grad=True))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_is_the_specification_on_the_cpu(self, operator: torch_ops.Operator, dtype: Any) -> None:
        arguments = arguments_of(operator.name, dtype)
        tensors, numbers = operator.split(arguments)
        expected = operator.specification(**tensors, **numbers)
        got = operator_of(operator.name)(*arguments)
        assert torch.equal(got, expected)
        assert got.dtype == dtype

    def test_gradients_are_those_of_the_specification(self, operator: torch_ops.Operator) -> None:
        arguments = arguments_of(operator.name, torch.float64, grad=True)
        tensors, numbers = operator.split(arguments)
        leaves = [tensor for tensor in tensors.values() if tensor is not None]
        expected_output = operator.specification(**tensors, **numbers)
        direction = torch.randn_like(expected_output)
        expected = torch.autograd.grad(expected_output, leaves, direction)
        got = torch.autograd.grad(operator_of(operator.name)(*arguments), leaves, direction)
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other)

    def test_only_the_gradients_asked_for(self, operator: torch_ops.Operator) -> None:
        first, *rest = arguments_of(operator.name)
        first.requires_grad_()
        operator_of(operator.name)(first, *rest).sum().backward()
        assert first.grad.shape == first.shape

    def test_shape_and_layout_are_known_without_running(self, operator: torch_ops.Operator) -> None:
        arguments = arguments_of(operator.name, torch.float16)
        real = operator_of(operator.name)(*arguments)
        with FakeTensorMode() as mode:
            fakes = [mode.from_tensor(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in arguments]
            fake = operator_of(operator.name)(*fakes)
        assert (fake.shape, fake.dtype, fake.stride()) == (real.shape, real.dtype, real.stride())

    def test_kernel(self, operator: torch_ops.Operator, emulated: Any) -> None:
        """What runs on CUDA devices, here in emulation: result, layout, and whatever layout comes in."""
        arguments = arguments_of(operator.name, torch.float16)
        tensors, numbers = operator.split(arguments)
        got = torch_ops.LAUNCHES[operator.name](*arguments)
        assert_op(got, operator.specification, *tensors.values(), **numbers)
        assert got.stride() == operator_of(operator.name)(*arguments).stride()
        plain = [leaf.contiguous().float() if isinstance(leaf, torch.Tensor) else leaf for leaf in arguments]
        plain[0] = plain[0].half()
        assert torch.equal(torch_ops.LAUNCHES[operator.name](*plain), got)

    def test_kernel_with_gradients(self, operator: torch_ops.Operator, emulated: Any) -> None:
        arguments = arguments_of(operator.name, torch.float16, grad=True)
        assert torch_ops.LAUNCHES[operator.name](*arguments).isfinite().all()

    def test_autocast_computes_in_float16(self, operator: torch_ops.Operator) -> None:
        with FakeTensorMode():
            arguments = [
                torch.empty_strided(leaf.shape, leaf.stride(), device="cuda")
                if isinstance(leaf, torch.Tensor)
                else leaf
                for leaf in arguments_of(operator.name)
            ]
            before = torch.is_autocast_enabled("cuda")
            torch.set_autocast_enabled("cuda", True)
            try:
                inside = operator_of(operator.name)(*arguments)
            finally:
                torch.set_autocast_enabled("cuda", before)
            assert inside.dtype == torch.float16
            assert inside.device.type == "cuda"
            assert operator_of(operator.name)(*arguments).dtype == torch.float32

    def test_autocast_on_the_cpu_changes_nothing(self, operator: torch_ops.Operator) -> None:
        arguments = arguments_of(operator.name)
        expected = operator_of(operator.name)(*arguments)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(operator_of(operator.name)(*arguments), expected)


class Block(nn.Module):
    """A few operators after each other, as a model has them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(random_weight(16, 16, 3, 3, dtype=torch.float32))
        self.point = nn.Parameter(random_weight(16, 16, dtype=torch.float32))
        self.gain = nn.Parameter(torch.ones(16))

    def forward(self, x: Any) -> Any:
        evsam = torch.ops.evsam
        y = evsam.fused_mbconv(x, self.weight, self.gain, self.point, None, x)
        y = evsam.upsample_add(y, None, None, (2 * x.shape[2], 2 * x.shape[3]))
        return evsam.layer_norm_2d(torch.relu(y), self.gain, self.gain)


class TestGraphs:
    def test_compile(self) -> None:
        """In one graph, forward and backward."""
        block, x = Block(), random_map(1, 16, 4, 5, dtype=torch.float32).requires_grad_()
        expected = block(x)
        expected_gradients = torch.autograd.grad(expected.sum(), [x, *block.parameters()])
        compiled: Any = torch.compile(block, fullgraph=True, backend="aot_eager")
        got = compiled(x)
        torch.testing.assert_close(got, expected)
        for one, other in zip(
            torch.autograd.grad(got.sum(), [x, *block.parameters()]), expected_gradients, strict=True
        ):
            torch.testing.assert_close(one, other)

    def test_export(self) -> None:
        x = random_map(2, 16, 4, 5, dtype=torch.float32)
        batch = torch.export.Dim("batch", min=1, max=8)
        program = torch.export.export(Block(), (x,), dynamic_shapes=({0: batch},))
        targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
        for name in ("fused_mbconv", "upsample_add", "layer_norm_2d"):
            assert f"evsam.{name}.default" in targets
        larger = random_map(5, 16, 4, 5, dtype=torch.float32)
        torch.testing.assert_close(program.module()(larger), program.module()(larger.clone()))
        assert program.module()(larger).shape == (5, 16, 8, 10)


def test_rows_that_are_neighbours_stay_so(emulated: Any) -> None:
    qkv = random_tensor(1, 40, 2, 48, dtype=torch.float16).permute(0, 2, 3, 1)
    expected = torch.ops.evsam.relu_linear_attention(qkv)
    assert expected.stride(2) == 1
    assert torch_ops.LAUNCHES["relu_linear_attention"](qkv).stride() == expected.stride()


def test_every_op_of_the_gpu_is_an_operator() -> None:
    """Of the encoder; parts of the decoder, which the GPU has no kernels for, are none."""
    from evsam.ops._op import OPS

    on_the_gpu = {name for name, declared in OPS.items() if declared.cuda}
    assert {operator.name for operator in torch_ops.OPERATORS} == {*on_the_gpu, "relu_linear_attention"}


def test_old_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.library, "custom_op")
    with pytest.raises(BackendUnavailable, match=r"torch_ops: expected PyTorch 2\.7 or later, got "):
        importlib.reload(torch_ops)
