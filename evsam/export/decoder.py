"""Prompt encoder and mask decoder as an ONNX graph: SAM's, of l0 to xl1, and what all decoders share.

As :mod:`evsam.nn.prompt_encoder`, :mod:`evsam.nn.transformer` and :mod:`evsam.nn.mask_decoder`, node by node. One image
serves all prompts without being copied: the products broadcast over it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsam.export.graph import DOUBLE, FLOAT, INT64, Graph
from evsam.export.nodes import activate_exact_gelu, convolve, write_layer_norm_2d
from evsam.export.options import MaskSelection
from evsam.network import NORM_EPS, Array, Conv, ConvWeights, Tensors
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE, DecoderConfig

PROMPT = "prompt_encoder"
DECODER = "mask_decoder"


@dataclass(frozen=True)
class DecoderInputs:
    """Names of the decoder's inputs; :mod:`evsam.export.onnx` describes them."""

    features: tuple[str, ...]
    points: str
    labels: str
    mask: str
    has_mask: str


def declare_inputs(graph: Graph, shapes: list[tuple[int, int, int]]) -> DecoderInputs:
    """Declare the inputs, apart from the image's size.

    Args:
        graph: where to.
        shapes: of the encoder's outputs.
    """
    names = ["image_embeddings", *(f"lateral_{i}" for i in range(len(shapes) - 1))]
    return DecoderInputs(
        features=tuple(graph.input(name, ("images", *shape)) for name, shape in zip(names, shapes, strict=True)),
        points=graph.input("point_coords", ("prompts", "points", 2)),
        labels=graph.input("point_labels", ("prompts", "points")),
        mask=graph.input("mask_input", ("mask_prompts", 1, LOGITS_SIZE, LOGITS_SIZE)),
        has_mask=graph.input("has_mask_input", (1,)),
    )


def write_point_tokens(graph: Graph, tensors: Tensors, points: str, labels: str) -> str:
    """Tokens (N, T, C) of points, computed in float32: pixels of a 1024 frame do not fit into float16.

    Args:
        graph: where to.
        tensors: weights of the model.
        points: (N, T, 2) in pixels of the frame.
        labels: float32 (N, T).
    """
    matrix = tensors[f"{PROMPT}.pe_layer.positional_encoding_gaussian_matrix"]
    embeddings = ["not_a_point_embed", *(f"point_embeddings.{i}" for i in range(4))]
    table = np.concatenate([tensors[f"{PROMPT}.{name}.weight"] for name in embeddings])
    with graph.scope("points"):
        unit = graph.node("Add", points, graph.number(0.5, points), name="centre")
        unit = graph.node("Mul", unit, graph.number(2 / FRAME_SIZE, unit), name="scaled")
        unit = graph.node("Sub", unit, graph.number(1, unit), name="unit")
        angles = graph.node("MatMul", unit, graph.constant(matrix, "frequencies"), name="projected")
        angles = graph.node("Mul", angles, graph.number(2 * math.pi, angles), name="angles")
        position = graph.node("Concat", graph.node("Sin", angles), graph.node("Cos", angles), name="position", axis=-1)
        real = graph.node("GreaterOrEqual", labels, graph.number(0, labels), name="real")
        real = graph.node("Unsqueeze", graph.cast(real, FLOAT), graph.constant(np.array([2])), name="real.column")
        position = graph.node("Mul", position, real, name="position.real")
        row = graph.cast(graph.node("Add", labels, graph.number(1, labels), name="row"), INT64)
        kind = graph.node("Gather", graph.constant(table, "kinds"), row, name="kind", axis=0)
        return graph.narrow(graph.node("Add", position, kind, name="tokens"))


def cell_positions(tensors: Tensors, grid: int) -> Array:
    """Positional encoding of the centres of the image's cells, float32 (1, grid * grid, C)."""
    matrix = tensors[f"{PROMPT}.pe_layer.positional_encoding_gaussian_matrix"].astype(np.float64)
    centres = (np.arange(grid) + 0.5) / grid
    y, x = np.meshgrid(centres, centres, indexing="ij")
    angles = 2 * math.pi * ((2 * np.stack([x, y], -1).reshape(1, -1, 2) - 1) @ matrix)
    return np.concatenate([np.sin(angles), np.cos(angles)], -1).astype(np.float32)


def write_linear(graph: Graph, tensors: Tensors, name: str, x: str) -> str:
    """``x W^T + b``."""
    local = name.rpartition(".")[2]
    weight = graph.weight(f"{local}.weight", tensors[f"{name}.weight"].T)
    product = graph.node("MatMul", x, weight, name=f"{local}.product")
    return graph.node("Add", product, graph.weight(f"{local}.bias", tensors[f"{name}.bias"]), name=local)


def write_layer_norm(graph: Graph, tensors: Tensors, name: str, x: str) -> str:
    """Layer norm over the last axis, in float32."""
    local = name.rpartition(".")[2]
    gain, bias = (graph.constant(tensors[f"{name}.{kind}"], f"{local}.{kind}") for kind in ("weight", "bias"))
    return graph.narrow(
        graph.node("LayerNormalization", graph.wide(x), gain, bias, name=local, axis=-1, epsilon=NORM_EPS)
    )


def write_mlp(graph: Graph, tensors: Tensors, name: str, x: str, depth: int) -> str:
    """Linear layers ``name.layers.<i>`` with ReLU between them."""
    with graph.scope(name.removeprefix(f"{DECODER}.")):
        for i in range(depth):
            with graph.scope(f"layers.{i}"):
                x = write_linear(graph, tensors, f"{name}.layers.{i}", x)
                x = graph.node("Relu", x) if i < depth - 1 else x
    return x


def write_transformer(
    graph: Graph, tensors: Tensors, config: DecoderConfig, tokens: str, image: str, image_pe: str
) -> tuple[str, str]:
    """The two-way transformer: processed tokens (N, T, C) and image cells (N, G * G, C)."""
    prefix = f"{DECODER}.transformer"
    token_pe = tokens

    def plus(a: str, b: str, name: str) -> str:
        return graph.node("Add", a, b, name=name)

    def attend(name: str, q: str, k: str, v: str) -> str:
        with graph.scope(name):
            return _write_attention(graph, tensors, f"{layer}.{name}", config.heads, q, k, v)

    def norm(name: str, x: str) -> str:
        return write_layer_norm(graph, tensors, f"{layer}.{name}", x)

    for index in range(config.depth):
        layer = f"{prefix}.layers.{index}"
        with graph.scope(f"transformer.layers.{index}"):
            if index == 0:
                tokens = attend("self_attn", tokens, tokens, tokens)
            else:
                q = plus(tokens, token_pe, "self_attn.query")
                tokens = plus(tokens, attend("self_attn", q, q, tokens), "self_attn.sum")
            tokens = norm("norm1", tokens)
            keys = plus(image, image_pe, "keys")
            q = plus(tokens, token_pe, "cross.query")
            tokens = plus(tokens, attend("cross_attn_token_to_image", q, keys, image), "cross.sum")
            tokens = norm("norm2", tokens)
            with graph.scope("mlp"):
                hidden = graph.node("Relu", write_linear(graph, tensors, f"{layer}.mlp.lin1", tokens))
                hidden = write_linear(graph, tensors, f"{layer}.mlp.lin2", hidden)
            tokens = norm("norm3", plus(tokens, hidden, "mlp.sum"))
            k = plus(tokens, token_pe, "cross.key")
            image = norm("norm4", plus(image, attend("cross_attn_image_to_token", keys, k, tokens), "image.sum"))

    layer = prefix
    with graph.scope("transformer"):
        q, k = plus(tokens, token_pe, "final.query"), plus(image, image_pe, "final.key")
        tokens = plus(tokens, attend("final_attn_token_to_image", q, k, image), "final.sum")
        return norm("norm_final_attn", tokens), image


def _write_attention(graph: Graph, tensors: Tensors, name: str, heads: int, q: str, k: str, v: str) -> str:
    width = len(tensors[f"{name}.q_proj.bias"]) // heads
    split = graph.constant(np.array([0, 0, heads, width]))

    def project(role: str, x: str, perm: list[int]) -> str:
        y = graph.node("Reshape", write_linear(graph, tensors, f"{name}.{role}_proj", x), split, name=f"{role}.heads")
        return graph.node("Transpose", y, name=f"{role}.rows", perm=perm)

    query = project("q", q, [0, 2, 1, 3])
    query = graph.node("Mul", query, graph.number(width**-0.5, query), name="q.scaled")
    product = graph.node("MatMul", query, project("k", k, [0, 2, 3, 1]), name="logits")
    weights = graph.narrow(graph.node("Softmax", graph.wide(product), name="weights", axis=-1))
    attended = graph.node("MatMul", weights, project("v", v, [0, 2, 1, 3]), name="attended")
    attended = graph.node("Transpose", attended, name="attended.rows", perm=[0, 2, 1, 3])
    attended = graph.node("Reshape", attended, graph.constant(np.array([0, 0, heads * width])), name="attended.joined")
    return write_linear(graph, tensors, f"{name}.out_proj", attended)


def write_tokens(graph: Graph, tensors: Tensors, prompt: str) -> str:
    """The output tokens in front of the prompts' tokens (N, T, C): IoU, then four masks."""
    rows = np.concatenate([tensors[f"{DECODER}.iou_token.weight"], tensors[f"{DECODER}.mask_tokens.weight"]])
    count = graph.node("Slice", graph.node("Shape", prompt), *_ints(graph, [0], [1]), name="prompts")
    tail = graph.constant(np.array(rows.shape))
    shape = graph.node("Concat", count, tail, name="output_tokens.shape", axis=0)
    output = graph.node("Expand", graph.weight("output_tokens", rows[None]), shape, name="output_tokens.expanded")
    return graph.node("Concat", output, prompt, name="tokens", axis=1)


def write_attended(
    graph: Graph, tensors: Tensors, config: DecoderConfig, grid: int, inputs: DecoderInputs, embedding: str, dense: str
) -> tuple[str, str]:
    """Prompts and image after the transformer.

    Args:
        graph: where to.
        tensors: weights of the model.
        config: of the decoder.
        grid: side of the embedding in cells.
        inputs: of the decoder.
        embedding: (N or 1, C, G, G) in the precision of the network.
        dense: (N or 1, C, G or 1, G or 1), what the mask prompt adds to it.

    Returns:
        Tokens (N, T, C) and the image as a map (N, C, G, G).
    """
    tokens = write_tokens(graph, tensors, write_point_tokens(graph, tensors, inputs.points, inputs.labels))
    source = graph.node("Add", embedding, dense, name="source")
    cells = graph.node("Reshape", source, graph.constant(np.array([0, config.dim, grid * grid])), name="source.flat")
    cells = graph.node("Transpose", cells, name="cells", perm=[0, 2, 1])
    image_pe = graph.weight("cell_positions", cell_positions(tensors, grid))
    tokens, cells = write_transformer(graph, tensors, config, tokens, cells, image_pe)
    image = graph.node("Transpose", cells, name="image.flat", perm=[0, 2, 1])
    return tokens, graph.node("Reshape", image, graph.constant(np.array([0, config.dim, grid, grid])), name="image")


def write_heads(graph: Graph, tensors: Tensors, tokens: str, pixels: str, channels: int) -> tuple[str, str]:
    """Logits (N, 4, 256, 256) from features of pixels (N, C, 256, 256), and predicted IoU (N, 4), both float32."""

    def token(index: int, name: str) -> str:
        return graph.node("Gather", tokens, graph.constant(np.array(index)), name=name, axis=1)

    masks = []
    for i in range(4):
        row = write_mlp(graph, tensors, f"{DECODER}.output_hypernetworks_mlps.{i}", token(1 + i, f"token{i}"), 3)
        masks.append(graph.node("Unsqueeze", row, graph.constant(np.array([1])), name=f"filter{i}"))
    filters = graph.node("Concat", *masks, name="filters", axis=1)
    flat = graph.node("Reshape", pixels, graph.constant(np.array([0, channels, LOGITS_SIZE**2])), name="pixels.flat")
    logits = graph.wide(graph.node("MatMul", filters, flat, name="logits.flat"))
    logits = graph.node("Reshape", logits, graph.constant(np.array([0, 4, LOGITS_SIZE, LOGITS_SIZE])), name="logits")
    return logits, graph.wide(write_mlp(graph, tensors, f"{DECODER}.iou_prediction_head", token(0, "token.iou"), 3))


def write_selection(
    graph: Graph, inputs: DecoderInputs, logits: str, scores: str, selection: MaskSelection
) -> tuple[str, str, int]:
    """The masks that were asked for; see :class:`evsam.export.options.ExportOptions`.

    Returns:
        Logits (N, M, 256, 256), scores (N, M), and M.
    """
    if selection == "all":
        return logits, scores, 4
    if selection != "auto":
        first, last = (0, 1) if selection == "single" else (1, 4)
        ends = _ints(graph, [first], [last], [1])
        return (
            graph.node("Slice", logits, *ends, name="logits.chosen"),
            graph.node("Slice", scores, *ends, name="scores.chosen"),
            last - first,
        )
    with graph.scope("choice"):
        three = graph.node("Slice", scores, *_ints(graph, [1], [4], [1]), name="three")
        best = graph.node("ArgMax", three, name="best", axis=1, keepdims=1)
        best = graph.node("Add", best, graph.constant(np.array(1)), name="best.of_three")
        best = graph.node("Mul", best, graph.cast(_is_ambiguous(graph, inputs), INT64), name="index")
        scores = graph.node("GatherElements", scores, best, name="score", axis=1)
        column = graph.node("Reshape", best, graph.constant(np.array([0, 1, 1, 1])), name="index.map")
        each = graph.constant(np.arange(4).reshape(1, 4, 1, 1))
        chosen = graph.cast(graph.node("Equal", each, column, name="mask.is"), FLOAT)
        product = graph.node("Mul", logits, chosen, name="logits.masked")
        axis = graph.constant(np.array([1]))
        return graph.node("ReduceSum", product, axis, name="logits.chosen", keepdims=1), scores, 1


def _is_ambiguous(graph: Graph, inputs: DecoderInputs) -> str:
    """Bool (N, 1): the prompt is a single click, without box and mask."""
    axis = graph.constant(np.array([1]))

    def count(name: str, least: float) -> str:
        real = graph.cast(graph.node("GreaterOrEqual", inputs.labels, graph.number(least, inputs.labels)), FLOAT)
        return graph.node("ReduceSum", real, axis, name=name, keepdims=1)

    clicks, corners = count("clicks", 0), count("corners", 2)
    one = graph.node("Equal", clicks, graph.number(1, clicks), name="is_single")
    no_box = graph.node("Equal", corners, graph.number(0, corners), name="is_click")
    no_mask = graph.node("Equal", inputs.has_mask, graph.number(0, inputs.has_mask), name="is_without_mask")
    return graph.node("And", graph.node("And", one, no_box), no_mask, name="is_ambiguous")


def write_image_size_masks(graph: Graph, logits: str, size: str) -> str:
    """Logits at the image's size, as :func:`evsam.transforms.upscale_logits`.

    Args:
        graph: where to.
        logits: (N, M, 256, 256).
        size: float32 (2), height and width of the image.
    """
    with graph.scope("masks"):
        linear: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        factor = FRAME_SIZE // LOGITS_SIZE
        scales = graph.constant(np.array([1, 1, factor, factor], np.float32))
        frame = graph.node("Resize", logits, "", scales, name="frame", **linear)
        # float64, as evsam.transforms.fitted_size: a half must be rounded the same way
        sides = graph.cast(size, DOUBLE)
        longest = graph.node("ReduceMax", sides, name="longest", keepdims=1)
        scale = graph.node("Div", graph.number(FRAME_SIZE, sides), longest, name="scale")
        fitted = graph.node("Mul", sides, scale, name="fitted")
        fitted = graph.node("Floor", graph.node("Add", fitted, graph.number(0.5, fitted), name="fitted.half"))
        fitted = graph.cast(graph.node("Max", fitted, graph.number(1, fitted), name="fitted.least"), INT64)
        starts, axes = graph.constant(np.array([0, 0])), graph.constant(np.array([2, 3]))
        cropped = graph.node("Slice", frame, starts, fitted, axes, name="cropped")
        lead = graph.node("Slice", graph.node("Shape", logits), *_ints(graph, [0], [2]), name="lead")
        target = graph.node("Concat", lead, graph.cast(size, INT64), name="size", axis=0)
        return graph.node("Resize", cropped, "", "", target, name="image", **linear)


def write_sam_decoder(
    graph: Graph, tensors: Tensors, config: DecoderConfig, grid: int, inputs: DecoderInputs
) -> tuple[str, str]:
    """Write it; returns logits (N, 4, 256, 256) and scores (N, 4), as :meth:`evsam.nn.EfficientViTSam.decode`."""
    dense = _write_dense(graph, tensors, inputs)
    tokens, image = write_attended(graph, tensors, config, grid, inputs, graph.narrow(inputs.features[0]), dense)
    with graph.scope("upscaling"):
        pixels = _write_upscaling(graph, tensors, image)
    return write_heads(graph, tensors, tokens, pixels, config.dim // 8)


def _write_dense(graph: Graph, tensors: Tensors, inputs: DecoderInputs) -> str:
    """(N or 1, C, G, G): the mask prompt through its convolutions, or the embedding that stands for none."""
    prefix = f"{PROMPT}.mask_downscaling"
    with graph.scope("mask_prompt"):
        x = graph.narrow(inputs.mask)
        for index in (0, 3):
            x = convolve_by_two(graph, tensors, f"{prefix}.{index}", f"conv{index}", x)
            gain, bias = (tensors[f"{prefix}.{index + 1}.{kind}"] for kind in ("weight", "bias"))
            x = activate_exact_gelu(graph, write_layer_norm_2d(graph, f"norm{index}", x, gain, bias, NORM_EPS))
        x = convolve_1x1(graph, tensors, f"{prefix}.6", "conv6", x)
        none = graph.weight("none", tensors[f"{PROMPT}.no_mask_embed.weight"][:, :, None, None])
        given = graph.node("Greater", inputs.has_mask, graph.number(0, inputs.has_mask), name="given")
        return graph.node("Where", given, x, none, name="dense", dtype=graph.narrow_type)


def convolve_1x1(graph: Graph, tensors: Tensors, weights: str, name: str, x: str) -> str:
    """A 1x1 convolution without norm."""
    numbers = ConvWeights(*(tensors[f"{weights}.{kind}"] for kind in ("weight", "bias")))
    outputs, inputs = numbers.weight.shape[:2]
    return convolve(graph, name, x, Conv(weights, inputs, outputs, bias=True), numbers)


def convolve_by_two(graph: Graph, tensors: Tensors, weights: str, name: str, x: str) -> str:
    """A 2x2 convolution with stride 2 and no padding."""
    parts = [graph.weight(f"{name}.{kind}", tensors[f"{weights}.{kind}"]) for kind in ("weight", "bias")]
    return graph.node("Conv", x, *parts, name=name, kernel_shape=[2, 2], strides=[2, 2])


def double(graph: Graph, tensors: Tensors, weights: str, name: str, x: str) -> str:
    """A transposed 2x2 convolution with stride 2."""
    parts = [graph.weight(f"{name}.{kind}", tensors[f"{weights}.{kind}"]) for kind in ("weight", "bias")]
    return graph.node("ConvTranspose", x, *parts, name=name, kernel_shape=[2, 2], strides=[2, 2])


def _write_upscaling(graph: Graph, tensors: Tensors, image: str) -> str:
    prefix = f"{DECODER}.output_upscaling"
    x = double(graph, tensors, f"{prefix}.0", "double0", image)
    gain, bias = (tensors[f"{prefix}.1.{kind}"] for kind in ("weight", "bias"))
    x = activate_exact_gelu(graph, write_layer_norm_2d(graph, "norm", x, gain, bias, NORM_EPS))
    return activate_exact_gelu(graph, double(graph, tensors, f"{prefix}.3", "double3", x))


def _ints(graph: Graph, *values: list[int]) -> list[str]:
    return [graph.constant(np.array(value)) for value in values]
