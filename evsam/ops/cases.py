"""The table of cases: for each op, the shapes on which it is tested and timed.

    >>> from evsam.ops.cases import cases
    >>> case = next(case for case in cases("mbconv") if "l0" in case.variants)
    >>> case.name, case.op.in_channels, case.op.hidden, case.op.flops
    ('l0 l1 l2 stage 3 block 0', 128, 2048, 3258974208)

Rows of the models are derived from :mod:`evsam.layers`, those that are alike (in one variant or in several) once.
Awkward rows sit around the tiles of the kernels of all instruction sets. C++ reads the same table
(``python -m benchmarks.cases`` writes csrc/tests/ops/cases/<op>.csv), and so do the benchmarks of the CPU and of the
GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from itertools import cycle
from types import MappingProxyType
from typing import get_args

from evsam.costs import (
    Activation,
    Conv3x3,
    ConvTranspose,
    DepthwiseConv,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MaskHead,
    MaskPrompt,
    MaskUpsample,
    MBConv,
    Op,
    PatchConv,
    Pointwise,
    PointwiseInt8,
    Preprocess,
    ReluLinearAttention,
    SamHead,
    Transpose,
    TwoWayAttention,
    UpsampleAdd,
)
from evsam.layers import decoder_ops, encoder_ops, image_ops
from evsam.zoo import VARIANTS, Variant

__all__ = ["CUDA_OPS", "OPS", "Case", "cases", "columns", "cuda_cases", "values"]

Option = str | int | float

OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "conv3x3": {"bias": 1, "algorithm": "automatic", "precision": "fp32"},
    "conv_transpose": {"bias": 1},
    "depthwise_conv": {"bias": 1},
    "fused_mbconv": {"bias": 1, "algorithm": "automatic", "precision": "fp32", "adds": "input"},
    "layer_norm": {"mean": 0.0},
    "lite_mla": {"bias": 1, "precision": "fp32", "adds": "input"},
    "mask_head": {"bias": 1},
    "mbconv": {"bias": 1, "precision": "fp32", "adds": "input"},
    "patch_conv": {"bias": 1},
    "pointwise": {"bias": 1},
    "pointwise_int8": {"bias": 1},
}
"""What the CPU kernels of an op have beyond its record, and the values in rows of the models.

``bias`` says whether there is one (or are all); ``algorithm`` and ``precision`` are those of the C++ parameters;
``adds`` says whether a residual is the ``input`` or ``other``, another map (``nothing``: lite_mla without one);
``mean`` is that of the numbers in the input.
"""

MAX_TEST_MACS = 2_000_000
"""Rows of the models with more work are timed, but not tested by the C++ tests: float64 oracles are slow."""

MAX_TEST_ELEMENTS = 300_000

MAX_EMULATED_MACS = 500_000
"""Rows of the CPU's tiles with more work are not tested by CUDA kernels, whose threads may be emulated."""

ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

TILES = ((4, 8), (4, 16), (8, 16), (16, 32))
"""Lanes, and output channels of a tile of products, of the instruction sets."""

TILE_ROWS = (4, 6, 12)
"""Pixels of a tile of products."""


@dataclass(frozen=True)
class Case:
    """One row: a call of an op.

    Attributes:
        name: unique among the cases of the op; in rows of the models the variants, then the layer.
        op: the call with its shapes, FLOPs and bytes. Maps hold one image; :meth:`with_batch` changes that.
        options: the op's :data:`OPTIONS`.
        variants: names of those in which it occurs; none of awkward ones.
        tested: whether the C++ tests run it.
        timed: whether it is worth a benchmark.
    """

    name: str
    op: Op
    options: Mapping[str, Option] = field(default_factory=dict, hash=False)
    variants: tuple[str, ...] = ()
    tested: bool = True
    timed: bool = False

    def with_batch(self, batch: int) -> Case:
        """The same with several images at once, where the op takes them.

        Raises:
            ValueError: it takes one.
        """
        if not hasattr(self.op, "batch"):
            raise ValueError(f"batch: expected an op of maps, got {self.op.name}")
        return replace(self, op=replace(self.op, batch=batch))  # type: ignore[call-arg]


@cache
def cases(op: str) -> tuple[Case, ...]:
    """All rows of an op: those of the models in the order in which they run, then awkward ones.

    Args:
        op: one of :data:`OPS`.

    Raises:
        ValueError: there is no such op; the message lists those that exist.
    """
    if op not in OPS:
        raise ValueError(f"op: expected one of {', '.join(OPS)}, got {op!r}")
    rows = [*_model_cases(op, _native_ops), *_awkward_cases(op)]
    names = [row.name for row in rows]
    if len(set(names)) != len(names):
        raise ValueError(f"{op}: expected names that are unique, got {max(names, key=names.count)!r} again")
    return tuple(rows)


@cache
def cuda_cases(op: str) -> tuple[Case, ...]:
    """The rows of an op for its CUDA kernels, which do blocks whole and resize two maps at once.

    Those of the models' encoders, then awkward ones: around the tiles of these kernels, and those of :func:`cases` that
    they take (multiples of eight channels, for example).

    Args:
        op: one of :data:`CUDA_OPS`.

    Raises:
        ValueError: there is no such op; the message lists those that exist.
    """
    if op not in CUDA_OPS:
        raise ValueError(f"op: expected one of {', '.join(CUDA_OPS)}, got {op!r}")
    own = [record for record in _CUDA_AWKWARD if record.name == op]
    shared = (case for case in _awkward_cases(op) if case.options.get("adds") != "other")
    awkward = dict.fromkeys([*own, *(case.op for case in shared if _has_cuda_kernel(case.op))])
    return (
        *_model_cases(op, _cuda_ops),
        *(
            Case(f"awkward {record.shape}", record, tested=record in own or record.macs <= MAX_EMULATED_MACS)
            for record in awkward
        ),
    )


def columns(op: str) -> tuple[str, ...]:
    """The columns of an op's table as text."""
    return tuple(values(cases(op)[0]))


def values(case: Case) -> dict[str, str]:
    """A row as text: name, uses, the fields of the record, options, FLOPs and bytes in float32."""
    skipped = {"layer"} if isinstance(case.op, ReluLinearAttention) else {"layer", "batch", "second"}
    row: dict[str, object] = {"name": case.name, "tested": case.tested, "timed": case.timed}
    row |= {each.name: getattr(case.op, each.name) for each in fields(case.op) if each.name not in skipped}
    row |= {**case.options, "flops": case.op.flops, "bytes": case.op.bytes()}
    return {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in row.items()}


def _model_cases(op: str, ops_of: Callable[[Variant], Iterable[Op]]) -> Iterator[Case]:
    found: dict[Op, tuple[str, dict[str, None]]] = {}
    for variant in VARIANTS.values():
        for record in ops_of(variant):
            if record.name == op:
                _, variants = found.setdefault(replace(record, layer=""), (record.layer, {}))
                variants[variant.name] = None
    for record, (layer, variants) in found.items():
        named = replace(record, layer=layer)
        small = named.macs <= MAX_TEST_MACS and named.bytes() <= 4 * MAX_TEST_ELEMENTS
        yield Case(f"{' '.join(variants)} {layer}", named, OPTIONS.get(op, {}), tuple(variants), small, True)


def _native_ops(variant: Variant) -> Iterator[Op]:
    """As the CPU kernels are called, and what their parts are on their own."""
    for op in (*encoder_ops(variant), *decoder_ops(variant), *image_ops(variant)):
        match op:
            case MBConv(expands=False):
                depth = (op.batch, op.height, op.width, op.in_channels, op.filter_size, op.stride, op.activation)
                point = (op.batch, op.out_height, op.out_width, op.in_channels, op.out_channels)
                yield DepthwiseConv(f"{op.layer} depthwise", *depth)
                yield Pointwise(f"{op.layer} 1x1", *point, residual=op.residual)
            case UpsampleAdd(second=(height, width)):
                yield replace(op, layer=f"{op.layer} {op.height}x{op.width}", second=None)
                yield replace(op, layer=f"{op.layer} {height}x{width}", height=height, width=width, second=None)
            case LiteMLA():
                yield op
                yield replace(op.attention, layer=f"{op.layer} attention")
            case Pointwise():
                yield op
                yield PointwiseInt8(*(getattr(op, each.name) for each in fields(op)))
            case _:
                yield op


def _cuda_ops(variant: Variant) -> Iterator[Op]:
    """Those that have CUDA kernels, and the attention of blocks alone."""
    for op in (*encoder_ops(variant), *image_ops(variant)):
        if _has_cuda_kernel(op):
            yield op
        if isinstance(op, LiteMLA):
            yield replace(op.attention, layer=f"{op.layer} attention")


def _has_cuda_kernel(op: Op) -> bool:
    match op:
        case Conv3x3():
            return op.out_channels % 8 == 0 and op.activation != "gelu"
        case Pointwise():
            return op.name == "pointwise" and _eights(op.in_channels, op.out_channels) and op.activation != "gelu"
        case FusedMBConv() | MBConv():
            narrow = (isinstance(op, MBConv) and op.expands) or (isinstance(op, FusedMBConv) and op.out_channels <= 256)
            return narrow and _eights(op.in_channels, op.hidden, op.out_channels) and op.activation != "gelu"
        case LiteMLA():
            return _eights(op.channels) and op.head_dim in (16, 32) and op.filter_size in (3, 5)
        case ReluLinearAttention():
            return op.head_dim in (16, 32)
        case LayerNorm():
            alone = op.activation == "none" and not op.residual and not op.position
            return alone and _eights(op.channels) and op.channels <= 1024
        case UpsampleAdd():
            return _eights(op.channels)
    return op.name in CUDA_OPS


def _eights(*channels: int) -> bool:
    return all(number % 8 == 0 for number in channels)


def _awkward_cases(op: str) -> Iterator[Case]:
    seen: set[tuple[Op, tuple[Option, ...]]] = set()
    for record, options in _AWKWARD[op]():
        filled = {**OPTIONS.get(op, {}), **options}
        key = (record, tuple(filled.values()))
        if key in seen:
            continue
        seen.add(key)
        special = [
            str(value) if isinstance(value, str) else f"{name} {value}"
            for name, value in filled.items()
            if value != OPTIONS[op][name]
        ]
        activation = getattr(record, "activation", "none")
        words = ["awkward", record.shape.replace(" activated", ""), activation * (activation != "none"), *special]
        yield Case(" ".join(filter(None, words)), record, MappingProxyType(filled))


_Rows = Iterator[tuple[Op, dict[str, Option]]]


def _tile_channels() -> Iterator[tuple[int, int]]:
    """Input channels around a vector, output channels around a tile."""
    for lanes, panel in TILES:
        for inputs in (lanes - 1, lanes, lanes + 1):
            for outputs in (1, panel - 1, panel, panel + 1, 2 * panel + panel // 2):
                yield inputs, outputs


def _tile_outputs() -> list[int]:
    """Output channels around a tile, and a prime."""
    sizes = {size for _, panel in TILES for size in (panel - 1, panel, panel + 1, panel + panel // 2)}
    return [1, *sorted(sizes), 53]


def _algorithms(stride: int) -> tuple[str, ...]:
    return ("winograd2", "winograd4", "winograd6") if stride == 1 else ("winograd4",)


def _conv3x3() -> _Rows:
    for stride in (1, 2):
        for algorithm in ("direct", *_algorithms(stride)):
            options: dict[str, Option] = {"algorithm": algorithm}
            # Around a tile of any scheme, and images thinner than the filter.
            for size in (1, 2, 3, 5, 6, 7, 8, 9, 13):
                yield Conv3x3("", 1, size, 14 - size, 3, 5, stride, residual=True), options
            for inputs, outputs in _tile_channels():
                yield Conv3x3("", 1, 11, 7, inputs, outputs, stride, "relu"), options
            for activation in ACTIVATIONS:
                yield Conv3x3("", 1, 17, 19, 16, 24, stride, activation), options
            # More input channels than one slice of the products, several tasks and blocks of columns.
            yield Conv3x3("", 1, 9, 10, 257, 37, stride, residual=True), options
            yield Conv3x3("", 1, 61, 53, 16, 33, stride, residual=True), options
            yield Conv3x3("", 1, 24, 24, 64, 72, stride, "gelu_tanh"), options
            yield Conv3x3("", 1, 8, 8, 16, 16, stride, residual=True), options
        yield Conv3x3("", 1, 64, 37, 3, 32, stride, "gelu_tanh"), {"algorithm": "direct"}
        # Bands of one row and of several, thin images, input channels that fill no group.
        for height, width, inputs, outputs in ((1, 1, 16, 16), (70, 9, 17, 33), (33, 14, 35, 40), (5, 37, 32, 70)):
            narrow: dict[str, Option] = {"precision": "int8"}
            yield Conv3x3("", 1, height, width, inputs, outputs, stride, "gelu_tanh"), narrow
            yield Conv3x3("", 1, height, width, inputs, outputs, stride, residual=True), narrow
    yield Conv3x3("", 1, 7, 9, 16, 24), {"bias": 0}


def _conv_transpose() -> _Rows:
    for width in (1, 3, 5, 6, 7, 11, 12, 13, 31):  # around the rows of register tiles
        for outputs in _tile_outputs():
            yield ConvTranspose("", 1, 3, width, 7, outputs, width % 2 * 5, lateral=outputs % 2 == 1), {}
    for activation in ACTIVATIONS:
        yield ConvTranspose("", 1, 4, 16, 6, 16, 3, activation, lateral=True), {}
        yield ConvTranspose("", 1, 2, 9, 5, 9, 0, activation), {}
    # The decoders' layers, on smaller maps.
    yield ConvTranspose("", 1, 4, 32, 128, 64, 32, lateral=True), {}
    yield ConvTranspose("", 1, 6, 32, 64, 32, 16, "relu", lateral=True), {}
    yield ConvTranspose("", 1, 3, 16, 256, 64), {}
    yield ConvTranspose("", 1, 3, 16, 64, 32, 0, "gelu"), {}
    yield ConvTranspose("", 1, 3, 5, 6, 9, lateral=True), {"bias": 0}


def _depthwise_conv() -> _Rows:
    sizes = ((1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (4, 5), (5, 4), (6, 7), (3, 8), (7, 9), (4, 13))
    activations = cycle(ACTIVATIONS)
    for filter_size in (3, 5):
        for stride in (1, 2):
            for channels in (1, 3, 4, 7, 8, 9, 15, 16, 17, 24, 33, 40):
                for height, width in sizes:
                    yield DepthwiseConv("", 1, height, width, channels, filter_size, stride, next(activations)), {}
    # Cut into tasks.
    yield DepthwiseConv("", 1, 31, 37, 144, 3, 1, "relu6"), {}
    yield DepthwiseConv("", 1, 31, 37, 272, 5, 2), {}
    yield DepthwiseConv("", 1, 31, 37, 700, 5, 1, "gelu_tanh"), {}
    yield DepthwiseConv("", 1, 7, 9, 19), {"bias": 0}


def _fused_mbconv() -> _Rows:
    other: dict[str, Option] = {"adds": "other"}
    for stride in (1, 2):
        for algorithm in _algorithms(stride):
            options: dict[str, Option] = {"algorithm": algorithm}
            for size in (1, 2, 5, 7, 13):
                yield FusedMBConv("", 1, size, 14 - size, 3, 6, stride, "relu", True, 5), {**options, **other}
            for panel in sorted({panel for _, panel in TILES}):
                for outputs in (panel - 1, panel, panel + 1):
                    yield FusedMBConv("", 1, 11, 7, 9, outputs, stride, "relu6", hidden=2 * panel + 3), options
            yield FusedMBConv("", 1, 25, 33, 16, 32, stride, "gelu_tanh", hidden=64), options
            # Several blocks of hidden channels, the last one not full.
            yield FusedMBConv("", 1, 12, 11, 32, 24, stride, "gelu_tanh", True, 301), {**options, **other}
            yield FusedMBConv("", 1, 9, 14, 40, 40, stride, "gelu", hidden=256), options
        narrow: dict[str, Option] = {"precision": "int8", **other}
        yield FusedMBConv("", 1, 34, 9, 17, 24, stride, "gelu_tanh", True, 65), narrow
        yield FusedMBConv("", 1, 7, 13, 32, 40, stride, "relu", hidden=96), narrow
        yield FusedMBConv("", 1, 7, 13, 32, 40, stride, "relu", True, hidden=24), narrow  # a 1x1 in float32
        # Where the 3x3 is float32, the 1x1 is narrow, in several blocks of hidden channels, the last one not full.
        yield FusedMBConv("", 1, 14, 11, 32, 72, stride, "gelu_tanh", True, 301), narrow
    yield FusedMBConv("", 1, 26, 22, 24, 24, 1, "gelu_tanh", True, 96), {}
    yield FusedMBConv("", 1, 13, 9, 17, 17, 1, "none", True, 40), {}
    yield FusedMBConv("", 1, 7, 9, 8, 9, 1, "relu", hidden=20), {"bias": 0}


def _layer_norm() -> _Rows:
    forms = ((False, False), (True, False), (True, True))
    for channels in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 64, 97, 256):
        for residual, position in forms:
            yield LayerNorm("", 1, 1, 1, channels, "none", residual, position), {}
            yield LayerNorm("", 1, 3, 5, channels, "relu", residual, position), {}
        # A mean that is large beside the deviation.
        yield LayerNorm("", 1, 2, 3, channels, "none", residual=True), {"mean": 100.0}
    for activation in ACTIVATIONS:
        yield LayerNorm("", 1, 2, 3, 13, activation), {}
        yield LayerNorm("", 1, 2, 3, 13, activation, residual=True), {}
    yield LayerNorm("", 1, 64, 37, 40, "gelu", residual=True), {"mean": 1.0}


def _lite_mla() -> _Rows:
    turn = 0
    for head_dim in (16, 32, 48):
        for filter_size in (3, 5):
            for height, width in ((1, 1), (1, 5), (5, 1), (7, 9), (8, 8), (5, 13), (3, 67)):
                channels, heads = (24, 37)[turn % 2], 1 + turn % 3
                adds = ("other", "nothing")[turn % 2]
                yield LiteMLA("", 1, height, width, channels, heads, head_dim, filter_size), {"adds": adds}
                turn += 1
    # Several blocks of tokens.
    yield LiteMLA("", 1, 19, 17, 48, 3, 16, 5), {"adds": "other"}
    yield LiteMLA("", 1, 19, 17, 64, 2, 32, 3), {"adds": "other"}
    yield LiteMLA("", 1, 6, 7, 40, 2, 16, 3), {}
    yield LiteMLA("", 1, 19, 17, 64, 2, 32, 5), {"precision": "int8", "adds": "other"}
    yield LiteMLA("", 1, 5, 9, 24, 2, 16, 3), {"bias": 0}
    # Heads that are filled up with zeros.
    for head_dim in (1, 8, 24):
        yield LiteMLA("", 1, 5, 13, 36, 3, head_dim, 3), {"adds": "other"}
    yield LiteMLA("", 1, 5, 13, 36, 3, 8, 5), {"bias": 0}
    yield LiteMLA("", 1, 5, 13, 36, 3, 8, 5), {"precision": "int8"}


def _mask_head() -> _Rows:
    for width in (1, 2, 3, 4, 5, 7, 8, 9, 23, 24, 25, 47, 53):  # around vectors and blocks of pixels
        for channels in (1, 3, 4, 5, 7, 8, 9, 15, 16, 17):
            yield MaskHead("", 1, 2, width, 3, channels, "relu", lateral=channels % 2 == 0), {}
    for activation in ACTIVATIONS:
        yield MaskHead("", 1, 3, 11, 5, 8, activation, lateral=True), {}
        yield MaskHead("", 1, 3, 11, 5, 9, activation), {}
    # The decoders' layers, on smaller maps; as many features as there may be.
    yield MaskHead("", 1, 9, 64, 32, 8, "relu", lateral=True), {}
    yield MaskHead("", 1, 5, 32, 64, 32, "gelu"), {}
    yield MaskHead("", 1, 1, 26, 7, 64, lateral=True), {}
    yield MaskHead("", 1, 2, 7, 5, 6, "relu", lateral=True), {"bias": 0}


def _mask_prompt() -> _Rows:
    for rows, cells, widths in (
        (5, 16, (4, 16, 256)),
        (1, 1, (4, 16, 32)),
        (5, 3, (3, 5, 7)),
        (17, 31, (4, 16, 32)),
        (4, 8, (2, 4, 6)),
    ):
        yield MaskPrompt("", rows, cells, *widths), {}


def _mask_upsample() -> _Rows:
    for sizes in (
        (1, 576, 1024, 90, 160),
        (1, 1024, 683, 300, 200),
        (2, 1024, 1024, 64, 64),
        (1, 16, 1024, 17, 1023),
        (1, 1024, 1, 500, 1),
        (1, 1, 1024, 1, 777),
        (3, 768, 1024, 33, 47),
        (1, 1024, 1024, 1, 1),
        (1, 1024, 17, 1037, 15),
        (1, 5, 1024, 9, 2003),
        (2, 1024, 577, 400, 225),
        (0, 10, 10, 10, 10),
    ):
        yield MaskUpsample("", *sizes), {}


def _mbconv() -> _Rows:
    turn = 0
    for filter_size in (3, 5):
        for stride in (1, 2):
            for inputs, hidden, outputs in ((1, 1, 1), (3, 7, 5), (16, 96, 24), (17, 33, 16), (24, 130, 9)):
                for height, width in ((1, 1), (1, 5), (7, 1), (5, 6), (9, 13), (12, 31)):
                    ends = (inputs, outputs, stride, ACTIVATIONS[turn % 5], turn % 2 == 0)
                    yield MBConv("", 1, height, width, *ends, hidden, filter_size), {"adds": "other"}
                    turn += 1
    # Small hidden rows are cut into strips, large ones into blocks of channels.
    for inputs, hidden, outputs, filter_size, stride, activation in _MBCONV_CUTS:
        block = MBConv("", 1, 41, 33, inputs, outputs, stride, activation, True, hidden, filter_size)
        yield block, {"adds": "other"}
    for hidden in (96, 700, 704):
        for stride, filter_size in ((1, 5), (2, 3)):
            block = MBConv("", 1, 19, 33, 40, 24, stride, "gelu_tanh", True, hidden, filter_size)
            yield block, {"precision": "int8", "adds": "other"}
    for inputs, outputs, height, width in ((1, 1, 1, 5), (19, 7, 9, 13), (33, 24, 12, 31), (32, 16, 21, 140)):
        for stride, filter_size in ((1, 3), (2, 5)):
            ends = (inputs, outputs, stride, "relu6", stride == 1)
            yield MBConv("", 1, height, width, *ends, inputs, filter_size, False), {"adds": "other"}
    yield MBConv("", 1, 9, 10, 8, 8, 1, "relu6", True, 48), {}
    yield MBConv("", 1, 6, 11, 4, 3, 1, "relu6", hidden=24), {"bias": 0}


_MBCONV_CUTS: tuple[tuple[int, int, int, int, int, Activation], ...] = (
    (8, 48, 8, 3, 1, "relu6"),
    (16, 700, 24, 5, 1, "gelu_tanh"),
    (16, 704, 24, 3, 2, "relu6"),
    (8, 40, 16, 5, 2, "gelu"),
)


def _patch_conv() -> _Rows:
    for width in (1, 3, 5, 6, 7, 11, 12, 13, 31):  # around the rows of register tiles
        for outputs in _tile_outputs():
            yield PatchConv("", 1, 6, 2 * width, 3, outputs), {}
    for activation in ACTIVATIONS:
        yield PatchConv("", 1, 8, 32, 6, 16, activation), {}
        yield PatchConv("", 1, 4, 18, 5, 9, activation), {}
    # The decoders' layers, on smaller maps.
    for inputs, outputs in ((6, 16), (16, 32), (32, 64), (1, 4), (4, 16)):
        yield PatchConv("", 1, 32, 64, inputs, outputs, "relu"), {}
    yield PatchConv("", 1, 4, 6, 5, 20, "relu"), {"bias": 0}


def _pointwise_rows(kind: type[Pointwise], deep: tuple[int, ...]) -> _Rows:
    pixels = sorted({size for rows in TILE_ROWS for size in (rows - 1, rows, rows + 1)})
    for size in (1, *pixels, 101):
        for outputs in _tile_outputs():
            yield kind("", 1, 1, size, 7, outputs, residual=True), {}
    for activation in ACTIVATIONS:
        yield kind("", 1, 1, 50, 24, 40, activation=activation), {}
        yield kind("", 1, 1, 13, 5, 9, activation=activation), {}
    # Around the input channels of one slice of the products.
    for inputs in deep:
        yield kind("", 1, 1, 31, inputs, 37, activation="gelu_tanh"), {}
    yield kind("", 1, 20, 20, 521, 70, residual=True), {}
    yield kind("", 1, 1, 11, 9, 20, residual=True), {"bias": 0}


def _pointwise() -> _Rows:
    return _pointwise_rows(Pointwise, (255, 256, 257, 521))


def _pointwise_int8() -> _Rows:
    yield from _pointwise_rows(PointwiseInt8, (511, 512, 513, 1031))
    for inputs in (1, 2, 15, 16, 17):
        yield PointwiseInt8("", 1, 1, 9, inputs, 3), {}


def _preprocess() -> _Rows:
    for side in (16, 37, 64):
        for height in (1, 2, 15, 37, 64, 101):
            for width in (1, 3, 16, 37, 64, 131):
                yield Preprocess("", 1, height, width, side), {}
    # Cut into tasks; rows first; no resizing; extreme shapes.
    for height, width, side in ((181, 320, 128), (320, 131, 128), (128, 72, 128)):
        yield Preprocess("", 1, height, width, side), {}
    for height, width, side in ((1, 5000, 64), (5000, 1, 64), (3, 700, 100), (700, 3, 100)):
        yield Preprocess("", 1, height, width, side), {}


def _relu_linear_attention() -> _Rows:
    for head_dim in (16, 32, 5):
        for tokens in (1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 97, 127, 128, 129, 256, 383):
            yield ReluLinearAttention("", 2, 2, head_dim, tokens), {}
        for heads in (1, 3, 8):
            yield ReluLinearAttention("", 1, heads, head_dim, 701), {}


def _resize() -> _Rows:
    for mode in ("bilinear", "bicubic"):
        for residual in (False, True):
            for channels in (1, 3, 7, 8, 9, 16, 17, 40):
                yield UpsampleAdd("", 1, 4, 4, channels, 16, 16, mode, residual=residual), {}
                yield UpsampleAdd("", 1, 5, 3, channels, 10, 6, mode, residual=residual), {}
            yield UpsampleAdd("", 1, 1, 1, 8, 5, 7, mode, residual=residual), {}
            yield UpsampleAdd("", 1, 2, 9, 8, 7, 11, mode, residual=residual), {}
            yield UpsampleAdd("", 1, 6, 6, 8, 6, 6, mode, residual=residual), {}
            # Downwards, without a wider filter, as PyTorch does.
            yield UpsampleAdd("", 1, 9, 8, 8, 4, 3, mode, residual=residual), {}
            yield UpsampleAdd("", 1, 16, 16, 24, 64, 64, mode, residual=residual), {}


def _sam_head() -> _Rows:
    for rows, cells, widths in (
        (3, 16, (256, 64, 32)),
        (1, 1, (32, 8, 4)),
        (5, 3, (32, 8, 4)),
        (1, 16, (40, 7, 5)),
        (17, 5, (33, 9, 3)),
        (4, 8, (8, 3, 1)),
        (4, 17, (8, 3, 2)),
    ):
        yield SamHead("", rows, cells, *widths), {}
    yield SamHead("", 5, 3, 32, 8, 4, prompts=3), {}


def _transpose() -> _Rows:
    for channels in (1, 3, 4, 7, 8, 9, 15, 16, 17, 33):
        for width in (1, 5, 15, 16, 17, 37):
            yield Transpose("", 1, 3, width, channels), {}
    yield Transpose("", 1, 64, 64, 40), {}
    yield Transpose("", 1, 101, 83, 8), {}
    yield Transpose("", 1, 0, 5, 8), {}


def _two_way_attention() -> _Rows:
    for channels, heads, tokens, cells, inner in (
        (32, 4, 7, 64, 0),
        (32, 4, 6, 1, 0),
        (32, 8, 7, 15, 0),
        (48, 8, 1, 16, 0),
        (32, 4, 9, 17, 0),
        (40, 2, 3, 67, 0),
        (33, 3, 5, 131, 0),
        (256, 8, 7, 200, 0),
        (32, 4, 7, 64, 16),
        (48, 8, 8, 37, 64),
        (64, 1, 3, 131, 8),
        (32, 2, 2, 1200, 16),
    ):
        for updates, queries in ((True, False), (False, True), (True, True)):
            if updates and queries and inner:
                continue  # keys of cells cannot be projected before their update
            for prompts in (1, 3):
                yield TwoWayAttention("", 1, cells, channels, heads, tokens, updates, queries, inner, prompts), {}


_AWKWARD: Mapping[str, Callable[[], _Rows]] = {
    "conv3x3": _conv3x3,
    "conv_transpose": _conv_transpose,
    "depthwise_conv": _depthwise_conv,
    "fused_mbconv": _fused_mbconv,
    "layer_norm": _layer_norm,
    "lite_mla": _lite_mla,
    "mask_head": _mask_head,
    "mask_prompt": _mask_prompt,
    "mask_upsample": _mask_upsample,
    "mbconv": _mbconv,
    "patch_conv": _patch_conv,
    "pointwise": _pointwise,
    "pointwise_int8": _pointwise_int8,
    "preprocess": _preprocess,
    "relu_linear_attention": _relu_linear_attention,
    "resize": _resize,
    "sam_head": _sam_head,
    "transpose": _transpose,
    "two_way_attention": _two_way_attention,
}

OPS = tuple(_AWKWARD)
"""The tables: the ops that have CPU kernels, by the names of their folders in csrc/ops; pointwise has two."""


CUDA_OPS = (
    "conv3x3",
    "fused_mbconv",
    "layer_norm",
    "lite_mla",
    "mask_upsample",
    "mbconv",
    "pointwise",
    "preprocess",
    "relu_linear_attention",
    "resize",
)
"""Those with CUDA kernels."""

_CUDA_AWKWARD: tuple[Op, ...] = (
    Conv3x3("", 2, 9, 7, 16, 32, activation="gelu_tanh"),
    Conv3x3("", 1, 9, 7, 16, 24, stride=2),
    Conv3x3("", 1, 6, 11, 32, 32, residual=True),
    Pointwise("", 2, 5, 7, 40, 72),
    Pointwise("", 1, 11, 13, 64, 128, residual=True),
    Pointwise("", 1, 3, 3, 24, 8, activation="relu6"),
    FusedMBConv("", 2, 7, 9, 32, 32, activation="gelu_tanh", residual=True, hidden=64),
    FusedMBConv("", 1, 5, 7, 16, 72, 2, "relu6", hidden=40),
    MBConv("", 2, 5, 7, 32, 32, activation="gelu_tanh", residual=True, hidden=64),
    MBConv("", 1, 9, 7, 16, 40, 2, "relu6", hidden=48, filter_size=5),
    LiteMLA("", 2, 5, 7, 64, 2, 32, 5),
    LiteMLA("", 1, 17, 16, 64, 2, 32, 3),
    UpsampleAdd("", 2, 3, 5, 16, 12, 11, "bicubic"),
    UpsampleAdd("", 1, 3, 5, 16, 6, 10, "bilinear"),
    UpsampleAdd("", 1, 4, 4, 8, 9, 9, "bicubic", residual=False),
    UpsampleAdd("", 1, 3, 2, 8, 7, 9, "bicubic", (5, 4)),
    Preprocess("", 1, 37, 53, side=64),
    Preprocess("", 1, 150, 40, side=64),
    MaskUpsample("", 2, 611, 1024, 77, 129),
    LayerNorm("", 2, 3, 7, 256),
    LayerNorm("", 1, 5, 1, 24),
    ReluLinearAttention("", 1, 2, 32, 256),
)
