"""The records of ops: their work against the definition, their bytes by hand."""

from __future__ import annotations

import pytest

from evsam.costs import FP16, Conv3x3, FusedMBConv, LayerNorm, LiteMLA, MBConv, Pointwise, Preprocess, UpsampleAdd
from evsam.layers import encoder_ops
from evsam.zoo import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_macs_are_those_of_the_definition(variant):
    assert sum(op.macs for op in encoder_ops(variant)) == variant.encoder_macs
    assert sum(op.macs for op in encoder_ops(variant, batch=3)) == 3 * variant.encoder_macs


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_fusing_saves_bytes(variant):
    ops = encoder_ops(variant)
    assert all(0 < op.bytes(FP16) <= op.separate_bytes(FP16) for op in ops)
    assert len({op.layer for op in ops}) == len(ops), "layers have names of their own"


def test_bytes_of_convolutions_by_hand():
    # 5 x 7 pixels of 8 channels in, stride 2: 3 x 4 of 16 channels out; weights, then float32 biases
    assert Conv3x3("", 2, 5, 7, 8, 16, 2).bytes(FP16) == 2 * (2 * 35 * 8 + 2 * 12 * 16 + 9 * 8 * 16) + 4 * 16
    # the residual is a map of its own
    assert Conv3x3("", 1, 5, 7, 8, 16, residual=True).bytes(FP16) == 2 * (35 * 8 + 2 * 35 * 16 + 9 * 128) + 64
    assert Pointwise("", 1, 5, 7, 8, 16).bytes(FP16) == 2 * (35 * 8 + 35 * 16 + 8 * 16) + 64
    assert Pointwise("", 1, 5, 7, 8, 16).macs == 35 * 8 * 16


def test_bytes_of_fused_blocks_by_hand():
    fused = FusedMBConv("", 1, 4, 4, 8, 8, residual=True, hidden=32)
    assert fused.bytes(FP16) == 2 * (16 * 8 + 16 * 8 + 9 * 8 * 32 + 32 * 8) + 4 * (32 + 8)
    # the hidden map is written and read, and the residual read once more
    assert fused.separate_bytes(FP16) - fused.bytes(FP16) == 2 * (2 * 16 * 32 + 16 * 8)

    inverted = MBConv("", 1, 4, 4, 8, 8, residual=True, hidden=32, filter_size=5)
    assert inverted.bytes(FP16) == 2 * (2 * 16 * 8 + 8 * 32 + 25 * 32 + 32 * 8) + 4 * (32 + 32 + 8)
    assert inverted.separate_bytes(FP16) - inverted.bytes(FP16) == 2 * (2 * 16 * 32 + 2 * 16 * 32 + 16 * 8)
    assert inverted.macs == 16 * (8 * 32 + 25 * 32 + 32 * 8)

    depthwise_only = MBConv("", 1, 4, 4, 8, 16, hidden=8, expands=False)
    assert [step.name for step in depthwise_only.steps] == ["depthwise", "1x1 project"]
    assert depthwise_only.macs == 16 * (9 * 8 + 8 * 16)


def test_bytes_of_attention_by_hand():
    # 2 heads of 4: qkv 24 channels, both scales together 16
    op = LiteMLA("", 1, 3, 3, channels=8, heads=2, head_dim=4, filter_size=5)
    assert op.macs == 9 * (8 * 24 + 25 * 24 + 4 * 24 + 2 * 2 * 2 * 4 * 5 + 16 * 8)
    assert op.bytes(FP16) == 2 * (2 * 9 * 8 + 8 * 24 + 25 * 24 + 4 * 24 + 16 * 8) + 4 * 8
    assert [step.traffic.bytes(FP16) for step in op.steps] == [
        2 * (9 * 8 + 9 * 24 + 8 * 24),
        2 * (2 * 9 * 24 + 25 * 24),
        2 * (2 * 9 * 24 + 4 * 24),
        2 * 9 * (48 + 16),
        2 * (9 * 16 + 9 * 8 + 16 * 8 + 9 * 8) + 4 * 8,
    ]


def test_bytes_of_the_rest_by_hand():
    assert Preprocess("", 2, 10, 20, side=16).bytes(FP16) == 2 * (3 * 200 + 2 * 3 * 256)
    assert LayerNorm("", 1, 4, 4, 8).bytes(FP16) == 2 * 2 * 16 * 8 + 4 * 2 * 8
    assert UpsampleAdd("", 1, 4, 4, 8, 8, 8, "bicubic").bytes(FP16) == 2 * 8 * (16 + 64 + 64)
    assert UpsampleAdd("", 1, 4, 4, 8, 8, 8, "bicubic", residual=False).bytes(FP16) == 2 * 8 * (16 + 64)
    two = UpsampleAdd("", 1, 4, 4, 8, 8, 8, "bicubic", second=(2, 2))
    assert two.bytes(FP16) == 2 * 8 * (16 + 4 + 64 + 64)
    assert two.separate_bytes(FP16) == 2 * 8 * (16 + 64 + 4 + 64 + 2 * 3 * 64)


def test_batch():
    with pytest.raises(ValueError, match="batch: expected a number >= 1, got 0"):
        encoder_ops(VARIANTS["l0"], 0)
