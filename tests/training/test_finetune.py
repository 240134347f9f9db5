"""Fine-tuning: recipes, what a step computes, and what a run leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest.mock
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from evsam.training import finetune
from evsam.training.data.pixels import FILL, normalise
from evsam.training.data.samples import Batch
from evsam.training.distributed import World
from evsam.training.finetune import RECIPES, FinetuneConfig, FinetuneTask, _photo_weights
from evsam.training.losses import mask_iou
from evsam.training.model import build_model, load_state
from evsam.training.prompts import deepest_click
from evsam.training.trainer import StepRandom
from tests.training.distributed_worker import config as worker_config
from tests.training.distributed_worker import photos
from tests.training.runs import settings, write

HERE = World(0, 1, torch.device("cpu"))


def test_the_papers_recipe_is_the_papers() -> None:
    paper, code = RECIPES["paper"], RECIPES["authors-code"]
    assert (paper.mask_loss, paper.answers, paper.iou, paper.choice) == ("focal", "three", 0, 0)
    assert (code.mask_loss, code.answers, code.iou) == ("points", "three-or-one", 0)
    for recipe in (paper, code):
        assert recipe.prompts.clicks == (1, 10)
        assert recipe.prompts.box == 0.5
        assert recipe.prompts.negative == recipe.prompts.jitter == 0
        assert recipe.rounds == (1.0,)


def test_a_run_leaves_curves_pictures_and_its_configuration(run: Path, data_dir: Path) -> None:
    lines = [json.loads(line) for line in (run / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert {"loss", "lr", "images_per_second", "minutes_left", "waiting", "box"} <= set(lines[0])
    assert {"box", "click1", "ellipse", "box_best"} <= set(lines[-1]["validation"]["blobs"])
    assert [p.name for p in (run / "pictures").rglob("*.jpg")] == ["blobs-0.jpg"]
    full = yaml.safe_load((run / "config.yaml").read_text())
    assert FinetuneConfig.model_validate(full) == FinetuneConfig.model_validate(settings(data_dir))
    assert full["recipe"]["iou"] == 3.0  # defaults are spelt out


def test_two_processes_start_from_another_run(run: Path, data_dir: Path, tmp_path: Path) -> None:
    config = write(tmp_path / "tiny.yaml", settings(data_dir, start=str(run)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "evsam.training.finetune", str(config), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert load_state(tmp_path / "run").step == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": {"image_size": 1024}}, "samples.image_size: nano reads images of 512, got 1024"),
        ({"samples": {"sizes": [256, 512]}}, "samples.sizes: nano hands finer maps"),
    ],
)
def test_samples_have_to_fit_the_variant(
    changes: dict[str, Any], message: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path / "tiny.yaml", settings(data_dir, **changes))
    assert finetune.main([str(config), "--out", str(tmp_path / "run")]) == 1
    assert message in capsys.readouterr().err


def test_several_sizes_fill_the_same_grid(data_dir: Path, tmp_path: Path) -> None:
    """Multi-resolution, on l0, whose neck makes a grid of 64 x 64 cells of every photo."""
    samples = {
        "size": 512,
        "image_size": 512,
        "sizes": [128, 192],
        "masks": 2,
        "scale": [1, 1],
        "stretch": 0,
        "shift": False,
        "paste": 0,
    }
    content = settings(data_dir, variant="l0", samples=samples, batch={"images": 1}, validation={})
    config = FinetuneConfig.model_validate(content)
    from evsam.training.distributed import World
    from evsam.training.trainer import StepRandom

    trained = finetune.build(config, World(0, 1, torch.device("cpu")))
    sizes = set()
    for number, batch in zip(range(4), trained.loader(0), strict=False):
        sizes.add(batch.images.shape[1])
        assert batch.targets.shape[-2:] == (256, 256)
        if number == 0:
            loss, _ = trained.task(batch, StepRandom(0, 0))
            assert torch.isfinite(loss)
    assert sizes == {128, 192}


def test_bfloat16_is_close_to_float32() -> None:
    found, batch = {}, photos(0, 1)
    for dtype in (torch.float32, torch.bfloat16):
        model = build_model(worker_config("ddp", 1, 1), HERE.device)
        task = FinetuneTask(model, RECIPES["evsam"].model_copy(update={"rounds": (1.0,)})).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss, _ = task(batch, StepRandom(0, 0))
        loss.backward()
        gradients = [p.grad.flatten() for p in task.parameters() if p.grad is not None]
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        found[dtype] = loss.item(), torch.cat(gradients)
    (exact, full), (loss, narrow) = found.values()
    assert loss != exact
    assert loss == pytest.approx(exact, rel=0.03)
    assert torch.cosine_similarity(full, narrow, dim=0) > 0.9


def test_padding_stays_zero_when_colours_change() -> None:
    batch = photos(0, 1)
    batch.images[:, 40:] = torch.tensor(FILL, dtype=torch.uint8)
    model = build_model(worker_config("ddp", 1, 1), HERE.device)
    encode = unittest.mock.Mock(side_effect=model.encode)
    model.encode = encode
    recipe = RECIPES["evsam"].model_copy(update={"rounds": (1.0,)})
    FinetuneTask(model, recipe)(batch, StepRandom(0, 0))
    pixels = encode.call_args.args[0]
    assert not pixels[:, :, 40:].any()
    assert not pixels[:, :, :40].equal(normalise(batch.images)[:, :, :40])


def test_each_photo_weighs_the_same_however_many_masks_it_has() -> None:
    weights = _photo_weights(torch.tensor([0, 0, 0, 1]), 2)
    assert weights.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_prompts_of_all_rounds_lie_in_the_crop_wherever_that_is_said_to_be() -> None:
    batch = photos(0, 1)
    side = batch.targets.shape[-1] * 4
    assert side < 1024
    model = build_model(worker_config("ddp", 1, 1), HERE.device)
    decode = unittest.mock.Mock(side_effect=model.decode)
    model.decode = decode
    FinetuneTask(model, RECIPES["evsam"].model_copy(update={"rounds": (0.0, 0.0, 1.0)}))(batch, StepRandom(0, 0))
    assert len(decode.call_args_list) == 3
    origins = []
    for number, call in enumerate(decode.call_args_list):
        _, points, labels, _, origin = call.args
        assert points.shape[1] == batch.points.shape[1] + number
        inside = points - origin[:, None]
        assert inside[labels >= 0].min() >= 0
        assert inside[labels >= 0].max() <= side
        assert (origin + side).max() <= 1024
        origins.append(origin)
    assert origins[0].max() > 100
    assert origins[0].equal(origins[2])
    assert len(origins[0].unique(dim=0)) == len(batch.images)


def asked(**recipe: Any) -> tuple[list[Any], list[tuple[torch.Tensor, torch.Tensor]], Batch, dict[str, torch.Tensor]]:
    """What the decoder is asked in a step, what it answers, the batch, and the step's metrics."""
    batch = photos(0, 1)
    model = build_model(worker_config("ddp", 1, 1), HERE.device)
    answers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def answer(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        answers.append(original(*arguments))
        return answers[-1]

    original, model.decode = model.decode, unittest.mock.Mock(side_effect=answer)
    loss, metrics = FinetuneTask(model, RECIPES["evsam"].model_copy(update=recipe))(batch, StepRandom(0, 0))
    loss.backward()
    assert torch.isfinite(loss)
    return model.decode.call_args_list, answers, batch, metrics


@pytest.mark.parametrize("drawn", [0.0, 1.0])
def test_a_mask_is_shown_alone_and_wanted_back(drawn: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "DRAWN_SHARE", drawn)
    calls, answers, batch, metrics = asked(rounds=(1.0,), mask_alone=1.0)
    assert len(calls) == 2
    _, points, labels, shown, _ = calls[1].args
    assert points.shape == (len(batch.targets), 0, 2), "not even the padding of clicks, as users' masks come"
    assert labels.shape == points.shape[:2]
    target = batch.targets.float()[:, None]
    expected = 20 * (target > 0.5).float() - 10 if drawn else answers[0][0][:, :1].detach()
    assert shown.equal(expected)
    assert metrics["mask_alone"] == pytest.approx(mask_iou(answers[1][0], (shown > 0).float())[:, 0].mean())
    _, _, _, without = asked(rounds=(1.0,), mask_alone=0.0)
    assert without["mask_alone"].isnan()


def test_masks_alone_are_learnt_as_they_were_shown() -> None:
    task = FinetuneTask(build_model(worker_config("ddp", 1, 1), HERE.device), RECIPES["evsam"])
    target = photos(0, 1).targets.float()[:, None]
    other = torch.roll(target, 9, dims=-1) * 20 - 10
    weight = torch.full((len(target),), 1 / len(target))
    ious = mask_iou(other, target).expand(-1, 4)
    same, back = task._loss_alone(other.repeat(1, 4, 1, 1), ious, other, target, weight)
    wrong, not_back = task._loss_alone((target * 20 - 10).repeat(1, 4, 1, 1), ious, other, target, weight)
    assert back == 1
    assert not_back < 0.9
    assert same < 0.01 * wrong, "predicted IoU is that with the object, all the same"


def test_a_forgetful_round_shows_its_click_as_users_give_it() -> None:
    calls, _, batch, _ = asked(rounds=(0.0, 0.0, 1.0), forget=1.0)
    assert [call.args[1].shape[1] for call in calls] == [batch.points.shape[1], 2, 2]
    for call in calls[1:]:
        _, _, labels, masks, _ = call.args
        assert (labels[:, 0] >= 0).all()
        assert (labels[:, 1] == -1).all()
        assert masks is not None


def test_clicks_may_be_where_evaluation_clicks() -> None:
    found = [asked(rounds=(0.0, 1.0), forget=1.0, deepest=deepest) for deepest in (0.0, 1.0)]
    for deepest, (calls, answers, batch, _) in enumerate(found):
        origin = calls[1].args[4]
        points, _ = deepest_click(answers[0][0][:, :1], batch.targets.float()[:, None])
        same = torch.isclose(calls[1].args[1][:, :1] - origin[:, None], points * 4).all()
        assert same == bool(deepest)


def test_the_chosen_mask_learns_in_place_of_the_best() -> None:
    target = photos(0, 1).targets.float()[:, None]
    count = len(target)
    logits = 9 * (target * 2 - 1).repeat(1, 4, 1, 1)
    logits[:, 2:] *= -1  # the second and third of the three are wrong
    weight, step = torch.full((count,), 1 / count), StepRandom(0, 0)
    model = build_model(worker_config("ddp", 1, 1), HERE.device)
    losses = {}
    for chosen in (0.0, 1.0):
        recipe = RECIPES["evsam"].model_copy(update={"chosen": chosen, "iou": 0.0, "choice": 0.0})
        for name, order in {"right": (0.5, 9.0, 0.0, 0.0), "wrong": (0.5, 0.0, 9.0, 0.0)}.items():
            iou = torch.tensor([order]).repeat(count, 1)
            losses[chosen, name] = FinetuneTask(model, recipe)._loss(logits, iou, target, weight, step)[0].item()
    assert losses[0.0, "right"] == losses[0.0, "wrong"] == pytest.approx(losses[1.0, "right"])
    assert losses[1.0, "wrong"] > 2 * losses[1.0, "right"]


def test_errors_of_predicted_iou_are_squared_or_absolute() -> None:
    model = build_model(worker_config("ddp", 1, 1), HERE.device)
    iou, real = torch.tensor([[0.5, 0.0]]), torch.tensor([[0.0, 1.0]])
    found = [
        FinetuneTask(model, RECIPES["evsam"].model_copy(update={"iou_error": kind}))._iou_error(iou, real).tolist()
        for kind in ("squared", "absolute")
    ]
    assert found == [[0.625], [0.75]]
