"""Filling a cache: right values, shared between processes, going on after a stop, mending damage."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from evsam.datasets.records import BrokenSample, DataError
from evsam.training import cache_embeddings as command
from evsam.training.cache_embeddings import CacheConfig, Cached, cache_embeddings, main
from evsam.training.config import ConfigError, read_config
from evsam.training.data.embeddings import CacheError, EmbeddingCache
from evsam.training.data.frames import FrameMaker
from evsam.training.data.sources import open_named
from evsam.training.teachers import Teacher, TeacherConfig
from evsam.transforms import image_to_pixels
from tests.training import tiny


class Stopped(Exception):
    """What stops a run in a test."""


class Counting(torch.nn.Module):
    """Counts photos that go through an encoder; stops before the one after ``limit``."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.count, self.limit = 0, 1000

    def forward(self, pixels: torch.Tensor) -> Any:
        if self.count + len(pixels) > self.limit:
            raise Stopped
        self.count += len(pixels)
        return self.encoder(pixels)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Makes the command's teacher a tiny one that counts."""
    teacher = tiny.teacher()
    counting = Counting(teacher.encoder)
    teacher.encoder = counting
    monkeypatch.setattr(command, "open_teacher", lambda _: teacher)
    return counting


def use(monkeypatch: pytest.MonkeyPatch, teacher: Teacher) -> None:
    monkeypatch.setattr(command, "open_teacher", lambda _: teacher)


@pytest.fixture
def config(data_dir: Path, tmp_path: Path) -> CacheConfig:
    """Two sources of three and two photos whose files have the same names."""
    return CacheConfig.model_validate(
        {
            "data": [{"kind": "annotated", "path": data_dir, "set": name} for name in ("blobs", "more")],
            "teacher": TeacherConfig(kind="lite"),
            "out": tmp_path / "cache",
            "shard_photos": 2,
            "images": 2,
            "workers": 0,
            "device": "cpu",
        }
    )


def changed(config: CacheConfig, **values: Any) -> CacheConfig:
    return config.model_copy(update=values)


def expected(path: Path) -> np.ndarray:
    pixels = torch.from_numpy(image_to_pixels(np.asarray(Image.open(path).convert("RGB")), tiny.SIZE))
    return tiny.teacher()(pixels[None])[0][0].numpy()


PHOTOS = [("blobs", 0), ("blobs", 1), ("blobs", 2), ("more", 0), ("more", 1)]


def assert_right(cache: Path, data_dir: Path) -> None:
    found = EmbeddingCache(cache, tiny.teacher().fingerprint)
    found.verify()
    assert len(found) == len(PHOTOS)
    for name, number in PHOTOS:
        (values,) = found.get(f"{name}/{number}.png")
        wanted = expected(data_dir / "train" / name / f"{number}.png")
        np.testing.assert_allclose(values, wanted, rtol=2e-3, atol=2e-3)
        assert np.abs(wanted).max() > 0.5


@pytest.mark.usefixtures("counter")
@pytest.mark.parametrize("workers", [0, 2])
def test_embeddings_are_the_teachers(config: CacheConfig, data_dir: Path, workers: int) -> None:
    assert cache_embeddings(changed(config, workers=workers)) == Cached(made=3, kept=0, broken=0)
    assert_right(config.out, data_dir)
    assert json.loads((config.out / "blobs" / "shard-000001.json").read_text())["range"]["photos"] == 1


@pytest.mark.usefixtures("counter")
def test_processes_share_the_shards(config: CacheConfig, data_dir: Path) -> None:
    assert cache_embeddings(config, rank=0, world=2).made == 2
    with pytest.raises(CacheError, match="incomplete"):
        EmbeddingCache(config.out)
    assert cache_embeddings(config, rank=1, world=2).made == 1
    assert_right(config.out, data_dir)


def test_a_stopped_run_goes_on(config: CacheConfig, data_dir: Path, counter: Counting) -> None:
    one = changed(config, images=1)
    counter.limit = 3
    with pytest.raises(Stopped):
        cache_embeddings(one)
    counter.limit = 1000
    counter.count = 0
    assert cache_embeddings(one) == Cached(made=1, kept=2, broken=0)
    assert counter.count == 2
    assert_right(config.out, data_dir)
    assert not list(config.out.rglob("*.part"))
    counter.count = 0
    assert cache_embeddings(one) == Cached(made=0, kept=3, broken=0)
    assert counter.count == 0


def test_a_run_stopped_inside_a_shard_makes_that_one_again(
    config: CacheConfig, data_dir: Path, counter: Counting
) -> None:
    one = changed(config, images=1)
    counter.limit = 1
    with pytest.raises(Stopped):
        cache_embeddings(one)
    assert [file.name for file in config.out.rglob("*") if file.is_file()] == ["shard-000000.map0.part"]
    counter.limit = 1000
    assert cache_embeddings(one) == Cached(made=3, kept=0, broken=0)
    assert_right(config.out, data_dir)


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize("how", [damage, Path.unlink])
def test_a_damaged_shard_is_made_again(
    config: CacheConfig,
    data_dir: Path,
    counter: Counting,
    how: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache_embeddings(config)
    how(config.out / "more" / "shard-000000.map0.npy")
    counter.count = 0
    assert cache_embeddings(config) == Cached(made=1, kept=2, broken=0)
    assert counter.count == 2
    assert "made again" in caplog.text
    assert_right(config.out, data_dir)


def test_a_photo_that_was_turned_is_computed_again(
    config: CacheConfig, data_dir: Path, tmp_path: Path, counter: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(data_dir, tmp_path / "data")
    one = only_blobs(config, folder)
    cache_embeddings(one)
    turned = folder / "train" / "blobs" / "1.png"
    Image.open(turned).transpose(Image.Transpose.ROTATE_180).save(turned)
    source = open_named(one.data[0])
    maker = FrameMaker(64, cache=EmbeddingCache(config.out))
    maker.sample(source[0], None, random.Random(0))
    with pytest.raises(CacheError, match=r"the photo blobs/1\.png has changed since; run evsam"):
        maker.sample(source[1], None, random.Random(0))
    counter.count = 0
    assert cache_embeddings(one) == Cached(made=1, kept=1, broken=0)
    assert counter.count == 2
    assert "made again" in caplog.text
    assert "the photo blobs/1.png has changed since" in caplog.text
    (values,) = EmbeddingCache(config.out).get("blobs/1.png", turned.read_bytes())
    np.testing.assert_allclose(values, expected(turned), rtol=2e-3, atol=2e-3)


@pytest.mark.usefixtures("counter")
def test_another_teacher_needs_another_folder(config: CacheConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_embeddings(config)
    use(monkeypatch, tiny.teacher(seed=7))
    with pytest.raises(
        CacheError, match=r"another teacher: expected wide 7 .*, got wide 1 .*; cache into another folder"
    ):
        cache_embeddings(config)


@pytest.mark.usefixtures("counter")
@pytest.mark.parametrize(
    ("values", "message"),
    [({"shard_photos": 3}, "photos: expected 3, got 2"), ({"precision": "bfloat16"}, "precision: expected bfloat16")],
)
def test_a_cache_is_made_in_one_way(config: CacheConfig, values: dict[str, Any], message: str) -> None:
    cache_embeddings(config)
    with pytest.raises(CacheError, match=f"{message}.*; cache into another folder"):
        cache_embeddings(changed(config, **values))


def copied(data_dir: Path, folder: Path) -> Path:
    """The set blobs, on its own."""
    target = folder / "train" / "blobs"
    target.mkdir(parents=True)
    for file in (data_dir / "train" / "blobs").iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    (folder / "train" / "blobs.json").write_text((data_dir / "train" / "blobs.json").read_text())
    return folder


def only_blobs(config: CacheConfig, folder: Path) -> CacheConfig:
    return changed(config, data=(config.data[0].model_copy(update={"path": folder}),))


@pytest.mark.usefixtures("counter")
def test_a_source_that_has_changed_needs_another_folder(config: CacheConfig, data_dir: Path, tmp_path: Path) -> None:
    one = only_blobs(config, copied(data_dir, tmp_path / "data"))
    cache_embeddings(one)
    path = tmp_path / "data" / "train" / "blobs.json"
    path.write_text(path.read_text().replace('"0.png"', '"9.png"'))
    with pytest.raises(CacheError, match=r"expected blobs/9\.png to blobs/1\.png: the source has changed"):
        cache_embeddings(one)


@pytest.mark.usefixtures("counter")
@pytest.mark.parametrize("number", [0, 2])  # the latter is a shard of its own
def test_broken_photos_are_noted(config: CacheConfig, data_dir: Path, tmp_path: Path, number: int) -> None:
    folder = copied(data_dir, tmp_path / "data")
    (folder / "train" / "blobs" / f"{number}.png").write_bytes(b"no photo")
    one = only_blobs(config, folder)
    assert cache_embeddings(one) == Cached(made=2, kept=0, broken=1)
    found = EmbeddingCache(config.out)
    assert len(found) == 2
    with pytest.raises(BrokenSample, match=rf"blobs/{number}\.png: when embeddings were cached: "):
        found.get(f"blobs/{number}.png")
    wanted = expected(folder / "train" / "blobs" / "1.png")
    np.testing.assert_allclose(found.get("blobs/1.png")[0], wanted, rtol=2e-3, atol=2e-3)


@pytest.mark.usefixtures("counter")
def test_too_many_broken_photos_stop_it(
    config: CacheConfig, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(data_dir, tmp_path / "data")
    (folder / "train" / "blobs" / "0.png").write_bytes(b"no photo")
    monkeypatch.setattr(command.BrokenCounter.__init__, "__defaults__", (0.01, 0, None))
    with pytest.raises(DataError, match=r"blobs/0\.png"):
        cache_embeddings(only_blobs(config, folder))


@pytest.mark.usefixtures("counter")
def test_narrow_precision_is_close(config: CacheConfig, data_dir: Path) -> None:
    cache_embeddings(changed(config, precision="bfloat16"))
    (values,) = EmbeddingCache(config.out).get("more/1.png")
    wanted = expected(data_dir / "train" / "more" / "1.png")
    difference = np.abs(values.astype(np.float32) - wanted)
    assert 1e-4 < difference.mean() < 0.05


def test_names_of_sources_differ(config: CacheConfig) -> None:
    record = config.model_dump(mode="json")
    record["data"][1]["name"] = "blobs"
    with pytest.raises(ValueError, match="expected sources of different names, got blobs, blobs"):
        CacheConfig.model_validate(record)
    record["data"][1]["name"] = "a/b"
    with pytest.raises(ValueError, match="'a/b' cannot be that of a folder"):
        CacheConfig.model_validate(record)


@pytest.mark.usefixtures("counter")
def test_command(
    config: CacheConfig,
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "cache.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert read_config(CacheConfig, path, ()) == config
    assert main([str(path), "--set", "images=1"]) == 0
    assert "3 shards computed, 0 were there, 0 photos cannot be read" in capsys.readouterr().out
    assert_right(config.out, data_dir)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([str(path)]) == 0
    assert "0 shards computed, 1 were there" in capsys.readouterr().out
    use(monkeypatch, tiny.teacher(seed=7))
    assert main([str(path)]) == 1
    assert "error: cached embeddings" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="shards"):
        read_config(CacheConfig, path, ["shards=4"])
