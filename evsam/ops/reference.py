"""The specification of every op, in PyTorch.

Readable first: these functions say what the compiled kernels must compute, in any floating-point dtype, on any device,
with gradients. Tests compare the kernels with them in float64. In a 16-bit dtype every step of a function gives a
tensor of that dtype, as if each had been an op of its own, with sums in float32: the yardstick for fused kernels, which
round less often.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Literal

from evsam.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from torch import Tensor
    from torch import dtype as torch_dtype

__all__ = [
    "Activation",
    "UpsampleMode",
    "activate",
    "conv3x3",
    "conv_transpose",
    "depthwise_conv",
    "fused_mbconv",
    "import_torch",
    "layer_norm_2d",
    "lite_mla",
    "mask_head",
    "mask_prompt",
    "mbconv",
    "patch_conv",
    "pointwise",
    "relu_linear_attention",
    "sam_head",
    "two_way_attention",
    "upsample_add",
    "upsampled_size",
]

Activation = Literal["none", "relu", "relu6", "gelu_tanh", "gelu"]
UpsampleMode = Literal["bilinear", "bicubic"]


def import_torch() -> ModuleType:
    """PyTorch, or BackendUnavailable with the extra to install."""
    try:
        import torch
    except ImportError as error:
        raise BackendUnavailable(
            "the reference backend: expected PyTorch (pip install 'evsam[torch]'), got none"
        ) from error
    return torch


def relu_linear_attention(qkv: Tensor, *, eps: float = 1e-15) -> Tensor:
    """ReLU linear attention as the network computes it.

    Args:
        qkv: (B, H, 3 * D, N), any floating-point dtype: rows q, then k, then v.
        eps: Added to the denominator.

    Returns:
        (B, H, D, N) of the same dtype. The sums over all tokens, and what they are divided by, are float32 for the
        16-bit dtypes, which they would not fit into.

    Source: EfficientViT, arXiv 2205.14756, section 3.
    """
    torch = import_torch()
    q, k, v = qkv.to(_wide(qkv)).chunk(3, dim=-2)
    q, k = torch.relu(q), torch.relu(k)
    ones = torch.ones_like(v[..., :1, :])
    state = torch.cat([v, ones], dim=-2) @ k.transpose(-1, -2)  # (B, H, D + 1, D)
    product = state @ q  # (B, H, D + 1, N)
    result: Tensor = product[..., :-1, :] / (product[..., -1:, :] + eps)
    return result.to(qkv.dtype)


def two_way_attention(
    cells: Tensor,
    position: Tensor,
    update: Sequence[Tensor] | None = None,
    queries: Tensor | None = None,
    *,
    heads: int,
) -> tuple[Tensor | None, Tensor | None]:
    """Attention between few tokens and many cells: the cells ask the tokens, then the tokens the cells.

    Rows of the tokens' matrices belong to a head and a token: head's index * tokens + token's index.

    Args:
        cells: (P, X, C).
        position: (X, C), added to cells where scores are made of them.
        update: keys (P, heads * T, C), key_bias (P, heads * T), values (P, heads * T, C), bias, gain and shift (C,):
            each cell becomes the layer norm (eps 1e-6) of itself, the bias and, summed over heads, its softmax over
            tokens of the values; or None.
        queries: (P, heads * T, C), or None.
        heads: Of the attention.

    Returns:
        The updated cells (P, X, C), and for each query the cells' mean (P, heads * T, C) by its softmax over them; None
        for what was not asked.
    """
    torch = import_torch()
    means = updated = None
    if update is not None:
        keys, key_bias, values, bias, gain, shift = update
        scores = (cells + position) @ keys.transpose(-1, -2) + key_bias.unsqueeze(1)  # (P, X, heads * T)
        weights = scores.unflatten(2, (heads, -1)).softmax(-1).flatten(2)
        total = cells + bias + weights @ values
        centred = total - total.mean(-1, keepdim=True)
        updated = cells = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain + shift
    if queries is not None:
        scores = queries @ (cells + position).transpose(-1, -2)  # (P, heads * T, X)
        means = torch.softmax(scores, -1) @ cells
    return updated, means


def layer_norm_2d(x: Tensor, weight: Tensor, bias: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Layer norm over the channels of each pixel.

    Args:
        x: (B, C, H, W).
        weight: (C,), gain of each channel.
        bias: (C,).
        eps: Added to the variance.

    Returns:
        (B, C, H, W) of the dtype of `x`; statistics are float32 for the 16-bit dtypes.
    """
    wide = x.to(_wide(x))
    centred = wide - wide.mean(1, keepdim=True)
    normalised = centred / (centred.square().mean(1, keepdim=True) + eps).sqrt()
    shape = (1, -1, 1, 1)
    result: Tensor = normalised * weight.to(wide.dtype).view(shape) + bias.to(wide.dtype).view(shape)
    return result.to(x.dtype)


def conv3x3(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    stride: int = 1,
    activation: Activation = "none",
    activation_scale: float = 1.0,
) -> Tensor:
    """3x3 convolution with padding 1, bias, then an activation or a residual.

    Args:
        x: (B, C, H, W).
        weight: (O, C, 3, 3).
        bias: (O,), or None.
        residual: (B, O, H', W'), added last, or None.
        stride: 1 or 2; H' = ceil(H / stride).
        activation: See :func:`activate`.
        activation_scale: See :func:`activate`.

    Returns:
        (B, O, H', W').
    """
    y = activate(_convolve(x, weight, bias, stride), activation, activation_scale)
    return y if residual is None else y + residual


def pointwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: Activation = "none",
    activation_scale: float = 1.0,
) -> Tensor:
    """1x1 convolution, bias, then an activation or a residual.

    Args:
        x: (B, C, H, W).
        weight: (O, C, 1, 1) or (O, C).
        bias: (O,), or None.
        residual: (B, O, H, W), added last, or None.
        activation: See :func:`activate`.
        activation_scale: See :func:`activate`.

    Returns:
        (B, O, H, W).
    """
    y = activate(_convolve(x, weight.view(*weight.shape[:2], 1, 1), bias), activation, activation_scale)
    return y if residual is None else y + residual


def depthwise_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    activation: Activation = "none",
    activation_scale: float = 1.0,
) -> Tensor:
    """Depthwise convolution, bias and activation.

    Args:
        x: (B, C, H, W).
        weight: (C, 1, K, K), K odd; the map is padded by K // 2.
        bias: (C,), or None.
        stride: 1 or 2; H' = ceil(H / stride).
        activation: See :func:`activate`.
        activation_scale: See :func:`activate`.

    Returns:
        (B, C, H', W').
    """
    return activate(_convolve(x, weight, bias, stride, groups=weight.shape[0]), activation, activation_scale)


def fused_mbconv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    point_weight: Tensor,
    point_bias: Tensor | None,
    residual: Tensor | None = None,
    *,
    stride: int = 1,
    activation: Activation = "gelu_tanh",
    activation_scale: float = 1.0,
) -> Tensor:
    """Fused MBConv: dense 3x3 convolution to the hidden width, activation, 1x1 convolution.

    Args:
        x: (B, C, H, W).
        weight: (E, C, 3, 3).
        bias: (E,), or None.
        point_weight: (O, E, 1, 1) or (O, E).
        point_bias: (O,), or None.
        residual: (B, O, H', W'), added last, or None.
        stride: 1 or 2; H' = ceil(H / stride).
        activation: Behind the 3x3 convolution; see :func:`activate`.
        activation_scale: See :func:`activate`.

    Returns:
        (B, O, H', W').
    """
    hidden = conv3x3(x, weight, bias, stride=stride, activation=activation, activation_scale=activation_scale)
    return pointwise(hidden, point_weight, point_bias, residual)


def mbconv(
    x: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor | None,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor | None,
    project_weight: Tensor,
    project_bias: Tensor | None,
    residual: Tensor | None = None,
    *,
    stride: int = 1,
    activation: Activation = "gelu_tanh",
    activation_scale: float = 1.0,
) -> Tensor:
    """MBConv: 1x1 convolution to the hidden width, depthwise convolution, 1x1 convolution.

    Args:
        x: (B, C, H, W).
        expand_weight: (E, C, 1, 1) or (E, C).
        expand_bias: (E,), or None.
        depthwise_weight: (E, 1, K, K), K odd; the map is padded by K // 2.
        depthwise_bias: (E,), or None.
        project_weight: (O, E, 1, 1) or (O, E).
        project_bias: (O,), or None.
        residual: (B, O, H', W'), added last, or None.
        stride: Of the depthwise convolution, 1 or 2; H' = ceil(H / stride).
        activation: Behind the first and the depthwise convolution; see :func:`activate`.
        activation_scale: Of both; see :func:`activate`.

    Returns:
        (B, O, H', W').
    """
    hidden = pointwise(x, expand_weight, expand_bias, activation=activation, activation_scale=activation_scale)
    hidden = depthwise_conv(
        hidden,
        depthwise_weight,
        depthwise_bias,
        stride=stride,
        activation=activation,
        activation_scale=activation_scale,
    )
    return pointwise(hidden, project_weight, project_bias, residual)


def lite_mla(
    x: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor | None,
    depthwise: Tensor,
    grouped: Tensor,
    project_weight: Tensor,
    project_bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    eps: float = 1e-15,
) -> Tensor:
    """Multi-scale ReLU linear attention, from feature map to feature map.

    Args:
        x: (B, C, H, W).
        qkv_weight: (3 * T, C) or (3 * T, C, 1, 1), T = heads * D: for each head its q, k and v.
        qkv_bias: (3 * T,), or None.
        depthwise: (3 * T, 1, K, K), K odd; the map is padded by K // 2.
        grouped: (3 * T, D) or (3 * T, D, 1, 1): 3 * heads groups.
        project_weight: (C, 2 * T) or (C, 2 * T, 1, 1).
        project_bias: (C,), or None.
        residual: (B, C, H, W), added last, or None.
        eps: Added to the denominators.

    Returns:
        (B, C, H, W).

    Source: EfficientViT, arXiv 2205.14756, section 3.1.
    """
    torch = import_torch()
    total, dim = grouped.shape[:2]
    qkv = pointwise(x, qkv_weight, qkv_bias)
    near = _convolve(qkv, depthwise, None, groups=total)
    near = _convolve(near, grouped.view(total, dim, 1, 1), None, groups=total // dim)
    heads = torch.cat([qkv, near], 1).unflatten(1, (-1, 3 * dim)).flatten(3)
    attended = relu_linear_attention(heads, eps=eps).flatten(1, 2).unflatten(2, x.shape[-2:])
    return pointwise(attended, project_weight, project_bias, residual)


def patch_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: Activation = "none") -> Tensor:
    """2x2 convolution with stride 2, bias and activation.

    Args:
        x: (B, C, 2 * H, 2 * W).
        weight: (O, C, 2, 2).
        bias: (O,), or None.
        activation: See :func:`activate`.

    Returns:
        (B, O, H, W).
    """
    wide = _wide(x)
    y = import_torch().nn.functional.conv2d(
        x.to(wide), weight.to(wide), None if bias is None else bias.to(wide), stride=2
    )
    return activate(y.to(x.dtype), activation)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    lateral: Tensor | None = None,
    side: Tensor | None = None,
    side_weight: Tensor | None = None,
    *,
    activation: Activation = "none",
) -> Tensor:
    """Transposed 2x2 convolution with stride 2, what joins in there, and activation.

    Args:
        x: (B, C, H, W).
        weight: (C, O, 2, 2).
        bias: (O,), or None.
        lateral: (B, O, 2 * H, 2 * W), added before the activation, or None.
        side: (B, S, 2 * H, 2 * W), whose 1x1 convolution is added as well, or None.
        side_weight: (O, S) or (O, S, 1, 1), or None.
        activation: See :func:`activate`.

    Returns:
        (B, O, 2 * H, 2 * W).
    """
    wide = _wide(x)
    y = (
        import_torch()
        .nn.functional.conv_transpose2d(x.to(wide), weight.to(wide), None if bias is None else bias.to(wide), stride=2)
        .to(x.dtype)
    )
    if lateral is not None:
        y = y + lateral
    if side is not None and side_weight is not None:
        y = y + pointwise(side, side_weight)
    return activate(y, activation)


def mask_head(
    x: Tensor,
    weight: Tensor,
    vectors: Tensor,
    bias: Tensor | None = None,
    lateral: Tensor | None = None,
    *,
    activation: Activation = "none",
) -> Tensor:
    """Transposed 2x2 convolution, and its features' product with each mask's vector.

    Args:
        x: (B, K, H, W).
        weight: (K, C, 2, 2).
        vectors: (B, M, C).
        bias: (C,), or None.
        lateral: (B, C, 2 * H, 2 * W), added before the activation, or None.
        activation: See :func:`activate`.

    Returns:
        (B, M, 2 * H, 2 * W).
    """
    features = conv_transpose(x, weight, bias, lateral, activation=activation)
    wide = _wide(x)
    result: Tensor = (vectors.to(wide) @ features.to(wide).flatten(2)).unflatten(2, features.shape[2:])
    return result.to(x.dtype)


def mask_prompt(
    x: Tensor,
    mask: Tensor,
    first_weight: Tensor,
    first_bias: Tensor,
    first_gain: Tensor,
    first_shift: Tensor,
    second_weight: Tensor,
    second_bias: Tensor,
    second_gain: Tensor,
    second_shift: Tensor,
    last_weight: Tensor,
    last_bias: Tensor,
) -> Tensor:
    """SAM's mask prompt, added to the image cells: two 2x2 convolutions with norm and GELU, and a 1x1 convolution.

    Args:
        x: (B, C, H, W), the cells.
        mask: (B, 1, 4 * H, 4 * W), logits.
        first_weight: (N, 1, 2, 2).
        first_bias: (N,).
        first_gain: (N,), of the layer norm behind it.
        first_shift: (N,).
        second_weight: (W, N, 2, 2).
        second_bias: (W,).
        second_gain: (W,).
        second_shift: (W,).
        last_weight: (C, W) or (C, W, 1, 1).
        last_bias: (C,).

    Returns:
        (B, C, H, W).
    """
    y = activate(layer_norm_2d(patch_conv(mask, first_weight, first_bias), first_gain, first_shift), "gelu")
    y = activate(layer_norm_2d(patch_conv(y, second_weight, second_bias), second_gain, second_shift), "gelu")
    return pointwise(y, last_weight, last_bias, x)


def sam_head(
    x: Tensor,
    vectors: Tensor,
    first_weight: Tensor,
    first_bias: Tensor,
    gain: Tensor,
    shift: Tensor,
    second_weight: Tensor,
    second_bias: Tensor,
) -> Tensor:
    """SAM's way from image cells to logits: two transposed 2x2 convolutions, and the product with each mask's vector.

    Args:
        x: (B, C, H, W), the cells.
        vectors: (B, M, K).
        first_weight: (C, D, 2, 2), with layer norm and GELU behind it.
        first_bias: (D,).
        gain: (D,), of the norm.
        shift: (D,).
        second_weight: (D, K, 2, 2), with GELU behind it.
        second_bias: (K,).

    Returns:
        (B, M, 4 * H, 4 * W).
    """
    y = activate(layer_norm_2d(conv_transpose(x, first_weight, first_bias), gain, shift), "gelu")
    return mask_head(y, second_weight, vectors, second_bias, activation="gelu")


def upsample_add(
    x: Tensor,
    x2: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    size: tuple[int, int] | None = None,
    mode: UpsampleMode = "bicubic",
) -> Tensor:
    """One map or two resized, plus a map of that size.

    Args:
        x: (B, C, H, W).
        x2: (B, C, H2, W2), or None.
        residual: (B, C, *size), added last, or None.
        size: Height and width of the output; None: those of `residual`.
        mode: "bilinear", or "bicubic" with a = -0.75; pixel centres aligned, edges repeated.

    Returns:
        (B, C, *size).
    """
    size = upsampled_size(size, None if residual is None else residual.shape)
    y = _resize(x, size, mode)
    if x2 is not None:
        y = y + _resize(x2, size, mode)
    return y if residual is None else y + residual


def upsampled_size(size: tuple[int, int] | None, residual_shape: Sequence[int] | None) -> tuple[int, int]:
    """Height and width that maps are resized to: those asked for, or those of a residual."""
    if size is not None:
        try:
            height, width = map(index, size)
        except (TypeError, ValueError):
            raise ValueError(f"size: expected two whole numbers, height and width, got {size!r}") from None
        return height, width
    if residual_shape is None:
        raise ValueError("size: expected height and width, or a residual that has them, got neither")
    return residual_shape[-2], residual_shape[-1]


def activate(x: Tensor, activation: Activation, scale: float = 1.0) -> Tensor:
    """An activation of a map that may be stored as a fraction of its value.

    Args:
        x: Any shape; the value divided by `scale`.
        activation: "none", "relu", "relu6", "gelu_tanh" (the tanh approximation), or "gelu".
        scale: Power of two t > 0, for maps whose values do not fit into float16: x stands for t * x, and the result
            for t times itself. GELU is then `x * Phi(t * x)`.

    Returns:
        The shape and dtype of `x`; computed in float32 for the 16-bit dtypes.
    """
    functional = import_torch().nn.functional
    wide = x.to(_wide(x))
    if activation in ("gelu", "gelu_tanh"):
        wide = functional.gelu(wide * scale, approximate="tanh" if activation == "gelu_tanh" else "none") / scale
    elif activation == "relu6":
        wide = wide.clamp(0, 6 / scale)
    elif activation == "relu":
        wide = functional.relu(wide)
    result: Tensor = wide.to(x.dtype)
    return result


def _wide(x: Tensor) -> torch_dtype:
    """What sums over values of `x` are kept in."""
    torch = import_torch()
    return x.dtype if x.dtype == torch.float64 else torch.float32


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, groups: int = 1) -> Tensor:
    """A convolution with "same" padding and sums in float32 or better, rounded once to the dtype of `x`."""
    wide = _wide(x)
    y: Tensor = import_torch().nn.functional.conv2d(
        x.to(wide),
        weight.to(wide),
        None if bias is None else bias.to(wide),
        stride,
        padding=weight.shape[-1] // 2,
        groups=groups,
    )
    return y.to(x.dtype)


def _resize(x: Tensor, size: tuple[int, int], mode: UpsampleMode) -> Tensor:
    functional = import_torch().nn.functional
    y: Tensor = functional.interpolate(x.to(_wide(x)), size=size, mode=mode, align_corners=False)
    return y.to(x.dtype)
