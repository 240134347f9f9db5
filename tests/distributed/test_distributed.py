from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evsam import BackendUnavailable, EvsamError, ImageError, cli, load
from evsam.distributed import Embed, Everything, Item, Predict, find_items, read_rows, run
from evsam.distributed.sources import read_item
from tests.distributed.made import BROKEN, Sums, make_photos

needs_arrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs pyarrow")
CONTAINERS = [pytest.param("parquet", marks=needs_arrow), "webdataset"]


@pytest.fixture
def photos(tmp_path) -> Path:
    return make_photos(tmp_path / "photos")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_tar(path: Path, photos: Path, folder: str = "") -> Path:
    with tarfile.open(path, "w") as tar:
        for photo in sorted(photos.iterdir()):
            tar.add(photo, folder + photo.name)
            record = tarfile.TarInfo(f"{folder}{photo.stem}.json")
            tar.addfile(record, io.BytesIO())
    return path


class TestSources:
    def test_a_folder_and_folders_in_it(self, photos) -> None:
        (photos / "more").mkdir()
        (photos / "a.png").rename(photos / "more" / "10.png")
        items = find_items([str(photos)])
        assert [item.key for item in items[-2:]] == ["j.png", "more/10.png"]
        assert read_item(items[-1]) == (photos / "more" / "10.png").read_bytes()

    @pytest.mark.parametrize("folder", ["", "./sa_000001/"])
    def test_tar(self, photos, tmp_path, folder) -> None:
        tar = make_tar(tmp_path / "sa_000001.tar", photos, folder)
        items = find_items([str(tar)])
        inside = folder.removeprefix("./")
        assert [item.key for item in items] == [f"sa_000001/{inside}{name}" for name in "abcdefghij"]
        assert [read_item(item) for item in items] == [path.read_bytes() for path in sorted(photos.iterdir())]
        assert find_items([str(tmp_path / "*.tar")]) == items

    @needs_arrow
    @pytest.mark.parametrize("as_struct", [False, True])
    def test_parquet(self, photos, tmp_path, as_struct) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        contents = [path.read_bytes() for path in sorted(photos.iterdir())]
        images = [{"bytes": one, "path": "x"} for one in contents] if as_struct else contents
        table = pa.table({"id": list("abcdefghij"), "image": images})
        parquet.write_table(table, tmp_path / "part.parquet", row_group_size=3)
        items = find_items([str(tmp_path / "part.parquet")])
        assert [item.key for item in items] == [f"part/{name}" for name in "abcdefghij"]
        assert [read_item(item) for item in items] == contents
        (tmp_path / "part.parquet").write_bytes(b"PAR1")
        with pytest.raises(ImageError, match="expected a parquet file"):
            find_items([str(tmp_path / "part.parquet")])

    @needs_arrow
    def test_parquet_without_photos_names_the_columns(self, tmp_path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"id": [1], "text": ["x"]}), tmp_path / "part.parquet")
        with pytest.raises(ImageError, match=r"expected a column of photos \(image, .* got id, text"):
            find_items([str(tmp_path)])

    @needs_arrow
    def test_uri(self, photos, tmp_path) -> None:
        make_tar(photos / "x.tar", photos)
        items = find_items([photos.as_uri()])
        assert [item.key for item in items] == [
            *(f"{name}.png" for name in "abcdefghij"),
            *(f"x/{n}" for n in "abcdefghij"),
        ]
        assert read_item(items[10]) == read_item(items[0]) == (photos / "a.png").read_bytes()
        with pytest.raises(ImageError, match="not there"):
            find_items([(tmp_path / "none").as_uri()])

    def test_what_cannot_be_meant(self, photos, tmp_path) -> None:
        with pytest.raises(ImageError, match="not there"):
            find_items([str(tmp_path / "none")])
        (tmp_path / "empty").mkdir()
        with pytest.raises(ImageError, match="which has none"):
            find_items([str(tmp_path / "empty")])
        make_photos(tmp_path / "others")
        with pytest.raises(ImageError, match=r"different keys, got 'a.png' in .*photos.* and .*others"):
            find_items([str(photos), str(tmp_path / "others")])
        (tmp_path / "torn.tar").write_bytes(b"x" * 700)
        with pytest.raises(ImageError, match="expected an uncompressed tar"):
            find_items([str(tmp_path / "torn.tar")])

    def test_a_source_named_twice_counts_once(self, photos) -> None:
        assert find_items([str(photos), str(photos)]) == find_items([str(photos)])

    def test_without_pyarrow_the_error_names_the_extra(self, photos, monkeypatch, tmp_path) -> None:
        for name in ("pyarrow", "pyarrow.fs", "pyarrow.parquet"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(BackendUnavailable, match=r"needs pyarrow; use pip install 'evsam\[distributed\]'"):
            find_items([photos.as_uri()])
        with pytest.raises(BackendUnavailable, match=r"evsam\[distributed\]"):
            run(Sums(), find_items([str(photos)]), tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestRun:
    @pytest.mark.parametrize("container", CONTAINERS)
    def test_a_row_for_each_photo(self, photos, tmp_path, container) -> None:
        told: list[int] = []
        summary = run(
            Sums(), find_items([str(photos)]), tmp_path / "out", shard_photos=4, container=container, tell=told.append
        )
        assert (summary.photos, summary.errors, summary.shards, summary.computed) == (10, 1, 3, 10)
        assert told == [4, 4, 2]
        rows = {row["key"]: row for row in read_rows(tmp_path / "out")}
        assert list(rows) == [f"{name}.png" for name in "abcdefghij"]
        assert "cannot be decoded" in rows[BROKEN]["error"]
        assert not rows[BROKEN].get("masks")
        for number, (key, row) in enumerate(rows.items()):
            if key != BROKEN:
                assert (row["error"], row["height"], row["width"]) == (None, 3, 2)
                assert row["masks"] == [
                    {"prompt": 0, "score": 0.5, "area": 18 * number, "bbox": [0, 0, 2, 3], "counts": "02"}
                ]

    @pytest.mark.parametrize("container", CONTAINERS)
    def test_what_is_there_is_kept_and_the_rest_is_equal(self, photos, tmp_path, container) -> None:
        items, out = find_items([str(photos)]), tmp_path / "out"
        run(Sums(), items, out, shard_photos=4, container=container)
        whole = content(out)
        (out / sorted(whole)[1]).unlink()
        told: list[int] = []
        assert run(Sums(), items, out, shard_photos=4, container=container, tell=told.append).computed == 4
        assert told == [6, 4]
        assert content(out) == whole
        assert run(Sums(), items, out, shard_photos=4, container=container).computed == 0

    def test_workers_write_the_same_though_one_is_killed(self, photos, tmp_path) -> None:
        items = find_items([str(photos)])
        run(Sums(), items, tmp_path / "one", shard_photos=2, container="webdataset")
        task = Sums("g.png", tmp_path / "mark")
        run(task, items, tmp_path / "two", shard_photos=2, container="webdataset", workers=2)
        assert int((tmp_path / "mark").read_text()) != os.getpid()
        assert content(tmp_path / "one") == content(tmp_path / "two")

    def test_results_of_something_else_are_refused(self, photos, tmp_path) -> None:
        items, out = find_items([str(photos)]), tmp_path / "out"
        run(Sums(), items, out, container="webdataset")
        with pytest.raises(EvsamError, match="expected a folder whose photos is 9, got"):
            run(Sums(), items[1:], out, container="webdataset")
        with pytest.raises(EvsamError, match=r"keys is .* got"):
            run(Sums(), [*items[1:], items[0]], out, container="webdataset")
        other = Sums()
        other.prompts = {"box": [0, 0, 1, 1]}
        with pytest.raises(EvsamError, match=r"options.prompts.box is \[0, 0, 1, 1\]"):
            run(other, items, out, container="webdataset")

    def test_a_run_that_is_not_finished_is_not_read(self, tmp_path) -> None:
        with pytest.raises(EvsamError, match="expected that of a finished run"):
            next(read_rows(tmp_path))

    def test_photos_that_vanish_are_rows_too(self, tmp_path) -> None:
        run(Sums(), [Item("x", str(tmp_path / "x.png"))], tmp_path / "out", container="webdataset")
        (row,) = read_rows(tmp_path / "out")
        assert "No such file" in row["error"]


class TestTasks:
    @needs_arrow
    def test_tables_for_map_batches(self, photos) -> None:
        paths = [photos / "a.png", photos / BROKEN]
        batch = {"path": list(map(str, paths)), "bytes": [path.read_bytes() for path in paths]}
        table = pickle.loads(pickle.dumps(Sums()))(batch)
        assert table.column("key").to_pylist() == batch["path"]
        assert [error is None for error in table.column("error").to_pylist()] == [True, False]
        with pytest.raises(EvsamError, match=r"expected columns key \(or path\) and bytes"):
            Sums()({"image": []})

    @pytest.mark.parametrize("container", CONTAINERS)
    def test_embeddings_are_those_of_the_model_in_float16(self, photos, tmp_path, container) -> None:
        items = find_items([str(photos / "a.png"), str(photos / BROKEN)])
        run(Embed(engine_options={"threads": 1}), items, tmp_path / "out", container=container)
        good, broken = read_rows(tmp_path / "out")
        with load("nano", threads=1) as sam:
            arrays = sam.encode(photos / "a.png").arrays
        assert broken.get("features") is None
        for name, array in zip(("features", "lateral0", "lateral1"), arrays, strict=False):
            assert good[name].dtype == np.float16
            assert np.array_equal(good[name], np.asarray(array).astype(np.float16))

    def test_masks_are_those_of_the_model(self, tmp_path) -> None:
        pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        items = find_items([str(tmp_path / "a.png")])
        options = {"engine_options": {"threads": 1}}
        run(Predict({"box": [5, 5, 40, 30]}, True, **options), items, tmp_path / "p", container="webdataset")
        run(Everything({"points_per_side": 3}, limit=2, **options), items, tmp_path / "e", container="webdataset")
        with load("nano", threads=1) as sam:
            wanted = sam.predict(pixels, box=[5, 5, 40, 30], multimask=True)
            segments = sam.segment_everything(pixels, points_per_side=3)[:2]
        (row,) = read_rows(tmp_path / "p")
        assert [mask["score"] for mask in row["masks"]] == sorted(wanted.scores[0].tolist(), reverse=True)
        assert [mask["area"] for mask in row["masks"]] == [
            int(wanted.masks[0, i].sum()) for i in (-wanted.scores[0]).argsort()
        ]
        (row,) = read_rows(tmp_path / "e")
        assert [mask["counts"] for mask in row["masks"]] == [segment.rle["counts"] for segment in segments]


class TestCommands:
    def test_predict_with_prompts_of_each_photo(self, tmp_path, capsys) -> None:
        for name in "ab":
            Image.new("RGB", (40, 30), "red").save(tmp_path / f"{name}.png")
        (tmp_path / "p.json").write_text(json.dumps({"a.png": {"boxes": [[1, 1, 20, 20], [5, 5, 30, 25]]}}))
        command = ["predict", tmp_path, "--prompts", tmp_path / "p.json", "--out", tmp_path / "out"]
        assert cli.main([*map(str, command), "--container", "webdataset", "--threads", "1"]) == 1
        good, broken = read_rows(tmp_path / "out")
        assert [mask["prompt"] for mask in good["masks"]] == [0, 1]
        assert "expected prompts for b.png" in broken["error"]
        captured = capsys.readouterr()
        assert "wrote 2 rows in 1 files" in captured.out
        assert "1 of 2 photos could not be used" in captured.err

    @pytest.mark.parametrize(
        ("command", "message"),
        [
            (["predict", "x", "--box", "1", "1", "2", "2", "--workers", "2"], "--workers is for --out"),
            (["everything", "x", "--shard-photos", "1"], "--shard-photos is for --out"),
            (["everything", "x", "--out", "o", "-o", "p"], "-o: expected no other output with --out"),
            (["predict", "--prompts", "P", "--out", "o"], "expected the photos beside --prompts"),
        ],
    )
    def test_options_that_do_not_go_together(self, capsys, tmp_path, command, message) -> None:
        (tmp_path / "p.json").write_text('{"a": {"box": [1, 1, 2, 2]}}')
        with pytest.raises(SystemExit):
            cli.main([str(tmp_path / "p.json") if word == "P" else word for word in command])
        assert message in capsys.readouterr().err

    def test_a_killed_command_goes_on_and_leaves_nothing_half_written(self, tmp_path) -> None:
        photos = tmp_path / "photos"
        photos.mkdir()
        for number in range(12):
            Image.new("RGB", (40, 30), (number, 0, 0)).save(photos / f"{number}.png")
        command = [sys.executable, "-m", "evsam", "embed", photos, "--shard-photos", "1", "--threads", "1"]
        command += ["--container", "webdataset", "--out"]
        out = tmp_path / "out"
        process = subprocess.Popen([*map(str, command), str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list(out.glob("shard-*")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (out / "summary.json").exists()
        for path in out.glob("shard-*"):
            tarfile.open(path).close()
        assert cli.main([*map(str, command[3:]), str(out)]) == 0
        assert cli.main([*map(str, command[3:]), str(tmp_path / "other")]) == 0
        assert content(out) == content(tmp_path / "other")
