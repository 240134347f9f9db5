"""Which checks are run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from evsam.costs import Conv3x3, FusedMBConv, LayerNorm, LiteMLA, MBConv, Op, Pointwise, Preprocess, UpsampleAdd
from evsam.gpu_model.devices import DEVICES
from evsam.gpu_model.geometry import launches
from evsam.layers import PHOTO, encoder_ops
from evsam.selftest.check import Check
from evsam.selftest.checks.attention import LinearAttentionCheck
from evsam.selftest.checks.blocks import FusedMBConvCheck, LiteMLACheck, MBConvCheck
from evsam.selftest.checks.images import MaskUpsampleCheck, PreprocessCheck
from evsam.selftest.checks.maps import Conv3x3Check, LayerNormCheck, PointwiseCheck, UpsampleAddCheck
from evsam.zoo import Activation, Variant

__all__ = ["layer_checks", "quick_checks"]


def quick_checks() -> list[Check]:
    """Small maps with odd sides, batches, every dtype and layout: a few seconds, even where threads are emulated."""
    return [
        Conv3x3Check(Conv3x3("", 2, 9, 7, 16, 32, activation="gelu_tanh")),
        Conv3x3Check(Conv3x3("", 1, 9, 7, 16, 24, stride=2)),
        Conv3x3Check(Conv3x3("", 1, 6, 11, 32, 32, residual=True)),
        Conv3x3Check(Conv3x3("", 1, 5, 5, 8, 16, activation="gelu_tanh"), activation_scale=4.0),
        PointwiseCheck(Pointwise("", 2, 5, 7, 40, 72)),
        PointwiseCheck(Pointwise("", 1, 11, 13, 64, 128, residual=True)),
        PointwiseCheck(Pointwise("", 1, 3, 3, 24, 8, activation="gelu_tanh"), activation_scale=2.0),
        PointwiseCheck(Pointwise("", 1, 3, 3, 24, 8, activation="gelu_tanh"), activation="relu6"),
        FusedMBConvCheck(FusedMBConv("", 2, 7, 9, 32, 32, residual=True, hidden=64)),
        FusedMBConvCheck(FusedMBConv("", 1, 9, 7, 32, 64, stride=2, hidden=128), activation_scale=4.0),
        MBConvCheck(MBConv("", 2, 5, 7, 32, 32, residual=True, hidden=64)),
        MBConvCheck(MBConv("", 1, 7, 5, 32, 64, stride=2, hidden=96), activation_scale=4.0),
        LiteMLACheck(LiteMLA("", 2, 5, 7, channels=64, heads=2, head_dim=32, filter_size=5)),
        LiteMLACheck(LiteMLA("", 1, 17, 16, channels=64, heads=2, head_dim=32, filter_size=3)),
        UpsampleAddCheck(UpsampleAdd("", 2, 3, 5, 16, 12, 11, "bicubic")),
        UpsampleAddCheck(UpsampleAdd("", 1, 3, 5, 16, 6, 10, "bilinear")),
        UpsampleAddCheck(UpsampleAdd("", 1, 4, 4, 8, 9, 9, "bicubic", residual=False)),
        UpsampleAddCheck(UpsampleAdd("", 1, 3, 2, 8, 7, 9, "bicubic", second=(5, 4))),
        PreprocessCheck(Preprocess("", 1, 37, 53, side=64)),
        PreprocessCheck(Preprocess("", 1, 150, 40, side=64)),
        MaskUpsampleCheck(1, 2, (77, 129)),
        LayerNormCheck(LayerNorm("", 2, 3, 7, 256)),
        LayerNormCheck(LayerNorm("", 1, 5, 1, 24)),
        LinearAttentionCheck(1, 2, 32, 256),
        LinearAttentionCheck(2, 3, 16, 77, "float16", "tokens"),
        LinearAttentionCheck(1, 2, 32, 100, "bfloat16"),
        LinearAttentionCheck(1, 2, 32, 65, "bfloat16", "tokens"),
        LinearAttentionCheck(1, 2, 32, 63, "float32"),
        # Sums of 255 products of numbers of about 1e4: 1e10, where float16 ends at 65504.
        LinearAttentionCheck(1, 1, 32, 255, scale=1e4),
    ]


def layer_checks(variants: Iterable[Variant], batch: int = 1) -> list[Check]:
    """Every layer of the variants' encoders that the CUDA kernels do, those that are alike once.

    Args:
        variants: records of :mod:`evsam.zoo`.
        batch: images at once.
    """
    found: dict[tuple[str, str, Activation], Check] = {}
    for variant in variants:
        for op in encoder_ops(variant, batch):
            activation = variant.encoder.activation
            checks: list[Check] = [check_of(op, activation)] if launches(op, DEVICES["a100"]) else []
            if isinstance(op, LiteMLA):  # its attention alone, of both scales
                heads = LinearAttentionCheck(op.batch, 2 * op.heads, op.head_dim, op.tokens)
                checks += [heads, replace(heads, layout="tokens")]
            for check in checks:
                found.setdefault((check.op, check.shape, activation), check)
    # Masks of one photo; the encoders end before them.
    masks = MaskUpsampleCheck(1, 3, PHOTO)
    return [*found.values(), masks]


def check_of(op: Op, activation: Activation) -> Check:
    """The check of an op of an encoder."""
    match op:
        case Preprocess():
            return PreprocessCheck(op, activation)
        case Conv3x3():
            return Conv3x3Check(op, activation)
        case Pointwise():
            return PointwiseCheck(op, activation)
        case FusedMBConv():
            return FusedMBConvCheck(op, activation)
        case MBConv():
            return MBConvCheck(op, activation)
        case LiteMLA():
            return LiteMLACheck(op, activation)
        case UpsampleAdd():
            return UpsampleAddCheck(op, activation)
        case LayerNorm():
            return LayerNormCheck(op, activation)
    raise TypeError(f"op: expected one that an encoder has, got {type(op).__name__}")
