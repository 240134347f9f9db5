"""From the call of an op to what runs it: the path that the functions of evsam.ops share.

A function that is declared with :func:`op` has a signature and a docstring, and its body is here: its positional
arguments are arrays, its keywords numbers, and both go by name to the kernels of the GPU (``evsam._cuda``), to those of
the CPU (``evsam._C.pack_<op>``) or to the specification (``evsam.ops.reference.<op>``).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from evsam import _C
from evsam.ops import reference
from evsam.ops._arrays import (
    as_input,
    channels_last,
    check_output,
    choose_backend,
    dtype_name,
    is_channels_last,
    overlap,
    store,
)
from evsam.ops._device import (
    CHANNELS_LAST,
    cuda_module,
    describe,
    describe_map,
    is_tensor,
    new_array,
    new_map_like,
    stream_of,
)
from evsam.ops._reference import run_reference

__all__ = ["OPS", "Op", "Packed", "all_native", "convolved", "float32", "has_filter", "op", "pack"]

Function = TypeVar("Function", bound=Callable[..., Any])
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Numbers = Mapping[str, Any]
Native = Callable[..., object]

STANDARD = ("out", "backend", "threads", "stream")
"""Keywords that every op has."""


@dataclass(frozen=True)
class Op:
    """What the calls of an op have in common.

    Attributes:
        name: of its function and of its specification.
        signature: of its function.
        maps: its arrays that differ from call to call; the others are weights, which the CPU's kernels read in an order
            of their own. The first is what "auto" goes by, and what a new result is like.
        shape: of the result, from the shapes of the given arrays and the numbers.
        native: makes the call of the CPU's kernels from the op, weights, shapes, numbers and options.
        supports: whether the CPU has a kernel for these shapes and numbers, where the specification does.
        options: keywords of `pack` that only the CPU's kernels know.
        cuda: name in ``evsam._cuda``, or empty.
        shaping: numbers that only say the result's shape; the GPU's kernels take it from the result.
        like_x: whether a new result has the layout of the first map, not channels last.
        planes: those of `maps`, and "out", that lie in memory as their axes say, not channels last.
    """

    name: str
    signature: inspect.Signature
    maps: tuple[str, ...]
    shape: Callable[[Shapes, Numbers], Shape]
    native: Callable[[Op, Mapping[str, Any], Shapes, Numbers, Mapping[str, Any]], Native]
    supports: Callable[[Shapes, Numbers], bool]
    options: tuple[str, ...]
    cuda: str
    shaping: tuple[str, ...]
    like_x: bool
    planes: tuple[str, ...]

    @cached_property
    def arrays(self) -> dict[str, bool]:
        """Names of its arrays, and whether each may be left out."""
        parameters = self.signature.parameters.values()
        return {x.name: "None" in x.annotation for x in parameters if x.kind == x.POSITIONAL_OR_KEYWORD}

    @cached_property
    def numbers(self) -> dict[str, inspect.Parameter]:
        """Its other arguments."""
        parameters = self.signature.parameters
        return {name: x for name, x in parameters.items() if x.kind == x.KEYWORD_ONLY and name not in STANDARD}

    @property
    def specification(self) -> Callable[..., Any]:
        """In PyTorch."""
        function: Callable[..., Any] = getattr(reference, self.name)
        return function

    def split(self, arguments: Sequence[Any], keywords: Numbers) -> tuple[dict[str, Any], dict[str, Any], Numbers]:
        """Arrays, numbers and the standard keywords of a call."""
        bound = self.signature.bind(*arguments, **keywords)
        bound.apply_defaults()
        arrays = {name: bound.arguments.pop(name) for name in self.arrays}
        standard = {name: bound.arguments.pop(name) for name in STANDARD}
        return arrays, bound.arguments, standard

    def check_given(self, arrays: Mapping[str, Any]) -> None:
        """Raises where one of these is None that may not be left out."""
        for name, value in arrays.items():
            if value is None and not self.arrays[name]:
                raise TypeError(f"{name}: expected an array, got None")

    def run(self, arrays: Mapping[str, Any], numbers: Numbers, standard: Numbers) -> Any:
        """The body of the op's function."""
        self.check_given(arrays)
        first, out = arrays[self.maps[0]], standard["out"]
        backend = choose_backend(standard["backend"], first, cuda=bool(self.cuda))
        if backend == "cuda":
            return self._run_cuda(arrays, numbers, out, stream_of(first, standard["stream"]))
        if standard["backend"] == "auto" and backend == "native" and not self._runs_natively(arrays, numbers):
            backend = "reference"
        if backend == "reference":
            return run_reference(self.specification, dict(arrays), out, **numbers)
        packed = Packed(self, arrays, numbers, {})
        return packed(*(arrays[name] for name in self.maps), out=out, threads=standard["threads"])

    def _runs_natively(self, arrays: Mapping[str, Any], numbers: Numbers) -> bool:
        """False for what the specification alone can do; wrong arguments are for the kernels' checks."""
        unscaled = numbers.get("activation_scale", 1.0) == 1.0
        return all_native(arrays) and unscaled and self.supports(_shapes(arrays), numbers)

    def _run_cuda(self, arrays: Mapping[str, Any], numbers: Numbers, out: Any, stream: int) -> Any:
        function = getattr(cuda_module(), self.cuda)
        first = arrays[self.maps[0]]
        if out is None and self.like_x:
            out = new_map_like(first, self.maps[0], stream)
        elif out is None:
            _, dtype = describe_map(first, self.maps[0], stream)
            shapes = {name: describe(x, name, stream)[0] for name, x in arrays.items() if x is not None}
            out = new_array(first, self.shape(shapes, numbers), dtype, CHANNELS_LAST, stream)
        numbers = {name: value for name, value in numbers.items() if name not in self.shaping}
        function(**arrays, out=out, **numbers, stream=stream)
        return out


OPS: dict[str, Op] = {}
"""By name, what :func:`op` declared."""


def op(
    maps: tuple[str, ...],
    shape: Callable[[Shapes, Numbers], Shape],
    *,
    native: Callable[[Op, Mapping[str, Any], Shapes, Numbers, Mapping[str, Any]], Native] | None = None,
    supports: Callable[[Shapes, Numbers], bool] = lambda *_: True,
    options: tuple[str, ...] = (),
    cuda: str = "",
    shaping: tuple[str, ...] = (),
    like_x: bool = False,
    planes: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """Declares an op, whose function needs no body; the arguments are the attributes of :class:`Op`."""

    def declare(function: Function) -> Function:
        declared = Op(
            function.__name__,
            inspect.signature(function),
            maps,
            shape,
            native or pack_weights,
            supports,
            options,
            cuda,
            shaping,
            like_x,
            planes,
        )
        OPS[declared.name] = declared

        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            return declared.run(*declared.split(arguments, keywords))

        return call  # type: ignore[return-value]

    return declare


def pack(function: Callable[..., Any], *arguments: Any, isa: str | None = None, **keywords: Any) -> Packed:
    """An op for repeated calls on the CPU: its weights are put in the kernels' order once.

    Args:
        function: An op of this package.
        arguments: Those of a call of it, weights and maps. Of maps the shapes alone matter, and those only where the op
            has tables for them (`upsample_add`).
        isa: Instruction set of the kernels: "scalar", "avx2", "avx512" or "neon"; None: the best one, or that of the
            environment variable EVSAM_ISA.
        keywords: The op's, and options that only the CPU's kernels have: `algorithm` of `conv3x3` and `fused_mbconv`
            ("automatic", "direct", "winograd2", "winograd4", "winograd6"), `precision` of these two, `pointwise`,
            `mbconv` and `lite_mla` ("fp32", "bf16", "fp16", "int8"), `activation` of `layer_norm_2d`.

    Returns:
        What takes the maps: `packed(x, residual, out=out, threads=1)`.

    Raises:
        TypeError: An argument has the wrong type or dtype, or the function is no op.
        ValueError: A shape or value does not fit, or this machine or build has no such instruction set.

    Example:
        >>> import numpy as np
        >>> from evsam import ops
        >>> rng = np.random.default_rng(0)
        >>> x, weight = rng.standard_normal((1, 8, 9, 9), np.float32), rng.standard_normal((16, 8, 3, 3), np.float32)
        >>> packed = ops.pack(ops.conv3x3, x, weight, stride=2, isa="scalar", algorithm="direct")
        >>> packed(x).shape, packed.isa
        ((1, 16, 5, 5), 'scalar')
    """
    declared = OPS.get(getattr(function, "__name__", ""))
    if declared is None:
        raise TypeError(f"function: expected an op of evsam.ops with weights to pack, got {function!r}")
    if given := [name for name in STANDARD if name in keywords]:
        raise TypeError(f"{given[0]}: expected in calls of what is packed, got in pack")
    options = {name: keywords.pop(name) for name in declared.options if name in keywords}
    arrays, numbers, _ = declared.split(arguments, keywords)
    return Packed(declared, arrays, numbers, options if isa is None else {**options, "isa": isa})


class Packed:
    """An op with its weights in the order of the CPU's kernels; see :func:`pack`. May be called by several threads."""

    def __init__(self, declared: Op, arrays: Mapping[str, Any], numbers: Numbers, options: Mapping[str, Any]) -> None:
        self._op = declared
        self._numbers = numbers
        if (scale := numbers.get("activation_scale", 1.0)) != 1.0:
            raise ValueError(f"activation_scale: expected 1 for native kernels, got {scale}")
        weights = {name: value for name, value in arrays.items() if name not in declared.maps}
        declared.check_given(weights)
        for name, value in weights.items():
            weights[name] = None if value is None else np.ascontiguousarray(float32(value, name))
        self._shapes = _shapes(arrays)
        self._native = declared.native(declared, weights, self._shapes, numbers, options)
        self._isa = options.get("isa") or _C.selected_isa()

    @property
    def isa(self) -> str:
        """Instruction set of the kernels."""
        return self._isa

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the arrays that a call takes, in order."""
        return self._op.maps

    def __call__(self, *maps: Any, out: Any = None, threads: int | None = None) -> Any:
        """Runs the kernels.

        Args:
            maps: The op's arrays that are no weights, in its order; those at the end may be left out.
            out: As the op's.
            threads: As the op's.

        Returns:
            As the op.
        """
        names = self._op.maps
        if not 1 <= len(maps) <= len(names):
            raise TypeError(f"maps: expected 1 to {len(names)} arrays ({', '.join(names)}), got {len(maps)}")
        given = dict(zip(names, (*maps, *[None] * (len(names) - len(maps))), strict=True))
        self._op.check_given(given)
        arrays = [
            None if value is None else self._laid_out(float32(value, name), name, threads)
            for name, value in given.items()
        ]
        shape = self._op.shape({**self._shapes, **_shapes(given)}, self._numbers)
        planes = "out" in self._op.planes
        if out is None:
            result = np.empty(shape if planes else (shape[0], *shape[2:], shape[1]), np.float32)
            self._native(arrays, result, threads=threads)
            result = result if planes else result.transpose(0, 3, 1, 2)
            return sys.modules["torch"].from_numpy(result) if is_tensor(maps[0]) else result
        check_output(out, "float32", shape)
        target = out.detach().numpy() if is_tensor(out) else out
        fits = target.flags.c_contiguous if planes else is_channels_last(target)
        if fits and not overlap(target, arrays):
            self._native(arrays, target if planes else target.transpose(0, 2, 3, 1), threads=threads)
            return out
        result = np.empty(shape if planes else (shape[0], *shape[2:], shape[1]), np.float32)
        self._native(arrays, result, threads=threads)
        if planes:
            np.copyto(target, result)
        else:
            store(result, target, threads)
        return out

    def _laid_out(self, array: NDArray[Any], name: str, threads: int | None) -> NDArray[Any]:
        return np.ascontiguousarray(array) if name in self._op.planes else channels_last(array, name, threads)


def pack_weights(
    declared: Op, weights: Mapping[str, Any], _: Shapes, numbers: Numbers, options: Mapping[str, Any]
) -> Native:
    """The native call of an op that is one function of ``evsam._C``, which takes its weights and numbers by name."""
    numbers = {name: value for name, value in numbers.items() if name != "activation_scale"}
    function: Callable[..., Native] = getattr(_C, f"pack_{declared.name}")
    return function(**weights, **numbers, **options)


def convolved(weight: str, *, stride: bool = True) -> Callable[[Shapes, Numbers], Shape]:
    """The shape behind a convolution whose output channels are the first axis of `weight`."""

    def shape(shapes: Shapes, numbers: Numbers) -> Shape:
        batch, _, height, width = shapes["x"]
        step = numbers["stride"] if stride else 1
        return (batch, shapes[weight][0], -(-height // step), -(-width // step))

    return shape


def has_filter(weight: str) -> Callable[[Shapes, Numbers], bool]:
    """Whether the CPU has a depthwise convolution with this filter, or it is none at all."""

    def supports(shapes: Shapes, _: Numbers) -> bool:
        filter_size = shapes.get(weight, ())[-1:]
        return filter_size in ((3,), (5,)) or filter_size[:1] == () or filter_size[0] % 2 == 0

    return supports


def all_native(arrays: Mapping[str, Any]) -> bool:
    """Whether arrays on the host are what the CPU's kernels take: float32, without gradient."""
    given = {
        name: value if is_tensor(value) else as_input(value, name)
        for name, value in arrays.items()
        if value is not None
    }
    return all(dtype_name(array) == "float32" and not _needs_gradient(array) for array in given.values())


def float32(value: Any, name: str) -> NDArray[Any]:
    """The array as the CPU's kernels take it, or a TypeError."""
    if _needs_gradient(value):
        raise TypeError(f"{name}: expected a tensor without gradient for native kernels, got one that needs it")
    array = value.detach() if is_tensor(value) else as_input(value, name)
    if (dtype := dtype_name(array)) != "float32":
        raise TypeError(f"{name}: expected float32 for native kernels, got {dtype}")
    return as_input(array, name)


def _needs_gradient(value: Any) -> bool:
    return is_tensor(value) and value.requires_grad and sys.modules["torch"].is_grad_enabled()


def _shapes(arrays: Mapping[str, Any]) -> dict[str, Shape]:
    given = {name: value for name, value in arrays.items() if value is not None}
    return {name: tuple(x.shape if is_tensor(x) else as_input(x, name).shape) for name, x in given.items()}
