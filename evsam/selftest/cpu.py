"""``evsam selftest``: every kernel of the CPU that this machine can run, on the awkward rows of the tables of cases.

Not here are ``mask_prompt``, ``sam_head`` and 8-bit weights, which are no functions of :mod:`evsam.ops` with a
definition in float; the C++ tests check them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evsam import _C, ops
from evsam.costs import (
    Conv3x3,
    ConvTranspose,
    DepthwiseConv,
    LayerNorm,
    LiteMLA,
    MaskHead,
    Op,
    PatchConv,
    Preprocess,
    Transpose,
    TwoWayAttention,
)
from evsam.network import NORM_EPS
from evsam.ops.cases import cases
from evsam.selftest import reference
from evsam.selftest.checks import (
    Check,
    Conv3x3Check,
    LayerNormCheck,
    LinearAttentionCheck,
    MapCheck,
    PreprocessCheck,
    Run,
    Values,
    bias,
    channels_last,
    check_of,
    normal,
    pixels_first,
    weight,
)
from evsam.selftest.numbers import EPSILON, ULPS, Array, Comparison, compare, to_bits
from evsam.selftest.reference import Store, exact, rounding

__all__ = ["TABLES", "CpuCheck", "cpu_checks", "selftest_cpu"]

TABLES = (
    "conv3x3",
    "conv_transpose",
    "depthwise_conv",
    "fused_mbconv",
    "layer_norm",
    "lite_mla",
    "mask_head",
    "mask_upsample",
    "mbconv",
    "patch_conv",
    "pointwise",
    "preprocess",
    "relu_linear_attention",
    "resize",
    "transpose",
    "two_way_attention",
)
"""Of :mod:`evsam.ops.cases`."""

WINOGRAD_ULPS = 800.0
"""How much Winograd's transforms amplify rounding, at most: csrc/ops/conv3x3/README.md."""


class _Conv3x3(Conv3x3Check):
    """With any number of channels."""

    @staticmethod
    def stored_channels(channels: int) -> int:
        return channels


class _DepthwiseConv(MapCheck[DepthwiseConv]):
    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        size = layer.filter_size
        return {
            "x": self.map(rng, layer.channels, layer.height, layer.width),
            "weight": Values(normal(rng, (layer.channels, 1, size, size), "float32", 1 / size), "float32"),
            "bias": bias(rng, layer.channels),
        }

    def call(self, arrays: Mapping[str, Any], run: Run) -> Any:  # type: ignore[override] # the GPU has no such op
        return run(ops.depthwise_conv, **arrays, stride=self.layer.stride, activation=self.activation)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x, taps = pixels_first(values["x"]), values["weight"][:, 0]
        y = reference.depthwise(x, taps, values["bias"], self.layer.stride, store)
        return channels_last(self.activate(y, store))


class _PatchConv(MapCheck[PatchConv]):
    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        return {
            "x": self.map(rng, layer.in_channels, layer.height, layer.width),
            "weight": weight(rng, layer.out_channels, 2, layer.in_channels),
            "bias": bias(rng, layer.out_channels),
        }

    def call(self, arrays: Mapping[str, Any], run: Run) -> Any:  # type: ignore[override]
        return run(ops.patch_conv, **arrays, activation=self.activation)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        y = reference.patches(pixels_first(values["x"]), values["weight"], values["bias"], store)
        return channels_last(self.activate(y, store))


class _ConvTranspose(MapCheck[ConvTranspose]):
    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        double = 2 * layer.height, 2 * layer.width
        values = {
            "x": self.map(rng, layer.in_channels, layer.height, layer.width),
            "weight": _swapped(weight(rng, layer.out_channels, 2, layer.in_channels)),
            "bias": bias(rng, layer.out_channels),
        }
        if layer.lateral:
            values["lateral"] = self.map(rng, layer.out_channels, *double)
        if layer.side_channels:
            values["side"] = self.map(rng, layer.side_channels, *double)
            values["side_weight"] = weight(rng, layer.out_channels, 1, layer.side_channels)
        return values

    def call(self, arrays: Mapping[str, Any], run: Run) -> Any:  # type: ignore[override]
        return run(ops.conv_transpose, **arrays, activation=self.activation)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        y = reference.doubled(pixels_first(values["x"]), values["weight"], values["bias"], store)
        if "lateral" in values:
            y = store(y + pixels_first(values["lateral"]))
        if "side" in values:
            y = store(y + pixels_first(values["side"]) @ values["side_weight"][:, :, 0, 0].T)
        return channels_last(self.activate(y, store))


class _MaskHead(MapCheck[MaskHead]):
    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        values = {
            "x": self.map(rng, layer.in_channels, layer.height, layer.width),
            "weight": _swapped(weight(rng, layer.channels, 2, layer.in_channels)),
            "vectors": Values(normal(rng, (1, 4, layer.channels), "float32"), "float32"),
            "bias": bias(rng, layer.channels),
        }
        if layer.lateral:
            values["lateral"] = self.map(rng, layer.channels, 2 * layer.height, 2 * layer.width)
        return values

    def call(self, arrays: Mapping[str, Any], run: Run) -> Any:  # type: ignore[override]
        return run(ops.mask_head, **arrays, activation=self.activation)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        y = reference.doubled(pixels_first(values["x"]), values["weight"], values["bias"], store)
        if "lateral" in values:
            y = store(y + pixels_first(values["lateral"]))
        return store(np.einsum("bhwc,bmc->bmhw", self.activate(y, store), values["vectors"]))


class _LayerNorm(LayerNormCheck):
    """With an activation, which only the CPU's kernel has."""

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x = pixels_first(values["x"])
        y = reference.layer_norm(x, values["weight"], values["bias"], NORM_EPS, store)
        return channels_last(self.activate(y, store))


class _Preprocess(PreprocessCheck):
    """With the three channels of the CPU's encoder."""

    def call(self, arrays: Mapping[str, Any], run: Run) -> Any:  # type: ignore[override]
        return run(ops.preprocess, arrays["image"], self.layer.side)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        return super().expected(values, store)[:, :3]


class _Transpose(MapCheck[Transpose]):
    """Both ways: what comes back is what was given."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        return {"x": Values(normal(rng, (1, layer.channels, layer.height, layer.width), "float32"), "float32")}

    def call(self, arrays: Mapping[str, Any], run: Run) -> Any:  # type: ignore[override]
        return run(transposed, arrays["x"])

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        return store(values["x"])


def transposed(x: Any, isa: str) -> Any:
    """To channels last and back; NaN where the first way is wrong."""
    last = np.empty((x.shape[0], *x.shape[2:], x.shape[1]), np.float32)
    _C.to_channels_last(np.ascontiguousarray(x), last, isa=isa)
    back = np.empty(x.shape, np.float32)
    _C.to_channels_first(last, back, isa=isa)
    return back if np.array_equal(last, x.transpose(0, 2, 3, 1)) else np.full(x.shape, np.nan, np.float32)


class _TwoWayAttention(Check[TwoWayAttention]):
    """Cells that ask tokens, then tokens that ask cells; both results, one behind the other."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        prompts, cells, channels, rows = layer.prompts, layer.cells, layer.channels, layer.heads * layer.tokens
        scale = channels**-0.5
        shapes: dict[str, tuple[tuple[int, ...], float]] = {
            "cells": ((prompts, cells, channels), 1.0),
            "position": ((cells, channels), 1.0),
        }
        if layer.updates:
            shapes |= {"keys": ((prompts, rows, channels), scale), "key_bias": ((prompts, rows), 1.0)}
            shapes |= {"values": ((prompts, rows, channels), 1.0)}
            shapes |= dict.fromkeys(("bias", "gain", "shift"), ((channels,), 0.5))
        if layer.queries:
            shapes["queries"] = ((prompts, rows, channels), scale)
        return {name: Values(normal(rng, shape, "float32", s), "float32") for name, (shape, s) in shapes.items()}

    def call(self, arrays: Mapping[str, Any], run: Run) -> Any:  # type: ignore[override]
        update = [arrays[name] for name in ("keys", "key_bias", "values", "bias", "gain", "shift") if name in arrays]
        found = run(
            ops.two_way_attention,
            arrays["cells"],
            arrays["position"],
            update or None,
            arrays.get("queries"),
            heads=self.layer.heads,
        )
        return np.concatenate([array.ravel() for array in found if array is not None])

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        cells, found = values["cells"], []
        if "keys" in values:
            scores = (cells + values["position"]) @ values["keys"].swapaxes(1, 2) + values["key_bias"][:, None]
            split = scores.reshape(*scores.shape[:2], self.layer.heads, -1)
            weights = store(reference.softmax(store(split)).reshape(scores.shape))
            total = store(cells + values["bias"] + store(weights @ values["values"]))
            cells = reference.layer_norm(total, values["gain"], values["shift"], NORM_EPS, store)
            found.append(cells)
        if "queries" in values:
            scores = store(values["queries"] @ (cells + values["position"]).swapaxes(1, 2))
            found.append(store(store(reference.softmax(scores)) @ cells))
        return np.concatenate([array.ravel() for array in found])


def _swapped(values: Values) -> Values:
    return replace(values, array=values.array.transpose(1, 0, 2, 3))


_CHECKS: Mapping[type[Op], Callable[[Any], Check[Any]]] = {
    Conv3x3: _Conv3x3,
    ConvTranspose: _ConvTranspose,
    DepthwiseConv: _DepthwiseConv,
    LayerNorm: _LayerNorm,
    MaskHead: _MaskHead,
    PatchConv: _PatchConv,
    Preprocess: _Preprocess,
    Transpose: _Transpose,
    TwoWayAttention: _TwoWayAttention,
}
"""Those of the GPU serve the other ops."""


@dataclass(frozen=True)
class CpuCheck:
    """An op on one set of shapes.

    Attributes:
        check: makes inputs and what is expected of them.
        options: of :func:`evsam.ops.pack`, besides the op's arguments.
    """

    check: Check[Any]
    options: Mapping[str, Any]

    @property
    def shape(self) -> str:
        """Sizes and options, in a few characters."""
        return " ".join([self.check.shape, *map(str, self.options.values())])

    def run(self, isas: Collection[str], seed: int = 0) -> dict[str, Comparison]:
        """Results and truth, by instruction set.

        Args:
            isas: whose kernels to run.
            seed: of the inputs.
        """
        inputs = self.check.inputs(np.random.default_rng(seed))
        numbers = {name: values.array for name, values in inputs.items()}
        arrays = {name: to_bits(v.array, "uint8" if v.dtype == "uint8" else "float32") for name, v in inputs.items()}
        true = self.check.expected(numbers, exact)
        separate = self.check.expected(numbers, rounding("float32"))
        # Rounding to the nearest of a sum of n products, one after the other, instead of once.
        ulps = ULPS + np.sqrt(self.check.macs / max(1, true.size))
        if self.options.get("algorithm", "direct") != "direct":
            ulps = WINOGRAD_ULPS
        found = {}
        for isa in isas:
            got = np.asarray(self.check.call(arrays, self._runner(isa)), np.float64)
            found[isa] = compare(got, separate, true, EPSILON["float32"] * ulps / ULPS)
        return found

    def _runner(self, isa: str) -> Run:
        def run(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
            direct = _DIRECT.get(function.__name__)
            if direct is not None:
                return direct(*arguments, **keywords, isa=isa)
            packed = ops.pack(function, **keywords, **self.options, isa=isa)
            return packed(*(keywords.get(name) for name in packed.maps))

        return run


def _linear_attention(qkv: Any, *, eps: float, isa: str) -> Any:
    batch, heads, rows, tokens = qkv.shape
    out = np.empty((batch, heads, rows // 3, tokens), np.float32)
    _C.relu_linear_attention(qkv, out, eps=eps, isa=isa)
    return out


def _preprocess(image: Any, side: int, *, isa: str) -> Any:
    return _C.preprocess(image, side, isa=isa).transpose(2, 0, 1)[None]


_DIRECT: Mapping[str, Callable[..., Any]] = {
    "mask_upsample": _C.mask_upsample,
    "preprocess": _preprocess,
    "relu_linear_attention": _linear_attention,
    "transposed": transposed,
    "two_way_attention": ops.two_way_attention,
}
"""Ops without weights to pack."""


def cpu_checks(table: str) -> Iterator[CpuCheck]:
    """The checks of a table of :mod:`evsam.ops.cases`: its awkward rows."""
    for case in cases(table):
        op: Any = case.op
        if not case.tested or case.variants or case.options.get("precision") == "int8":
            continue
        if isinstance(op, LayerNorm) and (op.residual or op.position):  # which only the engine asks for
            continue
        if isinstance(op, TwoWayAttention) and op.inner:
            continue
        options: dict[str, Any] = {name: case.options[name] for name in ("algorithm",) if name in case.options}
        if isinstance(op, LayerNorm):
            options["activation"] = op.activation
        if case.options.get("adds") == "other" and not isinstance(op, LiteMLA):
            op = replace(op, residual=False)  # its input may have another number of channels
        make: Callable[[Any], Check[Any]] = _CHECKS.get(type(op), check_of)
        check = make(op)
        if isinstance(check, LinearAttentionCheck):
            check = replace(check, numbers="float32")
        yield CpuCheck(check, options)


def selftest_cpu(show: Callable[[str], object] = print) -> dict[str, Any]:
    """Checks the kernels of all instruction sets that this CPU has.

    Args:
        show: takes the lines of the report.

    Returns:
        Everything that was found, for ``json.dump``.
    """
    isas = list(dict.fromkeys(kernel["isa"] for kernel in _C.kernels() if kernel["supported"]))
    show("kernels of this CPU against NumPy in float64, on shapes around their tiles; the largest error, in percent of")
    show(
        "what is allowed: twice the error of separate ops, and what the order of sums and Winograd's transforms explain"
    )
    show(f"{'op':<22} {'shapes':>6} " + "".join(f"{isa:>9}" for isa in isas))
    rows = []
    for table in TABLES:
        outcomes = [(check, check.run(isas)) for check in cpu_checks(table)]
        worst = {isa: max(_share(found[isa]) for _, found in outcomes) for isa in isas}
        failed = [(check, isa) for check, found in outcomes for isa in isas if not found[isa].passed]
        line = f"{table:<22} {len(outcomes):>6} " + "".join(f"{_percent(worst[isa]):>9}" for isa in isas)
        show(line + ("  FAILED" if failed else "  ok"))
        for check, isa in failed[:3]:
            show(f"  {isa}: {check.shape}")
        if len(failed) > 3:
            show(f"  and {len(failed) - 3} more")
        for isa in isas:
            wrong = [check.shape for check, of in failed if of == isa]
            share = worst[isa] if np.isfinite(worst[isa]) else None
            rows.append({"op": table, "isa": isa, "shapes": len(outcomes), "error": share, "failed": wrong})
    return {"isas": isas, "checks": rows, "failed": sum(bool(row["failed"]) for row in rows)}


def _share(comparison: Comparison) -> float:
    """The error as a part of what is allowed."""
    if comparison.error == 0:
        return 0.0
    return comparison.error / comparison.allowed if comparison.allowed > 0 else float("inf")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if np.isfinite(share) else "wrong"
