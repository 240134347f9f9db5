"""Prompts in the graph of a decoder: as tokens, and drawn as maps.

As :mod:`evsam.nn.prompt_encoder` and :mod:`evsam.nn.lite_decoder`, in float32: pixels of a 1024 frame do not fit into
float16.
"""

from __future__ import annotations

import math

import numpy as np

from evsam.export.graph import FLOAT, INT64, Graph, Value
from evsam.network import MASK_RANGE, PIXEL, POINT_SIGMA, RING, Array, PromptTokens, Tensors
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

POINTS, LABELS, MASK, HAS_MASK = "point_coords", "point_labels", "mask_input", "has_mask_input"
"""Inputs of the graph; docs/export.md describes them."""

FIRST, SECOND = np.array([1]), np.array([2])
"""Axes behind that of the prompts."""


def write_tokens(graph: Graph, op: PromptTokens, tensors: Tensors) -> str:
    """The output tokens, then those of the points: (N, T, C) in the precision of the network."""
    frequencies, (table, outputs) = (
        tensors[op.frequencies.name],
        (np.concatenate([tensors[table.name] for table in tables]) for tables in (op.labels, op.outputs)),
    )
    points, labels = Value(graph, POINTS), Value(graph, LABELS)
    angles = (((points + 0.5) * (2 / FRAME_SIZE) - 1) @ frequencies) * (2 * math.pi)
    position = angles.op("Sin").op("Concat", angles.op("Cos"), axis=-1)
    real = labels.op("GreaterOrEqual", 0).cast(FLOAT).op("Unsqueeze", SECOND)
    rows = Value(graph, graph.constant(table)).op("Gather", (labels + 1).cast(INT64), axis=0)
    tokens = graph.narrow((position * real + rows).name)
    count = Value(graph, tokens).op("Shape", start=0, end=1)
    shape = count.op("Concat", np.array(outputs.shape), axis=0)
    first = Value(graph, graph.weight("outputs", outputs[None])).op("Expand", shape)
    return graph.node("Concat", first.name, tokens, axis=1)


def cell_positions(frequencies: Array, grid: int) -> Array:
    """Positional encoding of the centres of the image's cells, float32 (1, grid * grid, C)."""
    centres = (np.arange(grid) + 0.5) / grid
    y, x = np.meshgrid(centres, centres, indexing="ij")
    angles = 2 * math.pi * ((2 * np.stack([x, y], -1).reshape(1, -1, 2) - 1) @ frequencies.astype(np.float64))
    return np.concatenate([np.sin(angles), np.cos(angles)], -1).astype(np.float32)


def draw_prompts(graph: Graph) -> str:
    """Prompts as maps (N, 6, 256, 256): mask, box, ellipse, ring, foreground and background clicks.

    All shapes are products of a function of x and one of y, so each map is a product of a column and a row.
    """
    points, labels = Value(graph, POINTS), Value(graph, LABELS)
    line = Value(graph, graph.constant(((np.arange(LOGITS_SIZE) + 0.5) * PIXEL).astype(np.float32)))  # of both axes
    columns = [0, 2, 1]

    def chosen(label: int) -> Value:
        """(N, T, 1): 1 where a point has this label."""
        return labels.op("Equal", label).cast(FLOAT).op("Unsqueeze", SECOND)

    def corner(label: int) -> Value:
        """(N, 1, 2): the point with this label, zero where there is none."""
        return (points * chosen(label)).op("ReduceSum", FIRST, keepdims=1)

    def on(points: Value, axis: int) -> Value:
        """(N, T, 1): one coordinate of points."""
        return points.op("Gather", np.array([axis]), axis=2)

    # a sum, not the largest: that of no points is not zero
    boxed = chosen(2).op("ReduceSum", FIRST, keepdims=1).op("Min", 1)  # (N, 1, 1)
    low, high = corner(2), corner(3)
    centre, side = (low + high) * 0.5, (high - low).op("Max", 1)

    def product(x: Value, y: Value) -> Value:
        """(N, 256, 256), where there is a box."""
        return y.op("Transpose", perm=columns) * x * boxed

    def inside(grow: float) -> Value:
        """A box, grown on each side by a part of itself, with soft edges."""
        along = []
        for axis in (0, 1):
            margin = on(side, axis) * grow
            left, right = line - (on(low, axis) - margin), on(high, axis) + margin - line
            edges = [(distance / PIXEL + 0.5).op("Clip", 0, 1) for distance in (left, right)]
            along.append(edges[0] * edges[1])
        return product(*along)

    def bell(axis: int) -> Value:
        ratio = (line - on(centre, axis)) / (on(side, axis) * 0.5)
        return (ratio * ratio * -2).op("Exp")

    def dots(label: int) -> Value:
        """Soft dots at the clicks of a label."""
        near = []
        for axis in (0, 1):
            offset = line - on(points, axis)
            near.append((offset * offset / (-2 * POINT_SIGMA**2)).op("Exp"))  # (N, T, 256)
        return ((near[1] * chosen(label)).op("Transpose", perm=columns) @ near[0]).op("Min", 1)

    mask = Value(graph, MASK).op("Squeeze", FIRST)
    mask = mask.op("Clip", -MASK_RANGE, MASK_RANGE) * (2 / MASK_RANGE)
    nothing = Value(graph, graph.number(0, mask.name))
    mask = Value(graph, HAS_MASK).op("Greater", 0).op("Where", mask, nothing, dtype=FLOAT)
    mask = mask + boxed * 0  # a single mask serves all prompts, but each has a row
    box = inside(0)
    maps = [mask, box, product(bell(0), bell(1)), inside(RING) - box, dots(1), dots(0)]
    first, *others = (each.op("Unsqueeze", FIRST) for each in maps)
    return first.op("Concat", *others, axis=1).name


def write_resemblance(graph: Graph, features: str, drawn: str, size: int) -> str:
    """How much every cell is like what the prompt points at, and what it excludes: (N, 2, size, size).

    Args:
        graph: where to.
        features: (N or 1, C, size, size).
        drawn: by :func:`draw_prompts`.
        size: height and width of the features.
    """
    flat = np.array([0, 0, size * size])
    pool = [LOGITS_SIZE // size] * 2
    small = graph.node("AveragePool", drawn, kernel_shape=pool, strides=pool)
    names = [f"map{i}" for i in range(6)]
    maps = [Value(graph, name) for name in graph.nodes("Split", small, names=names, axis=1, num_outputs=6)]
    weights = (maps[2] + maps[4]).op("Concat", maps[3] + maps[5], axis=1).op("Reshape", flat)

    def normalise(x: Value, axis: int, least: float) -> Value:
        return x / x.op("ReduceL2", np.array([axis]), keepdims=1).op("Max", least)

    unit = normalise(Value(graph, graph.wide(features)).op("Reshape", flat), 1, 1e-12)
    means = normalise(weights @ unit.op("Transpose", perm=[0, 2, 1]), 2, 1e-4)
    return (means @ unit).op("Reshape", np.array([0, 2, size, size])).name
