"""The model of a run: starting values, frozen norms and parts, memory savers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import evsam
from evsam.nn import EfficientViTSam
from evsam.nn.layers import ConvLayer
from evsam.training.config import ConfigError
from evsam.training.distributed import World
from evsam.training.finetune import RECIPES, FinetuneTask
from evsam.training.model import build_model, initialise, load_state
from evsam.training.trainer import StepRandom
from tests.training.distributed_worker import config, photos

HERE = World(0, 1, torch.device("cpu"))


def test_a_run_starts_from_another(run: Path, tmp_path: Path) -> None:
    model = EfficientViTSam("nano")
    initialise(model, str(run))
    for name, value in load_state(run).state.items():
        assert model.state_dict()[name].equal(value), name
    with pytest.raises(evsam.WeightsError, match="expected weights of l0, got nano"):
        initialise(EfficientViTSam("l0"), str(run))


def test_recomputed_activations_give_the_same_gradients() -> None:
    found = []
    for recompute in (False, True):
        settings = config("ddp", 1, 1)
        system = settings.system.model_copy(update={"checkpoint_activations": recompute})
        model = build_model(settings.model_copy(update={"system": system}), HERE.device)
        task = FinetuneTask(model, RECIPES["evsam"], checkpoint_activations=recompute).train()
        loss, _ = task(photos(0, 1), StepRandom(0, 3))
        loss.backward()
        found.append({name: p.grad for name, p in task.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)


def test_recomputation_leaves_statistics_alone() -> None:
    found = []
    for recompute in (False, True):
        settings = config("ddp", 1, 1).model_copy(update={"norms": "train"})
        system = settings.system.model_copy(update={"checkpoint_activations": recompute})
        model = build_model(settings.model_copy(update={"system": system}), HERE.device)
        task = FinetuneTask(model, RECIPES["evsam"], checkpoint_activations=recompute).train()
        task(photos(0, 1), StepRandom(0, 3))[0].backward()
        found.append({name: value for name, value in model.state_dict().items() if "running_" in name})
        counts = {int(v) for name, v in model.state_dict().items() if name.endswith("num_batches_tracked")}
        assert counts == {1}
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value)


def test_frozen_norms_match_eval() -> None:
    torch.manual_seed(0)
    layer = ConvLayer(3, 8, 3, activation="relu6")
    assert layer.norm is not None
    assert layer.norm.running_var is not None
    torch.nn.init.uniform_(layer.norm.running_var, 0.5, 2.0)
    x = torch.randn(2, 3, 9, 9)
    expected = layer.eval()(x)
    layer.freeze_norm = True
    torch.testing.assert_close(layer.train()(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("norms", "shard", "advised"), [("sync", "ddp", "norms=frozen"), ("train", "fsdp2", "shard=ddp")]
)
def test_norms_that_cannot_be_had_say_what_to_change(norms: str, shard: str, advised: str) -> None:
    with pytest.raises(ConfigError, match=f"norms: .*{advised}"):
        build_model(config(shard, 1, 1).model_copy(update={"norms": norms}), HERE.device)


def test_a_compiled_encoder_gives_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    # traced and differentiated as ever, without minutes of building kernels
    build = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: build(module, backend="aot_eager"))
    found = []
    for compiled in (False, True):
        settings = config("ddp", 1, 1)
        system = settings.system.model_copy(update={"compile": compiled})
        model = build_model(settings.model_copy(update={"system": system}), HERE.device)
        task = FinetuneTask(model, RECIPES["evsam"].model_copy(update={"rounds": (1.0,)})).train()
        loss, _ = task(photos(0, 1), StepRandom(0, 0))
        loss.backward()
        found.append({name: p.grad for name, p in task.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    largest = max(float(gradient.abs().max()) for gradient in found[0].values())
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-2, atol=1e-5 * largest)
