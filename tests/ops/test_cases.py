"""The table of cases: it covers every op and every layer, and the files that C++ reads are those of the module."""

from __future__ import annotations

import doctest
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import FOLDER, as_csv
from evsam.costs import (
    ConvTranspose,
    DepthwiseConv,
    LayerNorm,
    MaskHead,
    MaskPrompt,
    MaskUpsample,
    MBConv,
    PatchConv,
    Pointwise,
    ReluLinearAttention,
    SamHead,
    Transpose,
    TwoWayAttention,
    UpsampleAdd,
)
from evsam.layers import decoder_ops, encoder_ops, image_ops
from evsam.ops.cases import OPS, cases, columns, values
from evsam.zoo import VARIANTS

ROOT = Path(__file__).resolve().parents[2]


def test_every_op_has_cases():
    folders = {path.name for path in (ROOT / "csrc" / "ops").iterdir() if path.is_dir()}
    assert set(OPS) == folders | {"pointwise_int8"}  # pointwise in its other precision
    assert {path.stem for path in FOLDER.iterdir()} == set(OPS)
    with pytest.raises(ValueError, match=r"op: expected one of conv3x3, .*, got 'conv'"):
        cases("conv")


@pytest.mark.parametrize("op", OPS)
def test_files_are_those_of_the_module(op):
    expected = as_csv(op)
    assert (FOLDER / f"{op}.csv").read_text(encoding="utf-8") == expected, "run python -m benchmarks.cases"
    width = len(columns(op))
    assert all(line.count(",") == width - 1 for line in expected.splitlines()), "no name has a comma"


@pytest.mark.parametrize("op", OPS)
def test_rows(op):
    rows = cases(op)
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.tested or row.timed for row in rows)
    assert any(row.tested for row in rows)
    for row in rows:
        assert row.op.name == op
        assert row.timed == bool(row.variants)
        assert row.name.startswith(" ".join(row.variants) if row.variants else "awkward")
        assert row.op.flops >= 0
        assert row.op.bytes() > 0 or row.name.endswith(("0x10", "0x5", "10x10"))
        assert values(row)["bytes"] == str(row.op.bytes())


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_every_layer_of_every_variant_is_a_row(variant):
    found = {replace(row.op, layer=""): row for op in OPS for row in cases(op) if variant.name in row.variants}
    for op in (*encoder_ops(variant), *decoder_ops(variant), *image_ops(variant)):
        if (isinstance(op, MBConv) and not op.expands) or (isinstance(op, UpsampleAdd) and op.second):
            continue  # the next test's
        assert replace(op, layer="") in found


def test_what_cpu_kernels_do_in_parts():
    depthwise = [row.op for row in cases("depthwise_conv") if row.name == "nano stage 0 block 1 depthwise"]
    assert depthwise == [DepthwiseConv("stage 0 block 1 depthwise", 1, 256, 256, 32, 3, 1, "relu6")]
    point = next(row.op for row in cases("pointwise") if row.name == "nano stage 0 block 1 1x1")
    assert point == Pointwise("stage 0 block 1 1x1", 1, 256, 256, 32, 16)
    sums: list[Any] = [row.op for row in cases("resize") if "l0" in row.variants]
    assert [(op.height, op.out_height) for op in sums] == [(16, 64), (32, 64)]
    assert all(op.residual and op.second is None for op in sums)
    # the attention alone, of both scales
    heads: Any = next(row.op for row in cases("relu_linear_attention") if "l0" in row.variants)
    assert (heads.batch, heads.heads, heads.head_dim, heads.tokens) == (1, 32, 32, 256)


def test_batch():
    row = cases("mbconv")[0]
    batched = row.with_batch(3)
    assert batched.op.macs == 3 * row.op.macs
    changed = [each.name for each in fields(row.op) if getattr(batched.op, each.name) != getattr(row.op, each.name)]
    assert changed == ["batch"]
    with pytest.raises(ValueError, match="batch: expected an op of maps, got sam_head"):
        cases("sam_head")[0].with_batch(2)


def test_work_of_the_decoders_by_hand():
    up = ConvTranspose("", 1, 3, 5, 8, 6, side_channels=2, lateral=True)
    assert up.macs == 60 * 6 * (8 + 2)
    assert up.bytes() == 4 * (15 * 8 + 60 * 2 + 2 * 60 * 6 + 8 * 6 * 4 + 6 * 2 + 6)
    down = PatchConv("", 1, 4, 6, 3, 7)
    assert down.macs == 6 * 7 * 4 * 3
    assert down.bytes() == 4 * (24 * 3 + 6 * 7 + 7 * 3 * 4 + 7)
    head = MaskHead("", 1, 3, 5, 8, 6, lateral=True)
    assert head.macs == 60 * (8 * 6 + 6 * 4)
    assert head.bytes() == 4 * (15 * 8 + 60 * 6 + 60 * 4 + 8 * 6 * 4 + 4 * 6 + 6)
    # per cell as in the ops' READMEs
    assert SamHead("", 2, 3, 256, 64, 32, prompts=2).macs == 2 * 6 * (65536 + 32768 + 2048)
    prompt = MaskPrompt("", 2, 3, 4, 16, 256)
    assert prompt.macs == 6 * (16 * 4 + 16 * 16 + 16 * 256)
    assert prompt.bytes() == 4 * (6 * 16 + 2 * 6 * 256 + 16 + 16 * 16 + 16 * 256 + 3 * 4 + 3 * 16 + 256)
    both = TwoWayAttention("", 4, 16, 256, 8, 7, updates=True)
    assert both.macs == 64 * (2 * 2 * 8 * 7 * 256)
    shared = TwoWayAttention("", 4, 16, 256, 8, 7, inner=128, prompts=3)
    assert shared.macs == 3 * 64 * (7 * 128 + 8 * 7 * 256)
    assert shared.bytes() == 4 * (64 * (2 * 256 + 128) + 3 * (7 * 128 + 8 * 7 * 256))


def test_bytes_of_the_rest_by_hand():
    assert ReluLinearAttention("", 2, 3, 4, 5).macs == 2 * 3 * 5 * 2 * 4 * 5
    assert ReluLinearAttention("", 2, 3, 4, 5).bytes() == 4 * 2 * 3 * 4 * 4 * 5
    assert LayerNorm("", 1, 2, 3, 8, residual=True, position=True).bytes() == 4 * (5 * 6 * 8 + 16)
    assert Transpose("", 1, 2, 3, 8).bytes() == 4 * 2 * 6 * 8
    assert MaskUpsample("", 3, 576, 1024, 20, 30).bytes() == 3 * (4 * 65536 + 600)
    assert DepthwiseConv("", 1, 5, 7, 8, 5, 2).macs == 12 * 25 * 8
    assert DepthwiseConv("", 1, 5, 7, 8, 5, 2).bytes() == 4 * (35 * 8 + 12 * 8 + 25 * 8 + 8)


def test_example():
    results = doctest.testmod(import_module("evsam.ops.cases"))
    assert results.attempted > 0
    assert results.failed == 0
