"""Attention: EfficientViT's with ReLU in place of softmax, and that between the tokens and cells of a mask decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evsam import _C
from evsam.ops import reference
from evsam.ops._arrays import Backend, as_input, as_output, choose_backend, unit_last_stride
from evsam.ops._device import C_ORDER, cuda_module, is_device_array, is_tensor, new_array, stream_of
from evsam.ops._op import all_native, float32
from evsam.ops._reference import run_reference

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["relu_linear_attention", "two_way_attention"]

UPDATE = ("keys", "key_bias", "values", "bias", "gain", "shift")
"""What an update of cells by tokens is made of."""

TOKEN_MAJOR = (0, 3, 1, 2)
"""Axes of (B, H, D, N) in the order of memory where it is a map with its channels last."""


def relu_linear_attention(
    qkv: Any,
    *,
    eps: float = 1e-15,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """Attention with ReLU in place of softmax, linear in the number of tokens.

    Per image and head, with `q`, `k`, `v` of shape (D, N)::

        state = [v; 1] relu(k)^T                                  # (D + 1, D)
        out   = (state[:D] relu(q)) / (state[D] relu(q) + eps)    # (D, N)

    Args:
        qkv: (B, H, 3 * D, N): B images, H heads, rows q, then k, then v of D channels, N tokens in any order that the
            output should have (row-major pixels in the network, whose NCHW tensor reshapes to this without a copy).
            On the CPU float32, a NumPy array or a DLPack array; any strides, a token stride other than 1 costs a copy.
            On a CUDA device float16, bfloat16 or float32 by DLPack or `__cuda_array_interface__`; D is 16 or 32, and
            tokens or rows are neighbours in memory.
        eps: Added to the denominator, finite and >= 0. A token whose `relu(q)` or all of whose keys are zero gives 0,
            and NaN with eps = 0.
        out: (B, H, D, N) of the dtype of `qkv`, on the same device, writable and apart from `qkv` in memory; filled and
            returned. None: a new array, with tokens next to each other, or rows where `qkv` has it so.
        backend: "native" for the compiled kernels of the CPU, "cuda" for those of the GPU, "reference" for the PyTorch
            specification (needs the extra `torch`), "auto" for "native" or "cuda", by where `qkv` is.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Of "cuda", a CUDA stream as an integer; None: the current one of the library of `qkv`.

    Returns:
        `out`. A new one is a NumPy array for arrays on the CPU, and on a CUDA device an array of the library of `qkv`
        (PyTorch, CuPy; `DeviceArray` for others). NaN in `q` spoils its token, in `v` its channel, in `k` its head.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape or value does not fit.
        BackendUnavailable: `EVSAM_ISA` names an instruction set this machine does not have, the reference backend is
            asked for without PyTorch, or "cuda" in a build without CUDA or without a device.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import relu_linear_attention
        >>> qkv = np.random.default_rng(0).standard_normal((1, 32, 96, 256), dtype=np.float32)
        >>> relu_linear_attention(qkv).shape
        (1, 32, 32, 256)

    Source: EfficientViT, arXiv 2205.14756, section 3; used by EfficientViT-SAM, arXiv 2402.05008.
    """
    chosen = choose_backend(backend, qkv)
    if chosen == "cuda":
        return _run_cuda(qkv, eps, out, stream)
    if chosen == "reference" and is_device_array(qkv):
        return run_reference(reference.relu_linear_attention, {"qkv": qkv}, out, eps=eps)
    qkv = as_input(qkv, "qkv")
    if out is None:
        _check_shape(qkv.shape)
        batch, heads, rows, tokens = qkv.shape
        out = np.empty((batch, heads, rows // 3, tokens), np.float32)
    result = as_output(out, "out")

    # The kernels want neighbouring tokens next to each other in memory.
    source = qkv if unit_last_stride(qkv) else np.ascontiguousarray(qkv)
    target = result if unit_last_stride(result) else np.empty(result.shape, result.dtype)
    if target is not result and np.may_share_memory(qkv, result):
        raise ValueError("out: expected memory apart from qkv, got an overlapping view")
    if chosen == "reference":
        _run_reference(source, target, eps)
    else:
        _C.relu_linear_attention(source, target, eps=eps, threads=threads)
    if target is not result:
        result[...] = target
    return result


def two_way_attention(
    cells: Any,
    position: Any,
    update: Sequence[Any] | None = None,
    queries: Any | None = None,
    *,
    heads: int,
    backend: Backend = "auto",
    threads: int | None = None,
    isa: str = "",
) -> tuple[Any, Any]:
    """Attention between few tokens and many cells, in one walk: the cells ask the tokens, then the tokens the cells.

    The projections of the cells are folded into the tokens' side (csrc/ops/two_way_attention/README.md), so no key,
    query or value of a cell exists. Rows of the tokens' matrices belong to a head and a token: head's index * T +
    token's index.

    Args:
        cells: (P, X, C): P prompts, X cells of C channels.
        position: (X, C), positional encoding that scores see.
        update: keys (P, heads * T, C), key_bias (P, heads * T), values (P, heads * T, C), bias, gain and shift (C,):
            each cell becomes the layer norm (eps 1e-6) of itself, the bias and, summed over heads, its softmax over
            tokens of the values; or None.
        queries: (P, heads * T, C): what the tokens ask the (updated) cells; or None, where there is an update.
        heads: Of the attention.
        backend: "native" for the compiled kernels of the CPU on float32 arrays, "reference" for the PyTorch
            specification, "auto" for what fits; see :mod:`evsam.ops`. "native" goes from cells to the kernels' panels
            and back in each call, which the engine does once for all layers.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        isa: Of "native", the instruction set; empty: the best one, or EVSAM_ISA.

    Returns:
        The updated cells (P, X, C), and for each query the cells' mean (P, heads * T, C) by its softmax over them; None
        for what was not asked. Arrays of the library of `cells`.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape or value does not fit, or there is neither an update nor queries.
        BackendUnavailable: PyTorch is not installed, which "reference" needs.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import two_way_attention
        >>> rng = np.random.default_rng(0)
        >>> cells, position, queries = (
        ...     rng.standard_normal(shape, np.float32) for shape in [(1, 64, 32), (64, 32), (1, 8 * 7, 32)]
        ... )
        >>> two_way_attention(cells, position, queries=queries, heads=8)[1].shape
        (1, 56, 32)

    Source: Segment Anything, arXiv 2304.02643, appendix A.
    """
    if update is None and queries is None:
        raise ValueError("queries: expected an array where there is no update, got None")
    if update is not None and len(update) != len(UPDATE):
        raise ValueError(f"update: expected {len(UPDATE)} arrays ({', '.join(UPDATE)}), got {len(update)}")
    parts = dict(zip(UPDATE, update or (), strict=update is not None))
    for name, value in {"cells": cells, "position": position, **parts}.items():
        if value is None:
            raise TypeError(f"{name}: expected an array, got None")
    given = {"cells": cells, "position": position, "queries": queries, **parts}
    chosen = choose_backend(backend, cells, cuda=False)
    if backend == "auto" and chosen == "native" and not all_native(given):
        chosen = "reference"
    if chosen == "reference":
        torch = reference.import_torch()
        tensors = {
            name: value if value is None or is_tensor(value) else torch.from_numpy(as_input(value, name).copy())
            for name, value in given.items()
        }
        update = [tensors.pop(name) for name in parts] or None
        found = reference.two_way_attention(**tensors, update=update, heads=heads)
        return tuple(x if x is None or is_tensor(cells) else x.numpy() for x in found)  # type: ignore[return-value]
    arrays: dict[str, Any] = {
        name: None if value is None else np.ascontiguousarray(float32(value, name)) for name, value in given.items()
    }
    updated = None if update is None else np.empty_like(arrays["cells"])
    means = None if queries is None else np.empty_like(arrays["queries"])
    brought = tuple(arrays[name] for name in parts) or None
    rest = (brought, arrays["queries"], updated, means)
    _C.two_way_attention(arrays["cells"], arrays["position"], *rest, heads=heads, threads=threads, isa=isa)
    if is_tensor(cells):
        torch = reference.import_torch()
        return tuple(x if x is None else torch.from_numpy(x) for x in (updated, means))  # type: ignore[return-value]
    return updated, means


def _check_shape(shape: tuple[int, ...]) -> None:
    """Only what allocating the output needs; everything else is checked by the compiled module."""
    if len(shape) != 4:
        raise ValueError(f"qkv: expected shape (B, H, 3 * D, N), got {shape}")


def _run_cuda(qkv: Any, eps: float, out: Any, stream: int | None) -> Any:
    module = cuda_module()
    stream = stream_of(qkv, stream)
    if out is None:
        shape, dtype, strides = module.describe(qkv, "qkv", stream)
        _check_shape(shape)
        batch, heads, rows, tokens = shape
        order = TOKEN_MAJOR if strides[2] == 1 and strides[3] != 1 else C_ORDER
        out = new_array(qkv, (batch, heads, rows // 3, tokens), dtype, order, stream)
    module.relu_linear_attention(qkv, out, eps=eps, stream=stream)
    return out


def _run_reference(qkv: NDArray[Any], out: NDArray[Any], eps: float) -> None:
    torch: ModuleType = reference.import_torch()
    # The compiled module's checks hold for this backend too; a copy, because PyTorch takes no read-only arrays.
    _C.check_relu_linear_attention(qkv, out, eps=eps)
    np.copyto(out, reference.relu_linear_attention(torch.from_numpy(qkv.copy()), eps=eps).numpy())
