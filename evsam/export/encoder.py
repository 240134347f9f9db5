"""The image encoder as an ONNX graph."""

from __future__ import annotations

from evsam.export.blocks import convolve, resize, write_block, write_layer_norm_2d, write_upsample_add
from evsam.export.graph import Graph
from evsam.export.network import Encoder, EncoderBlock


def write_encoder(graph: Graph, encoder: Encoder, plugins: frozenset[str] = frozenset()) -> None:
    """Write the whole encoder with its input and outputs, as :mod:`evsam.export.onnx` describes them."""
    side = encoder.image_size
    x = graph.narrow(graph.input("images", ("batch", 3, side, side)))
    outputs = []
    for stage in encoder.stages:
        side //= 2
        x = write_blocks(graph, stage, x, side, plugins)
        outputs.append(x)

    grid = encoder.grid
    with graph.scope("neck"):
        maps = []
        for position, (index, project) in enumerate(encoder.inputs):
            size = encoder.image_size >> (index + 1)
            maps.append((convolve(graph, f"input{position}", outputs[index], project), grid // size))
        x = write_upsample_add(graph, "input", maps, "bicubic", plugins)
    x = write_blocks(graph, encoder.middle, x, grid, plugins)
    with graph.scope("neck"):
        x = convolve(graph, "output", x, encoder.output)
    x = write_layer_norm_2d(graph, "norm", x, encoder.gain, encoder.bias, encoder.norm_eps, plugins)
    channels = len(encoder.gain)
    graph.output("image_embeddings", x, ("batch", channels, grid, grid))

    for number, lateral in enumerate(encoder.lateral):
        with graph.scope(f"lateral.{number}"):
            fine = convolve(graph, "skip", outputs[lateral.stage], lateral.skip)
            up = resize(graph, "up.resized", convolve(graph, "up", x, lateral.up), 2, "bilinear")
            x = graph.node("Add", fine, up, name="sum")
        grid *= 2
        value = x
        if lateral.scale != 1:
            value = graph.wide(x)
            value = graph.node("Mul", value, graph.number(lateral.scale, value), name=f"lateral.{number}.value")
        graph.output(f"lateral_{number}", value, ("batch", len(lateral.skip.weight), grid, grid))


def write_blocks(graph: Graph, blocks: tuple[EncoderBlock, ...], x: str, size: int, plugins: frozenset[str]) -> str:
    """Write blocks one after the other; ``size`` is the side of their output."""
    for block in blocks:
        x = write_block(graph, block, x, size, plugins)
    return x
