"""SA-1B in tars and unpacked, and what is said of damaged tars."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evsam.boxes import bounding_box
from evsam.datasets import sa1b
from evsam.datasets.annotated import read_set
from evsam.datasets.records import BrokenSample, DataError, Photo, Photos
from evsam.datasets.sa1b import Sa1bFolder, Sa1bTars, index_path
from tests.datasets.made import mask_of, members, pair, write_tar


def check(photo: Photo, number: int) -> None:
    assert photo.key.endswith(f"sa_{number}")
    (annotation,) = photo.annotations
    mask = mask_of(number)
    assert np.array_equal(annotation.decode(), mask)
    assert annotation.area == mask.sum()
    x, y, width, height = annotation.box
    assert bounding_box(mask) == (x, y, x + width, y + height)
    assert np.abs(photo.pixels().astype(int) - number).max() <= 2


def test_tars_are_read_where_they_lie(tars: Path) -> None:
    source = Sa1bTars(tars)
    assert len(source) == 8
    assert source.groups == (3, 5)
    for number in (7, 0, 3, 2, 5):
        check(source[number], number)
    assert source[4].key == "sa_000001/sa_4"
    assert len(Sa1bTars(tars / "sa_000001.tar")) == 5
    assert len(Sa1bTars(tars / "*0.tar")) == 3


def test_a_tar_is_indexed_once_and_again_when_it_has_changed(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Sa1bTars(tars)
    indexed: list[str] = []
    make = sa1b.make_index

    def watch(path: Path) -> Any:
        indexed.append(path.name)
        return make(path)

    monkeypatch.setattr(sa1b, "make_index", watch)
    assert len(Sa1bTars(tars)) == 8
    assert indexed == []
    write_tar(tars / "sa_000001.tar", members(range(3, 6)))
    assert len(Sa1bTars(tars)) == 6
    assert indexed == ["sa_000001.tar"]
    # touched without another size
    os.utime(tars / "sa_000000.tar", ns=(1, 1))
    Sa1bTars(tars)
    assert indexed[1:] == ["sa_000000.tar"]


@pytest.mark.parametrize("content", [b"", b"PK no zip", None], ids=["empty", "text", "half"])
def test_a_damaged_index_is_made_again(content: bytes | None, tars: Path) -> None:
    Sa1bTars(tars)
    path = index_path(tars / "sa_000000.tar", None)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    check(Sa1bTars(tars)[1], 1)
    assert len(path.read_bytes()) == len(whole)
    assert not list(tars.glob("*.part"))


def test_indexes_can_lie_elsewhere(tars: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    check(Sa1bTars(tars, cache)[3], 3)
    assert sorted(path.name for path in tars.iterdir()) == ["sa_000000.tar", "sa_000001.tar"]
    # a tar of the same name from another folder has an index of its own
    other = tmp_path / "other"
    other.mkdir()
    write_tar(other / "sa_000000.tar", members(range(20, 24)))
    assert len(Sa1bTars(other, cache)) == 4
    assert len(Sa1bTars(tars, cache)) == 8
    assert len(list(cache.iterdir())) == 3


def test_an_index_that_cannot_be_written(tars: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"sa_000000\.tar: its index cannot be written .* set the source's cache"):
        Sa1bTars(tars, tmp_path / "file" / "cache")


def test_files_without_a_partner_are_broken(tmp_path: Path) -> None:
    photo, text = pair(1)
    more = {"LICENSE.txt": b"", "._sa_1.json": b"", "sa_3.json": b"{", "sa_3.jpg": photo}
    write_tar(tmp_path / "a.tar", {"sa_1.jpg": photo, "sa_2.json": text, **more})
    write_tar(tmp_path / "b.tar", {"sa_4.jpg": photo[: len(photo) // 2], "sa_4.json": text})
    source = Sa1bTars(tmp_path)
    assert len(source) == 4
    for index, message in ((0, "a/sa_1: there is no json"), (1, "a/sa_2: there is no jpg"), (2, "its json cannot")):
        with pytest.raises(BrokenSample, match=message):
            source[index]
    with pytest.raises(BrokenSample, match="b/sa_4: cannot be read as a photo"):
        source[3].pixels()


def test_tars_that_change_in_use(tars: Path) -> None:
    source = Sa1bTars(tars)
    os.truncate(tars / "sa_000001.tar", 600)
    with pytest.raises(BrokenSample, match="ends at byte"):
        source[7]
    source = Sa1bTars(tars / "sa_00000[0].tar")
    write_tar(tars / "sa_000000.tar", members(range(2)))
    source._held.clear()
    with pytest.raises(DataError, match=r"sa_000000\.tar: expected 3 pairs as at the start, got 2"):
        source[1]


def test_few_indexes_are_held(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sa1b, "INDEXES_HELD", 1)
    source = Sa1bTars(tars)
    for number in (0, 4, 1, 7):
        check(source[number], number)
        assert len(source._held) == 1


def test_tars_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder with \.tar files"):
        Sa1bTars(tmp_path)
    with pytest.raises(DataError, match=r"expected a folder with \.tar files"):
        Sa1bTars(tmp_path / "absent")
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no tar" * 200)
    with pytest.raises(DataError, match=r"bad\.tar: expected an uncompressed tar"):
        Sa1bTars(tmp_path)
    write_tar(bad, members(range(2)), "w:gz")
    with pytest.raises(DataError, match=r"bad\.tar: expected an uncompressed tar"):
        Sa1bTars(tmp_path)
    write_tar(bad, members(range(9)))
    os.truncate(bad, 3000)
    with pytest.raises(DataError, match=r"bad\.tar: .*unexpected end of data; fetch it again"):
        Sa1bTars(tmp_path)
    write_tar(bad, {"readme.txt": b"x"})
    with pytest.raises(DataError, match=r"no pairs of NAME\.jpg and NAME\.json in 1 tars"):
        Sa1bTars(tmp_path)
    (tmp_path / "more").mkdir()
    write_tar(tmp_path / "more" / "bad.tar", members(range(1)))
    with pytest.raises(DataError, match="tars with different names, got 2 with 1 names"):
        Sa1bTars(tmp_path / "**" / "*.tar")


def test_unpacked_pairs(tmp_path: Path) -> None:
    for number, folder in ((4, tmp_path), (9, tmp_path / "sa_000001")):
        folder.mkdir(exist_ok=True)
        photo, text = pair(number)
        (folder / f"sa_{number}.jpg").write_bytes(photo)
        (folder / f"sa_{number}.json").write_bytes(text)
    (tmp_path / "sa_5.jpg").write_bytes(pair(5)[0])
    (tmp_path / "sa_6.json").write_bytes(pair(6)[1])
    source = Sa1bFolder(tmp_path)
    assert len(source) == 4
    check(source[0], 9)
    assert source[0].key == "sa_000001/sa_9"
    check(source[1], 4)
    with pytest.raises(BrokenSample, match="sa_5: its json cannot be read"):
        source[2]
    with pytest.raises(BrokenSample, match="sa_6: cannot be read as a photo"):
        source[3].pixels()
    with pytest.raises(DataError, match="expected a folder with pairs"):
        Sa1bFolder(tmp_path / "absent")


def test_sources_and_their_photos_can_be_sent_to_other_processes(tars: Path, data_dir: Path) -> None:
    sources: list[Photos] = [Sa1bTars(tars), read_set(data_dir, "train", "blobs")]
    for source in sources:
        sent = pickle.loads(pickle.dumps(source))
        assert np.array_equal(sent[1].pixels(), source[1].pixels())
        photo = pickle.loads(pickle.dumps(source[2]))
        assert photo.key == source[2].key
        assert np.array_equal(photo.pixels(), source[2].pixels())
