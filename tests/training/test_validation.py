"""Scores of a model that is being trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evsam.cli import main as evsam_main
from evsam.datasets.annotated import read_set
from evsam.datasets.halves import half_of
from evsam.datasets.records import BrokenSample, Photo
from evsam.engines.torch import TorchEngine
from evsam.nn import EfficientViTSam
from evsam.training.config import LogConfig, SourceConfig, ValidationConfig
from evsam.training.data.sources import open_source
from evsam.training.distributed import World
from evsam.training.model import load_model
from evsam.training.validation import TrainedEngine, Validator, draw, readable, validate
from evsam.transforms import fitted_size
from tests.datasets.made import png


def test_ellipses_are_their_own_ellipse(data_dir: Path) -> None:
    """The annotated objects are ellipses, so the trivial answer must score high and the sizes must be known."""
    scores = validate(EfficientViTSam("nano").eval(), read_set(data_dir, "val", "blobs"), clicks=0)
    assert scores["ellipse"]["all"] > 0.6
    assert set(scores) == {"box", "box_chosen", "box_best", "ellipse"}
    assert set(scores["box"]) <= {"all", "small", "medium", "large"}


def test_clicks_have_their_names(data_dir: Path) -> None:
    scores = validate(load_model("nano"), read_set(data_dir, "val", "blobs"), clicks=3)
    assert [name for name in scores if name.startswith("click")] == ["click1", "click1_best", "click2", "click3"]
    assert scores["click1_best"]["all"] >= scores["click1"]["all"]
    assert scores["box_best"]["all"] >= scores["box_chosen"]["all"]


@pytest.mark.parametrize("original", [(300, 451), (1500, 1000), (7, 100)])
def test_masks_are_those_of_the_torch_engine(original: tuple[int, int]) -> None:
    logits = np.random.default_rng(0).standard_normal((2, 3, 256, 256), np.float32)
    model = EfficientViTSam("nano").eval()
    found = TrainedEngine.of_module(model).masks(logits, fitted_size(original), original)
    expected = TorchEngine.of_module(model).masks(logits, fitted_size(original), original)
    assert (found != expected).mean() < 1e-4, "but for pixels on the threshold"


def test_scores_are_those_of_evsam_eval(data_dir: Path, tmp_path: Path) -> None:
    """One implementation: the same photos and prompts, by the command and on the model that would be trained."""
    arguments = ["nano", str(data_dir), "--engine", "torch", "--threads", "1", "--clicks", "2", "--pictures", "0"]
    assert evsam_main(["eval", *arguments, "-o", str(tmp_path)]) == 0
    tables = json.loads((tmp_path / "scores.json").read_text())["tables"]["blobs"]
    scores = validate(load_model("nano"), read_set(data_dir, "val", "blobs"), clicks=2)
    assert scores["box"]["all"] == pytest.approx(tables["box"]["mean"]["IoU"]["all"], abs=2e-3)
    assert scores["click2"]["all"] == pytest.approx(tables["clicks"]["mean"]["IoU, 2 clicks"]["all"], abs=2e-2)


def test_a_run_is_scored_by_evsam_eval(run: Path, data_dir: Path, tmp_path: Path) -> None:
    """By its averaged weights, as they are converted."""
    arguments = [str(data_dir), "--prompts", "box", "--threads", "1", "--pictures", "0"]
    assert evsam_main(["convert", str(run), str(tmp_path / "out.safetensors"), "--photos", "0"]) == 0
    for model in (run, tmp_path / "out.safetensors"):
        assert evsam_main(["eval", str(model), *arguments, "-o", str(tmp_path / model.stem)]) == 0
    first, second = (json.loads((tmp_path / name / "scores.json").read_text()) for name in ("run", "out"))
    assert first["settings"] == second["settings"]
    assert first["tables"] == second["tables"]


def test_masks_are_chosen_by_photo(data_dir: Path) -> None:
    photos = list(read_set(data_dir, "val", "blobs"))
    scored = partial(validate, load_model("nano"), clicks=0, masks_per_photo=1)
    assert scored(photos) == scored(photos[::-1])
    means = [scored([photo])["box"]["all"] for photo in photos]
    assert scored(photos)["box"]["all"] == pytest.approx(np.mean(means))
    assert scored(photos) != validate(load_model("nano"), photos, clicks=0)


def test_processes_that_share_the_photos_have_the_same_scores(data_dir: Path) -> None:
    source = SourceConfig(kind="annotated", path=data_dir, split="train", set="blobs")
    validator = Validator(ValidationConfig(sources=(source,), clicks=1, mask_prompts=True), LogConfig(pictures=1))
    model, device = load_model("nano"), torch.device("cpu")
    alone, pictures = validator(model, World(0, 1, device))
    assert set(alone) == {"blobs"}
    assert {"box", "click1", "ellipse", "box_best", "mask_back", "click_with_mask"} <= set(alone["blobs"])
    bare = load_model("nano")
    bare.variant = replace(model.variant, mask_prompt="logits")
    as_they_are, _ = validator(bare, World(0, 1, device))
    told = "nano's logits as they are, without the box that its record adds"
    assert alone["blobs"]["mask_back"] == as_they_are["blobs"]["mask_back"], told
    assert list(pictures) == ["blobs-0"]
    parts: list[Any] = []
    for rank in range(2):
        with pytest.raises(_Gathered):
            validator(model, _Part(rank, 2, device, parts))
    shared, _ = validator(model, _Part(1, 2, device, parts, whole=True))
    assert shared == alone


def test_sources_may_be_one_half(data_dir: Path) -> None:
    every = SourceConfig(kind="annotated", path=data_dir, split="train", set="blobs")
    halves = {half: open_source(every.model_copy(update={"half": half})) for half in ("select", "report")}
    keys = [photo.key for photo in open_source(every)]
    for half, photos in halves.items():
        assert [photo.key for photo in photos] == [key for key in keys if half_of(key) == half]
    assert sum(map(len, halves.values())) == len(keys) > 0


class _Gathered(Exception):
    """A process has told what it found."""


class _Part(World):
    """One process of several, one after the other."""

    def __init__(self, rank: int, size: int, device: torch.device, parts: list[Any], whole: bool = False) -> None:
        super().__init__(rank, size, device)
        self.__dict__.update(parts=parts, whole=whole)

    def gather(self, value: Any) -> list[Any]:
        parts: list[Any] = self.__dict__["parts"]
        if self.__dict__["whole"]:
            return parts
        parts.append(value)
        raise _Gathered


def test_broken_photos_are_left_out(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos: Sequence[Photo] = list(read_set(data_dir, "val", "blobs"))
    whole = validate(load_model("nano"), photos, clicks=0)
    smaller = replace(photos[0], key="smaller", read=partial(bytes, png(photos[0].pixels()[1:])))
    broken = [Photo("gone", photos[0].annotations, bytes), smaller, *photos]
    assert validate(load_model("nano"), broken, clicks=0) == whole
    assert "a photo is left out: gone" in caplog.text
    assert "a photo is left out: smaller: expected masks of 119 x 160 pixels" in caplog.text

    class Torn(list[Photo]):
        def __getitem__(self, index: Any) -> Any:
            if index == 1:
                raise BrokenSample("torn", "its record ends early")
            return super().__getitem__(index)

    assert readable(Torn(photos), range(2)) == photos[:1]
    assert "torn: its record ends early" in caplog.text


def test_pictures_have_masks_for_the_boxes(data_dir: Path) -> None:
    photo = read_set(data_dir, "val", "blobs")[0]
    drawn = draw(load_model("nano"), photo)
    assert drawn.shape == photo.pixels().shape
    assert (drawn != photo.pixels()).any()
    assert (draw(load_model("nano"), replace(photo, annotations=())) == photo.pixels()).all()
