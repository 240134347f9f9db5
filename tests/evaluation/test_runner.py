"""Evaluations that are shared out, stopped and gone on with: the same numbers to the last bit."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from PIL import Image

from evsam.datasets import BrokenSample, Photo, Photos
from evsam.evaluation.protocols import Row, Tables
from evsam.evaluation.runner import (
    EvaluationError,
    Event,
    Job,
    Part,
    RowFiles,
    describe_sets,
    read_results,
    run_part,
    run_workers,
)
from evsam.evaluation.truth import Truth
from tests.evaluation.made import annotation


def png(value: int) -> bytes:
    """A small photo of one grey."""
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


class Made(Photos):
    """Small photos with one square each; some broken."""

    def __init__(self, count: int, broken: Sequence[int] = ()) -> None:
        self.photos, self.broken = count, broken

    def __len__(self) -> int:
        return self.photos

    def photo(self, index: int) -> Photo:
        if index in self.broken:
            raise BrokenSample(f"{index}.png", "its record ends early")
        mask = np.zeros((20, 30), bool)
        mask[2 : 3 + index, 4:9] = True
        return Photo(f"{index}.png", (annotation(mask),), partial(png, 7 * index))


class Model:
    """Encodes a photo as its first value, and can be used as a context manager, as models can."""

    def __enter__(self) -> Model:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def encode(self, pixels: np.ndarray) -> int:
        return int(pixels[0, 0, 0])


@dataclass(frozen=True)
class Thirds:
    """Scores that depend on the order in which they are added up."""

    name: str = "thirds"
    dies_at: int | None = None

    def rows(self, sam: Any, embedding: Any, truth: Truth) -> list[Row]:
        if embedding == self.dies_at:
            os._exit(3)
        return [{"photo": truth.key, "object": 0, "iou": (embedding + 1) / 3}]

    def summary(self, rows: Sequence[Row]) -> Tables:
        total = 0.1
        for row in rows:
            total = total * 1.1 + row["iou"]
        return {"sum": {"iou": {"all": total}}}


def made_sets(count: int = 9, broken: Sequence[int] = ()) -> Mapping[str, Photos]:
    return {"first": Made(count, broken), "second": Made(4)}


def always(*protocols: Any) -> Any:
    """The same protocols for all sets."""
    return protocols[:-2]


def job(**changes: Any) -> Job:
    return replace(Job(cast(Any, Model), made_sets, partial(always, Thirds(), Thirds("again"))), **changes)


def tables(files: Sequence[RowFiles], of: Job) -> Any:
    sets = of.open_sets()
    protocols = {name: of.protocols(name, source) for name, source in sets.items()}
    return read_results(files, of.places(sets)).tables(protocols)


@pytest.fixture
def whole(tmp_path: Path) -> Any:
    files = RowFiles(tmp_path / "whole")
    run_part(job(), files)
    return tables([files], job())


def test_each_photo_goes_through_all_protocols_in_order(whole: Any) -> None:
    expected = Thirds().summary([{"iou": (7 * index + 1) / 3} for index in range(9)])
    assert whole["first"] == {"thirds": expected, "again": expected}
    assert list(whole) == ["first", "second"]


@pytest.mark.parametrize("count", [2, 5])
def test_parts_in_folders_of_their_own_give_the_same_bits(count: int, whole: Any, tmp_path: Path) -> None:
    files = [RowFiles(tmp_path / str(index)) for index in range(count)]
    for index in reversed(range(count)):
        run_part(job(), files[index], Part(index, count))
    assert tables(files, job()) == whole
    assert tables(files[::-1], job()) == whole


def test_workers_give_the_same_bits(whole: Any, tmp_path: Path) -> None:
    files, heard = RowFiles(tmp_path / "shared"), list[Event]()
    run_workers(job(), files, Part(), 2, heard.append)
    assert tables([files], job()) == whole
    assert sorted(event.place for event in heard) == sorted(job().places(made_sets()))
    assert len(list(files.folder.glob("rows-*-of-2.jsonl"))) == 2


def test_every_nth_and_limit_choose_by_set() -> None:
    chosen = job(every_nth=3, limit=2).places(made_sets())
    assert chosen == [("first", 0), ("first", 3), ("second", 0), ("second", 3)]


@pytest.mark.parametrize(
    "torn",
    [
        b'{"set":"first","number":4,"ph',
        b'{"set":"first","number":4,"rows":{"thirds":[{}\n',
        b'{"set":"first","number":4}\n',
        b'{"set":"first","number":4,"photo":"4.png","rows":{"thirds":[3]}}\n',
        b'{"set":"first","number":4,"photo":"4.png","rows":{"thirds":[{"object":0}]}}\n',
        b'{"set":"first","number":4,"photo":"4.png","rows":[]}\n',
        b"\xff\xfe}\n",
    ],
)
def test_what_a_kill_tore_is_scored_again_and_nothing_else(torn: bytes, whole: Any, tmp_path: Path) -> None:
    files = RowFiles(tmp_path / "stopped")
    run_part(job(), files)
    (path,) = files.folder.glob("rows-*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + torn)
    heard = list[Event]()
    run_part(job(), files, tell=heard.append)
    assert [event.place for event in heard] == job().places(made_sets())[4:]
    assert tables([files], job()) == whole
    run_part(replace(job(), open_model=pytest.fail), files)


def test_damaged_lines_and_rows_are_named(whole: Any, tmp_path: Path) -> None:
    files = RowFiles(tmp_path / "damaged")
    run_part(job(), files)
    (path,) = files.folder.glob("rows-*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b":", b";"), *lines[3:]]))
    results = read_results([files], job().places(made_sets()))
    assert results.damaged == [f"{path} line 3"]
    assert len(results.scored) == len(lines) - 1
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b'"iou"', b'"io"'), *lines[3:]]))
    with pytest.raises(EvaluationError, match=r"set first, 2.png: expected rows of thirds as .*KeyError: 'iou'"):
        tables([files], job())
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b'"iou":', b'"iou":null,"was":'), *lines[3:]]))
    with pytest.raises(EvaluationError, match=r"set first, 2.png: expected rows of thirds as .*TypeError"):
        tables([files], job())


def test_a_run_goes_on_with_another_number_of_processes(whole: Any, tmp_path: Path) -> None:
    files, heard = RowFiles(tmp_path / "stopped"), list[Event]()
    run_part(job(), files, Part(1, 3))
    run_workers(job(), files, Part(), 2, heard.append)
    assert len(heard) == 13 - 4
    assert tables([files], job()) == whole


def test_a_worker_that_is_killed_is_named_and_loses_nothing(whole: Any, tmp_path: Path) -> None:
    files = RowFiles(tmp_path / "killed")
    mortal = job(protocols=partial(always, Thirds(dies_at=7 * 6), Thirds("again")))
    with pytest.raises(EvaluationError, match=r"worker 1/2: expected it to finish, but it ended with exit code 3"):
        run_workers(mortal, files, Part(), 2)
    heard = list[Event]()
    run_part(job(), files, tell=heard.append)
    assert ("first", 6) in [event.place for event in heard]
    assert ("first", 0) not in [event.place for event in heard]
    assert tables([files], job()) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_workers_end_with_a_first_process_that_is_killed(name: str, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from functools import partial\n"
        "from tests.evaluation.test_runner import Slow, always, job\n"
        "from evsam.evaluation.runner import Part, RowFiles, run_workers\n"
        f"run_workers(job(protocols=partial(always, Slow())), RowFiles(Path({str(tmp_path)!r})), Part(), 1)\n"
    )
    command = [sys.executable, "-c", code]
    first = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    try:
        while not list(tmp_path.glob("rows-*")):
            assert first.poll() is None
            time.sleep(0.05)
        first.send_signal(getattr(signal, name))
    except BaseException:
        first.kill()
        raise
    finally:
        _, error = first.communicate()  # all that the worker says too: it has ended
    if name == "SIGTERM":
        assert (first.returncode, error) == (143, ""), "in good order"
    rows = next(tmp_path.glob("rows-*"))
    assert len(rows.read_bytes().splitlines()) < 13


@dataclass(frozen=True)
class Slow(Thirds):
    """Takes its time: minutes for all photos."""

    seconds: ClassVar[float] = 20

    def rows(self, sam: Any, embedding: Any, truth: Truth) -> list[Row]:
        time.sleep(self.seconds)
        return super().rows(sam, embedding, truth)


def test_broken_photos_are_counted_and_tried_again(whole: Any, tmp_path: Path) -> None:
    files = RowFiles(tmp_path / "broken")
    broken = job(open_sets=partial(made_sets, broken=[3]), most_broken=0.1)
    run_part(broken, files)
    results = read_results([files], broken.places(made_sets()))
    assert results.broken == [
        {"set": "first", "number": 3, "photo": "3.png", "broken": "its record ends early"},
    ]
    assert len(results.scored) == 12
    assert tables([files], broken) != whole
    run_part(job(), files)  # mended
    assert tables([files], job()) == whole
    assert read_results([files], job().places(made_sets())).broken == []


@pytest.mark.parametrize("workers", [1, 2])
def test_too_many_broken_photos_stop_the_run(workers: int, tmp_path: Path) -> None:
    files = RowFiles(tmp_path / "broken")
    broken = job(open_sets=partial(made_sets, broken=[2, 4, 6]), most_broken=0.1)
    message = r"at most 10.0% of 13 photos that cannot be used, got 2; the first: set first, \d.png: its record ends"
    run = partial(run_workers, broken, files, Part(), workers) if workers > 1 else partial(run_part, broken, files)
    with pytest.raises(EvaluationError, match=message):
        run()
    assert ("first", 0) in read_results([files], broken.places(made_sets())).scored


def test_protocols_that_cannot_use_a_photo_break_it(tmp_path: Path) -> None:
    files = RowFiles(tmp_path / "odd")
    run_part(job(protocols=partial(always, Refusing()), most_broken=1.0), files)
    results = read_results([files], job().places(made_sets()))
    assert {one["broken"] for one in results.broken} == {"box: expected a box, got none"}


@dataclass(frozen=True)
class Refusing(Thirds):
    """Cannot use any photo."""

    def rows(self, sam: Any, embedding: Any, truth: Truth) -> list[Row]:
        raise ValueError("box: expected a box, got none")


def test_no_photos_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="data: expected photos with masks, got none"):
        run_part(job(open_sets=dict), RowFiles(tmp_path))


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    files = RowFiles(tmp_path / "out")
    settings: dict[str, Any] = {"model": {"weights": "ab"}, "protocols": {"box": {"multimask": True}}}
    files.settle(settings, {})
    files.settle(settings, {"model": "elsewhere"})
    message = r'out: expected an evaluation with model\.weights "cd", got one with "ab"; choose another folder, or'
    with pytest.raises(EvaluationError, match=message):
        files.settle({**settings, "model": {"weights": "cd"}}, {})
    with pytest.raises(EvaluationError, match=r"protocols\.clicks\.clicks 5, got one with none"):
        files.settle({**settings, "protocols": {**settings["protocols"], "clicks": {"clicks": 5}}}, {})
    with pytest.raises(EvaluationError, match=r"protocols\.box\.multimask none, got one with true"):
        files.settle({**settings, "protocols": {}}, {})


def test_sets_are_told_apart() -> None:
    told = describe_sets(made_sets(), 1, None)
    assert told == describe_sets(made_sets(), 1, None)
    assert told["sets"]["first"]["photos"] == 9
    others = [made_sets(10), made_sets(9, broken=[3]), {"first": Made(9), "third": Made(4)}]
    assert all(describe_sets(other, 1, None) != told for other in others)


@pytest.mark.parametrize("part", [Part(), Part(1, 2), Part(2, 3)])
def test_processes_share_the_photos_of_their_part(part: Part) -> None:
    places = [("a", number) for number in range(13)]
    shares = [list(share.of(places)) for share in part.split(2)]
    assert sorted(shares[0] + shares[1]) == sorted(part.of(places))
    assert abs(len(shares[0]) - len(shares[1])) <= 1


def test_photos_that_were_mended_are_no_others(tmp_path: Path) -> None:
    whole, broken = ({"photos": describe_sets(made_sets(9, broken=bad), 1, None)} for bad in ([], [3]))
    for number, (first, second) in enumerate([(broken, whole), (whole, broken), (broken, broken)]):
        files = RowFiles(tmp_path / str(number))
        files.settle(first, {})
        files.settle(second, {})
    other = {"photos": describe_sets({**made_sets(), "first": made_sets()["second"]}, 1, None)}
    with pytest.raises(EvaluationError, match=r"photos\.sets\.first\."):
        files.settle(other, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected the folder of an evaluation, with its settings.json, got No such file"),
        ("{", "expected json, got a damaged file"),
        ("[]", "expected settings, an object, as evsam eval writes it, got none"),
        ('{"settings": []}', r"settings.json: expected settings, an object, as evsam eval writes it, got \[\]"),
        ('{"settings": {}}', "settings.json: expected given, an object, as evsam eval writes it, got none"),
        ("[" * 100_000, "expected json, got a damaged file"),
    ],
)
def test_folders_of_something_else_are_named(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "settings.json").write_text(content)
    with pytest.raises(EvaluationError, match=message):
        RowFiles(tmp_path).settings()


def test_lines_are_json(tmp_path: Path) -> None:
    files = RowFiles(tmp_path)
    run_part(job(), files)
    (path,) = tmp_path.glob("rows-*.jsonl")
    first = json.loads(path.read_text().splitlines()[0])
    assert first["rows"]["thirds"] == [{"photo": "0.png", "object": 0, "iou": 1 / 3}]
