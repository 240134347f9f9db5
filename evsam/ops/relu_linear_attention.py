"""ReLU linear attention, the token mixer of EfficientViT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evsam import _C
from evsam.ops._arrays import Backend, as_input, as_output, check_backend, unit_last_stride

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["relu_linear_attention"]


def relu_linear_attention(
    qkv: NDArray[np.float32],
    *,
    eps: float = 1e-15,
    out: NDArray[np.float32] | None = None,
    backend: Backend = "auto",
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Attention with ReLU in place of softmax, linear in the number of tokens.

    Per image and head, with `q`, `k`, `v` of shape (D, N)::

        state = [v; 1] relu(k)^T                                  # (D + 1, D)
        out   = (state[:D] relu(q)) / (state[D] relu(q) + eps)    # (D, N)

    Args:
        qkv: float32 (B, H, 3 * D, N): B images, H heads, rows q, then k, then v of D channels, N tokens in any order
            that the output should have (row-major pixels in the network, whose NCHW tensor reshapes to this without a
            copy). A NumPy array, or a DLPack array on the CPU. Any strides; a token stride other than 1 costs a copy.
            D = 16 and D = 32 have fast kernels, other sizes a slow one.
        eps: Added to the denominator, finite and >= 0. A token whose `relu(q)` or all of whose keys are zero gives 0,
            and NaN with eps = 0.
        out: float32 (B, H, D, N), writable and apart from `qkv` in memory; filled and returned. None: a new array.
        backend: "cpu" for the compiled kernels, "reference" for the PyTorch specification (needs the extra `torch`),
            "auto" for the best one available, which is "cpu".
        threads: Number of threads; None means `evsam.ops.get_num_threads()`. The result does not depend on it.

    Returns:
        `out`, float32 (B, H, D, N). NaN in `q` spoils its token, in `v` its channel, in `k` its head.

    Raises:
        TypeError: An argument has the wrong type or dtype.
        ValueError: A shape or value does not fit.
        BackendUnavailable: `EVSAM_ISA` names an instruction set this machine does not have, or the reference backend is
            asked for without PyTorch.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import relu_linear_attention
        >>> qkv = np.random.default_rng(0).standard_normal((1, 32, 96, 256), dtype=np.float32)
        >>> relu_linear_attention(qkv).shape
        (1, 32, 32, 256)

    Source: EfficientViT, arXiv 2205.14756, section 3; used by EfficientViT-SAM, arXiv 2402.05008.
    """
    check_backend(backend)
    qkv = as_input(qkv, "qkv")
    if out is None:
        _check_shape(qkv)
        batch, heads, rows, tokens = qkv.shape
        out = np.empty((batch, heads, rows // 3, tokens), np.float32)
    result = as_output(out, "out")

    # The kernels want neighbouring tokens next to each other in memory.
    source = qkv if unit_last_stride(qkv) else np.ascontiguousarray(qkv)
    target = result if unit_last_stride(result) else np.empty(result.shape, result.dtype)
    if target is not result and np.may_share_memory(qkv, result):
        raise ValueError("out: expected memory apart from qkv, got an overlapping view")
    if backend == "reference":
        _run_reference(source, target, eps)
    else:
        _C.relu_linear_attention(source, target, eps=eps, threads=threads)
    if target is not result:
        result[...] = target
    return result


def _check_shape(qkv: NDArray[Any]) -> None:
    """Only what allocating the output needs; everything else is checked by the compiled module."""
    if qkv.ndim != 4:
        raise ValueError(f"qkv: expected shape (B, H, 3 * D, N), got {qkv.shape}")


def _run_reference(qkv: NDArray[Any], out: NDArray[Any], eps: float) -> None:
    from evsam.ops import reference

    torch: ModuleType = reference.import_torch()
    # The compiled module's checks hold for this backend too; a copy, because PyTorch takes no read-only arrays.
    _C.check_relu_linear_attention(qkv, out, eps=eps)
    np.copyto(out, reference.relu_linear_attention(torch.from_numpy(qkv.copy()), eps=eps).numpy())
