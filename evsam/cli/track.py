"""``evsam track``: its arguments, the loop over frames, what is written of them, and how a stopped run goes on.

Everything that is written of a frame is made of its *record*: each object's box, score and run-length encoded mask.
Records go to a journal as the run goes on, and the tracker's state beside it every few seconds; so a run that was
stopped draws what it has from the journal, and tracks from the newest state on, with the same result.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from evsam.cli import console
from evsam.cli.arguments import add_loading_arguments, engine_options, number, whole
from evsam.cli.outputs import check_file, save_json
from evsam.errors import EvsamError, ImageError, PromptError

if TYPE_CHECKING:
    from evsam.sam import Sam
    from evsam.tracking import Tracker, Tracks
    from evsam.video import Frame, Source

DESCRIPTION = """Follow objects through a video, a folder of frames, or the frames of a camera.

Objects are shown in the first frame by boxes, points or masks, or found every N frames
by --everything-every. Unless -o or --json is given, SOURCE_tracks.mp4, the video with
the masks drawn on it, is written beside the source. A run that was stopped goes on with
--resume. A camera is followed until Ctrl-C, or for --limit frames."""

Record: TypeAlias = list[dict[str, Any]]
"""The tracks of one frame: ``id``, ``box``, ``score``, ``lost`` and ``segmentation``, an RLE or None."""

_SAVE_SECONDS = 2.0
"""How often the tracker's state is saved: what a killed run has to do again."""

_COVERED = 0.5
"""The part of a found mask that tracked objects may cover, for it to be a new one."""

_MARK = "evsam-run"
"""Name of the mark in label maps and documents; in videos it is the comment."""

_COORDINATE = number(-1e9, 1e9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam track``."""
    parser.add_argument("source", help="a video, a folder of frames, or the number of a camera, such as 0")
    shown = parser.add_argument_group("objects, shown in the first frame")
    shown.add_argument(
        "--box",
        nargs=4,
        type=_COORDINATE,
        action="append",
        metavar=("X0", "Y0", "X1", "Y1"),
        default=[],
        help="a box around an object, in pixels; repeat it for several objects",
    )
    shown.add_argument(
        "--points",
        nargs="+",
        type=_COORDINATE,
        action="append",
        metavar="X Y",
        default=[],
        help="one or more points on an object; repeat it for several objects",
    )
    shown.add_argument(
        "--masks",
        type=Path,
        metavar="FILE",
        help="an image of the frames' size whose pixels are numbers of objects, 0 where none is, as DAVIS has them",
    )
    found = parser.add_argument_group("objects that are found")
    found.add_argument(
        "--everything-every",
        type=whole(1),
        metavar="N",
        help="in the first and every Nth frame, find all that is there, and follow what no object covers",
    )
    found.add_argument("--max-objects", type=whole(1), default=32, metavar="N", help="find none beyond (default: 32)")
    found.add_argument("--min-area", type=whole(0), default=0, metavar="N", help="find none of fewer pixels")
    found.add_argument("--max-area", type=whole(1), metavar="N", help="find none of more pixels")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="write a video with the masks drawn on it (.mp4, .mov, .mkv), or a folder of label maps: a PNG for each "
        "frame whose pixels are numbers of objects, as DAVIS has them",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the tracks in the layout of YouTube-VIS; - for standard output"
    )
    parser.add_argument(
        "--window",
        type=number(1, 100),
        metavar="N",
        help="encode only the part around the objects, a square of N longer sides of the box around them, such as 4: "
        "for small objects (default: whole frames)",
    )
    parser.add_argument("--limit", type=whole(1), metavar="N", help="stop behind the Nth frame")
    parser.add_argument(
        "--fps", type=number(0.001, 1000), metavar="N", help="frames a second, where the source does not say (25)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where a run with the same arguments was stopped")
    add_loading_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say."""
    from evsam.sam import load
    from evsam.video import is_camera, open_source

    prompts = _prompts(arguments)
    camera = is_camera(arguments.source)
    rate = None if arguments.fps is None else Fraction(arguments.fps).limit_denominator(1001)
    with closing(open_source(arguments.source, rate)) as source:
        outputs = _Outputs(arguments, camera)
        ended = arguments.resume and outputs.are_there(Path(arguments.source))
        with outputs.claimed() as folder, load(arguments.model, arguments.variant, **engine_options(arguments)) as sam:
            fingerprint = _fingerprint(arguments, sam)
            outputs.run = _digest(fingerprint, arguments.limit)
            if ended:
                outputs.check_run()
                console.note(f"{arguments.source} is done")
                return 0
            journal = _Journal(folder, fingerprint, resume=arguments.resume)
            if arguments.limit is not None and arguments.limit < journal.done:
                raise EvsamError(
                    f"--limit: expected at least {journal.done}, the frames that are done, got {arguments.limit}"
                )
            work = _Work(arguments, sam, prompts, journal.load_tracker(sam))
            with journal:
                return _follow(arguments, source, work, journal, outputs, camera=camera)


def _follow(
    arguments: argparse.Namespace,
    source: Source,
    work: _Work,
    journal: _Journal,
    outputs: _Outputs,
    *,
    camera: bool,
) -> int:
    """Go through the frames, and write what is wanted of them."""
    if journal.done:
        console.note(f"{journal.done} frames are done")
    code = 0
    with outputs.writing(source.rate):
        try:
            for frame in _frames(source, arguments, journal.done):
                record = journal.record(frame.index)
                if record is None:
                    record = work.on(frame)
                    journal.add(frame, record, None if camera else work.tracker)
                outputs.write(frame, record)
        except KeyboardInterrupt:
            if not camera:
                console.note(f"stopped behind {len(journal.names)} frames; --resume goes on")
                raise
            code = 130  # and what there is of it is kept
        if not journal.names:
            raise ImageError(f"source: expected frames, got {arguments.source}, which has none")
    outputs.finish(list(journal.records()), journal.names)
    journal.remove()
    return code


def _frames(source: Source, arguments: argparse.Namespace, done: int) -> Iterator[Frame]:
    """The frames, as many as are wanted, with a progress bar.

    Raises:
        ImageError: they are of different sizes.
    """
    total = min(filter(None, (source.total, arguments.limit)), default=0)
    bar = console.Progress(total, done)
    size: tuple[int, ...] | None = None
    try:
        for frame in source:
            height, width, _ = frame.image.shape
            if size not in (None, (height, width)):
                expected = f"frames of {size[1]} x {size[0]} pixels as the first has"
                raise ImageError(f"source: expected {expected}, got {frame.name} of {width} x {height}")
            size = height, width
            if total:
                bar.show(min(frame.index, total), Path(arguments.source).name)
            yield frame
            if frame.index + 1 == arguments.limit:
                break
    finally:
        bar.clear()


class _Work:
    """What is done with a frame: objects are followed, and new ones found."""

    def __init__(
        self, arguments: argparse.Namespace, sam: Sam, prompts: dict[int, dict[str, Any]], tracker: Tracker | None
    ) -> None:
        self._sam, self._prompts = sam, prompts
        self._shown = tuple(prompts)
        self._every: int | None = arguments.everything_every
        self._most: int = arguments.max_objects
        self._areas = {"min_area": arguments.min_area, "max_area": arguments.max_area}
        self.tracker = sam.track(window=arguments.window) if tracker is None else tracker

    def on(self, frame: Frame) -> Record:
        """The record of the next frame."""
        search = self._every is not None and frame.index % self._every == 0
        # encoded once where it is used twice; but with a window the tracker looks at frames in an own way
        image: Any = frame.image
        if (search or frame.index == 0) and self.tracker.window is None:
            image = self._sam.encode(frame.image)
        if frame.index == 0:
            for prompt in self._prompts.values():
                self.tracker.add(image, **prompt)
        tracks = self.tracker.step(image)
        record = _record(tracks)
        if search:
            record += self._found(image, tracks)
        for entry in record:
            entry["id"] = self._number(entry["id"])
        return record

    def _number(self, tracked: int) -> int:
        """The number of an object that is the tracker's Nth: it counts from 1, --masks need not."""
        if tracked <= len(self._shown):
            return self._shown[tracked - 1]
        free = (number for number in count(1) if number not in self._shown)
        return next(islice(free, tracked - len(self._shown) - 1, None))

    def _found(self, image: Any, tracks: Tracks) -> Record:
        """Objects that no track covers; they are followed from the next frame on."""
        import numpy as np

        covered = np.zeros(tracks.size, np.bool_)
        for track in tracks.values():
            covered |= track.mask & (not track.lost)
        record: Record = []
        for segment in self._sam.segment_everything(image).filter(**self._areas):
            if len(self.tracker.ids) >= self._most:
                break
            mask = segment.mask
            if covered[mask].mean() > _COVERED:
                continue
            try:
                number = self.tracker.add(image, mask=mask)
            except PromptError:  # a mask that the model cannot find again
                continue
            covered |= mask
            box, score = [float(value) for value in segment.box], float(segment.predicted_iou)
            record.append({"id": number, "box": box, "score": score, "lost": False, "segmentation": segment.rle})
        return record


def _record(tracks: Tracks) -> Record:
    from evsam.rle import encode_rle

    return [
        {
            "id": track.id,
            "box": track.box.tolist(),
            "score": track.score,
            "lost": track.lost,
            "segmentation": None if track.lost else encode_rle(track.mask),
        }
        for track in tracks.values()
    ]


def _tracks(record: Record, size: tuple[int, int]) -> Tracks:
    """The tracks that a record holds."""
    import numpy as np

    from evsam.rle import decode_rle
    from evsam.tracking import Track, Tracks

    tracks = {}
    for entry in record:
        rle = entry["segmentation"]
        mask = np.zeros(size, np.bool_) if rle is None else decode_rle(rle)
        box = np.array(entry["box"], np.float32)
        tracks[entry["id"]] = Track(id=entry["id"], mask=mask, box=box, score=entry["score"], lost=entry["lost"])
    return Tracks(tracks, size)


class _Journal:
    """The records of a run in a folder beside what it writes, and from time to time the tracker's state.

    The first line of ``frames.jsonl`` says what the run is of, each further one is a frame. ``tracker-N.evsam``
    is the state behind N frames.

    Attributes:
        done: frames whose records were found, with ``resume``.
        names: of all frames until now.

    Args:
        folder: exists, and is this process's alone.
        fingerprint: what the run is of.
        resume: whether to go on with what is there.

    Raises:
        EvsamError: with ``resume``, the folder is of a run with other arguments, or damaged.
    """

    def __init__(self, folder: Path, fingerprint: dict[str, Any], *, resume: bool) -> None:
        self._folder, self._file = folder, folder / "frames.jsonl"
        self._fingerprint = fingerprint
        lines: list[str] = []
        names: list[str] = []
        if resume and self._file.exists():
            try:
                lines = self._file.read_text(encoding="utf-8").split("\n")[:-1]  # behind the last end of line: torn
                theirs = dict(json.loads(lines[0])) if lines else fingerprint
                names = [json.loads(line)["name"] for line in lines[1:]]
            except (ValueError, TypeError, KeyError) as error:
                text = f"--resume: expected what an earlier run kept, got {self._file}, which is damaged"
                raise EvsamError(f"{text}; without --resume it begins anew") from error
            for key, value in fingerprint.items():
                if theirs.get(key) != value:
                    raise EvsamError(f"--resume: expected {key} {theirs.get(key)!r} as before, got {value!r}")
        saved = [state for state in self._states() if int(state.stem[8:]) < len(lines)]
        self._state = saved[-1] if saved else None
        self.done = 0 if self._state is None else int(self._state.stem[8:])
        self._old = lines[1 : self.done + 1]
        self.names = names[: self.done]
        self._stream: IO[str]
        self._saved = time.monotonic()

    def _states(self) -> list[Path]:
        """Files of states, the newest last."""
        return sorted(self._folder.glob("tracker-*.evsam"))

    def __enter__(self) -> None:
        """Begin the journal, with what is kept of the old one."""
        from evsam.writing import replaced

        if not self.done:
            self._clear()
        with replaced(self._file) as temporary:
            text = "\n".join([json.dumps(self._fingerprint), *self._old]) + "\n"
            temporary.write_text(text, encoding="utf-8")
        self._stream = self._file.open("a", encoding="utf-8")

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        if not self.names:
            self._clear()  # there is nothing to go on with

    def _clear(self) -> None:
        """Empty the folder; it stays, since a lock on it says whose it is."""
        for path in self._folder.iterdir():
            path.unlink()

    def load_tracker(self, sam: Sam) -> Tracker | None:
        """The tracker as it was behind the frames that are done; None for a new one."""
        from evsam.tracking import Tracker

        return None if self._state is None else Tracker.load(self._state, sam)

    def record(self, index: int) -> Record | None:
        """The record of a frame that is done."""
        return json.loads(self._old[index])["tracks"] if index < self.done else None

    def add(self, frame: Frame, record: Record, tracker: Tracker | None) -> None:
        """Add a frame's record; and from time to time the state, unless there is no going on."""
        self._stream.write(json.dumps({"name": frame.name, "tracks": record}) + "\n")
        self.names.append(frame.name)
        if tracker is None or time.monotonic() - self._saved < _SAVE_SECONDS:
            return
        self._stream.flush()
        os.fsync(self._stream.fileno())
        older = self._states()
        tracker.save(self._folder / f"tracker-{len(self.names):08}.evsam")
        for state in older:
            state.unlink()
        self._saved = time.monotonic()

    def records(self) -> Iterator[Record]:
        """All records, one after the other."""
        self._stream.flush()
        with self._file.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                yield json.loads(line)["tracks"]

    def remove(self) -> None:
        """Leave nothing behind."""
        self._stream.close()
        self._clear()


class _Outputs:
    """What is written: a video or label maps, frame by frame, and in the end the document of all tracks.

    Attributes:
        work_folder: for what only a stopped run needs.
        run: digest of what the run is of, which each file is marked with.

    Raises:
        OSError: something cannot be written.
    """

    def __init__(self, arguments: argparse.Namespace, camera: bool) -> None:
        from evsam.video import container_of, frame_files
        from evsam.writing import check_folder, check_writable

        self._json: str | None = arguments.json
        self._path: Path | None = arguments.output
        if self._path is None and self._json is None:
            name = Path(f"camera{arguments.source}" if camera else arguments.source)
            if name.name in ("", ".."):  # the names of . and .. are elsewhere
                name = name.resolve()
            self._path = name.parent / f"{name.name if name.is_dir() else name.stem}_tracks.mp4"
        self._folder = self._path is not None and (self._path.is_dir() or not self._path.suffix)
        check_file(self._json)
        if self._path is not None:
            if self._folder:
                check_folder(self._path)
            else:
                try:
                    self._container = container_of(self._path)
                except EvsamError as error:
                    arguments.fail(str(error))
                check_writable(self._path)
        self._frames = frame_files(arguments.source)
        try:
            self._check_names(arguments, camera)
        except EvsamError as error:
            arguments.fail(str(error))
        if self._path is not None or self._json != "-":
            main = Path(os.path.abspath(self._path or self._json or ""))  # . has its folder's name
        else:  # several runs can write to standard outputs in one folder
            source = Path(os.path.abspath(arguments.source))
            main = Path(f"{source.name}-{hashlib.sha256(os.fsencode(source)).hexdigest()[:12]}")
        self.work_folder = main.parent / f".{main.name}.evsam-track"
        self.run = ""
        self.say: Callable[[str], None] = console.note if self._json == "-" else console.say
        self._write: Callable[[Frame, Tracks], None] | None = None
        self._size = (0, 0)

    def _check_names(self, arguments: argparse.Namespace, camera: bool) -> None:
        """Make sure that nothing is written over what is read or what else is written.

        Raises:
            EvsamError: it would be.
        """
        taken: dict[object, str] = {_identity(path): "a frame of the source" for path in self._frames}
        if not camera:
            taken[_identity(Path(arguments.source))] = "the source"
        if arguments.masks is not None:
            taken[_identity(arguments.masks)] = "that of --masks"
        for flag, path in self._written(arguments):
            key = _identity(path)
            if key in taken:
                kind = "folder" if path.is_dir() else "file"
                raise EvsamError(f"{flag}: expected another {kind} than {taken[key]}, got {path}")
            if key is not None:
                taken[key] = f"that of {flag}"

    def _written(self, arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
        """What will be written, as far as it is known, and the argument that says so.

        Raises:
            EvsamError: two frames would have one label map, or it might be over the picture of --masks.
        """
        if self._json not in (None, "-"):
            yield "--json", Path(self._json or "")
        if self._path is None:
            return
        yield "-o", self._path
        if not self._folder:
            return
        if arguments.masks is not None and _identity(arguments.masks.parent) == _identity(self._path):
            raise EvsamError(f"-o: expected another folder than that of --masks, got {self._path}")
        if not Path(arguments.source).is_dir():
            return
        maps: dict[str, str] = {}
        for frame in self._frames:
            name = _label_map(frame.name)
            if name in maps:
                text = f"expected frames whose names differ before the ending, got {maps[name]} and {frame.name}"
                raise EvsamError(f"-o: {text}, whose label maps would both be {name}")
            maps[name] = frame.name
            yield "-o", self._path / name

    @contextmanager
    def claimed(self) -> Iterator[Path]:
        """The work folder, while it is this run's.

        Raises:
            EvsamError: another run is at it.
        """
        from evsam.writing import claimed_folder

        with ExitStack() as stack:
            try:
                stack.enter_context(claimed_folder(self.work_folder))
            except BlockingIOError as error:
                text = "expected outputs that no other run is writing"
                raise EvsamError(f"{text}, got those of a run that is at work in {self.work_folder}") from error
            yield self.work_folder

    def are_there(self, source: Path) -> bool:
        """Whether an earlier run has written all, and the source has not changed since.

        Of label maps that is known where the source is a folder, which says how they are called.
        """
        if self.work_folder.exists() or self._json == "-" or not source.exists():
            return False
        if self._folder and not source.is_dir():
            return False
        newest = max(path.stat().st_mtime for path in self._frames)
        return all(path.is_file() and path.stat().st_mtime >= newest for path, _ in self._files())

    def check_run(self) -> None:
        """Make sure that what is there is of a run with the same arguments.

        Raises:
            EvsamError: it is not.
        """
        for path, read in self._files():
            try:
                found = read(path)
            except Exception:  # noqa: BLE001 - of Pillow, FFmpeg and JSON: files that are none of this command's
                found = None
            if found != self.run:
                text = f"expected {path} to be of a run with these arguments, got a file of another"
                raise EvsamError(f"--resume: {text}; without --resume it begins anew")

    def _files(self) -> Iterator[tuple[Path, Callable[[Path], object]]]:
        """What is there once all is written, and how the mark in it is read."""
        if self._json not in (None, "-"):
            yield Path(self._json or ""), _run_of_document
        if self._path is not None and self._folder:
            yield from ((self._path / _label_map(frame.name), _run_of_picture) for frame in self._frames)
        elif self._path is not None:
            from evsam.video import video_comment

            yield self._path, video_comment

    @contextmanager
    def writing(self, rate: Fraction) -> Iterator[None]:
        """While frames are written; a video takes its name if the block succeeds."""
        from evsam.formats import label_picture
        from evsam.video import VideoWriter
        from evsam.writing import replaced

        with ExitStack() as stack:
            writers: list[VideoWriter] = []
            if self._path is None:
                pass
            elif self._folder:
                from PIL.PngImagePlugin import PngInfo

                folder = self._path
                marks = PngInfo()
                marks.add_text(_MARK, self.run)

                def write_labels(frame: Frame, tracks: Tracks) -> None:
                    with replaced(folder / _label_map(frame.name)) as temporary:
                        masks = [track.mask for track in tracks.values()]
                        picture = label_picture(masks, tracks.size, numbers=list(tracks))
                        picture.save(temporary, "PNG", pnginfo=marks)

                self._write = write_labels
            else:
                temporary = stack.enter_context(replaced(self._path))

                def draw(frame: Frame, tracks: Tracks) -> None:
                    import numpy as np

                    if not writers:
                        writers.append(VideoWriter(temporary, self._container, tracks.size, rate, self.run))
                        stack.callback(writers[0].close)
                    writers[0].write(np.asarray(tracks.overlay(frame.image)), frame.time)

                self._write = draw
            yield

    def write(self, frame: Frame, record: Record) -> None:
        """Write what is wanted of a frame."""
        height, width, _ = frame.image.shape
        self._size = height, width
        if self._write is not None:
            self._write(frame, _tracks(record, self._size))

    def finish(self, frames: Sequence[Record], names: Sequence[str]) -> None:
        """Write the document, and say what was found and written."""
        from evsam.formats import tracks_document

        for line in _summary(frames, self._size):
            self.say(line)
        if self._path is not None:
            self.say(f"wrote {self._path}")
        if self._json is not None:
            document = tracks_document(frames, self._size, file_names=names)
            document["info"][_MARK] = self.run
            save_json(document, self._json, indent=None)


def _identity(path: Path) -> object:
    """Equal for two paths of one file or folder; None for what is neither, such as a pipe, which can be shared."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    ordinary = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return (status.st_dev, status.st_ino) if ordinary else None


def _run_of_document(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))["info"][_MARK]


def _run_of_picture(path: Path) -> object:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.info.get(_MARK)


def _label_map(frame: str) -> str:
    """The name of the label map of a frame."""
    return f"{Path(frame).stem}.png"


def _summary(frames: Sequence[Record], size: tuple[int, int]) -> Iterator[str]:
    """A line for all frames, and one for each object."""
    seen: dict[int, list[bool]] = {}
    for record in frames:
        for entry in record:
            seen.setdefault(entry["id"], []).append(not entry["lost"])
    objects = f"{len(seen)} object{'s' if len(seen) != 1 else ''}"
    yield f"{len(frames)} frames of {size[1]} x {size[0]} pixels, {objects}"
    for key, there in seen.items():
        lost = there.count(False)
        yield f"object {key}: in {len(there) - lost} frames" + (f", lost in {lost}" if lost else "")


def _prompts(arguments: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """Of each object that is shown, by its number: those of --masks have theirs, others the first that are free."""
    masks = {} if arguments.masks is None else _read_masks(arguments.masks)
    free = (number for number in count(1) if number not in masks)
    prompts: dict[int, dict[str, Any]] = {next(free): {"box": box} for box in arguments.box}
    for values in arguments.points:
        if len(values) % 2:
            arguments.fail(f"--points: expected pairs X Y, got {len(values)} numbers")
        points = list(zip(values[::2], values[1::2], strict=True))
        prompts[next(free)] = {"points": points, "labels": [1] * len(points)}
    prompts |= {number: {"mask": mask} for number, mask in masks.items()}
    if not prompts and arguments.everything_every is None:
        arguments.fail("give at least one --box, --points or --masks, or --everything-every N")
    return prompts


def _read_masks(path: Path) -> dict[int, Any]:
    """The masks (H, W), bool, of the objects in a label map by their numbers, in the order of those.

    Raises:
        PromptError: it cannot be read, or has none.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as picture:
            labels = np.asarray(picture if picture.mode in ("1", "L", "P") or picture.mode.startswith("I") else None)
    except Exception as error:  # of Pillow's decoders
        raise PromptError(f"--masks: expected an image file, got {path} ({error})") from error
    if labels.ndim != 2:
        raise PromptError(f"--masks: expected an image of numbers, grey or with a palette, got {path}, of colours")
    numbers = np.unique(labels[labels > 0]).tolist()
    if not numbers:
        raise PromptError(f"--masks: expected an image with numbers above 0 for objects, got {path}, which has none")
    return {value: labels == value for value in numbers}


def _fingerprint(arguments: argparse.Namespace, sam: Sam) -> dict[str, Any]:
    """What has to be the same for a run to go on.

    Of the source that is its files, not the time of its folder, which outputs in it change.
    """
    from evsam.video import frame_files

    given = ("source", "box", "points", "everything_every", "max_objects", "min_area", "max_area", "fps", "window")
    found: dict[str, Any] = {name: getattr(arguments, name) for name in given}
    found["masks"] = None if arguments.masks is None else str(arguments.masks)
    found["model"] = f"{sam.variant.name} {sam.fingerprint}"
    digest = hashlib.sha256()
    for path in [*frame_files(arguments.source), *([] if arguments.masks is None else [arguments.masks])]:
        status = path.stat()
        digest.update(f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    found["names, sizes and times of what is read"] = digest.hexdigest()[:16]
    return found


def _digest(fingerprint: dict[str, Any], limit: int | None) -> str:
    """A mark for files of a run that is of this, and ended there."""
    return hashlib.sha256(json.dumps([fingerprint, limit], sort_keys=True).encode()).hexdigest()[:16]
