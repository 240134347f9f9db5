"""Records of variants: what is written, what is refused and what it is called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from evsam.errors import WeightsError
from evsam.record import read_record, write_record
from evsam.zoo import VARIANTS, EverythingConfig, MaskPrompt, Variant
from tests import named_records

Change = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_there_and_back(variant: Variant) -> None:
    """Every field comes back through the compiled reader, under any name."""
    own = replace(variant, name="own")
    back = read_record(write_record(own))
    assert (back.name, back.image_size) == ("own", own.image_size)
    assert back.encoder == own.encoder
    assert back.decoder == own.decoder
    assert back.mask_prompt == own.mask_prompt
    assert back.everything == own.everything
    assert write_record(back) == write_record(own)
    assert hash(back) is not None


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_the_zoo_are_recognised(name: str) -> None:
    assert read_record(write_record(VARIANTS[name])) is VARIANTS[name]


def test_the_c_interface_knows_the_same_variants() -> None:
    assert named_records.FILE.read_text() == named_records.content(), "run python -m tests.named_records"


@pytest.mark.parametrize("name", ["nano", "l0"])
def test_what_a_mask_prompt_means_is_for_the_record_to_say(name: str) -> None:
    """Under the zoo's name too: other weights of an architecture may have learnt more."""
    known = VARIANTS[name]
    fields = json.loads(write_record(known))
    assert fields.pop("mask_prompt") == known.mask_prompt == {"nano": "boxed", "l0": "logits"}[name]
    assert read_record(json.dumps(fields)) is known, "of a file that was written before there was the field"
    other: MaskPrompt = "logits" if known.mask_prompt == "boxed" else "boxed"
    assert read_record(json.dumps({**fields, "mask_prompt": other})) == replace(known, mask_prompt=other)


@pytest.mark.parametrize("name", ["nano", "l0"])
def test_thresholds_of_everything_are_for_the_record_to_say(name: str) -> None:
    known = VARIANTS[name]
    fields = json.loads(write_record(known))
    assert fields.pop("everything") == asdict(known.everything)
    assert read_record(json.dumps(fields)) is known, "of a file that was written before there was the field"
    other = {"pred_iou_thresh": 0, "stability_score_thresh": 1}
    said = read_record(json.dumps({**fields, "everything": other}))
    assert said == replace(known, everything=EverythingConfig(0, 1)) != known
    assert json.loads(write_record(said))["everything"] == other
    assert read_record(json.dumps({**fields, "name": "own"})).everything == EverythingConfig(0.88, 0.95), "SAM's"


def test_white_space_and_order_do_not_matter() -> None:
    fields = json.loads(write_record(VARIANTS["nano"]))
    shuffled = dict(reversed(fields.items()))
    assert read_record(json.dumps(shuffled, indent=3)) is VARIANTS["nano"]


def test_numbers_of_any_form() -> None:
    text = write_record(replace(VARIANTS["l0"], name="own"))
    for number in ("4.0", "0.4e1", "40E-1", "4.000000000000000"):
        assert read_record(text.replace('"expand":4,', f'"expand":{number},')).encoder == VARIANTS["l0"].encoder
    assert read_record(text.replace('"expand":4,', f'"expand":{8 / 3},')).encoder.stages[1][1].expand == 8 / 3


def _set(path: str, value: Any) -> Change:
    """Sets ``encoder.stages.0.1.width``; None removes the field."""

    def change(fields: dict[str, Any]) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        at: Any = fields
        for part in parents:
            at = at[part]
        if value is None:
            del at[last]
        else:
            at[last] = value

    return change


ENCODER, NECK, DECODER = "variant.encoder", "variant.encoder.neck", "variant.decoder"
FINE, ATT = "encoder.stages.1.0", "encoder.stages.3.5"

REFUSED: list[tuple[Change, str]] = [
    # fields
    (_set("name", None), "variant: expected the field 'name', got none"),
    (_set("encoder.neck.grid", None), f"{NECK}: expected the field 'grid', got none"),
    (_set(f"{FINE}.stride", None), f"{ENCODER}.stages[1][0]: expected the field 'stride', got none"),
    (
        _set("parameters", 3),
        "variant: expected the fields name, image_size, encoder, decoder, mask_prompt, everything, got 'parameters'",
    ),
    (
        _set("decoder.width", 3),
        f"{DECODER}: expected the fields kind, dim, depth, heads, mlp_dim, mask_channels, got 'wi",
    ),
    (_set("encoder", []), f"{ENCODER}: expected '{{' at byte"),
    (_set("encoder.stages.0", {}), f"{ENCODER}.stages[0]: expected '[' at byte"),
    # values of their own
    (_set("name", ""), "variant.name: expected 1 to 64 letters, digits and inner '.', '_' or '-', got ''"),
    (_set("name", "../a"), "variant.name: expected 1 to 64 letters, digits and inner '.', '_' or '-', got '../a'"),
    (_set("name", "é"), "variant.name: expected 1 to 64 letters, digits and inner '.', '_' or '-', got '??'"),
    (_set("name", "a" * 65), "variant.name: expected 1 to 64 letters, digits and inner '.', '_' or '-', got 'aaa"),
    (_set("name", 3), "variant.name: expected a string at byte 9 of the record, got '3'"),
    (_set("image_size", 0), "variant.image_size: expected a whole number from 1 to 4096, got 0"),
    (_set("image_size", 5000), "variant.image_size: expected a whole number from 1 to 4096, got 5000"),
    (_set("image_size", -512), "variant.image_size: expected a whole number from 0 to"),
    (_set("image_size", 512.5), "variant.image_size: expected the end of a whole number at byte"),
    (_set("image_size", "512"), "variant.image_size: expected a whole number"),
    (_set("encoder.activation", "silu"), f"{ENCODER}.activation: expected one of gelu, relu6, got 'silu'"),
    (_set("encoder.head_dim", 0), f"{ENCODER}.head_dim: expected a whole number from 1 to 16384, got 0"),
    (_set("encoder.stages", []), f"{ENCODER}.stages: expected at least 1 items, got 0"),
    (_set("encoder.stages.2", []), f"{ENCODER}.stages[2]: expected at least 1 items, got 0"),
    (
        _set(f"{FINE}.kind", "moe"),
        f"{ENCODER}.stages[1][0].kind: expected one of conv, ds, res, fmb, mb, att, got 'moe'",
    ),
    (_set(f"{FINE}.width", 20000), f"{ENCODER}.stages[1][0].width: expected a whole number from 1 to 16384, got 20000"),
    (_set(f"{FINE}.stride", 3), f"{ENCODER}.stages[1][0].stride: expected a whole number from 1 to 2, got 3"),
    (_set(f"{FINE}.expand", 0), f"{ENCODER}.stages[1][0].expand: expected a number above 0, at most 64, got 0"),
    (_set(f"{FINE}.expand", 64.5), f"{ENCODER}.stages[1][0].expand: expected a number above 0, at most 64, got 64.5"),
    (_set(f"{FINE}.expand", "6"), f"{ENCODER}.stages[1][0].expand: expected a number at byte"),
    (_set(f"{FINE}.expand", float("inf")), f"{ENCODER}.stages[1][0].expand: expected a number at byte"),
    (_set(f"{FINE}.filter_size", 7), f"{ENCODER}.stages[1][0].filter_size: expected 3 or 5, got 7"),
    (_set(f"{FINE}.fewer_norm", 1), f"{ENCODER}.stages[1][0].fewer_norm: expected true or false at byte"),
    (_set(f"{ATT}.attention_filter_size", 1), f"{ENCODER}.stages[3][5].attention_filter_size: expected 3 or 5, got 1"),
    (_set("encoder.neck.stages", []), f"{NECK}.stages: expected at least 1 items, got 0"),
    (_set("encoder.neck.depth", 257), f"{NECK}.depth: expected a whole number from 0 to 256, got 257"),
    (_set("encoder.neck.lateral", [[2]]), f"{NECK}.lateral[0]: expected ',' at byte"),
    (_set("encoder.neck.lateral", [[2, 0]]), f"{NECK}.lateral[0][1]: expected a whole number from 1 to 16384, got 0"),
    (_set("mask_prompt", "sign"), "variant.mask_prompt: expected one of logits, boxed, got 'sign'"),
    (_set("everything", 0.88), "variant.everything: expected '{' at byte"),
    (_set("everything", {}), "variant.everything: expected the field 'pred_iou_thresh', got none"),
    (
        _set("everything.nms", 0.7),
        "variant.everything: expected the fields pred_iou_thresh, stability_score_thresh, got",
    ),
    (
        _set("everything.pred_iou_thresh", 1.5),
        "variant.everything.pred_iou_thresh: expected a number from 0 to 1, got 1.5",
    ),
    (
        _set("everything.stability_score_thresh", -0.25),
        "variant.everything.stability_score_thresh: expected a number from 0 to 1, got -0.25",
    ),
    (_set("everything.pred_iou_thresh", "0.9"), "variant.everything.pred_iou_thresh: expected a number at byte"),
    (_set("decoder.kind", "big"), f"{DECODER}.kind: expected one of sam, lite, got 'big'"),
    (_set("decoder.depth", 0), f"{DECODER}.depth: expected a whole number from 1 to 256, got 0"),
    (_set("decoder.mask_channels", [1, 2, 3, 4]), f"{DECODER}.mask_channels: expected at most 3 items, got more"),
    # values beside others
    (_set("image_size", 528), "variant.image_size: expected a multiple of the backbone's stride, got 528"),
    (_set("encoder.stages.0.0.expand", 2), f"{ENCODER}.stages[0][0].expand: expected 1 for a block of kind conv, got"),
    (_set("encoder.stages.0.1.expand", 2), f"{ENCODER}.stages[0][1].expand: expected 1 for a block of kind ds, got"),
    (_set(f"{FINE}.expand", 0.01), f"{ENCODER}.stages[1][0].expand: expected 1 to 65536 hidden channels, got 0"),
    (
        _set("encoder.stages.0.0.filter_size", 5),
        f"{ENCODER}.stages[0][0].filter_size: expected 3 for a block of kind conv",
    ),
    (
        _set("encoder.stages.0.1.fewer_norm", True),
        f"{ENCODER}.stages[0][1].fewer_norm: expected false for a block of kind ds",
    ),
    (_set(f"{ATT}.stride", 2), f"{ENCODER}.stages[3][5].stride: expected 1 for a block of kind att, got 2"),
    (
        _set(f"{ATT}.width", 128),
        f"{ENCODER}.stages[3][5].width: expected its input's 112 for a block of kind att, got 128",
    ),
    (
        _set("encoder.head_dim", 24),
        f"{ENCODER}.head_dim: expected a divisor of 112, the width of {ENCODER}.stages[3][5]",
    ),
    (_set("encoder.neck.grid", 30), f"{NECK}.grid: expected a divisor of the image size 512, got 30"),
    (_set("encoder.neck.grid", 16), f"{NECK}.stages[1]: expected a stage of at most 16 cells a side, got 32"),
    (_set("encoder.neck.grid", 64), f"{NECK}.lateral[0][0]: expected a stage of 128 cells a side, got 64"),
    (_set("encoder.neck.stages", [4, 5]), f"{NECK}.stages[1]: expected a stage from 0 to 4, got 5"),
    (_set("encoder.neck.kind", "att"), f"{NECK}.kind: expected fmb or mb, got att"),
    (_set("encoder.neck.expand", 0.001), f"{NECK}.expand: expected 1 to 65536 hidden channels, got 0"),
    (_set("encoder.neck.lateral", []), f"{NECK}.lateral: expected 3 maps for a decoder of kind lite, got 0"),
    (_set("encoder.neck.lateral.2.1", 65), f"{NECK}.lateral[2][1]: expected at most 64 channels, got 65"),
    (_set("decoder.dim", 256), f"{DECODER}.dim: expected the neck's width 128, got 256"),
    (_set("decoder.heads", 3), f"{DECODER}.heads: expected a divisor of 64, half of dim, got 3"),
    (_set("decoder.kind", "sam"), f"{NECK}.grid: expected 64 for a decoder of kind sam, got 32"),
    (
        _set("decoder.mask_channels", [4, 16]),
        f"{DECODER}.mask_channels: expected 3 numbers for a decoder of kind lite, got 2",
    ),
    (_set("encoder.neck.width", 120), f"{DECODER}.dim: expected the neck's width 120, got 128"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message[:70] for _, message in REFUSED])
def test_refused(change: Change, message: str) -> None:
    """Changes of nano."""
    fields = json.loads(write_record(VARIANTS["nano"]))
    change(fields)
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}"):
        read_record(json.dumps(fields))


SAM_REFUSED: list[tuple[Change, str]] = [
    (_set("encoder.neck.lateral", [[1, 8]]), f"{NECK}.lateral: expected 0 maps for a decoder of kind sam, got 1"),
    (
        _set("decoder.mask_channels", [4]),
        f"{DECODER}.mask_channels: expected 2 numbers for a decoder of kind sam, got 1",
    ),
]


@pytest.mark.parametrize(("change", "message"), SAM_REFUSED, ids=[message for _, message in SAM_REFUSED])
def test_refused_with_sams_decoder(change: Change, message: str) -> None:
    """Changes of l0."""
    fields = json.loads(write_record(VARIANTS["l0"]))
    change(fields)
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}"):
        read_record(json.dumps(fields))
    fields = json.loads(write_record(VARIANTS["l0"]))
    fields["encoder"]["neck"]["width"] = fields["decoder"]["dim"] = 36
    with pytest.raises(WeightsError, match=r"decoder\.dim: expected a multiple of 8 for a decoder of kind sam, got 36"):
        read_record(json.dumps(fields))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "variant: expected '{' at byte 0 of the record, got its end"),
        ("nano", "variant: expected '{' at byte 0 of the record, got 'n'"),
        ("[" * 100_000, "variant: expected '{' at byte 0"),
        ('{"name":"a","name":"a"', "variant: expected each field once, got 'name' twice"),
        ('{"name":"a"', "variant: expected '}' at byte 11 of the record, got its end"),
        ('{"name":"\\ud800"}', "variant.name: expected a low surrogate"),
        ('{"encoder":{"stages":' + "[" * 100_000, f"{ENCODER}.stages[0][0]: expected '{{'"),
        ('{"encoder":{"head_dim":99999999999999999999', f"{ENCODER}.head_dim: expected a whole number from 0 to"),
        ('{"encoder":{"stages":[[{"expand":1e999', f"{ENCODER}.stages[0][0].expand: expected a finite number"),
        ('{"encoder":{"stages":[[{"expand":' + "1" * 99, f"{ENCODER}.stages[0][0].expand: expected a number at"),
        ('{"encoder":{"stages":[[{"expand":01', f"{ENCODER}.stages[0][0].expand: expected a number at"),
        ('{"encoder":{"stages":[[{"expand":1.', f"{ENCODER}.stages[0][0].expand: expected a number at"),
        (
            "{" + '"x' * 9,
            "variant: expected the fields name, image_size, encoder, decoder, mask_prompt, everything, got 'x'",
        ),
    ],
)
def test_broken_text(text: str, message: str) -> None:
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}"):
        read_record(text)
    valid = write_record(VARIANTS["nano"])
    with pytest.raises(WeightsError, match="variant: expected nothing more at byte"):
        read_record(valid + "x")


def test_too_many() -> None:
    fields = json.loads(write_record(VARIANTS["nano"]))
    fields["encoder"]["stages"][0] *= 200
    with pytest.raises(WeightsError, match=re.escape(f"{ENCODER}.stages[0]: expected at most 256 items, got more")):
        read_record(json.dumps(fields))


def test_names_of_the_zoo_are_taken() -> None:
    own = replace(VARIANTS["l1"], name="l0")
    message = r"^variant\.name: expected another name than that of a published variant, got 'l0'$"
    with pytest.raises(WeightsError, match=message):
        write_record(own)
    with pytest.raises(WeightsError, match=message):
        read_record(write_record(VARIANTS["l1"]).replace('"l1"', '"l0"'))
