"""Range folding: a float16 network whose tensors all stay far from float16's largest number, 65504.

Released weights of l2, xl0 and xl1 make activations beyond it. Every stored tensor x is therefore kept as x / s with a
power of two s, which changes no digit of it, and which the weights around it make up for:

* a residual stream has one scale: what reads it multiplies its weights by s, what adds to it divides its last weights
  and its bias by s; the block that opens a stream changes from one scale to the next;
* what a block keeps between its convolutions has a scale; GELU, which is not homogeneous, is told it
  (``activation_scale``);
* q, k and v of the linear attention have one each: those of q and k cancel in the quotient, if the epsilon is divided
  by them, and that of v goes through to the projection, which undoes it;
* the neck's sum has one; the layer norm behind it removes it, if its epsilon is divided by its square.

The scales are found by running the float32 network on calibration images. A scale of 1 is kept wherever the values fit,
so networks without large activations are not changed at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from evsam.engines.onnxruntime import open_session
from evsam.errors import EvsamError
from evsam.export.encoder import EncoderModel, output_values, scope_of, write_encoder
from evsam.export.graph import FLOAT, HALF, Graph
from evsam.network import (
    Conv,
    Convolution,
    ConvWeights,
    Encoder,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MBConv,
    Op,
    UpsampleAdd,
)

if TYPE_CHECKING:
    import onnx

Ranges = dict[str, npt.NDArray[np.float32]]
"""Largest magnitude by name of tensor: a scalar, or one for each row of the axis that was asked for."""

PREFIX = "probe."

FLOAT16_MAX = 65504.0

HEADROOM = 16.0
"""How many times larger than on the calibration images values may become before float16 overflows."""

Kind = Literal["stream", "hidden", "query", "key", "value", "norm", "output"]

_AXES = {".qkv": 1, ".near.depth": 1, ".near": 1, ".attention.state": 2, ".attention.product": 2}
"""Tensors whose channels, or rows, are measured one by one."""


@dataclass(frozen=True)
class Range:
    """One scale of a folded network.

    Attributes:
        name: of the stream or block.
        kind: what is scaled: a residual ``stream``, what a block keeps inside (``hidden``), ``query``, ``key`` and
            ``value`` of an attention, the sum that the last layer ``norm`` reads, or a lateral ``output``.
        before: largest magnitude that the calibration images gave.
        scale: power of two, at least 1; what is stored is the value over it.
    """

    name: str
    kind: Kind
    before: float
    scale: float

    @property
    def after(self) -> float:
        """Largest magnitude of what is stored."""
        return self.before / self.scale


@dataclass(frozen=True)
class RangeReport:
    """What was folded, and how much room is left.

    Attributes:
        ranges: every scale, in the order of the network.
        headroom: that was asked for.
        images: number of calibration images.
        largest: largest magnitude of any tensor of the folded network on them, and the tensor's name.
        weight_error: largest relative error (Frobenius norm) that float16 makes in one weight, and its name.
    """

    ranges: tuple[Range, ...]
    headroom: float
    images: int
    largest: tuple[float, str]
    weight_error: tuple[float, str]

    def as_text(self) -> str:
        """A table for people."""
        width = max(len(row.name) for row in self.ranges)
        lines = [f"{'tensor':<{width}}  {'kind':<7} {'before':>12} {'scale':>8} {'stored':>10}"]
        lines += [
            f"{row.name:<{width}}  {row.kind:<7} {row.before:>12.5g} {row.scale:>8g} {row.after:>10.5g}"
            for row in self.ranges
        ]
        (value, name), (error, weight) = self.largest, self.weight_error
        lines.append(
            f"largest tensor {value:.5g} ({name}), {FLOAT16_MAX / value:.1f} times below float16's largest number, on "
            f"{self.images} images; float16 weights are off by {error:.1e} at most ({weight})"
        )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "headroom": self.headroom,
            "images": self.images,
            "largest": {"tensor": self.largest[1], "value": self.largest[0]},
            "weight_error": {"weight": self.weight_error[1], "relative": self.weight_error[0]},
            "ranges": [
                {"name": row.name, "kind": row.kind, "before": row.before, "scale": row.scale, "after": row.after}
                for row in self.ranges
            ],
        }


def fold_ranges(
    encoder: EncoderModel,
    pixels: Iterable[npt.NDArray[np.float32]],
    headroom: float = HEADROOM,
    threads: int | None = None,
) -> tuple[EncoderModel, RangeReport]:
    """The same network with scales folded into its weights.

    Args:
        encoder: as :func:`evsam.export.encoder.read_encoder` gives it.
        pixels: calibration images, each float32 (3, S, S) as :func:`evsam.transforms.image_to_pixels` makes it.
        headroom: stored values stay this many times below 65504.
        threads: upper limit of CPU threads.

    Returns:
        The folded network, and what was done.

    Raises:
        EvsamError: no images, a headroom below 1, a network whose float32 values are not finite, or weights that do not
            fit into float16 after folding.
    """
    if not 1 <= headroom <= FLOAT16_MAX:
        raise EvsamError(f"headroom: expected a number from 1 to {FLOAT16_MAX:g}, got {headroom:g}")
    images = [np.asarray(image, np.float32) for image in pixels]
    measured = measure_encoder(encoder, images, threads)
    for name, value in measured.items():
        if not np.isfinite(value).all():
            raise EvsamError(f"weights: expected finite values in float32, got infinite or NaN ones in {name}")
    folder = _Folder(encoder, measured, FLOAT16_MAX / headroom)
    folded = folder.fold()
    after = measure_encoder(folded, images, threads)
    largest = max((float(value.max()), name) for name, value in after.items() if not holds_unscaled_value(name))
    return folded, RangeReport(tuple(folder.ranges), headroom, len(images), largest, _weight_error(folded))


def measure_encoder(
    encoder: EncoderModel,
    images: Sequence[npt.NDArray[np.float32]],
    threads: int | None = None,
    graph: Graph | None = None,
) -> Ranges:
    """Largest magnitude of every tensor; see :func:`measure`.

    Args:
        encoder: the network.
        images: float32 (3, S, S) each.
        threads: upper limit of CPU threads.
        graph: an empty graph to write the network to, None for one in float32.
    """
    graph = graph or Graph("encoder with probes")
    write_encoder(graph, encoder)
    add_probes(graph, _AXES, 4)
    return measure(graph.model({}), ({"images": image[None]} for image in images), threads)


def add_probes(graph: Graph, axes: Mapping[str, int] | None = None, rank: int = 4) -> list[str]:
    """Make the largest magnitude of every floating-point value an output of the graph.

    Args:
        graph: finished but for its probes.
        axes: for names that end so, the axis whose rows are told apart.
        rank: number of axes of those tensors.

    Returns:
        Names of the values, in the order in which they are computed.
    """
    found = []
    for name, dtype in list(graph.types.items()):
        if dtype not in (FLOAT, HALF) or graph.is_constant(name) or graph.is_output(name):
            continue
        found.append(name)
        size = graph.node("Abs", graph.wide(name), name=f"{name}.abs")
        suffix = next((suffix for suffix in axes or () if name.endswith(suffix)), None)
        reduced = []
        if axes is not None and suffix is not None:
            reduced = [graph.constant(np.array([axis for axis in range(rank) if axis != axes[suffix]]))]
        largest = graph.node("ReduceMax", size, *reduced, name=f"{name}.largest", keepdims=0)
        graph.output(f"{PREFIX}{name}", largest, () if suffix is None else (None,))
    return found


def measure(
    model: onnx.ModelProto, feeds: Iterable[Mapping[str, npt.NDArray[Any]]], threads: int | None = None
) -> Ranges:
    """Run a model with probes.

    Args:
        model: of a graph that went through :func:`add_probes`.
        feeds: inputs of each run.
        threads: upper limit of CPU threads.

    Returns:
        The largest magnitude of each value over all runs; infinity where one was not finite.

    Raises:
        EvsamError: there was nothing to run on.
    """
    session = open_session(model.SerializeToString(), threads=threads)
    names = [output.name for output in session.get_outputs() if output.name.startswith(PREFIX)]
    largest: Ranges = {}
    for feed in feeds:
        for name, value in zip(names, session.run(names, dict(feed)), strict=True):
            seen = np.where(np.isfinite(value), value, np.inf).astype(np.float32)
            key = name.removeprefix(PREFIX)
            largest[key] = np.maximum(largest[key], seen) if key in largest else seen
    if not largest:
        raise EvsamError("images: expected at least one to measure ranges on, got none")
    return largest


_VALUES = re.compile(r"\.gelu\.(value|wide)(_\d+)?$|^lateral\.\d+\.value$")


def holds_unscaled_value(name: str) -> bool:
    """Whether a tensor of the encoder has its own size, and so is float32 in float16 networks too.

    Those are what a GELU with a scale works on, and a lateral map with a scale before it leaves the network.
    """
    return _VALUES.search(name) is not None


class _Folder:
    """Finds the scales of an encoder's maps and folds them into its numbers.

    Args:
        encoder: to fold.
        measured: magnitudes of its tensors.
        limit: of what is stored.
    """

    def __init__(self, encoder: EncoderModel, measured: Ranges, limit: float) -> None:
        self.ranges: list[Range] = []
        self._encoder = encoder
        self._measured = measured
        self._limit = limit
        self._streams = _find_streams(encoder.network)
        self._convs = dict(encoder.convs)
        self._eps: dict[str, float] = {}
        self._inner: dict[str, float] = {}

    def fold(self) -> EncoderModel:
        network = self._encoder.network
        scales, chosen = {network.image.name: 1.0}, dict[str, float]()
        for op in network.ops:
            into, stream = scales[op.inputs[0].name], self._streams[op.name]
            if stream.name not in chosen:
                chosen[stream.name] = self._choose_stream(stream)
            scales[op.name] = out = chosen[stream.name]
            match op:
                case Convolution():
                    self._scale(op.conv, into, out)
                    self._inner[op.name] = out
                case FusedMBConv() | MBConv():
                    self._inner[op.name] = self._choose_hidden(op)
                    inner = [self._inner[op.name]] * (len(op.convs) - 1)
                    for conv, before, after in zip(op.convs, [into, *inner], [*inner, out], strict=True):
                        self._scale(conv, before, after)
                case LiteMLA():
                    self._fold_attention(op, into, out)
                case LayerNorm():
                    self._eps[op.name] = self._encoder.eps_of(op) / into**2
        outputs = {x.name: scales[x.name] for x in network.outputs}
        return replace(self._encoder, convs=self._convs, eps=self._eps, inner_scales=self._inner, output_scales=outputs)

    def _choose_stream(self, stream: _Stream) -> float:
        if stream.kind == "unscaled":
            return 1.0
        limit = self._limit
        if stream.kind == "norm":
            # Even the sum of all channels' squares, if somebody kept it in float16, stays below the limit.
            limit = math.sqrt(self._limit / stream.ops[0].output.channels)
        values = [value for op in stream.ops for value in output_values(op) if value in self._measured]
        return self._choose(stream.name, stream.kind, self._largest(values), limit)

    def _choose_hidden(self, op: Op) -> float:
        ends = output_values(op)
        values = [value for value in self._measured if value.startswith(f"{op.name}.") and value not in ends]
        return self._choose(op.name, "hidden", self._largest(values))

    def _fold_attention(self, op: LiteMLA, into: float, out: float) -> None:
        dim = op.head_dim
        channels = np.stack([self._measured[f"{op.name}.{key}"] for key in ("qkv", "near.depth", "near")]).max(0)
        rows = channels.reshape(-1, 3, dim).max((0, 2))  # of q, k and v
        state, product = (self._measured[f"{op.name}.attention.{key}"] for key in ("state", "product"))
        # The last row of the state is the sum of the keys, and of the product the denominator: they do not have v.
        value = self._choose(op.name, "value", rows[2])
        key = self._choose(op.name, "key", max(rows[1], state[:-1].max() / value, state[-1]))
        query = self._choose(op.name, "query", max(rows[0], product[:-1].max() / (value * key), product[-1] / key))
        scales = np.tile(np.repeat([query, key, value], dim), op.heads).astype(np.float32)
        qkv = self._convs[op.qkv.name]
        self._convs[op.qkv.name] = qkv._replace(weight=qkv.weight * (np.float32(into) / scales)[:, None, None, None])
        self._scale(op.project, value, out)
        self._eps[op.name] = self._encoder.eps_of(op) / (query * key)

    def _scale(self, conv: Conv, into: float, out: float) -> None:
        """For an input that is stored as a fraction 1 / into, and an output as 1 / out."""
        weight, bias = self._convs[conv.name]
        scaled = ConvWeights(weight * np.float32(into / out), None if bias is None else bias / np.float32(out))
        self._convs[conv.name] = scaled

    def _largest(self, names: Iterable[str]) -> float:
        return max(float(self._measured[name].max()) for name in names)

    def _choose(self, name: str, kind: Kind, before: float, limit: float | None = None) -> float:
        limit = self._limit if limit is None else limit
        scale = 2.0 ** max(0, math.ceil(math.log2(before / limit))) if before > 0 else 1.0
        self.ranges.append(Range(name, kind, float(before), scale))
        return scale


@dataclass(frozen=True)
class _Stream:
    """Maps that are added to each other, and so have one scale: a residual stream, or a single map.

    Attributes:
        name: in the report.
        kind: in the report; ``unscaled`` for one that keeps its values, as the layer norm's does.
        ops: that make the maps.
    """

    name: str
    kind: Kind | Literal["unscaled"]
    ops: tuple[Op, ...]


def _find_streams(network: Encoder) -> dict[str, _Stream]:
    """The stream of each op's map."""
    groups = {op.name: [op] for op in network.ops}
    for op in network.ops:
        added = op.reads if isinstance(op, UpsampleAdd) else op.reads[len(op.inputs) :]
        for x in added:
            if groups[x.name] is not groups[op.name]:
                groups[x.name] += groups[op.name]
                groups.update({member.name: groups[x.name] for member in groups[op.name]})
    return {name: _describe_stream(network, members) for name, members in groups.items()}


def _describe_stream(network: Encoder, members: list[Op]) -> _Stream:
    ops = tuple(op for op in network.ops if op in members)
    first, names = ops[0], {op.name for op in ops}
    readers = [op for op in network.ops if names.intersection(x.name for x in op.reads) and op.name not in names]
    if isinstance(first, LayerNorm):
        return _Stream(first.name, "unscaled", ops)
    if any(isinstance(reader, LayerNorm) for reader in readers):
        return _Stream(first.name, "norm", ops)
    if any(x.name in names for x in network.outputs):
        return _Stream(scope_of(first), "output", ops)
    kind: Kind = "stream"
    if isinstance(first, Convolution) and first.activation != "none" and scope_of(first) in map(scope_of, readers):
        kind = "hidden"  # between two convolutions of one block
    return _Stream(scope_of(first), kind, ops)


def _weight_error(encoder: EncoderModel) -> tuple[float, str]:
    worst = (0.0, "")
    for name, weight in _weights(encoder):
        largest = float(np.abs(weight).max(initial=0))
        if largest > FLOAT16_MAX:
            raise EvsamError(f"weights: expected {name} below {FLOAT16_MAX:g} after folding, got {largest:g}")
        norm = float(np.linalg.norm(weight.astype(np.float64)))
        error = float(np.linalg.norm((weight.astype(np.float16) - weight).astype(np.float64)))
        worst = max(worst, (error / norm if norm else 0.0, name))
    return worst


def _weights(encoder: EncoderModel) -> Iterable[tuple[str, npt.NDArray[np.float32]]]:
    """All weights that become float16, with names for messages."""
    graph = Graph("weights")
    write_encoder(graph, encoder)
    return [(name, value) for name, value in graph.weights().items() if name.endswith(".weight")]
