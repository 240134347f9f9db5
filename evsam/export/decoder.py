"""Prompt encoder and mask decoder as an ONNX graph: the ops of its description, with the numbers of a model.

One image serves all prompts without being copied: the products broadcast over it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evsam.export.encoder import Model, read_numbers, write_op
from evsam.export.graph import DOUBLE, FLOAT, INT64, Graph, Layer, Value
from evsam.export.nodes import write_residual
from evsam.export.options import MaskSelection, decoder_interface
from evsam.export.prompts import (
    FIRST,
    HAS_MASK,
    LABELS,
    MASK,
    cell_positions,
    draw_prompts,
    write_resemblance,
    write_tokens,
)
from evsam.network import (
    MLP,
    NORM_EPS,
    Attention,
    DrawnPrompt,
    Linear,
    Map,
    MaskOrNone,
    Op,
    Product,
    PromptTokens,
    Resemblance,
    describe_decoder,
)
from evsam.weights import Weights
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE


def write_network(graph: Graph, weights: Weights) -> tuple[str, str]:
    """Write the ops; returns logits (N, 4, 256, 256) and scores (N, 4), both float32."""
    writer = _Writer(graph, weights)
    for op in writer.model.network.ops:
        writer.write(op)
    logits, scores = writer.model.network.outputs
    return graph.wide(writer.maps[logits.name]), graph.wide(writer.rows[scores.name])


class _Writer:
    """Writes ops one after the other.

    Attributes:
        model: the decoder.
        maps: values of maps (N or 1, C, H, W) by their names.
        rows: values of tokens (N, T, C), and of maps as rows of pixels, by their names.
    """

    def __init__(self, graph: Graph, weights: Weights) -> None:
        network = describe_decoder(weights.variant)
        self.model = Model(network, *read_numbers(network, weights.tensors))
        *features, mask = network.inputs
        names = [tensor.name for tensor in decoder_interface(weights.variant).inputs]
        self.maps = {x.name: graph.narrow(name) for x, name in zip(features, names, strict=False)}
        self.maps[mask.name] = MASK
        self.rows: dict[str, str] = {}
        self._graph, self._tensors = graph, weights.tensors
        self._grid = features[0].size
        self._positions: dict[int, str] = {}  # of tokens and of cells, by the sizes of their maps
        self._placed: dict[str, str] = {}  # rows with their positions

    def write(self, op: Op) -> None:
        """Write one."""
        with self._graph.scope(op.name):
            match op:
                case PromptTokens():
                    self.rows[op.name] = self._write_tokens(op)
                case Attention():
                    self.rows[op.name] = self._write_attention(op)
                case MLP():
                    self.rows[op.name] = self._write_mlp(op)
                case DrawnPrompt():
                    self.maps[op.name] = draw_prompts(self._graph)
                case Resemblance():
                    features, drawn = (self.maps[x.name] for x in op.inputs)
                    self.maps[op.name] = write_resemblance(self._graph, features, drawn, op.output.size)
                case MaskOrNone():
                    self.maps[op.name] = self._write_choice(op)
                case Product():
                    self.maps[op.name] = self._write_product(op)
        if op.name not in {**self.rows, **self.maps}:  # one of those that encoders have, with scopes of its own
            narrow = {x.name: self._graph.narrow(self._map(x)) for x in op.reads}
            self.maps[op.name] = write_op(self._graph, op, self.model, narrow)

    def _write_tokens(self, op: PromptTokens) -> str:
        tokens = write_tokens(self._graph, op, self._tensors)
        cells = cell_positions(self._tensors[op.frequencies.name], self._grid)
        self._positions = {0: tokens, self._grid: self._graph.weight("cells", cells)}
        return tokens

    def _write_attention(self, op: Attention) -> str:
        graph, (x, to) = self._graph, op.inputs
        width = op.query.outputs // op.heads

        def project(linear: Linear, x: str, perm: list[int]) -> str:
            y = Value(graph, self._apply(linear, x)).op("Reshape", np.array([0, 0, op.heads, width]))
            return y.op("Transpose", perm=perm).name

        place = self._row if op.residual is None else self._place
        query = Value(graph, project(op.query, place(x), [0, 2, 1, 3])) * width**-0.5
        product = graph.node("MatMul", query.name, project(op.key, place(to), [0, 2, 3, 1]), name="logits")
        weights = graph.narrow(graph.node("Softmax", graph.wide(product), name="weights", axis=-1))
        attended = graph.node("MatMul", weights, project(op.value, self._row(to), [0, 2, 1, 3]), name="attended")
        rows = Value(graph, attended).op("Transpose", perm=[0, 2, 1, 3])
        rows = rows.op("Reshape", np.array([0, 0, op.value.outputs]))
        return self._finish(op, self._apply(op.project, rows.name))

    def _write_mlp(self, op: MLP) -> str:
        x = self._row(op.inputs[0])
        if op.token is not None:
            x = self._graph.node("Gather", x, self._graph.constant(np.array(op.token)), name="token", axis=1)
        for linear in op.layers:
            x = self._apply(linear, x)
            x = x if linear == op.layers[-1] else self._graph.node("Relu", x)
        return self._finish(op, x)

    def _write_choice(self, op: MaskOrNone) -> str:
        graph, x = self._graph, self.maps[op.inputs[0].name]
        none = graph.weight("none", self._tensors[op.none.name][:, :, None, None])
        given = graph.node("Greater", HAS_MASK, graph.number(0, HAS_MASK), name="given")
        dense = graph.node("Where", given, x, none, name="dense", dtype=graph.narrow_type)
        return write_residual(graph, dense, None if op.residual is None else self.maps[op.residual.name])

    def _write_product(self, op: Product) -> str:
        graph, pixels = self._graph, op.inputs[0]
        first, *others = (Value(graph, self.rows[x.name]).op("Unsqueeze", FIRST) for x in op.inputs[1:])
        flat = Value(graph, self.maps[pixels.name]).op("Reshape", np.array([0, pixels.channels, pixels.size**2]))
        logits = Value(graph, graph.wide((first.op("Concat", *others, axis=1) @ flat).name))
        return logits.op("Reshape", np.array([0, *op.output.shape]), name="logits").name

    def _map(self, x: Map) -> str:
        if x.name not in self.maps:
            columns = Value(self._graph, self.rows[x.name]).op("Transpose", perm=[0, 2, 1])
            self.maps[x.name] = columns.op("Reshape", np.array([0, x.channels, x.size, x.size]), name="map").name
        return self.maps[x.name]

    def _row(self, x: Map) -> str:
        if x.name not in self.rows:
            flat = Value(self._graph, self.maps[x.name]).op("Reshape", np.array([0, x.channels, x.size**2]))
            self.rows[x.name] = flat.op("Transpose", perm=[0, 2, 1], name="rows").name
        return self.rows[x.name]

    def _place(self, x: Map) -> str:
        if x.name not in self._placed:
            self._placed[x.name] = self._graph.node("Add", self._row(x), self._positions[x.size], name="placed")
        return self._placed[x.name]

    def _finish(self, op: Attention | MLP, y: str) -> str:
        """Residual and norm."""
        graph = self._graph
        y = write_residual(graph, y, None if op.residual is None else self._row(op.residual))
        if op.norm is None:
            return y
        gain, bias = self.model.norms[op.norm.name]
        numbers = graph.constant(gain, "norm.weight"), graph.constant(bias, "norm.bias")
        wide = graph.node("LayerNormalization", graph.wide(y), *numbers, name="norm", axis=-1, epsilon=NORM_EPS)
        return graph.narrow(wide)

    def _apply(self, linear: Linear, x: str) -> str:
        name = linear.name.rpartition(".")[2]
        weight, bias = (self._tensors[tensor] for tensor in linear.tensors)
        matrix = self._graph.weight(f"{name}.weight", weight.T)
        x, matrix = self._graph.quantize(name, Layer(x, matrix, 1, grouped=False, work=linear.outputs))
        product = self._graph.node("MatMul", x, matrix, name=f"{name}.product")
        return self._graph.node("Add", product, self._graph.weight(f"{name}.bias", bias), name=name)


def write_selection(graph: Graph, logits: str, scores: str, selection: MaskSelection) -> tuple[str, str]:
    """The masks that were asked for, see :class:`evsam.export.options.ExportOptions`, and their scores."""
    if selection == "all":
        return logits, scores
    pair = Value(graph, logits), Value(graph, scores)
    if selection != "auto":
        first, last = (0, 1) if selection == "single" else (1, 4)
        ends = np.array([first]), np.array([last]), FIRST
        chosen, score = (x.op("Slice", *ends, name="chosen") for x in pair)
        return chosen.name, score.name
    with graph.scope("choice"):
        best = pair[1].op("Slice", np.array([1]), np.array([4]), FIRST).op("ArgMax", axis=1, keepdims=1) + 1
        index = best * _is_ambiguous(graph).cast(INT64)
        score = pair[1].op("GatherElements", index, name="score", axis=1)
        each = Value(graph, graph.constant(np.arange(4).reshape(1, 4, 1, 1)))
        chosen = each.op("Equal", index.op("Reshape", np.array([0, 1, 1, 1]))).cast(FLOAT)
        return (pair[0] * chosen).op("ReduceSum", FIRST, keepdims=1, name="chosen").name, score.name


def _is_ambiguous(graph: Graph) -> Value:
    """Bool (N, 1): the prompt is a single click, without box and mask."""
    labels, mask = Value(graph, LABELS), Value(graph, HAS_MASK)

    def count(least: float) -> Value:
        return labels.op("GreaterOrEqual", least).cast(FLOAT).op("ReduceSum", FIRST, keepdims=1)

    click = count(0).op("Equal", 1).op("And", count(2).op("Equal", 0))
    return click.op("And", mask.op("Equal", 0), name="is_ambiguous")


def write_image_size_masks(graph: Graph, logits: str) -> str:
    """Logits (N, M, 256, 256) at the image's size, as :func:`evsam.transforms.upscale_logits`."""
    with graph.scope("masks"):
        linear: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        factor = FRAME_SIZE // LOGITS_SIZE
        scales = graph.constant(np.array([1, 1, factor, factor], np.float32))
        frame = Value(graph, graph.node("Resize", logits, "", scales, name="frame", **linear))
        # float64, as evsam.transforms.fitted_size: a half must be rounded the same way
        size = Value(graph, "orig_im_size")
        sides = size.cast(DOUBLE)
        fitted = sides * (FRAME_SIZE / sides.op("ReduceMax", keepdims=1))
        fitted = (fitted + 0.5).op("Floor").op("Max", 1).cast(INT64)
        cropped = frame.op("Slice", np.array([0, 0]), fitted, np.array([2, 3]), name="cropped")
        target = Value(graph, logits).op("Shape", end=2).op("Concat", size.cast(INT64), axis=0)
        return graph.node("Resize", cropped.name, "", "", target.name, name="image", **linear)
