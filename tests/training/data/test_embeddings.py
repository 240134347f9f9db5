"""Embeddings on disk: what is written comes back, and what cannot be used is named."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from evsam.datasets.records import BrokenSample
from evsam.training.data.embeddings import (
    CacheError,
    EmbeddingCache,
    Range,
    ShardWriter,
    array_file,
    checksum,
    read_shard,
)
from evsam.training.teachers import TeacherInfo

INFO = TeacherInfo("small", "ab" * 32, 64, ((4, 3, 3), (2, 5, 5)), paired=True)


def embedding(number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(number)
    return [rng.standard_normal(shape).astype(np.float16) for shape in INFO.maps]


def content(number: int) -> bytes:
    """What stands for a photo's file."""
    return f"photo {number}".encode()


def write(cache: Path, number: int = 0, total: int = 5, source: str = "some", info: TeacherInfo = INFO) -> Path:
    """A shard of up to three photos, of which number 1 is broken; path of its json file."""
    place = Range(source, number, 3 * number, min(3, total - 3 * number), total, info, "float32")
    writer = ShardWriter(cache, place)
    for row in reversed(range(place.photos)):
        photo = place.first + row
        if photo == 1:
            writer.skip(row, f"{source}/{photo}", checksum(content(photo)), "gone")
        else:
            writer.put(row, f"{source}/{photo}", checksum(content(photo)), embedding(photo))
    writer.finish()
    return place.path(cache)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Five photos in two shards."""
    for number in range(2):
        write(tmp_path, number)
    return tmp_path


def test_what_was_written_comes_back(cache: Path) -> None:
    found = EmbeddingCache(cache, INFO.fingerprint)
    assert len(found) == 4
    assert found.teacher == INFO
    for photo in (0, 2, 3, 4):
        maps = found.get(f"some/{photo}")
        assert len(maps) == 2
        for one, expected in zip(maps, embedding(photo), strict=True):
            assert one.dtype == np.float16
            np.testing.assert_array_equal(one, expected)
    found.verify()
    assert sorted(file.name for file in (cache / "some").iterdir()) == [
        f"shard-00000{number}.{end}" for number in range(2) for end in ("json", "map0.npy", "map1.npy")
    ]


def test_broken_photos_are_skipped(cache: Path) -> None:
    with pytest.raises(BrokenSample, match=r"^some/1: when embeddings were cached: gone$"):
        EmbeddingCache(cache).get("some/1")


@pytest.mark.parametrize("photo", [0, 1, 4])  # number 1 was broken
def test_a_photo_that_has_changed_is_noticed(cache: Path, photo: int) -> None:
    found = EmbeddingCache(cache)
    if photo != 1:
        found.get(f"some/{photo}", content(photo))
    with pytest.raises(CacheError, match=rf"the photo some/{photo} has changed since; run evsam\.training"):
        found.get(f"some/{photo}", content(photo) + b" turned")


def test_a_missing_key_says_what_to_do(cache: Path) -> None:
    message = r"none for the photo other/0 \(sources: some\); train on sources that were cached, .* again"
    with pytest.raises(CacheError, match=message):
        EmbeddingCache(cache).get("other/0")


def test_another_teacher_is_refused(cache: Path) -> None:
    message = r"of another teacher, small abababababab, expected cdcdcdcdcdcd; use the teacher"
    with pytest.raises(CacheError, match=message):
        EmbeddingCache(cache, "cd" * 32)


def test_one_cache_holds_one_teacher(cache: Path) -> None:
    write(cache, 1, info=dataclasses.replace(INFO, fingerprint="cd" * 32))
    with pytest.raises(CacheError, match=r"shard-000001\.json: of another teacher"):
        EmbeddingCache(cache)


@pytest.mark.parametrize("index", [0, 1])
def test_a_flipped_bit_is_found_where_it_is_read(cache: Path, index: int) -> None:
    file = array_file(cache / "some" / "shard-000001.json", index)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # of the last photo
    file.write_bytes(content)
    found = EmbeddingCache(cache)
    found.get("some/3")
    with pytest.raises(
        CacheError, match=rf"map{index}\.npy: damaged: the checksum of some/4 has changed; run .* again"
    ):
        found.get("some/4")
    with pytest.raises(CacheError, match=rf"map{index}\.npy: damaged: its checksum has changed; run .* again"):
        found.verify()


def test_a_file_cut_short_is_found_at_once(cache: Path) -> None:
    file = array_file(cache / "some" / "shard-000000.json", 0)
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(CacheError, match=r"map0\.npy: damaged: expected \d+ bytes, got \d+; run"):
        EmbeddingCache(cache)
    file.unlink()
    with pytest.raises(CacheError, match=r"map0\.npy: missing; run"):
        EmbeddingCache(cache)


def test_an_incomplete_cache_is_refused(cache: Path) -> None:
    (cache / "some" / "shard-000001.json").unlink()
    with pytest.raises(CacheError, match="some: incomplete, 3 of 5 photos; run"):
        EmbeddingCache(cache)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="there are none; run"):
        EmbeddingCache(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_description_is_named(cache: Path, content: str) -> None:
    path = cache / "some" / "shard-000001.json"
    path.write_text(content)
    with pytest.raises(CacheError, match=r"shard-000001\.json: cannot be read .*; delete it and run"):
        EmbeddingCache(cache)


def test_keys_are_unique(cache: Path) -> None:
    path = cache / "some" / "shard-000001.json"
    record = json.loads(path.read_text())
    record["keys"][0] = "some/0"
    path.write_text(json.dumps(record))
    with pytest.raises(CacheError, match="the key some/0 is there twice"):
        EmbeddingCache(cache)


def test_an_unfinished_shard_does_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, 0, total=3)
    writer = ShardWriter(tmp_path, read_shard(path).range)
    writer.put(0, "some/0", 0, embedding(0))
    assert not path.exists()
    with pytest.raises(CacheError, match="there are none"):
        EmbeddingCache(tmp_path)


def test_values_beyond_float16_are_refused(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, Range("some", 0, 0, 1, 1, INFO, "float32"))
    maps = embedding(0)
    maps[1][0, 0, 0] = np.inf
    with pytest.raises(CacheError, match="some/0: the teacher's map 1 is not finite in float16"):
        writer.put(0, "some/0", 0, maps)


def test_caches_travel_to_other_processes_without_their_content(tmp_path: Path) -> None:
    info = dataclasses.replace(INFO, maps=((64, 64, 64),))
    writer = ShardWriter(tmp_path, Range("some", 0, 0, 1, 1, info, "float32"))
    maps = [np.random.default_rng(0).standard_normal(info.maps[0]).astype(np.float16)]
    writer.put(0, "some/0", 0, maps)
    writer.finish()
    found = EmbeddingCache(tmp_path)
    found.get("some/0")
    sent = pickle.dumps(found)
    assert len(sent) < 5000
    np.testing.assert_array_equal(pickle.loads(sent).get("some/0")[0], maps[0])
