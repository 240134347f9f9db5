"""Variants that are only trained, as teachers of the published ones: no engine runs them."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

from evsam.errors import WeightsError
from evsam.zoo import VARIANTS, Block, Variant, get_variant


def _nano_wide() -> Variant:
    """Nano with the convolutions of EfficientNet-Lite2 in place of Lite0's.

    Neck, finer maps and decoder are nano's, so that embeddings can be compared as they are and the decoder copied.
    """
    stages = (
        (Block("conv", 32, stride=2), Block("ds", 16)),
        (Block("mb", 24, stride=2, expand=6), *(Block("mb", 24, expand=6),) * 2),
        (Block("mb", 48, stride=2, expand=6, filter_size=5), *(Block("mb", 48, expand=6, filter_size=5),) * 2),
        (
            Block("mb", 88, stride=2, expand=6),
            *(Block("mb", 88, expand=6),) * 3,
            *(Block("mb", 120, expand=6, filter_size=5),) * 3,
            Block("att", 120, expand=6, filter_size=5),
        ),
        (
            Block("mb", 208, stride=2, expand=6, filter_size=5),
            *(Block("mb", 208, expand=6, filter_size=5),) * 3,
            Block("att", 208, expand=6, filter_size=5),
        ),
    )
    nano = get_variant("nano")
    # 8 divides 120 and 208, nano's 16 does not divide the former
    encoder = dataclasses.replace(nano.encoder, stages=stages, head_dim=8)
    return dataclasses.replace(nano, name="nano-wide", encoder=encoder, bundled=None, parameters=0, encoder_macs=0)


TEACHERS = MappingProxyType({variant.name: variant for variant in (_nano_wide(),)})
"""By name."""


def find_variant(name: str) -> Variant:
    """A published variant or one of :data:`TEACHERS`.

    Raises:
        WeightsError: there is no variant of that name.
    """
    if name in TEACHERS:
        return TEACHERS[name]
    if name not in VARIANTS:
        raise WeightsError(f"variant: expected one of {', '.join([*VARIANTS, *TEACHERS])}, got {name!r}")
    return get_variant(name)
