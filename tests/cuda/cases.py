"""Inputs of the CUDA ops' tests, and the two results that the tolerance rule compares with."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

from tests.tolerance import assert_as_good_as_eager

__all__ = ["assert_op", "random_map", "random_tensor", "random_weight"]


def random_tensor(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Normally distributed numbers in C order."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)


def random_map(*shape: int, dtype: torch.dtype = torch.float16, seed: int = 0) -> Tensor:
    """A feature map (B, C, H, W) with its channels last in memory."""
    return random_tensor(*shape, dtype=dtype, seed=seed).contiguous(memory_format=torch.channels_last)


def random_weight(*shape: int, dtype: torch.dtype = torch.float16, seed: int = 1) -> Tensor:
    """A weight (O, I, ...) that keeps the variance of its input; that of a dense convolution has its channels last."""
    inputs = prod(shape[1:])
    weight = random_tensor(*shape, dtype=dtype, seed=seed, scale=inputs**-0.5)
    dense = len(shape) == 4 and shape[1] > 1
    return weight.contiguous(memory_format=torch.channels_last) if dense else weight


def assert_op(got: Tensor, specification: Callable[..., Tensor], *arrays: Tensor | None, **numbers: Any) -> None:
    """The tolerance rule: as close to the float64 result as the same computation op by op in the dtype of `got`."""
    eager = specification(*arrays, **numbers)
    true = specification(*(array if array is None else array.double() for array in arrays), **numbers)
    assert got.dtype == eager.dtype
    eps = torch.finfo(got.dtype).eps
    if got.dtype == torch.bfloat16:  # which NumPy lacks; float32 holds its values
        got, eager = got.float(), eager.float()
    assert_as_good_as_eager(got.numpy(), eager.numpy(), true.numpy(), eps=eps)
