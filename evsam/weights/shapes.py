"""Names and shapes of a variant's tensors, derived from its record in the zoo without building the model.

Names are those of the released checkpoints: each function below mirrors the PyTorch module of the same role, and yields
``(name, shape)`` in the order of its state dict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

from evsam.zoo import Block, DecoderConfig, EncoderConfig, get_variant

Entry = tuple[str, tuple[int, ...]]

_MASK_TOKENS = 4
"""The single mask, then the three ambiguous ones."""

_SAM_IOU_HIDDEN = 256
"""Hidden width of the IoU head of SAM's decoder; the lite one uses its token width."""

_DRAWN_MAPS = 6
"""Channels that the lite prompt encoder draws."""


@cache
def expected_tensors(variant: str) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of all tensors of a variant, in the order of its state dict.

    Batch counters (``num_batches_tracked``), which inference never reads, are left out.

    Args:
        variant: a name in :data:`evsam.zoo.VARIANTS`.

    Raises:
        WeightsError: no variant has that name.

    Example:
        >>> expected_tensors("l0")["image_encoder.norm.weight"]
        (256,)
    """
    record = get_variant(variant)
    entries = dict(_encoder(record.encoder))
    lateral = tuple(width for _, width in record.encoder.neck.lateral)
    entries.update(_sam_decoder(record.decoder) if record.decoder.kind == "sam" else _lite(record.decoder, lateral))
    return MappingProxyType(entries)


def _affine(name: str, width: int) -> Iterator[Entry]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[Entry]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _conv2d(name: str, inputs: int, outputs: int, kernel: int = 1) -> Iterator[Entry]:
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    yield f"{name}.bias", (outputs,)


def _upconv(name: str, inputs: int, outputs: int) -> Iterator[Entry]:
    """A transposed 2 x 2 convolution, whose weight has its inputs first."""
    yield f"{name}.weight", (inputs, outputs, 2, 2)
    yield f"{name}.bias", (outputs,)


def _conv_layer(
    name: str, inputs: int, outputs: int, kernel: int = 1, *, norm: bool = True, bias: bool = False
) -> Iterator[Entry]:
    """Convolution and batch norm; ``inputs`` are those of one group."""
    yield f"{name}.conv.weight", (outputs, inputs, kernel, kernel)
    if bias:
        yield f"{name}.conv.bias", (outputs,)
    if norm:
        yield from _affine(f"{name}.norm", outputs)
        yield f"{name}.norm.running_mean", (outputs,)
        yield f"{name}.norm.running_var", (outputs,)


def _block(name: str, block: Block, inputs: int, head_dim: int) -> Iterator[Entry]:
    width, kernel = block.width, block.filter_size
    hidden = round(inputs * block.expand)
    main = f"{name}.main"
    if block.kind == "conv":
        yield from _conv_layer(name, inputs, width, kernel)
    elif block.kind == "res":
        yield from _conv_layer(f"{main}.conv1", inputs, hidden, 3)
        yield from _conv_layer(f"{main}.conv2", hidden, width, 3)
    elif block.kind == "fmb":
        yield from _conv_layer(f"{main}.spatial_conv", inputs, hidden, 3)
        yield from _conv_layer(f"{main}.point_conv", hidden, width)
    elif block.kind == "ds":
        yield from _ds(main, inputs, width, kernel)
    elif block.kind == "mb":
        yield from _mb(main, block, inputs)
    else:
        yield from _lite_mla(f"{name}.context_module.main", inputs, head_dim, block.attention_filter_size)
        yield from _mb(f"{name}.local_module.main", block, inputs)


def _ds(name: str, inputs: int, width: int, kernel: int) -> Iterator[Entry]:
    yield from _conv_layer(f"{name}.depth_conv", 1, inputs, kernel)
    yield from _conv_layer(f"{name}.point_conv", inputs, width)


def _mb(name: str, block: Block, inputs: int) -> Iterator[Entry]:
    hidden = round(inputs * block.expand)
    norm, bias = not block.fewer_norm, block.fewer_norm
    yield from _conv_layer(f"{name}.inverted_conv", inputs, hidden, norm=norm, bias=bias)
    yield from _conv_layer(f"{name}.depth_conv", 1, hidden, block.filter_size, norm=norm, bias=bias)
    yield from _conv_layer(f"{name}.point_conv", hidden, block.width)


def _lite_mla(name: str, channels: int, head_dim: int, kernel: int) -> Iterator[Entry]:
    total = channels // head_dim * head_dim
    yield from _conv_layer(f"{name}.qkv", channels, 3 * total, norm=False)
    yield f"{name}.aggreg.0.0.weight", (3 * total, 1, kernel, kernel)
    yield f"{name}.aggreg.0.1.weight", (3 * total, head_dim, 1, 1)
    yield from _conv_layer(f"{name}.proj", 2 * total, channels)


def _encoder(config: EncoderConfig) -> Iterator[Entry]:
    channels = 3
    for i, stage in enumerate(config.stages):
        for j, block in enumerate(stage):
            name = f"image_encoder.backbone.stages.{i}.op_list.{j}"
            yield from _block(name, block, channels, config.head_dim)
            channels = block.width

    neck, widths = config.neck, [stage[-1].width for stage in config.stages]
    for i, stage_index in enumerate(neck.stages):
        yield from _conv_layer(f"image_encoder.neck.input_ops.{i}.op_list.0", widths[stage_index], neck.width)
    middle = Block(neck.kind, neck.width, expand=neck.expand)
    for i in range(neck.depth):
        yield from _block(f"image_encoder.neck.middle.op_list.{i}", middle, neck.width, config.head_dim)
    output = "image_encoder.neck.output_ops.0.op_list.0"
    yield from _conv_layer(output, neck.width, neck.width, norm=False, bias=True)
    yield from _affine("image_encoder.norm", neck.width)

    for i, (stage_index, width) in enumerate(neck.lateral):
        yield from _conv2d(f"image_encoder.lateral.skip.{i}", widths[stage_index], width)
    coarse = [neck.width, *(width for _, width in neck.lateral)]
    for i, (_, width) in enumerate(neck.lateral):
        yield from _conv2d(f"image_encoder.lateral.up.{i}", coarse[i], width)


def _point_tokens(dim: int) -> Iterator[Entry]:
    yield "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", (2, dim // 2)
    for i in range(4):
        yield f"prompt_encoder.point_embeddings.{i}.weight", (1, dim)
    yield "prompt_encoder.not_a_point_embed.weight", (1, dim)


def _attention(name: str, dim: int, inner: int) -> Iterator[Entry]:
    for part in ("q_proj", "k_proj", "v_proj"):
        yield from _linear(f"{name}.{part}", dim, inner)
    yield from _linear(f"{name}.out_proj", inner, dim)


def _mlp(name: str, dim: int, hidden: int, outputs: int) -> Iterator[Entry]:
    for i, (a, b) in enumerate(((dim, hidden), (hidden, hidden), (hidden, outputs))):
        yield from _linear(f"{name}.layers.{i}", a, b)


def _token_heads(config: DecoderConfig, mask_dim: int, iou_hidden: int) -> Iterator[Entry]:
    dim = config.dim
    for i in range(config.depth):
        layer = f"mask_decoder.transformer.layers.{i}"
        yield from _attention(f"{layer}.self_attn", dim, dim)
        yield from _affine(f"{layer}.norm1", dim)
        yield from _attention(f"{layer}.cross_attn_token_to_image", dim, dim // 2)
        yield from _affine(f"{layer}.norm2", dim)
        yield from _linear(f"{layer}.mlp.lin1", dim, config.mlp_dim)
        yield from _linear(f"{layer}.mlp.lin2", config.mlp_dim, dim)
        yield from _affine(f"{layer}.norm3", dim)
        yield from _affine(f"{layer}.norm4", dim)
        yield from _attention(f"{layer}.cross_attn_image_to_token", dim, dim // 2)
    yield from _attention("mask_decoder.transformer.final_attn_token_to_image", dim, dim // 2)
    yield from _affine("mask_decoder.transformer.norm_final_attn", dim)
    yield "mask_decoder.iou_token.weight", (1, dim)
    yield "mask_decoder.mask_tokens.weight", (_MASK_TOKENS, dim)
    for i in range(_MASK_TOKENS):
        yield from _mlp(f"mask_decoder.output_hypernetworks_mlps.{i}", dim, dim, mask_dim)
    yield from _mlp("mask_decoder.iou_prediction_head", dim, iou_hidden, _MASK_TOKENS)


def _sam_decoder(config: DecoderConfig) -> Iterator[Entry]:
    dim = config.dim
    first, second = config.mask_channels
    yield from _point_tokens(dim)
    yield from _conv2d("prompt_encoder.mask_downscaling.0", 1, first, 2)
    yield from _affine("prompt_encoder.mask_downscaling.1", first)
    yield from _conv2d("prompt_encoder.mask_downscaling.3", first, second, 2)
    yield from _affine("prompt_encoder.mask_downscaling.4", second)
    yield from _conv2d("prompt_encoder.mask_downscaling.6", second, dim)
    yield "prompt_encoder.no_mask_embed.weight", (1, dim)
    yield from _token_heads(config, dim // 8, _SAM_IOU_HIDDEN)
    yield from _upconv("mask_decoder.output_upscaling.0", dim, dim // 4)
    yield from _affine("mask_decoder.output_upscaling.1", dim // 4)
    yield from _upconv("mask_decoder.output_upscaling.3", dim // 4, dim // 8)


def _lite(config: DecoderConfig, lateral: tuple[int, ...]) -> Iterator[Entry]:
    dim = config.dim
    first, second, third = config.mask_channels
    eighth, quarter, half = lateral
    yield from _point_tokens(dim)
    yield from _conv2d("prompt_encoder.mask_downscaling.0.0", _DRAWN_MAPS, first, 2)
    yield from _conv2d("prompt_encoder.mask_downscaling.1.0", first, second, 2)
    yield from _affine("prompt_encoder.mask_downscaling.1.1", second)
    yield from _conv2d("prompt_encoder.mask_downscaling.2.0", second, third, 2)
    yield from _affine("prompt_encoder.mask_downscaling.2.1", third)
    yield from _conv2d("prompt_encoder.dense", third, dim)
    yield from _conv2d("prompt_encoder.compare", eighth, eighth)
    yield from _conv2d("prompt_encoder.resemblance_proj", 2, second)
    yield from _token_heads(config, half, dim)
    for i, (a, b) in enumerate(((dim, eighth), (eighth, quarter), (quarter, half))):
        yield from _upconv(f"mask_decoder.up.{i}", a, b)
    for i, (a, b) in enumerate(((second, eighth), (first, quarter))):
        yield from _conv2d(f"mask_decoder.prompt.{i}", a, b)
    yield from _affine("mask_decoder.norm", eighth)
    for i, width in enumerate((eighth, quarter)):
        yield from _ds(f"mask_decoder.refine.{i}.main", width, width, 3)
