"""The small prompt encoder and mask decoder of nano as an ONNX graph; :mod:`evsam.nn.lite_decoder` is its model."""

from __future__ import annotations

from typing import Literal

import numpy as np

from evsam.export.decoder import (
    DECODER,
    PROMPT,
    DecoderInputs,
    convolve_1x1,
    convolve_by_two,
    double,
    write_attended,
    write_heads,
)
from evsam.export.graph import FLOAT, Graph
from evsam.export.nodes import activate, convolve, write_layer_norm_2d
from evsam.network import MASK_RANGE, NORM_EPS, PIXEL, POINT_SIGMA, RING, Tensors, depthwise_separable
from evsam.zoo import LOGITS_SIZE, DecoderConfig

Axis = Literal["x", "y"]


def write_lite_decoder(
    graph: Graph, tensors: Tensors, config: DecoderConfig, grid: int, inputs: DecoderInputs
) -> tuple[str, str]:
    """Write it; returns logits (N, 4, 256, 256) and scores (N, 4), as :meth:`evsam.nn.EfficientViTSam.decode`."""
    embedding, *lateral = (graph.narrow(feature) for feature in inputs.features)
    with graph.scope("drawn"):
        drawn = _Drawing(graph, inputs).write()
    with graph.scope("prompt"):
        quarter = _downscale(graph, tensors, 0, graph.narrow(drawn), norm=False)
        eighth = _downscale(graph, tensors, 1, quarter)
        resemblance = _write_resemblance(graph, tensors, lateral[0], drawn)
        eighth = graph.node("Add", eighth, resemblance, name="eighth")
        dense = _downscale(graph, tensors, 2, eighth)
        dense = convolve_1x1(graph, tensors, f"{PROMPT}.dense", "dense", dense)
    tokens, x = write_attended(graph, tensors, config, grid, inputs, embedding, dense)

    for i, prompt_map in enumerate((eighth, quarter)):
        with graph.scope(f"up{i}"):
            x = graph.node("Add", double(graph, tensors, f"{DECODER}.up.{i}", "double", x), lateral[i], name="image")
            prompt = convolve_1x1(graph, tensors, f"{DECODER}.prompt.{i}", "prompt", prompt_map)
            x = graph.node("Add", x, prompt, name="sum")
            if i == 0:
                gain, bias = (tensors[f"{DECODER}.norm.{kind}"] for kind in ("weight", "bias"))
                x = write_layer_norm_2d(graph, "norm", x, gain, bias, NORM_EPS)
            x = _refine(graph, tensors, f"{DECODER}.refine.{i}.main", graph.node("Relu", x))
    with graph.scope("up2"):
        x = graph.node("Add", double(graph, tensors, f"{DECODER}.up.2", "double", x), lateral[2], name="sum")
        x = graph.node("Relu", x)
    return write_heads(graph, tensors, tokens, x, len(tensors[f"{DECODER}.up.2.bias"]))


def _downscale(graph: Graph, tensors: Tensors, index: int, x: str, norm: bool = True) -> str:
    name = f"{PROMPT}.mask_downscaling.{index}"
    x = convolve_by_two(graph, tensors, f"{name}.0", f"down{index}", x)
    if norm:
        gain, bias = (tensors[f"{name}.1.{kind}"] for kind in ("weight", "bias"))
        x = write_layer_norm_2d(graph, f"down{index}.norm", x, gain, bias, NORM_EPS)
    return graph.node("Relu", x, name=f"down{index}.relu")


def _refine(graph: Graph, tensors: Tensors, name: str, x: str) -> str:
    width = len(tensors[f"{name}.point_conv.conv.weight"])
    depth, point = depthwise_separable(name, width, width, 3)
    with graph.scope("refine"):
        y = activate(graph, convolve(graph, "depth", x, depth, depth.read(tensors)), "relu6")
        return graph.node("Add", x, convolve(graph, "point", y, point, point.read(tensors)), name="sum")


def _write_resemblance(graph: Graph, tensors: Tensors, fine: str, drawn: str) -> str:
    """How much every cell is like what the prompt points at, and what it excludes, projected; in float32."""
    with graph.scope("resemblance"):
        side = LOGITS_SIZE // 4
        features = graph.wide(convolve_1x1(graph, tensors, f"{PROMPT}.compare", "compare", fine))
        small = graph.node("AveragePool", drawn, name="small", kernel_shape=[4, 4], strides=[4, 4])
        maps = graph.nodes("Split", small, names=[f"map{i}" for i in range(6)], axis=1, num_outputs=6)
        pairs = [graph.node("Add", maps[a], maps[b], name=n) for a, b, n in ((2, 4, "inside"), (3, 5, "outside"))]
        weights = graph.node("Concat", *pairs, name="weights", axis=1)
        flat = graph.constant(np.array([0, 0, side * side]))
        weights = graph.node("Reshape", weights, flat, name="weights.flat")
        unit = _normalize(graph, graph.node("Reshape", features, flat, name="features.flat"), 1, 1e-12, "unit")
        rows = graph.node("Transpose", unit, name="unit.rows", perm=[0, 2, 1])
        means = _normalize(graph, graph.node("MatMul", weights, rows, name="sums"), 2, 1e-4, "means")
        alike = graph.node("MatMul", means, unit, name="alike")
        alike = graph.node("Reshape", alike, graph.constant(np.array([0, 2, side, side])), name="alike.map")
        return convolve_1x1(graph, tensors, f"{PROMPT}.resemblance_proj", "project", graph.narrow(alike))


def _normalize(graph: Graph, x: str, axis: int, eps: float, name: str) -> str:
    length = graph.node("ReduceL2", x, graph.constant(np.array([axis])), name=f"{name}.length", keepdims=1)
    length = graph.node("Max", length, graph.number(eps, length), name=f"{name}.length.least")
    return graph.node("Div", x, length, name=name)


class _Drawing:
    """Prompts as maps (N, 6, 256, 256), in float32: mask, box, ellipse, ring, foreground and background clicks.

    All shapes are products of a function of x and one of y, so each map is a product of a column and a row.
    """

    def __init__(self, graph: Graph, inputs: DecoderInputs) -> None:
        self.graph, self.inputs = graph, inputs
        centres = ((np.arange(LOGITS_SIZE) + 0.5) * PIXEL).astype(np.float32)
        self.line = graph.constant(centres[None, None], "line")  # (1, 1, 256), the same for both axes
        self.low, self.high = self._corner(2, "low"), self._corner(3, "high")  # (N, 1, 2)
        # a sum, not the largest: that of no points is not zero
        corners = graph.node("ReduceSum", self._is(2), self._ints(1), name="boxes", keepdims=1)  # (N, 1)
        self.boxed = self._op("Min", corners, self._number(1), "boxed")
        self.boxed = graph.node("Unsqueeze", self.boxed, self._ints(2), name="boxed.map")  # (N, 1, 1)
        side = self._op("Sub", self.high, self.low, "side")
        self.side = self._op("Max", side, self._number(1), "side.least")

    def write(self) -> str:
        box = self._inside(0.0, "box")
        ring = self._op("Sub", self._inside(RING, "ring.outer"), box, "ring")
        maps = [self._mask(), box, self._ellipse(), ring, self._dots(1), self._dots(0)]
        rows = [self.graph.node("Unsqueeze", m, self._ints(1), name=f"map{i}") for i, m in enumerate(maps)]
        return self.graph.node("Concat", *rows, name="maps", axis=1)

    def _mask(self) -> str:
        """(N, 256, 256); a single mask serves all prompts."""
        graph = self.graph
        mask = graph.node("Squeeze", self.inputs.mask, self._ints(1), name="mask")
        mask = graph.node("Clip", mask, self._number(-MASK_RANGE), self._number(MASK_RANGE), name="mask.clipped")
        mask = self._op("Mul", mask, self._number(2 / MASK_RANGE), "mask.scaled")
        given = self._op("Greater", self.inputs.has_mask, self._number(0), "given")
        mask = graph.node("Where", given, mask, self._number(0), name="mask.given", dtype=FLOAT)
        nothing = self._op("Mul", self.boxed, self._number(0), "nothing")  # (N, 1, 1), to have a row for each prompt
        return self._op("Add", mask, nothing, "mask.each")

    def _inside(self, grow: float, name: str) -> str:
        """A box, grown on each side by a part of itself, with soft edges."""
        along = []
        for axis in ("x", "y"):
            margin = self._op("Mul", self._on(self.side, axis), self._number(grow), f"{name}.margin.{axis}")
            low = self._op("Sub", self._on(self.low, axis), margin, f"{name}.low.{axis}")
            high = self._op("Add", self._on(self.high, axis), margin, f"{name}.high.{axis}")
            edges = [
                self._edge(self._op("Sub", a, b, f"{name}.{side}.{axis}.distance"), f"{name}.{side}.{axis}")
                for side, a, b in (("left", self.line, low), ("right", high, self.line))
            ]
            along.append(self._op("Mul", edges[0], edges[1], f"{name}.{axis}"))
        return self._product(along[0], along[1], name)

    def _edge(self, distance: str, name: str) -> str:
        t = self._op("Add", self._op("Div", distance, self._number(PIXEL), f"{name}.pixels"), self._number(0.5), name)
        return self.graph.node("Clip", t, self._number(0), self._number(1), name=f"{name}.soft")

    def _ellipse(self) -> str:
        centre = self._op("Mul", self._op("Add", self.low, self.high, "corners"), self._number(0.5), "centre")
        bells = []
        for axis in ("x", "y"):
            half = self._op("Mul", self._on(self.side, axis), self._number(0.5), f"half.{axis}")
            offset = self._op("Sub", self.line, self._on(centre, axis), f"offset.{axis}")
            ratio = self._op("Div", offset, half, f"ratio.{axis}")
            power = self._op("Mul", self._op("Mul", ratio, ratio, f"square.{axis}"), self._number(-2), f"power.{axis}")
            bells.append(self.graph.node("Exp", power, name=f"bell.{axis}"))
        return self._product(bells[0], bells[1], "ellipse")

    def _dots(self, label: int) -> str:
        """Soft dots at the clicks of a label."""
        graph, near = self.graph, {}
        for axis in ("x", "y"):
            offset = self._op("Sub", self.line, self._on(self.inputs.points, axis), f"dots{label}.offset.{axis}")
            square = self._op("Mul", offset, offset, f"dots{label}.square.{axis}")
            power = self._op("Div", square, self._number(-2 * POINT_SIGMA**2), f"dots{label}.power.{axis}")
            near[axis] = graph.node("Exp", power, name=f"dots{label}.{axis}")  # (N, T, 256)
        chosen = graph.node("Unsqueeze", self._is(label), self._ints(2), name=f"dots{label}.chosen")
        column = self._op("Mul", near["y"], chosen, f"dots{label}.y.chosen")
        rows = graph.node("Transpose", column, name=f"dots{label}.y.columns", perm=[0, 2, 1])
        total = graph.node("MatMul", rows, near["x"], name=f"dots{label}.sum")
        return self._op("Min", total, self._number(1), f"dots{label}")

    def _product(self, x: str, y: str, name: str) -> str:
        """(N, 256, 256), of a column and a row, where there is a box."""
        column = self.graph.node("Transpose", y, name=f"{name}.column", perm=[0, 2, 1])
        return self._op("Mul", self._op("Mul", column, x, f"{name}.full"), self.boxed, name)

    def _corner(self, label: int, name: str) -> str:
        """(N, 1, 2): the point with this label, zero where there is none."""
        chosen = self.graph.node("Unsqueeze", self._is(label), self._ints(2), name=f"{name}.is")
        picked = self._op("Mul", self.inputs.points, chosen, f"{name}.picked")
        return self.graph.node("ReduceSum", picked, self._ints(1), name=name, keepdims=1)

    def _is(self, label: int) -> str:
        """Float32 (N, T): 1 where a point has this label."""
        equal = self.graph.node("Equal", self.inputs.labels, self._number(label), name=f"is{label}")
        return self.graph.cast(equal, FLOAT)

    def _on(self, points: str, axis: Axis) -> str:
        """(N, T, 1): one coordinate of points (N, T, 2)."""
        index = self._ints(0 if axis == "x" else 1)
        return self.graph.node("Gather", points, index, name=f"coordinate.{axis}", axis=2)

    def _op(self, op: str, a: str, b: str, name: str) -> str:
        return self.graph.node(op, a, b, name=name)

    def _number(self, value: float) -> str:
        return self.graph.constant(np.array(value, np.float32))

    def _ints(self, value: int) -> str:
        return self.graph.constant(np.array([value]))
