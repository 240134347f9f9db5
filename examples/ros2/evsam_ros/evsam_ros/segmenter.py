"""What the node does, without ROS: messages that belong together, masks of prompts, and objects that are followed."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

import evsam
from evsam_ros.images import Frame

MOST_OBJECTS = 255
"""Of one frame: label images have 8 bits."""


@dataclass(frozen=True)
class Prompt:
    """Shows one object, in pixels.

    Attributes:
        id: of the object.
        class_id: what it is, carried over to the results.
        box: x0, y0, x1, y1; or None.
        points: x, y of clicks; may be empty if there is a box.
        labels: of each point: 1 on the object, 0 beside it.
    """

    id: str
    class_id: str = "mask"
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()

    def scaled(self, x: float, y: float) -> Prompt:
        """The same in an image that is ``x`` times as wide and ``y`` times as high."""
        box = self.box and (self.box[0] * x, self.box[1] * y, self.box[2] * x, self.box[3] * y)
        return Prompt(self.id, self.class_id, box, tuple((px * x, py * y) for px, py in self.points), self.labels)

    def arguments(self) -> dict[str, Any]:
        """For :meth:`evsam.Tracker.add`."""
        points = {"points": list(self.points), "labels": list(self.labels)} if self.points else {}
        return {"box": self.box, **points}


@dataclass(frozen=True, eq=False)
class Found:
    """An object in one frame.

    Attributes:
        number: its value in the label image, 1 to 255.
        id: of the object.
        class_id: what it is, as the prompt said.
        score: how well the mask is expected to fit, 0 to 1.
        box: x0, y0, x1, y1 around the mask, along the pixels' edges.
        mask: bool (H, W).
    """

    number: int
    id: str
    class_id: str
    score: float
    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Result:
    """All objects in one frame.

    Attributes:
        size: height and width of the frame.
        objects: those that were found.
        lost: ids of those that are followed but not to be seen.
        refused: what could not be done, in words.
    """

    size: tuple[int, int]
    objects: Sequence[Found]
    lost: Sequence[str] = ()
    refused: Sequence[str] = ()

    def binary_mask(self) -> npt.NDArray[np.uint8]:
        """uint8 (H, W): 255 where there is any object, else 0."""
        return np.where(self.label_image, np.uint8(255), np.uint8(0))

    @cached_property
    def label_image(self) -> npt.NDArray[np.uint8]:
        """uint8 (H, W): the number of the object, 0 where there is none; where several overlap, that of the best."""
        labels = np.zeros(self.size, np.uint8)
        for found in sorted(self.objects, key=lambda found: found.score):
            labels[found.mask] = found.number
        return labels


class Matching:
    """Brings messages together that have one time stamp: a frame, its detections, its mask.

    Args:
        parts: names of the messages that make a set.
        size: how many stamps wait at most; the oldest gives way.
    """

    def __init__(self, parts: Sequence[str], size: int) -> None:
        self._parts, self._size = frozenset(parts), size
        self._waiting: OrderedDict[Hashable, dict[str, Any]] = OrderedDict()
        self.unmatched = 0
        """Stamps that had all but the frame, when they gave way: detections of frames that never came."""

    def put(self, part: str, stamp: Hashable, message: Any) -> Mapping[str, Any] | None:
        """Take a message; the whole set, if it was the last one missing. What is older is given up then."""
        found = self._waiting.setdefault(stamp, {})
        found[part] = message
        if self._parts == found.keys():
            while self._waiting.popitem(last=False)[0] != stamp:
                pass
            return found
        if len(self._waiting) > self._size:
            self.unmatched += "frame" not in self._waiting.popitem(last=False)[1]
        return None


@dataclass
class Segmenter:
    """Masks of prompts, and of objects that are followed.

    ``segment`` and ``track`` are called by one thread; ``add``, ``remove`` and ``numbers`` by any.

    Attributes:
        sam: the model.
        max_batch_size: how many objects a frame may have, 1 to 255.
        orig_img_dims: height and width of the image in whose pixels prompts are given; (0, 0) for those of the frame.
        scale_16bit: how values of 16 bits become 8, see :meth:`evsam.Sam.encode`.
    """

    sam: evsam.Sam
    max_batch_size: int = 20
    orig_img_dims: tuple[int, int] = (0, 0)
    scale_16bit: str = "full"
    _lock: Lock = field(default_factory=Lock, repr=False)
    _numbers: dict[str, int] = field(default_factory=dict, repr=False)  # by id, of all that are followed
    _pending: list[tuple[Prompt, Frame | None]] = field(default_factory=list, repr=False)  # not yet shown
    _removed: list[str] = field(default_factory=list, repr=False)
    _tracker: evsam.Tracker | None = field(default=None, repr=False)
    _tracked: dict[str, int] = field(default_factory=dict, repr=False)  # the tracker's own numbers
    _size: tuple[int, int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.max_batch_size <= MOST_OBJECTS:
            raise ValueError(f"max_batch_size: expected 1 to {MOST_OBJECTS}, got {self.max_batch_size}")
        if len(self.orig_img_dims) != 2 or min(self.orig_img_dims) < 0 or 0 < sum(map(bool, self.orig_img_dims)) < 2:
            raise ValueError(f"orig_img_dims: expected height and width, or 0 and 0, got {list(self.orig_img_dims)}")

    def segment(self, frame: Frame, prompts: Sequence[Prompt], mask: npt.NDArray[np.uint8] | None = None) -> Result:
        """Masks of prompts in one frame.

        Args:
            frame: the image.
            prompts: all of one kind, boxes or points. Of more than ``max_batch_size`` the first count; boxes beside
                the image, and those without area, are refused one by one.
            mask: uint8 (H, W) of the frame, 0 and not 0: where the objects are about, a further prompt for each.

        Raises:
            EvsamError: the image cannot be read, or the prompts cannot be meant.
        """
        embedding = self._encoded(frame)
        height, width = embedding.original_size
        taken, refused = [], [f"{len(prompts)} prompts, of max_batch_size"] * (len(prompts) > self.max_batch_size)
        for prompt in self._in_pixels(prompts[: self.max_batch_size], embedding.original_size):
            if prompt.box and not _meets(prompt.box, width, height):
                refused.append(f"object {prompt.id}: box {prompt.box} beside the image, or without area")
            else:
                taken.append(prompt)
        if not taken:
            return Result((height, width), [], refused=refused)
        arguments: dict[str, Any] = {}
        if taken[0].box:
            arguments["boxes"] = [prompt.box for prompt in taken]
        else:
            arguments["points"] = [list(prompt.points) for prompt in taken]
            arguments["labels"] = [list(prompt.labels) for prompt in taken]
        if mask is not None:
            arguments["mask"] = np.broadcast_to(mask > 0, (len(taken), *mask.shape))
        predicted = self.sam.predict(embedding, **arguments)
        best, scores = predicted.best(), predicted.scores.max(1)
        objects = [
            Found(number, prompt.id, prompt.class_id, _part(score), tuple(map(float, box)), mask)
            for number, (prompt, score, box, mask) in enumerate(
                zip(taken, scores, predicted.boxes, best, strict=True), start=1
            )
            if mask.any()
        ]
        return Result((height, width), objects, refused=refused)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to follow, so that a frame need not be encoded."""
        return not self.numbers()

    def numbers(self) -> dict[str, int]:
        """The objects that are followed, or will be from the next frame on: by id, their values in the label image."""
        with self._lock:
            return dict(self._numbers)

    def add(self, prompts: Sequence[Prompt], frame: Frame | None = None) -> dict[str, int]:
        """Follow objects, all or none of them. They are shown to the tracker when :meth:`track` is called next.

        Args:
            prompts: one for each object.
            frame: in which they are shown; None for the next one.

        Returns:
            As :meth:`numbers`.

        Raises:
            PromptError: ids that are there already or come twice, prompts that cannot be meant, or too many.
        """
        with self._lock:
            for index, prompt in enumerate(prompts):
                if prompt.id in self._numbers or prompt.id in [other.id for other in prompts[:index]]:
                    raise evsam.PromptError(f"object id: expected a new one, got {prompt.id!r}, which exists")
                _check(prompt)
            if len(self._numbers) + len(prompts) > self.max_batch_size:
                count = len(self._numbers) + len(prompts)
                raise evsam.PromptError(
                    f"objects: expected at most {self.max_batch_size} (max_batch_size), got {count}"
                )
            for prompt in prompts:
                taken = set(self._numbers.values())
                self._numbers[prompt.id] = next(n for n in range(1, MOST_OBJECTS + 1) if n not in taken)
                self._pending.append((prompt, frame))
            return dict(self._numbers)

    def remove(self, object_id: str) -> dict[str, int]:
        """Follow an object no longer.

        Returns:
            As :meth:`numbers`.

        Raises:
            PromptError: there is no such object.
        """
        with self._lock:
            if object_id not in self._numbers:
                raise evsam.PromptError(f"object id: expected one of {list(self._numbers)}, got {object_id!r}")
            del self._numbers[object_id]
            self._pending = [entry for entry in self._pending if entry[0].id != object_id]
            self._removed.append(object_id)
            return dict(self._numbers)

    def track(self, frame: Frame) -> Result:
        """The objects in the next frame.

        Objects whose prompt gives no mask, or whose own frame cannot be read, are removed, and told in ``refused``; so
        are all objects if the frame has another size than those before, which says nothing of where they are now.

        Raises:
            ImageError: the image cannot be read.
        """
        embedding = self._encoded(frame)
        refused = []
        with self._lock:
            pending, self._pending = self._pending, []
            removed, self._removed = self._removed, []
            numbers = dict(self._numbers)
        for name in removed:  # first: an object of the same name that came since is another one
            if self._tracker is not None and name in self._tracked:
                self._tracker.remove(self._tracked.pop(name))
        if self._tracker is None or self._size != embedding.original_size:
            refused += [f"object {name}: lost when the frame's size changed" for name in self._tracked]
            self._forget(list(self._tracked))
            self._tracker, self._size, self._tracked = self.sam.track(), embedding.original_size, {}
        for prompt, shown_in in pending:
            number = self._shown(self._tracker, prompt, embedding, shown_in)
            if isinstance(number, int):
                self._tracked[prompt.id] = number
            else:
                refused.append(f"object {prompt.id}: {number}")
                self._forget([prompt.id])
        tracks = self._tracker.step(embedding)
        by_name = {name: tracks[number] for name, number in self._tracked.items()}
        objects = [
            Found(numbers[name], name, "mask", track.score, tuple(map(float, track.box)), track.mask)
            for name, track in by_name.items()
            if not track.lost
        ]
        return Result(embedding.original_size, objects, [n for n, track in by_name.items() if track.lost], refused)

    def _shown(
        self, tracker: evsam.Tracker, prompt: Prompt, embedding: evsam.Embedding, shown_in: Frame | None
    ) -> int | evsam.EvsamError:
        """The tracker's number of an object, or why it has none; other objects are none the worse for that."""
        try:
            seen = embedding if shown_in is None else self._encoded(shown_in)
            if seen.original_size != embedding.original_size:
                return evsam.ImageError(f"shown in a frame of {seen.original_size}, not {embedding.original_size}")
            (in_pixels,) = self._in_pixels([prompt], seen.original_size)
            return tracker.add(seen, **in_pixels.arguments())
        except evsam.EvsamError as error:
            return error

    def _forget(self, names: Sequence[str]) -> None:
        with self._lock:
            for name in names:
                if name not in self._removed:  # else there is none, or one that came since, perhaps of the same number
                    self._numbers.pop(name, None)

    def _encoded(self, frame: Frame) -> evsam.Embedding:
        return self.sam.encode(frame.image, bgr=frame.bgr, scale_16bit=self.scale_16bit)

    def _in_pixels(self, prompts: Sequence[Prompt], size: tuple[int, int]) -> list[Prompt]:
        height, width = self.orig_img_dims
        if not height:
            return list(prompts)
        return [prompt.scaled(size[1] / width, size[0] / height) for prompt in prompts]


def shown_objects(
    box_ids: Sequence[str],
    boxes: Sequence[tuple[float, float, float, float]],
    point_ids: Sequence[str],
    points: Sequence[tuple[float, float]],
    labels: Sequence[int],
) -> list[Prompt]:
    """What a request of AddObjects shows: boxes, and points of which all with one id are of one object.

    An id may have a box and points. Points without labels are all on their object.

    Raises:
        PromptError: lists whose lengths contradict each other, or two boxes of one id.
    """
    if len(boxes) != len(box_ids):
        raise evsam.PromptError(f"bbox_coords: expected one for each of {len(box_ids)} ids, got {len(boxes)}")
    if len(points) != len(point_ids):
        raise evsam.PromptError(f"point_coords: expected one for each of {len(point_ids)} ids, got {len(points)}")
    if labels and len(labels) != len(points):
        raise evsam.PromptError(f"point_labels: expected one for each of {len(points)} points, got {len(labels)}")
    if len(set(box_ids)) < len(box_ids):
        raise evsam.PromptError(f"bbox_object_ids: expected each once, got {list(box_ids)}")
    clicks: dict[str, list[tuple[tuple[float, float], int]]] = {name: [] for name in (*box_ids, *point_ids)}
    for name, point, label in zip(point_ids, points, labels or [1] * len(points), strict=True):
        clicks[name].append((point, label))
    box_of = dict(zip(box_ids, boxes, strict=True))
    return [
        Prompt(name, box=box_of.get(name), points=tuple(p for p, _ in found), labels=tuple(n for _, n in found))
        for name, found in clicks.items()
    ]


def _check(prompt: Prompt) -> None:
    """What can be told of a prompt before its frame is there."""
    values = [*(prompt.box or ()), *(value for point in prompt.points for value in point)]
    if not all(map(math.isfinite, values)):
        raise evsam.PromptError(f"object {prompt.id!r}: expected finite numbers, got {values}")
    if prompt.box and not (prompt.box[0] < prompt.box[2] and prompt.box[1] < prompt.box[3]):
        raise evsam.PromptError(f"object {prompt.id!r}: expected a box with an area, got {prompt.box}")
    if not set(prompt.labels) <= {0, 1}:
        raise evsam.PromptError(f"object {prompt.id!r}: expected labels 0 and 1, got {list(prompt.labels)}")


def _meets(box: tuple[float, float, float, float], width: int, height: int) -> bool:
    x0, y0, x1, y1 = box
    return all(map(math.isfinite, box)) and max(x0, 0) < min(x1, width) and max(y0, 0) < min(y1, height)


def _part(score: float) -> float:
    return float(min(max(score, 0.0), 1.0))
