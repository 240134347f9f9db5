"""Members of the family that nobody has published: other widths, depths, heads, filters, necks and decoders."""

from __future__ import annotations

from evsam.weights import Weights, expected_tensors
from evsam.zoo import Block, DecoderConfig, EncoderConfig, NeckConfig, Variant
from tests.golden.seeded_weights import seeded_state_dict

SAM_LIKE = Variant(
    name="own-sam",
    image_size=256,
    encoder=EncoderConfig(
        stages=(
            (Block("conv", 12, stride=2), Block("res", 12, expand=2)),
            (Block("fmb", 20, stride=2, expand=3), Block("fmb", 20, expand=1.5)),
            (Block("mb", 28, stride=2, expand=2.5, filter_size=5, fewer_norm=True), Block("mb", 24)),
            (
                Block("mb", 48, stride=2, expand=4),
                Block("att", 48, expand=2, filter_size=5, fewer_norm=True, attention_filter_size=3),
                Block("att", 48, expand=3),
            ),
        ),
        neck=NeckConfig(stages=(3, 1, 2), width=72, grid=64, kind="mb", depth=2, expand=1.5),
        activation="relu6",
        head_dim=12,
    ),
    decoder=DecoderConfig(kind="sam", dim=72, depth=1, heads=3, mlp_dim=100, mask_channels=(6, 10)),
)

NANO_LIKE = Variant(
    name="own-nano",
    image_size=512,
    encoder=EncoderConfig(
        stages=(
            (Block("conv", 9, stride=2), Block("ds", 11, filter_size=5)),
            (Block("mb", 12, stride=2, expand=3),),
            (Block("fmb", 16, stride=2, expand=2),),
            (Block("mb", 24, stride=2, expand=2), Block("att", 24, expand=2)),
        ),
        neck=NeckConfig(
            stages=(3,), width=40, grid=32, kind="fmb", depth=1, expand=2, lateral=((2, 13), (1, 10), (0, 6))
        ),
        activation="gelu",
        head_dim=8,
    ),
    decoder=DecoderConfig(kind="lite", dim=40, depth=3, heads=2, mlp_dim=60, mask_channels=(5, 9, 20)),
)


def own_weights(variant: Variant) -> Weights:
    """Seeded ones."""
    return Weights(variant, seeded_state_dict(dict(expected_tensors(variant))), None, {})
