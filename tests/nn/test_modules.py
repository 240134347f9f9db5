"""What the modules promise beyond the golden numbers: shapes, batches, folding, and the corners of attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evsam.zoo import LOGITS_SIZE, VARIANTS

torch = pytest.importorskip("torch")

from evsam.nn.layers import attend
from evsam.nn.lite_decoder import draw_prompts
from evsam.nn.prompt_encoder import PositionEmbedding
from tests.nn.macs import count_macs, decoder_macs, meta_model

SIDE = 128
"""Side of the test images: modules take any multiple of 32, and small ones are quick."""


def _pixels(batch: int) -> Any:
    return torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def _click(x: float, y: float) -> tuple[Any, Any]:
    return torch.tensor([[[x, y], [0.0, 0.0]]]), torch.tensor([[1, -1]])


def _copy(model: Any) -> Any:
    """A model of its own, on the same tensors, so that a shared one stays as it is."""
    twin = meta_model(model.variant)
    twin.load_state_dict(model.state_dict(), assign=True)
    return twin.requires_grad_(False)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("prompts", [1, 3])
def test_shapes(variant: str, prompts: int) -> None:
    """Followed through the model on tensors without data, so the big variants cost nothing."""
    model = meta_model(variant)
    record = model.variant
    neck = record.encoder.neck
    features = model.encode(torch.empty(2, 3, record.image_size, record.image_size, device="meta"))
    assert features[0].shape == (2, neck.width, neck.grid, neck.grid)
    for i, (x, (_, width)) in enumerate(zip(features[1:], neck.lateral, strict=True)):
        assert x.shape == (2, width, neck.grid << (i + 1), neck.grid << (i + 1))

    points = torch.empty(prompts, 4, 2, device="meta")
    labels = torch.ones(prompts, 4, dtype=torch.long, device="meta")
    one = tuple(x[:1] for x in features)
    for masks in (None, torch.empty(prompts, 1, LOGITS_SIZE, LOGITS_SIZE, device="meta")):
        logits, iou = model.decode(one, points, labels, masks)
        assert logits.shape == (prompts, 4, LOGITS_SIZE, LOGITS_SIZE)
        assert iou.shape == (prompts, 4)


@pytest.mark.parametrize("variant", ["nano", "l0"])
def test_batch_of_two_equals_two_singles(variant: str, seeded_model: Callable[[str], Any]) -> None:
    model = seeded_model(variant)
    pixels = _pixels(2)
    first, second = _click(30, 200), _click(220, 50)
    with torch.inference_mode():
        batch = model.encode(pixels)
        singles = [model.encode(pixels[i : i + 1]) for i in range(2)]
        for together, *alone in zip(batch, *singles, strict=True):
            torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)
        both = model.decode(singles[0], torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]))
        alone = [model.decode(singles[0], *prompt) for prompt in (first, second)]
    for together, *apart in zip(both, *alone, strict=True):
        torch.testing.assert_close(together, torch.cat(apart), rtol=0, atol=1e-3)
        assert not torch.allclose(together[0], together[1], rtol=0, atol=1e-2), "both prompts got one answer"


@pytest.mark.parametrize("variant", ["nano", "l0"])
def test_folding_norms_keeps_the_outputs(variant: str, seeded_model: Callable[[str], Any]) -> None:
    model = seeded_model(variant)
    folded = _copy(model).fold_norms_()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    pixels = _pixels(1)
    with torch.inference_mode():
        for before, after in zip(model.encode(pixels), folded.encode(pixels), strict=True):
            torch.testing.assert_close(after, before, rtol=0, atol=2e-4)


def test_frozen_norms_equal_norms_in_evaluation(seeded_model: Callable[[str], Any]) -> None:
    """Training with frozen statistics computes what inference computes."""
    model = _copy(seeded_model("nano"))
    pixels = _pixels(1)
    with torch.no_grad():
        expected = model.encode(pixels)
        model.train()
        for module in model.modules():
            if hasattr(module, "freeze_norm"):
                module.freeze_norm = True
        for got, wanted in zip(model.encode(pixels), expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=2e-4)


def _attention_by_definition(qkv: np.ndarray, head_dim: int) -> np.ndarray:
    """Row by row in float64: every token weighs all values by relu(q) . relu(k)."""
    batch, channels, height, width = qkv.shape
    heads = qkv.astype(np.float64).reshape(batch, channels // (3 * head_dim), 3, head_dim, height * width)
    q, k, v = np.maximum(heads[:, :, 0], 0), np.maximum(heads[:, :, 1], 0), heads[:, :, 2]
    weights = np.einsum("bhdn,bhdm->bhnm", q, k)
    out: np.ndarray = np.einsum("bhnm,bhdm->bhdn", weights, v) / (weights.sum(-1)[:, :, None] + 1e-15)
    return out.reshape(batch, channels // 3, height, width)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (16, 16), (7, 13)])
@pytest.mark.parametrize("head_dim", [16, 32])
def test_attention_equals_its_definition(height: int, width: int, head_dim: int) -> None:
    qkv = np.random.default_rng(0).standard_normal((2, 2 * 3 * head_dim, height, width)).astype(np.float32)
    got = attend(torch.from_numpy(qkv), head_dim)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), _attention_by_definition(qkv, head_dim), rtol=1e-4, atol=1e-5)


def test_attention_of_negative_keys_is_zero() -> None:
    """ReLU leaves nothing to divide by; the answer is zero, not NaN."""
    qkv = -torch.rand(1, 96, 4, 4) - 0.1
    assert torch.equal(attend(qkv, 32), torch.zeros(1, 32, 4, 4))


def test_attention_sums_in_float32() -> None:
    """Sums over 4096 tokens of values near 30 pass the 65504 of float16; the result, an average, does not."""
    qkv = torch.full((1, 96, 64, 64), 30.0, dtype=torch.float16)
    got = attend(qkv, 32)
    assert got.dtype == torch.float16
    torch.testing.assert_close(got, torch.full((1, 32, 64, 64), 30.0, dtype=torch.float16))


def test_autocast_leaves_alone_what_has_to_be_exact() -> None:
    torch.manual_seed(0)
    points, labels = torch.rand(2, 3, 2) * 1000, torch.tensor([[2, 3, 1], [1, 0, -1]])
    embedding, qkv = PositionEmbedding(64), torch.randn(1, 48, 8, 8)
    parts: list[Callable[[], Any]] = [
        lambda: embedding(points),
        lambda: draw_prompts(points, labels, None, (64, 64), None),
        lambda: attend(qkv, 16),
    ]
    for part in parts:
        expected = part()
        with torch.autocast("cpu", torch.bfloat16):
            assert part().equal(expected)


def test_attention_passes_nan_on() -> None:
    qkv = torch.rand(1, 96, 4, 4)
    qkv[0, 70, 2, 2] = torch.nan
    assert attend(qkv, 32).isnan().any()


def test_macs_of_known_layers() -> None:
    conv = torch.nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2, device="meta").requires_grad_(False)
    assert count_macs(conv, torch.empty(1, 6, 10, 10, device="meta")) == 5 * 5 * 8 * 3 * 9
    linear = torch.nn.Linear(7, 11, device="meta").requires_grad_(False)
    assert count_macs(linear, torch.empty(5, 7, device="meta")) == 5 * 7 * 11
    # Per head and token: (D + 1) x D products to gather keys and values, as many to read them; the +1 is the divisor.
    qkv = torch.empty(1, 2 * 96, 4, 4, device="meta")
    assert count_macs(attend, qkv, 32) == 2 * 16 * 2 * 33 * 32


def test_decoder_costs_grow_with_prompts() -> None:
    one, mask, four = decoder_macs("l0"), decoder_macs("l0", mask=True), decoder_macs("l0", prompts=4)
    assert one < mask < four
    assert four > 3 * one
