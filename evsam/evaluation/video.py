"""Objects that are followed through videos: DAVIS's J and F, and whether a tracker says that it has lost them.

A tracker is given the mask of each object in the first frame and finds the object in all others, one frame after the
other (DAVIS calls that semi-supervised). Whatever has ``add`` and ``step`` as :class:`evsam.tracking.Tracker` has them
can be scored; the plain ways of following that a tracker has to beat are here. All trackers of an evaluation see the
same embeddings, so that a frame is encoded once; but one with a window sees the frames, parts of which it encodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from evsam.boxes import bounding_box
from evsam.datasets.records import BrokenSample, DataError, Photo, Photos
from evsam.errors import EvsamError
from evsam.evaluation.metrics import boundary_f, iou, mean, sequence_statistics
from evsam.evaluation.protocols import Row, Tables, in_order
from evsam.evaluation.truth import TrueObject, Truth

if TYPE_CHECKING:
    from evsam.datasets.masks import MaskPhotos
    from evsam.embedding import Embedding
    from evsam.sam import Sam

Bool = npt.NDArray[np.bool_]

FAILED, FOUND = 0.1, 0.5
"""IoU below which a tracker should say that an object is lost, and above which it should not."""


@dataclass(frozen=True)
class Video(Photo):
    """A video: its first frame, under the video's name, and all frames.

    Attributes:
        frames: in their order, each read when it is asked for.
    """

    frames: Sequence[Photo] = ()


class Videos(Photos):
    """The videos of a folder of frames and masks, in the order of their names.

    Args:
        frames: of all videos, each with its mask.

    Raises:
        DataError: there is none with three frames, of which DAVIS scores those between the first and the last.
    """

    def __init__(self, frames: MaskPhotos) -> None:
        self._frames = frames
        self._spans = {name: span for name, span in frames.videos().items() if len(span) > 2}
        self._names = list(self._spans)
        self.remarks = frames.remarks
        if not self._names:
            raise DataError(
                "video: expected folders of at least three frames and their masks, JPEGImages/480p/NAME/00000.jpg and "
                "Annotations/480p/NAME/00000.png, got none"
            )

    def __len__(self) -> int:
        return len(self._names)

    def photo(self, index: int) -> Video:
        """Video number ``index``; its key is its name."""
        name = self._names[index]
        frames = _Frames(self._frames, self._spans[name])
        first = frames[0]
        return Video(name, first.annotations, first.read, first.size, sequence=name, frames=frames)


class _Frames(Photos):
    def __init__(self, source: Photos, span: range) -> None:
        self._source, self._span = source, span

    def __len__(self) -> int:
        return len(self._span)

    def photo(self, index: int) -> Photo:
        return self._source[self._span[index]]


class Result(Protocol):
    """What a tracker says of an object in a frame.

    Where it also has a ``guess``, bool (H, W), that is what it would have answered if it had not taken the object for
    lost, by which it is judged whether it was right to do so.
    """

    @property
    def mask(self) -> Bool:
        """Bool (H, W)."""

    @property
    def score(self) -> float:
        """Which of two objects a pixel belongs to that both have: the one of the higher score."""

    @property
    def lost(self) -> bool:
        """Whether the tracker says that it has lost the object."""


class Follower(Protocol):
    """A tracker, as far as it is needed here."""

    def add(self, frame: Any, *, mask: Bool) -> int:
        """Show an object by its mask; its number. frame: an embedding; with a window uint8 (H, W, 3), RGB."""

    def step(self, frame: Any) -> Mapping[int, Result]:
        """The objects in the next frame, by their numbers."""


@dataclass(frozen=True, eq=False)
class _Found:
    mask: Bool
    score: float
    lost: bool = False


class StandsStill:
    """The first mask in every frame."""

    def __init__(self, sam: Sam) -> None:
        self._sam = sam
        self._masks: list[Bool] = []

    def add(self, frame: Embedding, *, mask: Bool) -> int:  # noqa: ARG002 - as trackers have it
        """Show an object."""
        self._masks.append(mask)
        return len(self._masks) - 1

    def step(self, frame: Embedding) -> dict[int, _Found]:
        """The objects, where they were before."""
        found = {}
        for number, mask in enumerate(self._masks):
            self._masks[number], score = self._next(frame, number, mask)
            found[number] = _Found(self._masks[number], score)
        return found

    def _next(self, frame: Embedding, number: int, mask: Bool) -> tuple[Bool, float]:  # noqa: ARG002
        return mask, 1.0


class LastBox(StandsStill):
    """The box around the last mask is the prompt, nothing else; a mask without a pixel leaves the box as it was."""

    def __init__(self, sam: Sam) -> None:
        super().__init__(sam)
        self._boxes: dict[int, tuple[int, int, int, int]] = {}

    def _next(self, frame: Embedding, number: int, mask: Bool) -> tuple[Bool, float]:
        if mask.any():
            self._boxes[number] = bounding_box(mask)
        result = self._sam.predict(frame, box=self._boxes[number], multimask=False)
        return result.masks[0, 0], float(result.scores[0, 0])


class LastLogits(StandsStill):
    """The logits of the last mask are the prompt, the first mask in the second frame; see :meth:`evsam.Sam.predict`."""

    def __init__(self, sam: Sam) -> None:
        super().__init__(sam)
        self._logits: dict[int, npt.NDArray[np.float32]] = {}

    def _next(self, frame: Embedding, number: int, mask: Bool) -> tuple[Bool, float]:
        result = self._sam.predict(frame, mask=self._logits.get(number, mask), multimask=False)
        if (result.logits > 0).any():  # else there would be no object in the next prompt
            self._logits[number] = result.logits[0, 0]
        return result.masks[0, 0], float(result.scores[0, 0])


TRACKERS: Mapping[str, Callable[[Sam], Follower]] = {
    "track": lambda sam: sam.track(),
    "last-box": LastBox,
    "last-logits": LastLogits,
    "still": StandsStill,
}
"""Trackers by the names that ``evsam eval --trackers`` takes; each is made for one video."""


@dataclass(frozen=True)
class Following:
    """A tracker that follows the objects of videos.

    Attributes:
        name: of :data:`TRACKERS`, or of your own tracker.
        tracker: makes your own, given the model; None for that of the name.
        window: of :meth:`evsam.Sam.track`, for the tracker of the name ``track``; None: whole frames.
    """

    name: str = "track"
    tracker: Callable[[Sam], Follower] | None = None
    window: float | None = None

    def follow(self, sam: Sam) -> Follower:
        """A new tracker."""
        if self.window is not None:
            return sam.track(window=self.window)
        return (self.tracker or TRACKERS[self.name])(sam)

    def rows(self, sam: Sam, embedding: Embedding, truth: Truth) -> list[Row]:  # noqa: ARG002 - as other protocols
        """None: a photo is no video.

        Raises:
            EvsamError: always.
        """
        raise EvsamError(f"{self.name}: expected a video, got a photo; score_video scores videos")

    def summary(self, rows: Sequence[Row]) -> Tables:
        """Tables ``frames``: DAVIS's J and F, mean of the objects; ``lost``; and ``sequences``: the same of each video.

        ``lost`` has the share of failures (IoU below 0.1) that the tracker told, the share of frames in which it was
        on the object (IoU above 0.5) and said that it was not, and how many frames those are.
        """
        rows = in_order(rows)
        by_video: dict[str, list[Row]] = {}
        for row in rows:
            by_video.setdefault(row["photo"], []).append(row)
        return {
            "frames": {"mean of objects": {**_statistics(rows), "objects": len(rows)}},
            "lost": {"frames": _losses(rows)},
            "sequences": {name: {**_statistics(some), **_losses(some)} for name, some in by_video.items()},
        }


def _statistics(rows: Sequence[Row]) -> dict[str, float | None]:
    names = [f"{row['photo']}/{row['object']}" for row in rows]
    j, f = ({name: row[key] for name, row in zip(names, rows, strict=True)} for key in ("iou", "f"))
    return sequence_statistics(j, f)


def _losses(rows: Sequence[Row]) -> dict[str, float | None]:
    pairs = [pair for row in rows for pair in zip(row["guess"], row["lost"], strict=True)]
    failed = [float(lost) for value, lost in pairs if value < FAILED]
    found = [float(lost) for value, lost in pairs if value > FOUND]
    return {"told": mean(failed), "said falsely": mean(found), "failures": len(failed), "on the object": len(found)}


@dataclass
class _Followed:
    """One tracker on one video."""

    tracker: Follower
    sees_pixels: bool
    rows: list[Row]
    numbers: list[int] = field(default_factory=list)


def score_video(sam: Sam, video: Photo, protocols: Sequence[Any]) -> dict[str, list[Row]]:
    """What trackers find in one video, by their names: a row for each object of the first frame.

    A row has ``iou`` and ``f`` of the frames between the first, whose masks are given, and the last, as DAVIS counts
    them; ``lost``, whether the tracker said so; and ``guess``, IoU of what it would have answered if it had not.

    Args:
        sam: the model.
        video: a :class:`Video`.
        protocols: of :class:`Following`.

    Raises:
        BrokenSample: a frame or a mask cannot be used, or the first frame has no object.
    """
    frames = video.frames if isinstance(video, Video) else ()
    objects: list[TrueObject] = []
    runs: dict[str, _Followed] = {}
    try:
        for number, frame in enumerate(frames):
            pixels = frame.pixels()
            truth = Truth.read(frame, pixels)
            embedding = sam.encode(pixels) if any(protocol.window is None for protocol in protocols) else None
            if number == 0:
                objects = truth.asked()
                if not objects:
                    raise BrokenSample(video.key, "expected an object in the first frame, got none")
                for protocol in protocols:
                    runs[protocol.name] = run = _Followed(
                        protocol.follow(sam), protocol.window is not None, _blank(video, objects, len(frames))
                    )
                    shown = pixels if run.sees_pixels else embedding
                    run.numbers = [run.tracker.add(shown, mask=one.mask) for one in objects]
                continue
            true = {one.annotation.id: one for one in truth.objects}
            for run in runs.values():
                found = run.tracker.step(pixels if run.sees_pixels else embedding)
                if number + 1 < len(frames):
                    _score(run, found, [true.get(one.annotation.id) for one in objects], truth.size)
    except BrokenSample:
        raise
    except (EvsamError, KeyError, TypeError, ValueError) as error:
        raise BrokenSample(video.key, str(error)) from error
    return {name: run.rows for name, run in runs.items()}


def _blank(video: Photo, objects: Sequence[TrueObject], frames: int) -> list[Row]:
    return [
        {
            "photo": video.key,
            "object": one.number,
            "id": one.annotation.id,
            "area": one.area,
            "frames": frames,
            **{key: [] for key in ("iou", "f", "guess", "lost")},
        }
        for one in objects
    ]


def _score(
    run: _Followed, found: Mapping[int, Result], true: Sequence[TrueObject | None], size: tuple[int, int]
) -> None:
    results = [found[number] for number in run.numbers]
    masks = exclusive([result.mask for result in results], [result.score for result in results])
    nothing = np.zeros(size, np.bool_)
    for row, result, mask, one in zip(run.rows, results, masks, true, strict=True):
        target, ignore = (nothing, None) if one is None else (one.mask, one.ignore)
        row["iou"].append(iou(mask, target, ignore))
        row["f"].append(boundary_f(mask, target, ignore))
        guess = getattr(result, "guess", None)
        row["guess"].append(row["iou"][-1] if guess is None else iou(guess, target, ignore))
        row["lost"].append(bool(result.lost))


def exclusive(masks: Sequence[Bool], scores: Sequence[float]) -> list[Bool]:
    """Masks of which no two have a pixel in common, as DAVIS wants them: the one of the higher score keeps it.

    Args:
        masks: bool (H, W).
        scores: of the masks; of equal ones the first counts more.

    Example:
        >>> a, b = np.array([[True, True, False]]), np.array([[False, True, True]])
        >>> [mask.tolist() for mask in exclusive([a, b], [0.5, 0.9])]
        [[[True, False, False]], [[False, True, True]]]
    """
    if len(masks) < 2:
        return list(masks)
    left = list(masks)
    taken = np.zeros_like(masks[0])
    for index in sorted(range(len(masks)), key=lambda index: -scores[index]):
        left[index] = masks[index] & ~taken
        taken |= masks[index]
    return left
