"""The ops as PyTorch operators: importing this module defines `torch.ops.evsam.<op>`.

On a CUDA device they run evsam's kernels, elsewhere the specification of `evsam.ops.reference`. They work with
`torch.compile` and `torch.export` (their shapes and layouts are known without running them), in
`torch.autocast("cuda")`, where they compute in float16, and with autograd, whose backward pass is that of the
specification. Feature maps (B, C, H, W) may come in any layout and leave with channels last in memory
(`torch.channels_last`); inputs that a kernel needs in another layout or dtype are converted, which costs a copy.

The arguments are those of the functions in `evsam.ops`, by position or name:

    relu_linear_attention(qkv, eps)
    lite_mla(x, qkv_weight, qkv_bias, depthwise, grouped, project_weight, project_bias, residual, eps)
    fused_mbconv(x, weight, bias, point_weight, point_bias, residual, stride, activation, activation_scale)
    mbconv(x, expand_weight, expand_bias, depthwise_weight, depthwise_bias, project_weight, project_bias, residual,
           stride, activation, activation_scale)
    conv3x3(x, weight, bias, residual, stride, activation, activation_scale)
    pointwise(x, weight, bias, residual, activation, activation_scale)
    layer_norm_2d(x, weight, bias, eps)
    upsample_add(x, x2, residual, size, mode)

Example:
    >>> import torch, evsam.ops.torch_ops
    >>> x = torch.randn(1, 16, 4, 4, requires_grad=True)
    >>> y = torch.ops.evsam.layer_norm_2d(x, torch.ones(16), torch.zeros(16))
    >>> y.sum().backward()
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evsam import ops
from evsam.errors import BackendUnavailable
from evsam.ops import reference
from evsam.ops._op import OPS, Op

torch = reference.import_torch()

if not hasattr(torch.library, "custom_op") or not hasattr(torch.library, "register_autocast"):
    raise BackendUnavailable(f"evsam.ops.torch_ops: expected PyTorch 2.7 or later, got {torch.__version__}")

__all__ = ["OPERATORS", "Operator"]

Tensor = torch.Tensor


@dataclass(frozen=True)
class Operator:
    """One operator: the names of its arguments, its specification and what runs its kernel.

    Attributes:
        name: `torch.ops.evsam.<name>`.
        tensors: names of its tensor arguments, which come first; a name with ? may be None.
        numbers: its other arguments: type, name and, where it has one, default.
        specification: of `evsam.ops.reference`.
        kernel: the function of `evsam.ops`.
        empty: the output for these arguments, not initialised; it says shape, dtype and layout.
        dense: names of weights that the kernel reads with channels last in memory.
    """

    name: str
    tensors: tuple[str, ...]
    numbers: tuple[tuple[Any, ...], ...]
    specification: Callable[..., Any]
    kernel: Callable[..., Any]
    empty: Callable[..., Any]
    dense: tuple[str, ...] = ()

    @property
    def schema(self) -> str:
        """As `torch.library` has it. Arguments behind the last required one may be left out."""
        declared = []
        optional = True
        for kind, name, *default in reversed(self.numbers):
            optional = optional and bool(default)
            declared.append(f"{kind} {name}" + (f"={json.dumps(default[0])}" if optional else ""))
        for name in reversed(self.tensors):
            optional = optional and name.endswith("?")
            kind = "Tensor?" if name.endswith("?") else "Tensor"
            declared.append(f"{kind} {name.removesuffix('?')}" + ("=None" if optional else ""))
        return f"({', '.join(reversed(declared))}) -> Tensor"

    def split(self, arguments: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tensors and numbers by name; PyTorch leaves out arguments at the end that have their default."""
        names = [name.removesuffix("?") for name in self.tensors]
        given = list(arguments) + [None] * (len(names) - len(arguments))
        numbers = {
            name: given[i] if i < len(given) else default[0]
            for i, (_, name, *default) in enumerate(self.numbers, len(names))
        }
        return dict(zip(names, given[: len(names)], strict=True)), numbers


def _define(operator: Operator) -> None:
    def compute(*arguments: Any) -> Any:
        tensors, numbers = operator.split(arguments)
        first = arguments[0]
        with torch.autocast(first.device.type, enabled=False):
            return operator.empty(**tensors, **numbers).copy_(operator.specification(**tensors, **numbers))

    def launch(*arguments: Any) -> Any:
        tensors, numbers = operator.split(arguments)
        return operator.kernel(**_prepared(operator, tensors), **numbers, backend="cuda")

    def fake(*arguments: Any) -> Any:
        tensors, numbers = operator.split(arguments)
        return operator.empty(**tensors, **numbers)

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001
        count = len(operator.tensors)
        ctx.save_for_backward(*inputs[:count])
        ctx.numbers = inputs[count:]

    def backward(ctx: Any, gradient: Any) -> Any:
        needed = ctx.needs_input_grad
        with torch.enable_grad(), torch.autocast(gradient.device.type, enabled=False):
            leaves = [
                None if tensor is None else tensor.detach().requires_grad_(needed[i])
                for i, tensor in enumerate(ctx.saved_tensors)
            ]
            tensors, numbers = operator.split([*leaves, *ctx.numbers])
            result = operator.specification(**tensors, **numbers)
        wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
        gradients = iter(torch.autograd.grad(result, wanted, gradient))
        found = [None if leaf is None or not leaf.requires_grad else next(gradients) for leaf in leaves]
        return (*found, *(None for _ in ctx.numbers))

    defined = torch.library.custom_op(f"evsam::{operator.name}", compute, mutates_args=(), schema=operator.schema)
    defined.register_kernel("cuda", launch)
    defined.register_fake(fake)
    defined.register_autograd(backward, setup_context=remember)
    defined.register_autocast("cuda", torch.float16)
    LAUNCHES[operator.name] = launch


def _prepared(operator: Operator, tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors in the layouts and dtypes that the kernels take."""
    first = next(iter(tensors.values()))
    prepared: dict[str, Any] = {}
    for name, value in tensors.items():
        if value is None:
            prepared[name] = None
        elif name.endswith("bias") or (operator.name == "layer_norm_2d" and name == "weight"):
            prepared[name] = value.detach().float().contiguous()
        elif name in ("x", "x2", "residual") or name in operator.dense:
            prepared[name] = value.detach().to(first.dtype).contiguous(memory_format=torch.channels_last)
        elif name == "qkv":
            prepared[name] = value.detach() if 1 in value.stride()[2:] else value.detach().contiguous()
        else:
            prepared[name] = value.detach().to(first.dtype).contiguous()
    return prepared


def _empty_map(x: Any, channels: Any, height: Any, width: Any) -> Any:
    shape = (x.shape[0], channels, height, width)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _empty_attended(qkv: Any) -> Any:
    batch, heads, rows, tokens = qkv.shape
    if qkv.stride(2) == 1 and qkv.stride(3) != 1:  # rows are neighbours in memory, and stay so
        return torch.empty((batch, tokens, heads, rows // 3), dtype=qkv.dtype, device=qkv.device).permute(0, 2, 3, 1)
    return torch.empty((batch, heads, rows // 3, tokens), dtype=qkv.dtype, device=qkv.device)


LAUNCHES: dict[str, Callable[..., Any]] = {}
"""What runs on CUDA devices, by operator."""

_KINDS = {
    "int": "int",
    "float": "float",
    "Activation": "str",
    "UpsampleMode": "str",
    "tuple[int, int] | None": "SymInt[2]",
}
"""Types of numbers in a schema, by their annotations."""

_DENSE = {"conv3x3": ("weight",), "fused_mbconv": ("weight",)}


def _operator_of(declared: Op) -> Operator:
    """The operator of a function of evsam.ops."""
    numbers = tuple(
        (_KINDS[x.annotation], name, *([] if x.default is None else [x.default]))
        for name, x in declared.numbers.items()
    )

    def empty(**arguments: Any) -> Any:
        shapes = {name: x.shape for name, x in arguments.items() if name in declared.arrays and x is not None}
        return _empty_map(arguments["x"], *declared.shape(shapes, arguments)[1:])

    tensors = tuple(name + "?" * optional for name, optional in declared.arrays.items())
    kernel = getattr(ops, declared.name)
    dense = _DENSE.get(declared.name, ())
    return Operator(declared.name, tensors, numbers, declared.specification, kernel, empty, dense)


OPERATORS = (
    Operator(
        "relu_linear_attention",
        ("qkv",),
        (("float", "eps", 1e-15),),
        reference.relu_linear_attention,
        ops.relu_linear_attention,
        lambda qkv, **_: _empty_attended(qkv),
    ),
    *(_operator_of(declared) for declared in OPS.values() if declared.cuda),
)
"""All operators."""

for _operator in OPERATORS:
    _define(_operator)
