"""Parts of prompt encoders and mask decoders: convolutions that halve and double a map, and what SAM makes of them."""

from __future__ import annotations

from typing import Any

from evsam.ops._arrays import Backend
from evsam.ops._op import Numbers, Shape, Shapes, op
from evsam.ops.reference import Activation

__all__ = ["conv_transpose", "mask_head", "mask_prompt", "patch_conv", "sam_head"]

MASKS, MAX_FEATURES = 4, 64


def halved(shapes: Shapes, _: Numbers) -> Shape:
    """The shape behind a 2x2 convolution with stride 2."""
    batch, height, width = (shapes["x"][axis] for axis in (0, 2, 3))
    return (batch, shapes["weight"][0], height // 2, width // 2)


@op(("x",), halved)
def patch_conv(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    *,
    activation: Activation = "none",
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """2x2 convolution with stride 2, bias and activation: every result reads a patch of its own.

    Args:
        x: (B, C, 2 * H, 2 * W).
        weight: (O, C, 2, 2) of the dtype of `x`.
        bias: float32 (O,), or None.
        activation: "none", "relu", "relu6", "gelu_tanh" (the tanh approximation) or, on the CPU, "gelu".
        out: (B, O, H, W) as `x` in dtype and device, but no part of it. Filled and returned. None: a new array.
        backend: "native" for the compiled kernels of the CPU, "reference" for the PyTorch specification, "auto" for
            what fits; see :mod:`evsam.ops`. The GPU has no kernel of this op.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Not used.

    Returns:
        `out`, or a new array of the library of `x` with channels last in memory.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: The backend, or PyTorch, is not installed.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import patch_conv
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((1, 4, 16, 16), dtype=np.float32)
        >>> patch_conv(x, rng.standard_normal((16, 4, 2, 2), dtype=np.float32), activation="gelu").shape
        (1, 16, 8, 8)

    Source: the prompt encoder of Segment Anything, arXiv 2304.02643.
    """


def doubled(shapes: Shapes, _: Numbers) -> Shape:
    """The shape behind a transposed 2x2 convolution with stride 2."""
    batch, height, width = (shapes["x"][axis] for axis in (0, 2, 3))
    return (batch, shapes["weight"][1], 2 * height, 2 * width)


@op(("x", "lateral", "side"), doubled)
def conv_transpose(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    lateral: Any | None = None,
    side: Any | None = None,
    side_weight: Any | None = None,
    *,
    activation: Activation = "none",
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """Transposed 2x2 convolution with stride 2, together with the maps that join in there.

    `activation(up(x) + bias + lateral + side * side_weight)`, summed in float32.

    Args:
        x: (B, C, H, W).
        weight: (C, O, 2, 2) of the dtype of `x`, as `torch.nn.ConvTranspose2d` has it.
        bias: float32 (O,), or None.
        lateral: As `out`, or None.
        side: (B, S, 2 * H, 2 * W), joins by a 1x1 convolution; or None.
        side_weight: (O, S) or (O, S, 1, 1), given with `side`.
        activation: "none", "relu", "relu6", "gelu_tanh" (the tanh approximation) or, on the CPU, "gelu".
        out: (B, O, 2 * H, 2 * W) as `x` in dtype and device; may be `lateral`, but no part of the others. Filled and
            returned. None: a new array.
        backend: "native" for the compiled kernels of the CPU, "reference" for the PyTorch specification, "auto" for
            what fits; see :mod:`evsam.ops`. The GPU has no kernel of this op.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Not used.

    Returns:
        `out`, or a new array of the library of `x` with channels last in memory.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: The backend, or PyTorch, is not installed.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import conv_transpose
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((1, 64, 16, 16), dtype=np.float32)
        >>> conv_transpose(x, rng.standard_normal((64, 32, 2, 2), dtype=np.float32), activation="gelu").shape
        (1, 32, 32, 32)

    Source: the mask decoder of Segment Anything, arXiv 2304.02643, appendix A.
    """


def logits(shapes: Shapes, _: Numbers) -> Shape:
    """A plane for each of the masks."""
    if len(shapes["vectors"]) != 3:
        raise ValueError(f"vectors: expected shape (B, masks, O), got {shapes['vectors']}")
    batch, height, width = (shapes["x"][axis] for axis in (0, 2, 3))
    return (batch, shapes["vectors"][1], 2 * height, 2 * width)


@op(
    ("x", "vectors", "lateral"),
    logits,
    supports=lambda shapes, _: shapes["vectors"][1:2] == (4,),
    planes=("vectors", "lateral", "out"),
)
def mask_head(
    x: Any,
    weight: Any,
    vectors: Any,
    bias: Any | None = None,
    lateral: Any | None = None,
    *,
    activation: Activation = "none",
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """The end of a mask decoder: a transposed 2x2 convolution, and its features' product with each mask's vector.

    `vectors activation(up(x) + bias + lateral)`; the features never exist as a map.

    Args:
        x: (B, K, H, W).
        weight: (K, C, 2, 2) of the dtype of `x`, as `torch.nn.ConvTranspose2d` has it; "native" has C up to 64.
        vectors: (B, M, C); "native" has M = 4.
        bias: float32 (C,), or None.
        lateral: (B, C, 2 * H, 2 * W), or None.
        activation: "none", "relu", "relu6", "gelu_tanh" (the tanh approximation) or, on the CPU, "gelu".
        out: (B, M, 2 * H, 2 * W) as `x` in dtype and device, but no part of the others. Filled and returned. None: a
            new array.
        backend: "native" for the compiled kernels of the CPU, "reference" for the PyTorch specification, "auto" for
            what fits; see :mod:`evsam.ops`. The GPU has no kernel of this op.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Not used.

    Returns:
        `out`, or a new array of the library of `x`, in C order.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: The backend, or PyTorch, is not installed.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import mask_head
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((1, 64, 16, 16), dtype=np.float32)
        >>> weight = rng.standard_normal((64, 32, 2, 2), dtype=np.float32)
        >>> mask_head(x, weight, rng.standard_normal((1, 4, 32), dtype=np.float32), activation="gelu").shape
        (1, 4, 32, 32)

    Source: the mask decoder of Segment Anything, arXiv 2304.02643, appendix A.
    """


@op(("x", "mask"), lambda shapes, _: shapes["x"], planes=("mask",))
def mask_prompt(
    x: Any,
    mask: Any,
    first_weight: Any,
    first_bias: Any,
    first_gain: Any,
    first_shift: Any,
    second_weight: Any,
    second_bias: Any,
    second_gain: Any,
    second_shift: Any,
    last_weight: Any,
    last_bias: Any,
    *,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """SAM's mask prompt, added to the cells of an image.

    Two 2x2 convolutions with stride 2, each with layer norm (epsilon 1e-6) and GELU behind it, then a 1x1 convolution.
    "native" brings the cells to the panels in which the engine keeps them, and back, which the engine need not.

    Args:
        x: (B, C, H, W), the cells.
        mask: (B, 1, 4 * H, 4 * W), logits.
        first_weight: (N, 1, 2, 2).
        first_bias: (N,).
        first_gain: (N,), of the norm behind it.
        first_shift: (N,).
        second_weight: (W, N, 2, 2).
        second_bias: (W,).
        second_gain: (W,).
        second_shift: (W,).
        last_weight: (C, W) or (C, W, 1, 1).
        last_bias: (C,).
        out: As `x` in shape, dtype and device; may be `x`, but no part of the others. Filled and returned. None: a new
            array.
        backend: "native" for the compiled kernels of the CPU, "reference" for the PyTorch specification, "auto" for
            what fits; see :mod:`evsam.ops`. The GPU has no kernel of this op.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Not used.

    Returns:
        `out`, or a new array of the library of `x` with channels last in memory.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: The backend, or PyTorch, is not installed.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import mask_prompt
        >>> rng = np.random.default_rng(0)
        >>> shapes = [(4, 1, 2, 2), (4,), (4,), (4,), (16, 4, 2, 2), (16,), (16,), (16,), (32, 16), (32,)]
        >>> weights = [rng.standard_normal(shape, np.float32) for shape in shapes]
        >>> x, mask = np.zeros((1, 32, 8, 8), np.float32), rng.standard_normal((1, 1, 32, 32), np.float32)
        >>> mask_prompt(x, mask, *weights).shape
        (1, 32, 8, 8)

    Source: Segment Anything, arXiv 2304.02643, appendix A.
    """


def quadrupled(shapes: Shapes, _: Numbers) -> Shape:
    """A plane for each of the masks, of four times the map's sides."""
    if len(shapes["vectors"]) != 3:
        raise ValueError(f"vectors: expected shape (B, masks, K), got {shapes['vectors']}")
    batch, height, width = (shapes["x"][axis] for axis in (0, 2, 3))
    return (batch, shapes["vectors"][1], 4 * height, 4 * width)


@op(
    ("x", "vectors"),
    quadrupled,
    supports=lambda shapes, _: shapes["vectors"][1:2] == (4,),
    planes=("vectors", "out"),
)
def sam_head(
    x: Any,
    vectors: Any,
    first_weight: Any,
    first_bias: Any,
    gain: Any,
    shift: Any,
    second_weight: Any,
    second_bias: Any,
    *,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """SAM's way from the cells of an image to the logits of its masks.

    A transposed 2x2 convolution with layer norm (epsilon 1e-6) and GELU, another with GELU, and the product of every
    pixel's features with each mask's vector. "native" brings the cells to the panels in which the engine keeps them,
    which the engine need not.

    Args:
        x: (B, C, H, W), the cells.
        vectors: (B, M, K); "native" has M = 4.
        first_weight: (C, D, 2, 2) of the dtype of `x`, as `torch.nn.ConvTranspose2d` has it.
        first_bias: (D,).
        gain: (D,), of the norm.
        shift: (D,).
        second_weight: (D, K, 2, 2).
        second_bias: (K,).
        out: (B, M, 4 * H, 4 * W) as `x` in dtype and device, but no part of the others. Filled and returned. None: a
            new array.
        backend: "native" for the compiled kernels of the CPU, "reference" for the PyTorch specification, "auto" for
            what fits; see :mod:`evsam.ops`. The GPU has no kernel of this op.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Not used.

    Returns:
        `out`, or a new array of the library of `x`, in C order.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: The backend, or PyTorch, is not installed.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import sam_head
        >>> rng = np.random.default_rng(0)
        >>> shapes = [(1, 32, 8, 8), (1, 4, 4), (32, 8, 2, 2), (8,), (8,), (8,), (8, 4, 2, 2), (4,)]
        >>> sam_head(*(rng.standard_normal(shape, np.float32) for shape in shapes)).shape
        (1, 4, 32, 32)

    Source: Segment Anything, arXiv 2304.02643, appendix A.
    """
