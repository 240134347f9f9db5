"""Checks of ReLU linear attention alone: dtypes, both layouts, many tokens, sums that no 16-bit number holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from evsam import ops
from evsam.selftest import reference
from evsam.selftest.check import Check, Values, normal
from evsam.selftest.dtypes import Array, DType
from evsam.selftest.reference import Store

__all__ = ["LinearAttentionCheck"]

EPS = 1e-15
BYTES: Mapping[DType, int] = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class LinearAttentionCheck(Check):
    """ReLU linear attention.

    Attributes:
        batch: images.
        heads: of each image.
        head_dim: channels of q, of k and of v.
        tokens: of each image.
        numbers: dtype of q, k, v and the result.
        layout: what lies next to each other in memory: the tokens of a channel, or the channels of a token.
        scale: deviation of q, k and v.
    """

    batch: int
    heads: int
    head_dim: int
    tokens: int
    numbers: DType = "float16"
    layout: Literal["channels", "tokens"] = "channels"
    scale: float = 1.0

    @property
    def op(self) -> str:
        return "relu_linear_attention"

    @property
    def shape(self) -> str:
        scaled = f" x{self.scale:g}" if self.scale != 1 else ""
        return f"{self.batch} x {self.heads} heads d{self.head_dim} n{self.tokens} by {self.layout}{scaled}"

    @property
    def dtype(self) -> DType:
        return self.numbers

    @property
    def macs(self) -> int:
        return 2 * self.batch * self.heads * self.tokens * self.head_dim * (self.head_dim + 1)

    @property
    def bytes(self) -> int:
        return 4 * self.batch * self.heads * self.tokens * self.head_dim * BYTES[self.numbers]

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        rows = 3 * self.head_dim
        if self.layout == "channels":
            qkv = normal(rng, (self.batch, self.heads, rows, self.tokens), self.numbers, self.scale)
        else:
            by_token = normal(rng, (self.batch, self.tokens, self.heads, rows), self.numbers, self.scale)
            qkv = by_token.transpose(0, 2, 3, 1)
        return {"qkv": Values(qkv, self.numbers)}

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.relu_linear_attention(arrays["qkv"], eps=EPS, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        return reference.linear_attention(values["qkv"], EPS, store)
