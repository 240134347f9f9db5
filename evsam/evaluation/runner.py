"""Running an evaluation: every photo is encoded once and goes through all protocols, on one process or on many.

A folder holds all that is known of an evaluation: ``settings.json``, and for each process a ``rows-I-of-N.jsonl`` with
a line for each photo that it has scored. So an evaluation that was stopped goes on where it was, photos may be shared
out over processes and machines in any way, and tables are made from all lines together, in the photos' order: they are
the same to the last bit however the photos were shared out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import multiprocessing
import os
import queue
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from evsam.datasets.records import BrokenSample, Photo, Photos
from evsam.errors import EvsamError, EvsamWarning
from evsam.evaluation.protocols import PhotoProtocol, Row, Tables
from evsam.evaluation.truth import Truth
from evsam.writing import replaced

if TYPE_CHECKING:
    from evsam.sam import Sam

Place: TypeAlias = tuple[str, int]
"""A photo: the name of its set, and its number there."""

SETTINGS, SCORES = "settings.json", "scores.json"
_ROWS = re.compile(r"rows-\d+-of-\d+\.jsonl")

_LINE: dict[str, type] = {"set": str, "number": int, "photo": str}
"""What each line of them has, beside ``rows`` or why the photo is ``broken``."""

_SAMPLED = 16
"""Photos of a set by which it is known again."""

_SAMPLES = "samples"
"""The setting that tells of them."""

_PATIENCE = 0.25
"""Seconds between looks at worker processes that say nothing."""


class EvaluationError(EvsamError, ValueError):
    """An evaluation that cannot begin, go on or be put together; what was computed stays in its folder."""


@dataclass(frozen=True)
class Part:
    """A share of the photos: each ``count``-th, from number ``index`` on."""

    index: int = 0
    count: int = 1

    def of(self, places: Sequence[Place]) -> Sequence[Place]:
        """The photos of this part."""
        return places[self.index :: self.count]

    def split(self, workers: int) -> list[Part]:
        """The parts of some processes that share this one."""
        return [Part(self.index + self.count * worker, self.count * workers) for worker in range(workers)]

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


@dataclass(frozen=True)
class Job:
    """What is to be evaluated. It can be pickled: worker processes open model and photos on their own.

    Attributes:
        open_model: loads the model.
        open_sets: opens the photos with their masks, by name of the set.
        protocols: what each photo of a set goes through, by the set's name and its photos.
        every_nth: only each n-th photo of a set.
        limit: at most so many photos of a set, None for all.
        most_broken: the share of photos that may be unusable.
    """

    open_model: Callable[[], Sam]
    open_sets: Callable[[], Mapping[str, Photos]]
    protocols: Callable[[str, Photos], tuple[PhotoProtocol, ...]]
    every_nth: int = 1
    limit: int | None = None
    most_broken: float = 0.05

    def places(self, sets: Mapping[str, Photos]) -> list[Place]:
        """The photos that are scored, in their order."""
        return places_of({name: len(source) for name, source in sets.items()}, self.every_nth, self.limit)


def describe_sets(sets: Mapping[str, Photos], every_nth: int, limit: int | None) -> dict[str, Any]:
    """Which photos are scored, as JSON values by which :meth:`RowFiles.settle` tells data apart.

    Of each set the number of photos counts, and names and masks of a few of them.
    """
    return {
        "every_nth": every_nth,
        "limit": limit,
        "sets": {name: {"photos": len(source), _SAMPLES: _digests(source)} for name, source in sets.items()},
    }


def _digests(source: Photos) -> dict[str, str | None]:
    """By the numbers of some photos what tells each apart."""
    return {str(number): _digest(source, number) for number in range(0, len(source), max(1, len(source) // _SAMPLED))}


def _digest(source: Photos, number: int) -> str | None:
    """What tells a photo apart; None where it cannot be read, and may be mended."""
    try:
        photo = source[number]
    except BrokenSample:
        return None
    text = json.dumps([photo.key, [[one.box, one.area] for one in (*photo.annotations, *photo.crowds)]])
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def places_of(photos: Mapping[str, int], every_nth: int, limit: int | None) -> list[Place]:
    """Of sets with so many photos those that are scored, in their order."""
    return [(name, number) for name, count in photos.items() for number in range(0, count, every_nth)[:limit]]


@dataclass
class Results:
    """What is known of an evaluation.

    Attributes:
        rows: by set and protocol, in the photos' order.
        scored: places of photos that were scored, with their keys.
        broken: of photos that could not be used: set, number, photo (its key) and reason.
    """

    rows: dict[str, dict[str, list[Row]]] = field(default_factory=dict)
    scored: dict[Place, str] = field(default_factory=dict)
    broken: list[Row] = field(default_factory=list)

    def tables(self, protocols: Mapping[str, Sequence[PhotoProtocol]]) -> dict[str, dict[str, Tables]]:
        """The protocols' tables, by set and protocol.

        Args:
            protocols: by set.
        """
        return {
            name: {protocol.name: protocol.summary(self.rows[name].get(protocol.name, ())) for protocol in of_set}
            for name, of_set in protocols.items()
            if name in self.rows
        }


class RowFiles:
    """The folder of an evaluation.

    Args:
        folder: made when something is written to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settle(self, settings: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Keep the settings, or make sure that what is there has the same ones.

        Args:
            settings: all that numbers depend on.
            given: what else is told of an evaluation, such as the paths that were given.

        Raises:
            EvaluationError: the folder holds an evaluation of something else; the message says what differs.
        """
        path = self.folder / SETTINGS
        if not path.exists():
            with replaced(path) as temporary:
                document = {"settings": settings, "given": given}
                temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        compare_settings(self.settings()["settings"], json.loads(json.dumps(settings)), str(self.folder))

    def settings(self) -> dict[str, Any]:
        """``settings`` and what was ``given``, as :meth:`settle` kept them.

        Raises:
            EvaluationError: there are none, or they are damaged.
        """
        path = self.folder / SETTINGS
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise EvaluationError(
                f"{self.folder}: expected the folder of an evaluation, with its {SETTINGS}, got {error.strerror}"
            ) from error
        except ValueError as error:
            raise EvaluationError(f"{path}: expected json, got a damaged file ({error})") from error
        if not isinstance(found, dict) or not all(isinstance(found.get(key), dict) for key in ("settings", "given")):
            raise EvaluationError(f"{path}: expected the settings of an evaluation, got other json")
        return found

    def append(self, part: Part) -> _Appender:
        """The file of a part, to write lines to."""
        return _Appender(self.folder / f"rows-{part.index + 1}-of-{part.count}.jsonl")

    def lines(self) -> Iterator[Row]:
        """All lines of all parts; where a kill left half a line, without that.

        Raises:
            EvaluationError: a whole line is damaged.
        """
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            if _ROWS.fullmatch(path.name):
                yield from _whole_lines(path)


def compare_settings(there: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Make sure that settings are the same.

    Raises:
        EvaluationError: they are not; the message names the first that differs.
    """
    before, now = _flat(there), _flat(wanted)
    for name in [*now, *before]:
        if f".{_SAMPLES}." in name and name in before and name in now and None in (before[name], now[name]):
            continue  # a photo that was broken, before or now, is no other photo
        if before.get(name) != now.get(name):
            raise EvaluationError(
                f"{where}: expected an evaluation with {name} {_told(now.get(name))}, got one with "
                f"{_told(before.get(name))}; choose another folder, or remove this one"
            )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _told(value: Any) -> str:
    return "none" if value is None else json.dumps(value)


class _Appender:
    """A file of lines; each is written at once, so that a kill can only tear the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _Appender:  # noqa: PYI034 - Self needs Python 3.11
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        size = os.fstat(self._handle).st_size
        if size and os.pread(self._handle, 1, size - 1) != b"\n":
            os.write(self._handle, b"\n")  # what a kill tore stays a line of its own, which no reader takes
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def write(self, line: Row) -> None:
        """Append a line.

        Raises:
            OSError: the disk is full, for instance.
        """
        data = memoryview((json.dumps(line, separators=(",", ":")) + "\n").encode())
        while data:
            data = data[os.write(self._handle, data) :]


def _whole_lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for text in file:
            if not text.endswith(b"}\n"):
                continue  # torn by a kill: that photo is scored again
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and _is_line(line):
                yield line


def _is_line(line: Row) -> bool:
    found = isinstance(line.get("broken"), str) or isinstance(line.get("rows"), dict)
    return found and all(isinstance(line.get(key), kind) for key, kind in _LINE.items())


def read_results(files: Iterable[RowFiles], places: Sequence[Place]) -> Results:
    """What was found of some photos, in their order.

    A photo that was scored twice, by processes that did not know of each other, counts once.

    Args:
        files: where it lies.
        places: the photos.
    """
    order = {place: index for index, place in enumerate(places)}
    found: dict[int, Row] = {}
    for some in files:
        for line in some.lines():
            index = order.get((line["set"], line["number"]))
            if index is not None and (index not in found or "broken" in found[index]):
                found[index] = line
    results = Results()
    for index in sorted(found):
        line = found[index]
        if "broken" in line:
            results.broken.append({key: line[key] for key in ("set", "number", "photo", "broken")})
            continue
        results.scored[places[index]] = line["photo"]
        for name, rows in line["rows"].items():
            results.rows.setdefault(line["set"], {}).setdefault(name, []).extend(rows)
    return results


def score_photo(sam: Sam, photo: Photo, protocols: Sequence[PhotoProtocol]) -> dict[str, list[Row]]:
    """What the protocols find in one photo, by their names.

    Raises:
        BrokenSample: the photo or its masks cannot be used.
    """
    try:
        pixels = photo.pixels()
        truth = Truth.read(photo, pixels)
        embedding = sam.encode(pixels)
        return {protocol.name: protocol.rows(sam, embedding, truth) for protocol in protocols}
    except BrokenSample:
        raise
    except (EvsamError, KeyError, TypeError, ValueError) as error:
        raise BrokenSample(photo.key, str(error)) from error


@dataclass(frozen=True)
class Event:
    """A photo is done.

    Attributes:
        place: of it.
        photo: its key.
        broken: why it could not be used, or None.
    """

    place: Place
    photo: str
    broken: str | None = None


Tell: TypeAlias = Callable[[Event], object]
"""Hears of each photo that is done."""


def run_part(
    job: Job,
    files: RowFiles,
    part: Part = Part(),
    tell: Tell | None = None,
    sets: Mapping[str, Photos] | None = None,
) -> None:
    """Score the photos of a part that are not scored yet; photos that were broken are tried again.

    Args:
        job: what is to be evaluated.
        files: where lines go, and where those of photos that were scored before are.
        part: which photos.
        tell: hears of each photo.
        sets: the job's, if they are open already.

    Raises:
        EvaluationError: there are no photos, or more cannot be used than may be.
    """
    sets = job.open_sets() if sets is None else sets
    places = job.places(sets)
    if not places:
        raise EvaluationError("data: expected photos with masks, got none")
    done = read_results([files], places).scored
    left = [place for place in part.of(places) if place not in done]
    if not left:
        return
    broken: list[Event] = []
    protocols = {name: job.protocols(name, source) for name, source in sets.items()}
    with job.open_model() as sam, files.append(part) as lines:
        for event, rows in _scored(sam, sets, left, protocols):
            head = {"set": event.place[0], "number": event.place[1], "photo": event.photo}
            lines.write(head | ({"broken": event.broken} if event.broken is not None else {"rows": rows}))
            if tell:
                tell(event)
            if event.broken is not None:
                broken.append(event)
                check_broken(broken, len(places), job.most_broken, files.folder)


def _scored(
    sam: Sam,
    sets: Mapping[str, Photos],
    places: Iterable[Place],
    protocols: Mapping[str, Sequence[PhotoProtocol]],
) -> Iterator[tuple[Event, dict[str, list[Row]]]]:
    for place in places:
        key = f"number {place[1]}"
        try:
            photo = sets[place[0]][place[1]]
            key = photo.key
            rows = score_photo(sam, photo, protocols[place[0]])
        except BrokenSample as error:
            yield Event(place, error.key or key, error.reason), {}
        else:
            yield Event(place, key), rows


def check_broken(broken: Sequence[Event], total: int, most: float, folder: Path) -> None:
    """Make sure that not too many photos could not be used.

    Raises:
        EvaluationError: there are more than the share ``most`` of all ``total``.
    """
    if len(broken) > most * total:
        first = broken[0]
        raise EvaluationError(
            f"data: expected at most {most:.1%} of {total} photos that cannot be used, got {len(broken)}; the first: "
            f"set {first.place[0]}, {first.photo}: {first.broken}; what was computed is kept in {folder}: mend them, "
            "or raise --max-broken, and run the same command again"
        )


def run_workers(job: Job, files: RowFiles, part: Part, workers: int, tell: Tell | None = None) -> None:
    """Score a part in several processes of this machine, each with a model of its own; see :func:`run_part`.

    Raises:
        EvaluationError: a process failed or was killed; the others are ended, and what they wrote stays.
    """
    context = multiprocessing.get_context("spawn")  # threads of the engines do not survive a fork
    events: Any = context.Queue()
    running = {
        share: context.Process(target=_work, args=(job, files.folder, share, events), daemon=True)
        for share in part.split(workers)
    }
    with _ending_orderly():
        try:
            for process in running.values():
                process.start()
            _listen(job, running, events, tell, files.folder)
        finally:
            for process in running.values():
                process.terminate()
                process.join()


@contextlib.contextmanager
def _ending_orderly() -> Iterator[None]:
    """A signal to end, as clusters send it, raises SystemExit, so that the workers are ended too."""
    if threading.current_thread() is not threading.main_thread():  # which alone may set it
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _listen(job: Job, running: Mapping[Part, Any], events: Any, tell: Tell | None, folder: Path) -> None:
    waiting, broken, gone = set(running), list[Event](), set[Part]()
    while waiting:
        try:
            what, value = events.get(timeout=_PATIENCE)
        except queue.Empty:
            for part in gone & waiting:  # since the last look, so that nothing more can come of them
                raise EvaluationError(
                    f"worker {part}: expected it to finish, but it ended with {_ending(running[part].exitcode)}; what "
                    f"was computed is kept in {folder}: run the same command again"
                ) from None
            gone = {part for part in waiting if not running[part].is_alive()}
            continue
        if what == "done":
            waiting.discard(value)
        elif what == "failed":
            raise EvaluationError(value)
        else:
            if tell:
                tell(value)
            if value.broken is not None:
                broken.append(value)
                check_broken(broken, what, job.most_broken, folder)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _work(job: Job, folder: Path, part: Part, events: Any) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger("evsam").setLevel(logging.ERROR)  # and has said what there is to say of the data
    warnings.simplefilter("ignore", EvsamWarning)  # and of the engine
    first = os.getppid()

    def tell(event: Event) -> None:
        if os.getppid() != first:
            os._exit(1)  # it was killed, and a run that goes on should have the photos for itself
        events.put((total, event))

    try:
        sets = job.open_sets()
        total = len(job.places(sets))
        run_part(job, RowFiles(folder), part, tell, sets)
    except EvsamError as error:
        events.put(("failed", str(error)))
    except Exception:  # noqa: BLE001 - it is raised where somebody listens
        events.put(("failed", f"worker {part}: {traceback.format_exc()}"))
    else:
        events.put(("done", part))
