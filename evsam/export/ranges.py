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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evsam.errors import EvsamError
from evsam.export.encoder import write_encoder
from evsam.export.graph import Graph
from evsam.export.network import (
    Conv,
    ConvBlock,
    Encoder,
    EncoderBlock,
    FusedMBConv,
    Lateral,
    LiteMLA,
    MBConv,
    ResBlock,
)
from evsam.export.probes import Ranges, add_probes, measure

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
    encoder: Encoder,
    pixels: Iterable[npt.NDArray[np.float32]],
    headroom: float = HEADROOM,
    threads: int | None = None,
) -> tuple[Encoder, RangeReport]:
    """The same network with scales folded into its weights.

    Args:
        encoder: as :func:`evsam.export.network.read_encoder` gives it.
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
    folder = _Folder(measured, FLOAT16_MAX / headroom)
    folded = folder.fold(encoder)
    after = measure_encoder(folded, images, threads)
    largest = max((float(value.max()), name) for name, value in after.items() if not holds_unscaled_value(name))
    return folded, RangeReport(tuple(folder.ranges), headroom, len(images), largest, _weight_error(folded))


def measure_encoder(
    encoder: Encoder,
    images: Sequence[npt.NDArray[np.float32]],
    threads: int | None = None,
    graph: Graph | None = None,
) -> Ranges:
    """Largest magnitude of every tensor; see :func:`evsam.export.probes.measure`.

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


_VALUES = re.compile(r"\.gelu\.(value|wide)(_\d+)?$|^lateral\.\d+\.value$")


def holds_unscaled_value(name: str) -> bool:
    """Whether a tensor of the encoder has its own size, and so is float32 in float16 networks too.

    Those are what a GELU with a scale works on, and a lateral map with a scale before it leaves the network.
    """
    return _VALUES.search(name) is not None


class _Folder:
    """Walks through the network and keeps the scale of the stream.

    Args:
        measured: magnitudes of the network before folding.
        limit: of what is stored.
    """

    def __init__(self, measured: Ranges, limit: float) -> None:
        self.ranges: list[Range] = []
        self._measured = measured
        self._limit = limit

    def fold(self, encoder: Encoder) -> Encoder:
        scale, stages, outputs = 1.0, [], []
        for stage in encoder.stages:
            blocks, scale = self._fold_blocks(stage, scale)
            stages.append(blocks)
            outputs.append(scale)

        names = [name for name in self._measured if name.startswith("neck.input")]
        names += [name for block in encoder.middle for name in self._stored(block)]
        neck = self._choose("neck", "stream", self._largest(names))
        inputs = tuple((stage, _scaled(conv, outputs[stage], neck)) for stage, conv in encoder.inputs)
        middle, neck = self._fold_blocks(encoder.middle, neck)
        # Even the sum of all channels' squares, if somebody kept it in float16, stays below the limit.
        channels = len(encoder.gain)
        norm = self._choose("neck.output", "norm", self._largest(["neck.output"]), math.sqrt(self._limit / channels))
        return replace(
            encoder,
            stages=tuple(stages),
            inputs=inputs,
            middle=middle,
            output=_scaled(encoder.output, neck, norm),
            norm_eps=encoder.norm_eps / norm**2,
            lateral=self._fold_lateral(encoder.lateral, outputs),
        )

    def _fold_blocks(self, blocks: tuple[EncoderBlock, ...], scale: float) -> tuple[tuple[EncoderBlock, ...], float]:
        folded: list[EncoderBlock] = []
        for index, block in enumerate(blocks):
            if _opens_stream(block):
                length = 1
                while index + length < len(blocks) and not _opens_stream(blocks[index + length]):
                    length += 1
                names = [name for b in blocks[index : index + length] for name in self._stored(b)]
                out = self._choose(block.name, "stream", self._largest(names))
            else:
                out = scale
            folded.append(self._fold_block(block, scale, out))
            scale = out
        return tuple(folded), scale

    def _stored(self, block: EncoderBlock) -> list[str]:
        """Names of the tensors of a block that are stored at the scale of its stream."""
        if isinstance(block, ConvBlock):
            return self._below(block.name)
        last = {ResBlock: "conv2", FusedMBConv: "point", MBConv: "point", LiteMLA: "project"}[type(block)]
        return [f"{block.name}.{key}" for key in (last, "sum") if f"{block.name}.{key}" in self._measured]

    def _below(self, name: str) -> list[str]:
        return [key for key in self._measured if key.startswith(f"{name}.")]

    def _fold_block(self, block: EncoderBlock, into: float, out: float) -> EncoderBlock:
        match block:
            case ConvBlock():
                return replace(block, conv=_scaled(block.conv, into, out), activation_scale=out)
            case ResBlock():
                hidden = self._choose_hidden(block)
                first, second = _scaled(block.first, into, hidden), _scaled(block.second, hidden, out)
                return replace(block, first=first, second=second, activation_scale=hidden)
            case FusedMBConv():
                hidden = self._choose_hidden(block)
                spatial, point = _scaled(block.spatial, into, hidden), _scaled(block.point, hidden, out)
                return replace(block, spatial=spatial, point=point, activation_scale=hidden)
            case MBConv():
                hidden = self._choose_hidden(block)
                expand = None if block.expand is None else _scaled(block.expand, into, hidden)
                return replace(
                    block,
                    expand=expand,
                    depth=_scaled(block.depth, into if expand is None else hidden, hidden),
                    point=_scaled(block.point, hidden, out),
                    activation_scale=hidden,
                )
            case LiteMLA():
                return self._fold_attention(block, into, out)

    def _choose_hidden(self, block: EncoderBlock) -> float:
        stored = set(self._stored(block))
        names = [name for name in self._below(block.name) if name not in stored]
        return self._choose(block.name, "hidden", self._largest(names))

    def _fold_attention(self, block: LiteMLA, into: float, out: float) -> LiteMLA:
        dim = block.head_dim
        channels = np.stack([self._measured[f"{block.name}.{key}"] for key in ("qkv", "near.depth", "near")]).max(0)
        rows = channels.reshape(-1, 3, dim).max((0, 2))  # of q, k and v
        state, product = (self._measured[f"{block.name}.attention.{key}"] for key in ("state", "product"))
        # The last row of the state is the sum of the keys, and of the product the denominator: they do not have v.
        value = self._choose(block.name, "value", rows[2])
        key = self._choose(block.name, "key", max(rows[1], state[:-1].max() / value, state[-1]))
        query = self._choose(block.name, "query", max(rows[0], product[:-1].max() / (value * key), product[-1] / key))
        scales = np.tile(np.repeat([query, key, value], dim), len(block.qkv) // (3 * dim)).astype(np.float32)
        return replace(
            block,
            qkv=block.qkv * (np.float32(into) / scales)[:, None],
            project=_scaled(block.project, value, out),
            eps=block.eps / (query * key),
        )

    def _fold_lateral(self, lateral: tuple[Lateral, ...], outputs: Sequence[float]) -> tuple[Lateral, ...]:
        folded, before = [], 1.0
        for number, entry in enumerate(lateral):
            name = f"lateral.{number}"
            scale = self._choose(name, "output", self._largest(self._below(name)))
            skip, up = _scaled(entry.skip, outputs[entry.stage], scale), _scaled(entry.up, before, scale)
            folded.append(replace(entry, skip=skip, up=up, scale=scale))
            before = scale
        return tuple(folded)

    def _largest(self, names: Iterable[str]) -> float:
        return max(float(self._measured[name].max()) for name in names)

    def _choose(self, name: str, kind: Kind, before: float, limit: float | None = None) -> float:
        limit = self._limit if limit is None else limit
        scale = 2.0 ** max(0, math.ceil(math.log2(before / limit))) if before > 0 else 1.0
        self.ranges.append(Range(name, kind, float(before), scale))
        return scale


def _opens_stream(block: EncoderBlock) -> bool:
    return not isinstance(block, LiteMLA) and (isinstance(block, ConvBlock) or not block.shortcut)


def _scaled(conv: Conv, into: float, out: float) -> Conv:
    """The convolution for an input that is stored as a fraction 1 / into, and an output as 1 / out."""
    return replace(conv, weight=conv.weight * np.float32(into / out), bias=conv.bias / np.float32(out))


def _weight_error(encoder: Encoder) -> tuple[float, str]:
    worst = (0.0, "")
    for name, weight in _weights(encoder):
        largest = float(np.abs(weight).max(initial=0))
        if largest > FLOAT16_MAX:
            raise EvsamError(f"weights: expected {name} below {FLOAT16_MAX:g} after folding, got {largest:g}")
        norm = float(np.linalg.norm(weight.astype(np.float64)))
        error = float(np.linalg.norm((weight.astype(np.float16) - weight).astype(np.float64)))
        worst = max(worst, (error / norm if norm else 0.0, name))
    return worst


def _weights(encoder: Encoder) -> Iterable[tuple[str, npt.NDArray[np.float32]]]:
    """All weights that become float16, with names for messages."""
    graph = Graph("weights")
    write_encoder(graph, encoder)
    return [(name, value) for name, value in graph.weights().items() if name.endswith(".weight")]
