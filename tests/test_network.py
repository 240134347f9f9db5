"""The description of the network is that of the PyTorch modules, for the zoo's variants and for a made-up one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evsam.engines import native
from evsam.layers import encoder_ops
from evsam.network import Conv, conv_layer, describe_decoder, describe_encoder, expected_tensors, fold_norm
from evsam.transforms import image_to_pixels
from evsam.weights import Weights
from evsam.zoo import VARIANTS, Block, Variant, get_variant
from tests.golden.seeded_weights import seeded_state_dict


def made_up() -> Variant:
    """Every kind of block, in widths and places that no variant of the zoo has them in, and a sum of four maps."""
    stages = (
        (Block("conv", 24, stride=2), Block("res", 24, expand=2), Block("res", 40, expand=0.5)),
        (Block("fmb", 48, stride=2, expand=3), Block("ds", 56, 1, 1, 5), Block("ds", 56)),
        (Block("mb", 64, stride=2, expand=2.5, fewer_norm=True), Block("att", 64, expand=2)),
        (Block("res", 72, stride=2), Block("mb", 80, 1, 3, 5), Block("att", 80, 1, 4, 5, True, 3)),
        (Block("ds", 88, stride=2), Block("fmb", 88, expand=2)),
        (Block("conv", 96, stride=2),),
        (Block("mb", 96, stride=2, expand=2),),
    )
    nano = get_variant("nano")
    lateral = ((2, 40), (1, 24), (0, 16))
    neck = replace(nano.encoder.neck, stages=(6, 5, 4, 3), width=64, kind="fmb", depth=2, lateral=lateral)
    encoder = replace(nano.encoder, stages=stages, neck=neck, activation="gelu")
    decoder = replace(nano.decoder, dim=64, depth=3, heads=2, mlp_dim=96, mask_channels=(6, 10, 14))
    return replace(nano, name="made-up", encoder=encoder, decoder=decoder, bundled=None)


every_variant = pytest.mark.parametrize("variant", [*VARIANTS.values(), made_up()], ids=lambda variant: variant.name)


@every_variant
def test_tensors_are_those_of_the_modules(variant: Variant) -> None:
    pytest.importorskip("torch")
    from tests.nn.macs import meta_model

    state = {k: tuple(v.shape) for k, v in meta_model(variant).state_dict().items() if "num_batches" not in k}
    assert expected_tensors(variant) == state


@every_variant
def test_work_and_maps_are_those_of_the_modules(variant: Variant) -> None:
    torch = pytest.importorskip("torch")
    from tests.nn.macs import encoder_macs, meta_model

    encoder = describe_encoder(variant)
    assert sum(op.macs for op in encoder_ops(variant)) == encoder_macs(variant)
    model = meta_model(variant)
    image = torch.empty(1, *encoder.image.shape, device="meta")
    assert [x.shape for x in encoder.stages] == [tuple(x.shape[1:]) for x in model.image_encoder.backbone(image)]
    assert [x.shape for x in encoder.outputs] == [tuple(x.shape[1:]) for x in model.encode(image)]


@every_variant
def test_ops_can_run_in_their_order(variant: Variant) -> None:
    encoder, decoder = describe_encoder(variant), describe_decoder(variant)
    assert decoder.inputs[:-1] == encoder.outputs
    for network in (encoder, decoder):
        made = {x.name: x for x in network.inputs}
        for op in network.ops:
            assert all(made[x.name] == x for x in op.reads)
            assert op.name not in made
            made[op.name] = op.output
            if op.residual is not None:
                assert op.residual.shape == op.output.shape
        assert all(made[x.name] == x for x in network.outputs)
        assert len({op.label for op in network.ops}) == len(network.ops)
    assert {x.name for x in encoder.stages} <= {op.name for op in encoder.ops}


@every_variant
def test_every_tensor_is_read_by_one_op(variant: Variant) -> None:
    networks = (describe_encoder(variant), describe_decoder(variant))
    read = [name for network in networks for op in network.ops for name in op.tensors]
    assert sorted(read) == sorted(expected_tensors(variant))


@every_variant
def test_logits_and_scores(variant: Variant) -> None:
    logits, scores = describe_decoder(variant).outputs
    assert logits.shape == (4, 256, 256)
    assert scores.channels == 4


def test_a_sum_takes_two_maps_at_a_time() -> None:
    first, second = (op for op in describe_encoder(made_up()).ops if op.name in ("neck.input", "neck.input.1"))
    assert [x.size for x in first.reads] == [4, 8, 32]
    assert [(x.name, x.size) for x in second.reads] == [("neck.input2", 16), ("neck.input", 32)]


def test_other_image_sizes_change_maps_and_nothing_else() -> None:
    variant = get_variant("nano")
    small, large = describe_encoder(variant, 128), describe_encoder(variant)
    assert small.tensors == large.tensors
    assert [x.size for x in small.outputs] == [8, 16, 32, 64]
    assert [x.size for x in large.outputs] == [32, 64, 128, 256]


def test_the_engine_runs_a_made_up_variant() -> None:
    torch = pytest.importorskip("torch")
    from evsam.nn import EfficientViTSam

    variant = made_up()
    tensors = seeded_state_dict(dict(expected_tensors(variant)))
    model = EfficientViTSam(variant).eval().requires_grad_(False)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, strict=False)
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    engine = native.create(Weights(variant, tensors, None, {}), threads=1, device=None)
    (features,) = engine.encode([image])
    expected = model.encode(torch.from_numpy(image_to_pixels(image, 512))[None])
    for got, wanted in zip(features, expected, strict=True):
        np.testing.assert_allclose(got, wanted[0].numpy(), rtol=0, atol=2e-4)


def test_unknown_kind_of_block() -> None:
    variant = get_variant("nano")
    stages = ((Block("dense", 8),),)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind of block: expected one of conv, ds, res, fmb, mb, att, got 'dense'"):
        describe_encoder(replace(variant, encoder=replace(variant.encoder, stages=stages)))


# Numbers


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_reading_folds_the_norm(norm: bool, bias: bool) -> None:
    """Against the definition of a batch norm, on a 1x1 convolution."""
    rng = np.random.default_rng(0)
    conv = conv_layer("layer", 5, 7, norm=norm, bias=bias)
    tensors = {name: rng.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in conv.tensors.items()}
    weight, shift = conv.read(tensors)
    x = rng.standard_normal(5)
    y = tensors["layer.conv.weight"][:, :, 0, 0].astype(np.float64) @ x
    if bias:
        y = y + tensors["layer.conv.bias"]
    if norm:
        gain, offset, mean, variance = (
            tensors[f"layer.norm.{key}"].astype(np.float64) for key in ("weight", "bias", "running_mean", "running_var")
        )
        y = gain * (y - mean) / np.sqrt(variance + 1e-6) + offset
    assert weight.dtype == np.float32
    assert (shift is None) == (not norm and not bias)
    got = weight[:, :, 0, 0].astype(np.float64) @ x + (0 if shift is None else shift)
    np.testing.assert_allclose(got, y, rtol=1e-6)


def test_folding_is_the_same_on_tensors() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.5, 1.5, shape) for shape in ((4, 3, 2, 2), (4,), (4,), (4,), (4,), (4,))]
    tensors = [torch.from_numpy(array).requires_grad_() for array in arrays]
    for array, tensor in zip(fold_norm(*arrays), fold_norm(*tensors), strict=True):
        np.testing.assert_allclose(tensor.detach().numpy(), array, rtol=1e-14)
    fold_norm(*tensors)[0].sum().backward()
    assert tensors[2].grad is not None


def test_a_missing_tensor() -> None:
    with pytest.raises(KeyError, match=r"layer\.bias"):
        Conv("layer", 2, 2, bias=True).read({"layer.weight": np.zeros((2, 2, 1, 1), np.float32)})
