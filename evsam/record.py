"""The record of a variant as text: how an architecture travels in weights files and exported folders.

A record is JSON: an object of ``name``, ``image_size``, ``encoder``, ``decoder``, ``mask_prompt`` and ``everything``
with the fields of :class:`~evsam.zoo.Variant`, :class:`~evsam.zoo.EncoderConfig` and so on, all of them, and nothing
else; only ``mask_prompt`` and ``everything`` may be missing, as in older files. The rules that it has to obey, so that
every engine can build it, are those of the compiled reader, csrc/engine/architecture.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from evsam import _C
from evsam.errors import WeightsError
from evsam.zoo import VARIANTS, Block, DecoderConfig, EncoderConfig, EverythingConfig, NeckConfig, Variant

_FIELDS = ("name", "image_size", "encoder", "decoder", "mask_prompt", "everything")


def write_record(variant: Variant) -> str:
    """The record of a variant, the same text for the same architecture.

    Raises:
        WeightsError: no engine could build it, or its name is that of another variant of the zoo; the message names
            the field.

    Example:
        >>> write_record(VARIANTS["l0"])[:44]
        '{"name":"l0","image_size":512,"encoder":{"st'
    """
    fields = asdict(variant)
    text = _dumps({name: fields[name] for name in _FIELDS})
    read = _read(text)
    _variant(read)
    return _dumps(read)


def read_record(text: str) -> Variant:
    """The variant that a record describes.

    It is the one of the zoo if it is one of them, with ``mask_prompt`` and ``everything`` as the record has them.

    Raises:
        WeightsError: it is no record, no engine could build it, or its name is that of another variant of the zoo; the
            message names the field.

    Example:
        >>> read_record(write_record(VARIANTS["nano"])) is VARIANTS["nano"]
        True
    """
    return _variant(_read(text))


def _variant(fields: Mapping[str, Any]) -> Variant:
    encoder, neck = fields["encoder"], fields["encoder"]["neck"]
    stages = tuple(tuple(Block(**block) for block in stage) for stage in encoder["stages"])
    lateral = tuple((stage, channels) for stage, channels in neck["lateral"])
    neck_config = NeckConfig(**{**neck, "stages": tuple(neck["stages"]), "lateral": lateral})
    decoder = {**fields["decoder"], "mask_channels": tuple(fields["decoder"]["mask_channels"])}
    variant = Variant(
        name=fields["name"],
        image_size=fields["image_size"],
        encoder=EncoderConfig(stages, neck_config, encoder["activation"], encoder["head_dim"]),
        decoder=DecoderConfig(**decoder),
        mask_prompt=fields["mask_prompt"],
    )
    everything = None if fields["everything"] is None else EverythingConfig(**fields["everything"])
    known = VARIANTS.get(variant.name)
    if known is None:
        return variant if everything is None else replace(variant, everything=everything)
    if not same_architecture(variant, known):
        raise WeightsError(
            f"variant.name: expected another name than that of a published variant, got {variant.name!r}"
        )
    # What it is trained to read, and how its scores are to be taken, is for the file to say, not for the name.
    said = replace(known, mask_prompt=variant.mask_prompt, everything=everything or known.everything)
    return known if said == known else said


def same_architecture(a: Variant, b: Variant) -> bool:
    """Whether two variants have the same image size, encoder and decoder, whatever they are called or trained for."""
    return (a.image_size, a.encoder, a.decoder) == (b.image_size, b.encoder, b.decoder)


def _read(text: str) -> Any:
    try:
        return _plain(_C.read_variant(text))
    except ValueError as error:
        raise WeightsError(str(error)) from error


def _dumps(fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """The same with whole numbers as integers, the form in which they are written down."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
