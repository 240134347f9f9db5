"""The specification of every op, in PyTorch.

Readable first: these functions say what the compiled kernels must compute, in any floating-point dtype, on any device,
with gradients. Tests compare the kernels with them in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evsam.errors import BackendUnavailable

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

__all__ = ["import_torch", "relu_linear_attention"]


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
        (B, H, D, N) of the same dtype.

    Source: EfficientViT, arXiv 2205.14756, section 3.
    """
    torch = import_torch()
    q, k, v = qkv.chunk(3, dim=-2)
    q, k = torch.relu(q), torch.relu(k)
    ones = torch.ones_like(v[..., :1, :])
    state = torch.cat([v, ones], dim=-2) @ k.transpose(-1, -2)  # (B, H, D + 1, D)
    product = state @ q  # (B, H, D + 1, N)
    result: Tensor = product[..., :-1, :] / (product[..., -1:, :] + eps)
    return result
