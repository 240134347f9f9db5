"""The loop: learning rate, exact resume, accumulation, averaging, and what is said of problems."""

from __future__ import annotations

import json
import logging
import math
import unittest.mock
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from evsam.training import checkpoints
from evsam.training.callbacks import Callback, Curves
from evsam.training.config import OptimConfig
from evsam.training.distributed import World
from evsam.training.finetune import RECIPES, FinetuneTask, Recipe
from evsam.training.model import build_model, load_state
from evsam.training.trainer import (
    Average,
    Meter,
    StepRandom,
    Trained,
    Trainer,
    TrainingError,
    Validate,
    scaled_rate,
    schedule,
    total_steps,
)
from tests.training.distributed_worker import InPlace, config, photos
from tests.training.tiny import student


def test_learning_rate() -> None:
    plain = OptimConfig(lr=2e-6, epochs=2, reference_batch=256)
    assert scaled_rate(plain, 64) == 2e-6
    assert scaled_rate(plain.model_copy(update={"scaling": "linear"}), 64) == pytest.approx(5e-7)
    assert scaled_rate(plain.model_copy(update={"scaling": "sqrt"}), 64) == pytest.approx(1e-6)
    assert total_steps(plain, epoch=1000, batch=64) == 32
    assert total_steps(OptimConfig(steps=7), epoch=1000, batch=64) == 7


def test_schedule_rises_and_falls() -> None:
    optim = OptimConfig(steps=100, warmup=9, final=0.1)
    assert schedule(optim, 0, 0.0) == pytest.approx(0.1, rel=1e-3)
    assert schedule(optim, 50, 0.5) == pytest.approx(0.55)
    assert schedule(optim, 100, 1.0) == pytest.approx(0.1)
    assert schedule(optim.model_copy(update={"schedule": "constant"}), 99, 0.99) == 1.0


HERE = World(0, 1, torch.device("cpu"))


class Loader:
    """Endless batches of one photo each, by number."""

    def __init__(self, start: int, images: int = 1) -> None:
        self.start, self.images = start, images

    def __iter__(self) -> Iterator[Any]:
        number = self.start
        while True:
            yield photos(number * self.images, self.images)
            number += 1


def trainer(
    out: Path,
    steps: int | None = 6,
    images: int = 1,
    accumulate: int = 1,
    recipe: Recipe = RECIPES["evsam"],
    kind: type[FinetuneTask] = FinetuneTask,
    callbacks: tuple[Callback, ...] = (),
    validate: Validate | None = None,
    **optim: Any,
) -> Trainer:
    settings = config("ddp", 1, images)
    settings = settings.model_copy(
        update={
            "batch": settings.batch.model_copy(update={"accumulate": accumulate}),
            "optim": OptimConfig(**{"lr": 1e-3, "steps": steps, "warmup": 2, "ema": 0.9, **optim}),
            "log": settings.log.model_copy(update={"checkpoint_minutes": 0.0, "keep": 2}),
        }
    )
    model = build_model(settings, HERE.device)
    load: Callable[[int], Any] = lambda seen: Loader(seen // images, images)  # noqa: E731
    return Trainer(Trained(kind(model, recipe), model, load, 10, validate=validate), settings, out, HERE, callbacks)


class Killed(Exception):
    """What stops a run in a test."""


class Killer(Callback):
    """Stops a run after a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def on_step(self, step: int, values: Mapping[str, float]) -> None:
        """Stop, before the checkpoint of this step is written."""
        if step == self.at:
            raise Killed


def losses(out: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (out / "curves.jsonl").read_text().splitlines()]
    assert len({line["step"] for line in lines}) == len(lines)
    return {line["step"]: line["loss"] for line in lines}


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    through = trainer(whole, callbacks=(Curves(whole),))
    through.run()
    with pytest.raises(Killed):
        trainer(cut, callbacks=(Curves(cut), Killer(4))).run()
    again = trainer(cut, callbacks=(Curves(cut),))
    assert again.step == 3
    again.run()
    assert losses(cut) == losses(whole)
    assert sorted(losses(whole)) == [1, 2, 3, 4, 5, 6]
    for name, parameter in through.model.named_parameters():
        assert again.model.get_parameter(name).equal(parameter), name
        assert again.average.parameters[name].equal(through.average.parameters[name]), name
    assert [path.name for path in sorted(checkpoints.folder(cut).iterdir())] == ["step-000000005", "step-000000006"]


def test_a_run_with_another_batch_goes_on_with_the_next_photos(tmp_path: Path) -> None:
    trainer(tmp_path, steps=4).run()
    again = trainer(tmp_path, steps=6, images=2)
    load = unittest.mock.Mock(side_effect=again.trained.loader)
    again.trained.loader = load
    again.run()
    load.assert_called_once_with(4)
    assert again.photos == 8


@pytest.mark.parametrize("images", [1, 2, 4])
def test_epochs_are_kept_with_another_batch(images: int, tmp_path: Path) -> None:
    trainer(tmp_path, steps=None, epochs=0.6).run()  # of ten photos
    again = trainer(tmp_path, steps=None, epochs=1.6, images=images)
    again.run()
    assert 16 <= again.photos < 16 + images
    assert again.rate == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi * (again.photos - images) / 16)))


def test_a_validation_that_was_stopped_is_made_up_for(tmp_path: Path) -> None:
    validated: list[int] = []

    def validate(model: Any, where: World) -> Any:
        validated.append(1)
        if len(validated) == 1:
            raise Killed
        return {"blobs": {"box": 0.5}}, {}

    with pytest.raises(Killed):
        trainer(tmp_path, steps=2, callbacks=(Curves(tmp_path),), validate=validate).run()
    with (tmp_path / "curves.jsonl").open("a") as file:
        file.write('{"step": 1, "half')  # as a kill can leave it
    trainer(tmp_path, steps=2, callbacks=(Curves(tmp_path),), validate=validate).run()
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert lines[-1]["validation"] == {"blobs": {"box": 0.5}}


def test_a_checkpoint_that_was_being_written_does_not_count(tmp_path: Path) -> None:
    first = trainer(tmp_path, steps=2)
    first.run()
    half = checkpoints.folder(tmp_path) / "step-000000009.part"
    half.mkdir()
    assert trainer(tmp_path, steps=4).step == 2
    first.step = 9
    first.save()
    assert not half.exists()


def test_runs_are_read_with_their_averaged_weights(tmp_path: Path) -> None:
    run = trainer(tmp_path, steps=3)
    run.run()
    (tmp_path / "config.yaml").write_text("variant: nano\n")
    loaded = load_state(tmp_path)
    assert loaded.step == 3
    assert loaded.state.keys() == run.model.state_dict().keys() - {
        name for name in run.model.state_dict() if name.endswith("num_batches_tracked") and name not in loaded.state
    }
    for name, value in run.average.state().items():
        assert loaded.state[name].equal(value), name
    moved = [name for name, p in run.model.named_parameters() if not loaded.state[name].equal(p)]
    assert len(moved) > 100
    last = load_state(tmp_path, averaged=False).state
    for name, parameter in run.model.named_parameters():
        assert last[name].equal(parameter), name


def test_without_average_the_weights_themselves_are_published(tmp_path: Path) -> None:
    run = trainer(tmp_path, steps=2, ema=None)
    run.run()
    (tmp_path / "config.yaml").write_text("variant: nano\n")
    loaded = load_state(tmp_path)
    for name, parameter in run.model.named_parameters():
        assert loaded.state[name].equal(parameter), name


def test_the_tail_is_averaged_evenly() -> None:
    model = student()
    weights = list(model.parameters())
    average = Average(model, None, first=2)
    for step, value in enumerate((7.0, 5.0, 1.0, 2.0, 6.0)):
        for weight in weights:
            weight.data.fill_(value)
        average.update(step)
        mean = next(iter(average.parameters.values())).flatten()[0].item()
        assert mean == pytest.approx((7.0, 5.0, 1.0, 1.5, 3.0)[step])
    name, _ = next(model.named_parameters())
    assert average.state()[name].flatten()[0].item() == pytest.approx(3.0)


@pytest.mark.parametrize(("step", "decay"), [(1, 2 / 11), (8, 0.5), (70, 71 / 80), (81, 0.9), (10**6, 0.9)])
def test_averages_move_by_the_decay_after_a_warm_up(step: int, decay: float) -> None:
    model = student()
    average = Average(model, 0.9)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    average.update(step)
    state = average.state()
    for name, value in before.items():
        torch.testing.assert_close(state[name], value + (1 - decay), rtol=0, atol=1e-5, msg=name)


def test_what_a_process_draws_depends_on_all_that_names_it() -> None:
    one = StepRandom(0, 3, 1)
    others = [StepRandom(1, 3, 1), StepRandom(0, 4, 1), StepRandom(0, 3, 0)]
    own = {r.own("clicks").random() for r in (one, *others)} | {one.own("rounds").random()}
    assert len(own) == 5
    tensors = {float(torch.rand(1, generator=r.generator("clicks"))) for r in (one, *others)}
    assert len(tensors) == 4
    assert one.own("clicks").random() == StepRandom(0, 3, 1).own("clicks").random()
    shared = [r.shared("clicks").random() for r in (one, *others)]
    assert shared[0] == shared[3]  # whatever the rank
    assert len(set(shared)) == 3


def test_accumulated_micro_batches_are_one_batch(tmp_path: Path) -> None:
    plain = RECIPES["evsam"].model_copy(update={"colour": False, "rounds": (1.0,)})
    gradients = []
    for images, accumulate in ((2, 1), (1, 2)):
        run = trainer(
            tmp_path / str(images), images=images, accumulate=accumulate, recipe=plain, kind=InPlace, clip_norm=None
        )
        found: dict[str, torch.Tensor] = {}
        run.optimiser.zero_grad = lambda *_, run=run, found=found: found.update(
            {name: p.grad.clone() for name, p in run.task.named_parameters() if p.grad is not None}
        )
        run.take_step(iter(Loader(0, images)))
        gradients.append(found)
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-3, atol=1e-4 * scale + 1e-9)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_what_it_sees(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name].model_copy(update={"colour": False, "rounds": (1.0,)})
    run = trainer(tmp_path, steps=1000, recipe=recipe, lr=2e-3, schedule="constant")
    batches = iter(lambda: photos(0, 1), None)
    found = [run.take_step(batches)["loss"].item() for _ in range(30)]
    assert sum(found[-4:]) < 0.75 * sum(found[:4])


@pytest.mark.parametrize("clip", [{"clip_norm": 1e-3}, {"clip_norm": None, "clip_value": 1e-5}])
def test_gradients_are_clipped(clip: dict[str, Any], tmp_path: Path) -> None:
    run = trainer(tmp_path, **clip)
    seen: list[float] = []
    step = run.optimiser.step

    def watch() -> None:
        gradients = [p.grad for p in run.task.parameters() if p.grad is not None]
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        seen.append(norm if "clip_value" not in clip else max(float(g.abs().max()) for g in gradients))
        step()

    run.optimiser.step = watch
    run.take_step(iter(Loader(0)))
    assert 0 < seen[0] <= 1.001 * (clip.get("clip_value") or clip["clip_norm"])


@pytest.mark.parametrize("norms", ["frozen", "train"])
def test_frozen_parts_stay_as_they_are(norms: str, tmp_path: Path) -> None:
    settings = config("ddp", 2, 1).model_copy(update={"freeze_stages": 2, "norms": norms})
    model = build_model(settings, HERE.device)
    run = Trainer(
        Trained(FinetuneTask(model, RECIPES["evsam"]), model, Loader, 10),
        settings,
        tmp_path,
        HERE,
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run.run()
    for name, value in model.state_dict().items():
        if "backbone.stages.0" in name or "backbone.stages.1" in name:
            assert value.equal(before[name]), name
        elif "running_" in name:
            assert value.equal(before[name]) == (norms == "frozen"), name
    assert not model.state_dict()["mask_decoder.mask_tokens.weight"].equal(before["mask_decoder.mask_tokens.weight"])


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    with torch.no_grad():
        run.model.get_parameter("mask_decoder.mask_tokens.weight").fill_(math.nan)
    with pytest.raises(TrainingError, match=r"at step 1 .* not finite; .* Lower optim\.lr \(0\.001\)"):
        run.run()
    assert checkpoints.latest(tmp_path) is None


def test_a_slow_loader_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = trainer(tmp_path)
    meter = Meter(1)
    values = run.take_step(iter(Loader(0)), meter)
    meter.waits = 0.9 * 1e9
    with caplog.at_level(logging.WARNING):
        run._log(values, meter)
    assert "spent waiting for photos; raise system.workers (0)" in caplog.text


def test_curves_are_json_whatever_the_numbers(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    curves.on_step(1, {"loss": math.nan, "lr": 0.5, "minutes_left": math.inf})
    curves.on_validation(1, {"blobs": {"box": math.nan, "click1": 0.25}}, {})

    def refuse(name: str) -> None:
        raise AssertionError(name)

    lines = [json.loads(line, parse_constant=refuse) for line in curves.path.read_text().splitlines()]
    assert lines == [
        {"step": 1, "loss": None, "lr": 0.5, "minutes_left": None},
        {"step": 1, "validation": {"blobs": {"box": None, "click1": 0.25}}},
    ]
