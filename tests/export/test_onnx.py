"""Exported models: names, shapes, and that they compute what PyTorch's modules do."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

from onnx import helper

import evsam
from evsam import EvsamError
from evsam.embedding import embedding_shapes
from evsam.engines.onnxruntime import open_session
from evsam.export.folder import ExportFolder
from evsam.export.onnx import build_decoder, build_encoder, export_onnx
from evsam.export.options import MASKS, PLUGINS, ExportOptions, decoder_interface, encoder_interface
from evsam.export.triton import export_triton
from evsam.nn import EfficientViTSam
from evsam.transforms import fitted_size, image_to_pixels, upscale_logits
from tests.export.networks import weights_of
from tests.own_variants import NANO_LIKE, SAM_LIKE, own_weights
from tests.test_network import made_up

RNG = np.random.default_rng(0)

OWN = {"own-sam": SAM_LIKE, "own-nano": NANO_LIKE}


@pytest.fixture(scope="module", params=["nano", "l0"])
def variant(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(variant) -> EfficientViTSam:
    made = EfficientViTSam(variant)
    tensors = {name: torch.tensor(np.asarray(value)) for name, value in weights_of(variant).tensors.items()}
    made.load_state_dict(tensors, strict=False)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("plugins", [frozenset(), frozenset(PLUGINS)])
def test_encoder(variant, model, plugins) -> None:
    made = build_encoder(weights_of(variant), ExportOptions(plugins=plugins))
    assert {node.op_type for node in made.graph.node if node.domain} <= plugins
    session = open_session(made.SerializeToString())
    pixels = RNG.standard_normal((2, 3, 512, 512)).astype(np.float32)
    found = session.run(None, {"images": pixels})
    for a, b in zip(found, model.encode(torch.from_numpy(pixels)), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=2e-4)


@pytest.mark.parametrize("plugins", [frozenset(), frozenset(PLUGINS)])
@pytest.mark.parametrize("variant", [made_up(), SAM_LIKE], ids=lambda variant: variant.name)
def test_made_up_variants(variant, plugins) -> None:
    """Every kind of block, a sum of four maps, two filters in one stage, other widths: from its record alone."""
    weights = own_weights(variant)
    model = EfficientViTSam(variant).eval().requires_grad_(False)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.tensors.items()}, strict=False)
    pixels = RNG.standard_normal((1, 3, variant.image_size, variant.image_size)).astype(np.float32)
    features = model.encode(torch.from_numpy(pixels))
    session = open_session(build_encoder(weights, ExportOptions(plugins=plugins)).SerializeToString())
    for a, b in zip(session.run(None, {"images": pixels}), features, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=2e-4)
    points, labels = torch.tensor([[[300.0, 400.0], [0.0, 0.0]]]), torch.tensor([[1, -1]])
    expected = model.decode(features, points, labels)
    given = {f"lateral_{i}": x.numpy() for i, x in enumerate(features[1:])} | {
        "image_embeddings": features[0].numpy(),
        "point_coords": points.numpy(),
        "point_labels": labels.numpy().astype(np.float32),
        "mask_input": np.zeros((1, 1, 256, 256), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
    }
    decoder = open_session(build_decoder(weights).SerializeToString())
    for a, b in zip(decoder.run(["low_res_masks", "iou_predictions"], given), expected, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-3)


def test_half_precision_plugins_equal_the_plain_flavour(variant) -> None:
    pixels = RNG.standard_normal((1, 3, 512, 512)).astype(np.float32)
    answers = []
    for plugins in (frozenset(), frozenset(PLUGINS)):
        made = build_encoder(weights_of(variant), ExportOptions("fp16", plugins))
        if plugins:
            assert {"EvsamLiteMLA", "EvsamLayerNorm2d"} <= {node.op_type for node in made.graph.node}
        answers.append(open_session(made.SerializeToString()).run(None, {"images": pixels}))
    for a, b in zip(*answers, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-2 * np.abs(b).max())


def feed(variant: str, points: np.ndarray, labels: np.ndarray, mask: np.ndarray | None) -> dict[str, np.ndarray]:
    shapes = embedding_shapes(variant)
    names = ["image_embeddings", *(f"lateral_{i}" for i in range(len(shapes) - 1))]
    rng = np.random.default_rng(1)
    return {
        **{
            name: rng.standard_normal((1, *shape)).astype(np.float32) for name, shape in zip(names, shapes, strict=True)
        },
        "point_coords": points,
        "point_labels": labels.astype(np.float32),
        # what does not count may be anything
        "mask_input": np.full((1, 1, 256, 256), np.nan, np.float32) if mask is None else mask,
        "has_mask_input": np.array([mask is not None], np.float32),
    }


@pytest.mark.parametrize("count", [0, 2, 3])
@pytest.mark.parametrize("masks", [0, 1, 3])
def test_decoder(variant, model, count, masks) -> None:
    session = open_session(build_decoder(weights_of(variant)).SerializeToString())
    points = RNG.uniform(0, 1000, (3, count, 2)).astype(np.float32)
    labels = np.array([[1, -1, 0], [1, 0, -1], [2, 3, 1]])[:, :count]
    mask = RNG.standard_normal((masks, 1, 256, 256)).astype(np.float32) * 5 if masks else None
    given = feed(variant, points, labels, mask)
    scores, logits = session.run(["iou_predictions", "low_res_masks"], given)
    features = tuple(torch.from_numpy(v) for k, v in given.items() if k.startswith(("image_emb", "lateral")))
    prompt = None if mask is None else torch.from_numpy(np.broadcast_to(mask, (3, 1, 256, 256)).copy())
    low, iou = model.decode(features, torch.from_numpy(points), torch.from_numpy(labels), prompt)
    np.testing.assert_allclose(logits, low.numpy(), rtol=0, atol=2e-3)
    np.testing.assert_allclose(scores, iou.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(400, 600), (97, 1999), (3, 700), (1024, 1024)])
def test_masks_at_the_size_of_the_image(size) -> None:
    options = ExportOptions(masks="single", image_size_masks=True)
    session = open_session(build_decoder(weights_of("nano"), options).SerializeToString())
    given = feed("nano", np.full((2, 2, 2), 300, np.float32), np.array([[1, -1], [2, 3]]), None)
    masks, logits = session.run(["masks", "low_res_masks"], {**given, "orig_im_size": np.array(size, np.float32)})
    assert masks.shape == (2, 1, *size)
    np.testing.assert_allclose(masks, upscale_logits(logits, fitted_size(size), size), rtol=0, atol=1e-3)


def test_selection(photo) -> None:
    image, side = photo("coffee.png"), (400, 600)
    sam = evsam.load("nano", engine="onnxruntime")
    embedding = sam.encode(image)
    from evsam.prompts import read_prompts

    sessions = {
        kind: open_session(build_decoder(weights_of("nano"), ExportOptions(masks=kind)).SerializeToString())
        for kind in ("single", "multi", "auto")
    }
    for prompt in ({"points": [(300, 200)]}, {"box": (100, 80, 400, 300)}, {"points": [(300, 200), (10, 10)]}):
        (read,) = read_prompts(side, fitted_size(side), **prompt).groups
        given = feed("nano", read.points, read.labels, None)
        given.update(zip(list(given)[:4], (array[None] for array in embedding.arrays), strict=True))
        for kind, multimask in (("single", False), ("multi", True), ("auto", None)):
            expected = sam.predict(embedding, multimask=multimask, **prompt)
            logits, scores = expected.logits, expected.scores
            if kind == "auto":
                best = scores.argmax(1)
                logits, scores = logits[:, best[0]][:, None], scores[:, best[0]][:, None]
            found = sessions[kind].run(["low_res_masks", "iou_predictions"], given)
            np.testing.assert_allclose(found[0], logits, rtol=0, atol=1e-4)
            np.testing.assert_allclose(found[1], scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize("given", [False, True])
def test_a_click_with_a_mask_is_not_ambiguous(given) -> None:
    sessions = {
        kind: open_session(build_decoder(weights_of("nano"), ExportOptions(masks=kind)).SerializeToString())
        for kind in ("single", "multi", "auto")
    }
    mask = np.where(np.add.outer(np.arange(256), np.arange(256)) < 200, 10, -10).astype(np.float32)[None, None]
    prompts = feed("nano", np.full((1, 1, 2), 300, np.float32), np.array([[1]]), mask if given else None)
    single, multi, auto = (
        sessions[kind].run(["low_res_masks", "iou_predictions"], prompts) for kind in ("single", "multi", "auto")
    )
    best = multi[1].argmax()
    of_three = multi[0][:, best][:, None], multi[1][:, best][:, None]
    assert np.abs(of_three[0] - single[0]).max() > 0.1
    for found, expected in zip(auto, single if given else of_three, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_interface_and_layer_norms(variant) -> None:
    options = ExportOptions(image_size_masks=True)
    encoder, decoder = build_encoder(weights_of(variant)), build_decoder(weights_of(variant), options)
    for made, interface in ((encoder, encoder_interface(variant)), (decoder, decoder_interface(variant, options))):
        for entries, tensors in ((made.graph.input, interface.inputs), (made.graph.output, interface.outputs)):
            found = {e.name: tuple(d.dim_param or d.dim_value for d in e.type.tensor_type.shape.dim) for e in entries}
            assert found == {tensor.name: tensor.shape for tensor in tensors}
        assert "LayerNormalization" in {node.op_type for node in made.graph.node}


def stated_interface() -> list[tuple[str, str, str, str, str]]:
    """Rows of the table in docs/export.md: model, in or out, name, shape, dtype."""
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (encoder|decoder) \| (in|out) \| `([^`]+)` \| ([^|]+) \| (\w+) \|", text, re.MULTILINE)
    assert len(rows) == 13
    return rows


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("image_size_masks", [False, True])
def test_documented_inputs_and_outputs(variant, masks, image_size_masks) -> None:
    options = ExportOptions(masks=masks, image_size_masks=image_size_masks)
    models = {"encoder": build_encoder(weights_of(variant)), "decoder": build_decoder(weights_of(variant), options)}
    channels, side = embedding_shapes(variant)[0][:2]
    letters = {"S": 512, "C": channels, "G": side, "M": MASKS[masks]}
    laterals = embedding_shapes(variant)[1:]
    expected = []
    for model, kind, name, shape, dtype in stated_interface():
        if name in ("orig_im_size", "masks") and not image_size_masks:
            continue
        for i in range(len(laterals) if "<i>" in name else 1):
            given = letters | ({"C_i": laterals[i][0], "G_i": laterals[i][1]} if "<i>" in name else {})
            lengths = [given.get(part, int(part) if part.isdigit() else part) for part in shape.split(", ")]
            expected.append((model, kind, name.replace("<i>", str(i)), lengths, dtype))
    found = [
        (
            model,
            kind,
            value.name,
            [length.dim_param or length.dim_value for length in value.type.tensor_type.shape.dim],
            helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
        )
        for model, made in models.items()
        for kind, values in (("in", made.graph.input), ("out", made.graph.output))
        for value in values
    ]
    assert sorted(found) == sorted(expected)


def test_documented_preparation_of_photos() -> None:
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    numbers = re.search(r"mean \(([\d., ]+)\).*standard deviation \(([\d., ]+)\)", text.replace("\n", " "))
    assert numbers is not None
    mean, std = (np.array([float(x) for x in group.split(",")], np.float32) for group in numbers.groups())
    image = RNG.integers(0, 256, (256, 512, 3), np.uint8)
    pixels = np.zeros((3, 512, 512), np.float32)
    pixels[:, :256] = ((image - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(image_to_pixels(image, 512), pixels, rtol=1e-6)


OPSET_FORMATS = {17: 8, 20: 9}
"""IR versions that onnx released with these opsets; onnxruntime 1.16 and 1.17 read up to 9, the former opset 19."""


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("opset", OPSET_FORMATS)
@pytest.mark.parametrize("weights", [*OWN, "nano"], ids=str)
def test_opset_and_format(weights, opset, precision) -> None:
    """Both opsets compute the same; the default is the one for old versions of onnxruntime."""
    given = weights_of("nano") if weights == "nano" else own_weights(OWN[weights])
    options = ExportOptions(precision, image_size_masks=True, opset=opset)
    for build in (build_encoder, build_decoder):
        made = build(given, options)
        assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", opset)]
        assert made.ir_version == OPSET_FORMATS[opset]
        assert ("Gelu" in {node.op_type for node in made.graph.node}) <= (opset == 20)
        other = build(given, replace(options, precision="fp32", opset=37 - opset))
        feeds: dict[str, np.ndarray] = {}
        lengths = {"batch": 1, "images": 1, "prompts": 2, "points": 3, "mask_prompts": 1}
        for entry in made.graph.input:
            shape = [lengths.get(d.dim_param, d.dim_value) for d in entry.type.tensor_type.shape.dim]
            feeds[entry.name] = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        if build is build_decoder:
            feeds["point_coords"] *= 200
            feeds["point_labels"] = np.array([[1, 0, -1], [2, 3, 1]], np.float32)
            feeds["orig_im_size"] = np.array([60, 80], np.float32)
        answers = [open_session(model.SerializeToString()).run(None, feeds) for model in (made, other)]
        for a, b in zip(*answers, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=(1e-5 if precision == "fp32" else 2e-2) * np.abs(b).max())
    assert ExportOptions().opset == 17


def test_models_with_plugins_have_overloads() -> None:
    made = build_encoder(weights_of("nano"), ExportOptions("fp16", frozenset(PLUGINS)))
    assert made.ir_version == 10
    assert {entry.version for entry in made.opset_import if not entry.domain} == {17}
    assert {entry.version for f in made.functions for entry in f.opset_import} == {17}


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        (ExportOptions(masks="auto"), "export it with --masks all"),
        (ExportOptions(image_size_masks=True), "export it without --image-size-masks"),
    ],
)
def test_folder_for_other_programs_is_refused_with_a_cure(tmp_path, options, cure) -> None:
    export_onnx(weights_of("nano"), tmp_path, options)
    with pytest.raises(EvsamError, match=cure):
        evsam.load(tmp_path)


def test_folder_loads_and_becomes_a_triton_repository(tmp_path, photo) -> None:
    image = photo("coffee.png")
    folder, models = export_onnx(weights_of("nano"), tmp_path / "nano")
    assert models.report is None
    exported, native = evsam.load(tmp_path / "nano"), evsam.load("nano")
    assert exported.engine.name == "onnxruntime"
    assert exported.fingerprint == native.fingerprint
    a, b = (sam.predict(image, box=(100, 80, 400, 300)).best() for sam in (exported, native))
    assert (a == b).mean() > 0.999
    with pytest.raises(evsam.WeightsError, match="expected l0, got nano"):
        evsam.load(tmp_path / "nano", variant="l0")
    root = export_triton(folder, tmp_path / "triton", max_batch=4)
    config = (root / "models" / "evsam_nano_encoder" / "config.pbtxt").read_text()
    assert "max_batch_size: 4" in config
    assert "dims: [ 3, 512, 512 ]" in config
    assert (root / "models" / "evsam_nano_decoder" / "1" / "model.onnx").read_bytes() == folder.read("decoder")
    content = bytearray(folder.read("decoder"))
    content[len(content) // 2] ^= 1  # as long as before
    (tmp_path / "nano" / "decoder.onnx").write_bytes(content)
    with pytest.raises(evsam.EvsamError, match=r"decoder\.onnx: expected SHA-256 [0-9a-f]{64}, .* got [0-9a-f]{64}"):
        evsam.load(tmp_path / "nano")
    (tmp_path / "nano" / "encoder.onnx").write_bytes(b"x")
    with pytest.raises(evsam.EvsamError, match=r"encoder\.onnx: expected .* bytes"):
        ExportFolder.open(tmp_path / "nano").read("encoder")
