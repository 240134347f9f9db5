"""Configurations: types, changes from the command line, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from evsam.training import config as configs
from evsam.training.cache_embeddings import CacheConfig
from evsam.training.config import ConfigError, RunConfig, read_config, write_config
from evsam.training.distill import DistillConfig
from evsam.training.finetune import RECIPES, FinetuneConfig

TEXT = """
variant: nano
train:
  - {kind: annotated, path: /photos, set: blobs}
optim: {lr: 1e-3, steps: 10}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run.yaml"
    file.write_text(TEXT)
    return file


def test_values_and_overrides_have_their_types(path: Path) -> None:
    config = read_config(
        RunConfig, path, ["optim.lr=2e-4", "batch.images=3", "train.0.path=/other", "optim.ema=null", "seed=5"]
    )
    assert config.optim.lr == 2e-4
    assert config.batch.images == 3
    assert config.train[0].path == Path("/other")
    assert config.optim.ema is None
    assert config.seed == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.learning=1", r"optim\.learning: Extra inputs"),
        ("optim.lr=fast", r"optim\.lr: Input should be a valid number"),
        ("optim.lr=-1", r"optim\.lr: Input should be greater than 0"),
        ("optim.epochs=2", "give either steps or epochs"),
        ("optim.tail=0.5", "give either ema or tail"),
        ("train.0.half=best", r"train\.0\.half: Input should be 'select', 'report' or 'all'"),
        ("system.shard=zero", r"system\.shard: Input should be 'ddp' or 'fsdp2'"),
        ("train.7.path=/x", "expected a number below 1 in place of '7'"),
        ("variant.name=x", "variant is no group of keys"),
        ("variant=no/such/record.json", r"variant: .*no/such/record.json cannot be read: No such file"),
        ("optim.lr", "expected key=value"),
        ("seed=[", "the value is no YAML"),
        ("train=[{kind: sa1b, path: /a/x}, {kind: sa1b, path: /b/x}]", "sources of different names, got x, x"),
    ],
)
def test_mistakes_name_the_key(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(RunConfig, path, [override])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file, and none of those that ship with evsam: .*nano-crops"):
        read_config(RunConfig, tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="expected keys and values, got list"):
        read_config(RunConfig, tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(RunConfig, tmp_path / "broken.yaml")


def test_what_is_written_reads_the_same(path: Path, tmp_path: Path) -> None:
    config = read_config(FinetuneConfig, path, ["recipe=paper"])
    write_config(config, tmp_path / "again.yaml")
    assert read_config(FinetuneConfig, tmp_path / "again.yaml") == config


@pytest.mark.parametrize("name", sorted(p.stem for p in (Path(configs.__file__).parent / "configs").glob("*.yaml")))
def test_shipped_configurations_are_valid(name: str) -> None:
    if name.startswith("cache"):
        assert read_config(CacheConfig, Path(name)).data
        return
    kind = DistillConfig if "distill" in name else FinetuneConfig
    assert read_config(kind, Path(name)).train


def test_recipes_are_names_or_changes_of_them(path: Path) -> None:
    assert read_config(FinetuneConfig, path).recipe == RECIPES["evsam"]
    assert read_config(FinetuneConfig, path, ["recipe=authors-code"]).recipe == RECIPES["authors-code"]
    changed = read_config(FinetuneConfig, path, ["recipe={base: evsam, iou: 0, prompts: {jitter: 0}}"]).recipe
    assert changed.iou == 0
    assert changed.prompts == RECIPES["evsam"].prompts.model_copy(update={"jitter": 0.0})
    assert changed.choice == RECIPES["evsam"].choice
    with pytest.raises(ConfigError, match="expected one of paper, authors-code, evsam, got 'theirs'"):
        read_config(FinetuneConfig, path, ["recipe=theirs"])
