"""SAM's prompt encoder and mask decoder as an ONNX graph: the decoder of l0 to xl1."""

from __future__ import annotations

from evsam.export.blocks import activate_exact_gelu, convolve, write_layer_norm_2d
from evsam.export.decoder import DECODER, PROMPT, DecoderInputs, write_attended, write_heads
from evsam.export.graph import Graph
from evsam.export.network import NORM_EPS, Tensors, plain_conv
from evsam.zoo import DecoderConfig


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
        x = convolve(graph, "conv6", x, plain_conv(tensors, f"{prefix}.6"))
        none = graph.weight("none", tensors[f"{PROMPT}.no_mask_embed.weight"][:, :, None, None])
        given = graph.node("Greater", inputs.has_mask, graph.number(0, inputs.has_mask), name="given")
        return graph.node("Where", given, x, none, name="dense", dtype=graph.narrow_type)


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
