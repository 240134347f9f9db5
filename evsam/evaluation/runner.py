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

from evsam.arguments import shown
from evsam.datasets.records import BrokenSample, Photo, Photos
from evsam.errors import EvsamError, EvsamWarning
from evsam.evaluation.protocols import PhotoProtocol, Row, Tables
from evsam.evaluation.truth import Truth
from evsam.writing import replaced

if TYPE_CHECKING:
    from evsam.sam import Sam

Score: TypeAlias = "Callable[[Sam, Photo, Sequence[Any]], dict[str, list[Row]]]"
"""Rows of one photo by the names of the protocols, given the model and the protocols."""

Place: TypeAlias = tuple[str, int]
"""A photo: the name of its set, and its number there."""

SETTINGS, SCORES = "settings.json", "scores.json"
_ROWS = re.compile(r"rows-\d+-of-\d+\.jsonl")

_LINE: dict[str, type] = {"set": str, "number": int, "photo": str}
"""What each line of them has, beside ``rows`` or why the photo is ``broken``."""

_TOLD: dict[str, type | tuple[type, ...]] = {
    "settings.evsam": (str, type(None)),  # not known where evsam is not installed
    "settings.model": dict,
    "settings.model.variant": str,
    "settings.model.weights": (str, dict),
    "settings.model.engine": str,
    "settings.model.precision": str,
    "settings.prompts": dict,
    "settings.photos": dict,
    "settings.photos.every_nth": int,
    "settings.photos.limit": (int, type(None)),
    "settings.photos.sets": dict,
    "given.model": str,
    "given.kind": str,
    "given.protocol": str,
    "given.detections": (str, type(None)),
}
"""What a report tells of the settings of an evaluation."""

_SAMPLED = 16
"""Photos of a set by which it is known again."""

_SAMPLES = "samples"
"""The setting that tells of them."""

_MISSING = object()

_JSON_TYPES: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    dict: "an object",
    list: "a list",
    type(None): "null",
}
"""Types of values of json documents, as messages call them."""

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
        score: what is done with each photo; None for :func:`score_photo`.
    """

    open_model: Callable[[], Sam]
    open_sets: Callable[[], Mapping[str, Photos]]
    protocols: Callable[[str, Photos], tuple[PhotoProtocol, ...]]
    every_nth: int = 1
    limit: int | None = None
    most_broken: float = 0.05
    score: Score | None = None

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
        damaged: files and numbers of the lines that could not be read; their photos may have been scored again.
    """

    rows: dict[str, dict[str, list[Row]]] = field(default_factory=dict)
    scored: dict[Place, str] = field(default_factory=dict)
    broken: list[Row] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def tables(self, protocols: Mapping[str, Sequence[PhotoProtocol]]) -> dict[str, dict[str, Tables]]:
        """The protocols' tables, by set and protocol.

        Args:
            protocols: by set.

        Raises:
            EvaluationError: there are rows that a protocol does not make.
        """
        return {
            name: {
                protocol.name: _summary(name, protocol, self.rows[name].get(protocol.name, ())) for protocol in of_set
            }
            for name, of_set in protocols.items()
            if name in self.rows
        }


def _summary(name: str, protocol: PhotoProtocol, rows: Sequence[Row]) -> Tables:
    """Tables of a set's rows; rows that are damaged, though they are json, are named."""

    def summary(some: Sequence[Row]) -> Tables | Exception:
        try:
            return protocol.summary(some)
        except EvsamError:
            raise
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            return error

    tables = summary(rows)
    if not isinstance(tables, Exception):
        return tables
    photo = next((row["photo"] for row in rows if isinstance(summary([row]), Exception)), "some photo")
    raise EvaluationError(
        f"set {name}, {photo}: expected rows of {protocol.name} as this version makes them, got others "
        f"({type(tables).__name__}: {tables}); remove the photo's lines from rows-*.jsonl, and run the command again"
    ) from tables


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
        found: dict[str, Any] = read_document(path, f"the folder of an evaluation, with its {SETTINGS}")
        check_document(found, path, {"settings": dict, "given": dict})
        return found

    def told(self) -> dict[str, Any]:
        """The same with all that a report tells.

        Raises:
            EvaluationError: something of it is missing, or damaged.
        """
        path = self.folder / SETTINGS
        found = self.settings()
        check_document(found, path, _TOLD)
        for name, one in found["settings"]["photos"]["sets"].items():
            check_document(one, f"{path}: set {name}", {"photos": int, _SAMPLES: dict})
        return found

    def append(self, part: Part) -> _Appender:
        """The file of a part, to write lines to."""
        return _Appender(self.folder / f"rows-{part.index + 1}-of-{part.count}.jsonl")

    def lines(self) -> Iterator[tuple[str, Row | None]]:
        """All lines of all parts, each behind its file and number; None for those that a kill tore or are damaged."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            if _ROWS.fullmatch(path.name):
                for number, line in enumerate(_lines(path), 1):
                    yield f"{path} line {number}", line


def read_document(path: Path, expected: str) -> Any:
    """A json file of an evaluation.

    Args:
        path: of it.
        expected: what it is part of, for messages.

    Raises:
        EvaluationError: it is not there, or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"{path.parent}: expected {expected}, got {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path}: expected json, got a damaged file ({error})") from error


def check_document(found: object, where: Path | str, wanted: Mapping[str, type | tuple[type, ...]]) -> None:
    """Make sure that a json document has values of some types.

    Args:
        found: the document.
        where: it lies.
        wanted: types by names, with points between those on the way to them.

    Raises:
        EvaluationError: it does not; the message names the first value that is not as expected.
    """
    for name, kind in wanted.items():
        value = found
        for key in name.split("."):
            value = value.get(key, _MISSING) if isinstance(value, dict) else _MISSING
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if type(value) not in kinds:
            expected = " or ".join(_JSON_TYPES[one] for one in kinds)
            got = "none" if value is _MISSING else shown(value)
            raise EvaluationError(f"{where}: expected {name}, {expected}, as evsam eval writes it, got {got}")


def compare_settings(
    there: Mapping[str, Any],
    wanted: Mapping[str, Any],
    where: str,
    advice: str = "choose another folder, or remove this one",
) -> None:
    """Make sure that settings are the same.

    Args:
        there: the settings that are looked at.
        wanted: those that they should be.
        where: the first lie.
        advice: what to do if they differ.

    Raises:
        EvaluationError: they are not; the message names the first that differs.
    """
    before, now = flat(there), flat(wanted)
    for name in [*now, *before]:
        if f".{_SAMPLES}." in name and name in before and name in now and None in (before[name], now[name]):
            continue  # a photo that was broken, before or now, is no other photo
        if before.get(name) != now.get(name):
            raise EvaluationError(
                f"{where}: expected an evaluation with {name} {_told(now.get(name))}, got one with "
                f"{_told(before.get(name))}; {advice}"
            )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of settings by all names on the way to them, with points between."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


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


def _lines(path: Path) -> Iterator[Row | None]:
    with path.open("rb") as file:
        for text in file:
            line = None
            if text.endswith(b"}\n"):  # else torn by a kill: that photo is scored again
                with contextlib.suppress(ValueError, RecursionError):
                    line = json.loads(text)
            yield line if isinstance(line, dict) and _is_line(line) else None


def _is_line(line: Row) -> bool:
    if not all(isinstance(line.get(key), kind) for key, kind in _LINE.items()):
        return False
    rows = line.get("rows")
    return isinstance(line.get("broken"), str) or (isinstance(rows, dict) and all(map(_are_rows, rows.values())))


def _are_rows(rows: object) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) and isinstance(row.get("photo"), str) for row in rows)


def read_results(files: Iterable[RowFiles], places: Sequence[Place]) -> Results:
    """What was found of some photos, in their order.

    A photo that was scored twice, by processes that did not know of each other, counts once.

    Args:
        files: where it lies.
        places: the photos.
    """
    order = {place: index for index, place in enumerate(places)}
    found: dict[int, Row] = {}
    results = Results()
    for some in files:
        for where, line in some.lines():
            if line is None:
                results.damaged.append(where)
                continue
            index = order.get((line["set"], line["number"]))
            if index is not None and (index not in found or "broken" in found[index]):
                found[index] = line
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
        for event, rows in _scored(sam, sets, left, protocols, job.score or score_photo):
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
    score: Score,
) -> Iterator[tuple[Event, dict[str, list[Row]]]]:
    for place in places:
        key = f"number {place[1]}"
        try:
            photo = sets[place[0]][place[1]]
            key = photo.key
            rows = score(sam, photo, protocols[place[0]])
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
