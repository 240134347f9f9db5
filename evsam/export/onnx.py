"""Models as ONNX files.

The encoder has the input ``images`` (batch, 3, S, S): normalised RGB with zeros where padded, as
:func:`evsam.transforms.image_to_pixels` makes it. Its outputs are ``image_embeddings`` (batch, C, G, G), and for the
variants that have lateral maps ``lateral_0`` and so on.

The decoder's names are those of segment_anything's ONNX decoder, which Isaac ROS also uses:

| input | shape | |
|---|---|---|
| ``image_embeddings``, ``lateral_<i>`` | (images, C, G, G) | of one image for all prompts, or of one for each |
| ``point_coords`` | (prompts, points, 2) | x, y in pixels of the 1024 frame |
| ``point_labels`` | (prompts, points) | -1 padding, 0 background, 1 foreground, 2 and 3 corners of a box |
| ``mask_input`` | (mask_prompts, 1, 256, 256) | logits of an earlier prediction, for all prompts or for each |
| ``has_mask_input`` | (1,) | 0: the mask does not count |
| ``orig_im_size`` | (2,) | height and width; only with masks at the image's size |

| output | shape | |
|---|---|---|
| ``masks`` | (prompts, M, H, W) | logits at the image's size, if asked for |
| ``iou_predictions`` | (prompts, M) | |
| ``low_res_masks`` | (prompts, M, 256, 256) | logits |

All are float32. As in SAM, clicks without a box need a padding point behind them: (0, 0) with label -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evsam.embedding import embedding_shapes
from evsam.export.decoder import declare_inputs, write_image_size_masks, write_selection
from evsam.export.encoder import write_encoder
from evsam.export.graph import Graph
from evsam.export.lite_decoder import write_lite_decoder
from evsam.export.network import Encoder, read_encoder
from evsam.export.options import ExportOptions
from evsam.export.sam_decoder import write_sam_decoder
from evsam.zoo import LOGITS_SIZE

if TYPE_CHECKING:
    import onnx

    from evsam.weights import Weights

EXPORTER = "1"
"""Changes with what this package writes for the same weights and options."""


def build_encoder(
    weights: Weights, options: ExportOptions | None = None, encoder: Encoder | None = None
) -> onnx.ModelProto:
    """The image encoder as a model.

    Args:
        weights: the model.
        options: how; None for float32 and standard operators.
        encoder: the network, where it is not what the weights say: with folded ranges.
    """
    options = options or ExportOptions()
    graph = Graph(f"evsam {weights.variant.name} encoder", half=options.precision == "fp16")
    write_encoder(graph, encoder or read_encoder(weights), options.plugins)
    return graph.model(_metadata(weights, options))


def build_decoder(weights: Weights, options: ExportOptions | None = None) -> onnx.ModelProto:
    """Prompt encoder and mask decoder as a model.

    Args:
        weights: the model.
        options: how; None for float32, all four masks, at low resolution alone.
    """
    options = options or ExportOptions()
    graph = Graph(f"evsam {weights.variant.name} decoder", half=options.precision == "fp16")
    write_decoder(graph, weights, options)
    return graph.model(_metadata(weights, options))


def write_decoder(graph: Graph, weights: Weights, options: ExportOptions) -> None:
    """Write the whole decoder with its inputs and outputs."""
    variant = weights.variant
    inputs = declare_inputs(graph, embedding_shapes(variant.name))
    write = write_sam_decoder if variant.decoder.kind == "sam" else write_lite_decoder
    logits, scores = write(graph, weights.tensors, variant.decoder, variant.encoder.neck.grid, inputs)
    logits, scores, count = write_selection(graph, inputs, logits, scores, options.masks)
    if options.image_size_masks:
        masks = write_image_size_masks(graph, logits, graph.input("orig_im_size", (2,)))
        graph.output("masks", masks, ("prompts", count, "height", "width"))
    graph.output("iou_predictions", scores, ("prompts", count))
    graph.output("low_res_masks", logits, ("prompts", count, LOGITS_SIZE, LOGITS_SIZE))


def _metadata(weights: Weights, options: ExportOptions) -> dict[str, str]:
    return {
        "evsam.variant": weights.variant.name,
        "evsam.precision": options.precision,
        "evsam.flavour": options.flavour,
        "evsam.exporter": EXPORTER,
    }
