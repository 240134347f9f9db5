"""From frame to frame: the masks of objects that were shown once.

A tracker keeps a few numbers of each object, and no frame. What travels from one frame to the next, and how it is told
that an object is lost, is in ``csrc/track``; every engine can answer its prompts.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import _C
from evsam.arguments import path_text, shown
from evsam.embedding import Embedding, embedding_shapes
from evsam.engines.base import GeneratorEngine
from evsam.errors import EvsamError, ImageError, PromptError
from evsam.images import ImageLike, read_image
from evsam.masks import MaskSet
from evsam.overlay import OPACITY, draw_masks
from evsam.prompts import read_prompts
from evsam.rle import mask_extent
from evsam.writing import replaced

if TYPE_CHECKING:
    from evsam.sam import Sam

Pixels: TypeAlias = npt.NDArray[np.uint8]

_FORMAT = b"evsam.tracker.1"
_SINGLE = slice(0, 1)
_WINDOWS = 1.0, 100.0
_LONGEST = 2**24  # pixels of a side


@dataclass(frozen=True, eq=False)
class Track:
    """An object in one frame.

    Attributes:
        id: the object's number.
        mask: bool (H, W), H and W those of the frame; a guess where the object is lost.
        box: float32 (4,), x0, y0, x1, y1 around the mask in pixels of the frame, along the pixels' edges; where the
            object is lost, where it was last seen.
        score: how well the mask is expected to fit, 0 to 1.
        lost: whether the object is probably not there: the mask does not stand out from its surroundings by what the
            object looked like before.
    """

    id: int
    mask: npt.NDArray[np.bool_]
    box: npt.NDArray[np.float32]
    score: float
    lost: bool

    def __repr__(self) -> str:
        place = "lost" if self.lost else f"box {self.box.round(1).tolist()}, score {self.score:.2f}"
        return f"<Track of object {self.id}, {place}>"


class Tracks(MaskSet, Mapping[int, Track]):
    """All objects in one frame by their numbers, with what all sets of masks have (``overlay``, ``to_coco``, ...).

    There the masks of lost objects, which are guesses, are left empty.

    Args:
        tracks: of each object, in order.
        size: height and width of the frame.
    """

    def __init__(self, tracks: Mapping[int, Track], size: tuple[int, int]) -> None:
        self._tracks = dict(tracks)
        self._size = size

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frame."""
        return self._size

    def __getitem__(self, key: int) -> Track:
        return self._tracks[key]

    def __iter__(self) -> Iterator[int]:
        return iter(self._tracks)

    def __len__(self) -> int:
        return len(self._tracks)

    def overlay(self, image: ImageLike, *, opacity: float = OPACITY) -> Image.Image:
        """The frame with the masks drawn over it, each object in a colour and with its number.

        Where an object is lost, dashes frame the place where it was last seen.

        Args:
            image: the frame, or another of its size.
            opacity: of the masks, 0 to 1.

        Raises:
            ImageError: the image cannot be read or has another size than the masks.
        """
        return draw_masks(
            self._photo(image),
            self._masks(),
            opacity=opacity,
            tags=self._titles(),
            numbers=[number - 1 for number in self._tracks],
            places=[track.box.tolist() if track.lost else None for track in self._tracks.values()],
        )

    def _masks(self) -> list[npt.NDArray[np.bool_]]:
        nothing = np.zeros(self.size, bool)  # of a lost object, whose mask is a guess
        return [nothing if track.lost else track.mask for track in self._tracks.values()]

    def _scores(self) -> list[float]:
        return [track.score for track in self._tracks.values()]

    def _titles(self) -> list[str]:
        return [f"{track.id} lost" if track.lost else str(track.id) for track in self._tracks.values()]

    def _properties(self) -> list[dict[str, Any]]:
        return [
            {"track_id": track.id, "score": round(track.score, 4), "lost": track.lost}
            for track in self._tracks.values()
        ]

    def _arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        tracks = self._tracks.values()
        return {
            "masks": np.array(self._masks(), bool).reshape(-1, *self.size),
            "ids": np.array(list(self._tracks), np.int64),
            "boxes": np.array([track.box for track in tracks], np.float32).reshape(-1, 4),
            "scores": np.array(self._scores(), np.float32),
            "lost": np.array([track.lost for track in tracks], bool),
        }


class Tracker:
    """Follows objects from frame to frame. Made by :meth:`evsam.Sam.track`.

    Frames come one by one, each as it arrives, and all have one size. Objects are added and removed at any time. Each
    frame costs one encode and one decode, of a box for each object; memory does not grow with frames.

    With a window, not the whole of a frame is encoded but the part around the objects, so that small ones are seen
    better: a square whose side is so many longer sides of the box around all objects, and at least 256 pixels. While
    an object is lost, or the window would hold nearly all of it, the whole frame is looked at.
    """

    def __init__(self, sam: Sam, *, bgr: bool = False, window: float | None = None) -> None:
        self._sam = sam
        self._bgr = bgr
        self._window = _checked_window(window)
        self._core: _C.Tracker | None = None  # once the frames' size is known
        self._size = (0, 0)
        self._lock = threading.Lock()  # a frame at a time

    def __reduce__(self) -> NoReturn:
        raise EvsamError("tracker: expected its state to be sent to another process, got the tracker; send state()")

    @property
    def sam(self) -> Sam:
        """The model that it asks."""
        return self._sam

    @property
    def window(self) -> float | None:
        """Side of the part of a frame that is encoded, in longer sides of the box around all objects; None: all."""
        return self._window

    @property
    def ids(self) -> tuple[int, ...]:
        """Numbers of the objects, in the order in which they were added."""
        return () if self._core is None else tuple(number for number, *_ in self._core.objects())

    def add(
        self,
        frame: Embedding | ImageLike,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        id: int | None = None,  # noqa: A002 - what it is called in results
    ) -> int:
        """Show an object; it is looked for from the next :meth:`step` on.

        Args:
            frame: the frame in which it is shown, as :meth:`evsam.Sam.encode` takes images, or its embedding. With a
                window, of an image its surroundings are encoded too, to learn what it looks like there.
            points: (T, 2), as in :meth:`evsam.Sam.predict`; of several masks for one click the best is taken.
            labels: (T,).
            box: (4,).
            mask: the object's mask, as :meth:`evsam.Sam.predict` takes masks: of the frame's size, or logits. Without
                points or a box it is taken as it is.
            id: of an object that is there already, to show it again; None for a new one.

        Returns:
            The object's number; numbers are not used again.

        Raises:
            PromptError: no prompt, more than one, one that cannot be meant or that gives an empty mask, or no such
                object.
            ImageError: the frame cannot be read, or has another size than those before.
        """
        number = 0 if id is None else self._known(id)
        given = self._read(frame)
        embedding = given if isinstance(given, Embedding) else self._sam.encode(given)
        if mask is not None and points is None and box is None:
            logits, score = self._given(embedding, mask), 1.0
        else:
            result = self._sam.predict(embedding, points=points, labels=labels, box=box, mask=mask, masks=False)
            if len(result) != 1:
                raise PromptError(f"prompt: expected one object, got {len(result)} prompts")
            best = int(result.scores[0].argmax())
            logits, score = result.logits[0, best], float(result.scores[0, best])
        with self._lock:
            core = self._core_for(embedding.original_size)
            try:
                number = core.add(_host(embedding), np.ascontiguousarray(logits), score, number)
                part = core.close_view(number)
                if not isinstance(given, Embedding) and part != _all_of(self._size):
                    core.add_close(number, _host(self._sam.encode(_cut(given, part))), part)
            except ValueError as error:
                if not core.objects():
                    self._core = None  # the next frame may have another size
                raise PromptError(str(error)) from error
            return number

    def step(self, frame: Embedding | ImageLike) -> Tracks:
        """Find the objects in the next frame.

        Args:
            frame: an image as :meth:`evsam.Sam.encode` takes it, or its embedding, of the same size as those before. Of
                an embedding the whole frame is looked at, whatever the window.

        Returns:
            Each object's mask, box and score, by its number.

        Raises:
            ImageError: the frame cannot be read, or has another size than those before.
            EvsamError: the model answers with NaN or infinity.
        """
        given = self._read(frame)
        if isinstance(given, Embedding):
            embedding, part = given, _all_of(given.original_size)
        else:
            with self._lock:
                part = self._core_for(_size(given)).next_view()
            embedding = self._sam.encode(_cut(given, part))
        with self._lock:
            return self._step(embedding, part)

    def _step(self, embedding: Embedding, part: Sequence[int]) -> Tracks:
        core, engine = self._core_for(embedding.original_size), self._sam.engine
        try:
            if isinstance(engine, GeneratorEngine):
                engine.follow(core, embedding.arrays, part)
            else:
                core.look(_host(embedding), part)
                while (prompts := core.prompts()) is not None:
                    logits, scores = engine.decode(embedding.arrays, *prompts, None, _SINGLE)
                    core.answer(np.ascontiguousarray(logits), np.ascontiguousarray(scores))
        except ValueError as error:  # NaN or infinity, of damaged weights or embeddings
            raise EvsamError(str(error)) from error
        objects = core.objects()
        logits = core.logits([number for number, *_ in objects])
        masks = self._sam.masks_from_logits(logits, embedding.resized_size, embedding.original_size)[:, 0]
        if part != _all_of(self._size):
            x0, y0, x1, y1 = part
            seen, masks = masks, np.zeros((len(objects), *self._size), np.bool_)
            masks[:, y0:y1, x0:x1] = seen
        tracks = {}
        for (number, score, lost, box), mask in zip(objects, masks, strict=True):
            area, extent = mask_extent(mask)
            around = box if lost or not area else extent
            tracks[number] = Track(number, mask, np.array(around, np.float32), score, lost > 0)
        return Tracks(tracks, self._size)

    def remove(self, id: int) -> None:  # noqa: A002
        """Forget an object.

        Raises:
            PromptError: there is no such object.
        """
        number = self._known(id)
        with self._lock:
            if self._core is not None:
                self._core.remove(number)

    def state(self) -> bytes:
        """All that is known of the objects, to go on later or elsewhere by :meth:`restore`; no code, and no frame.

        Returns:
            130 to 520 KiB for each object.
        """
        described = {
            "variant": self._sam.variant.name,
            "fingerprint": self._sam.fingerprint,
            "size": self._size,
            "bgr": self._bgr,
            "window": self._window,
        }
        content = b"" if self._core is None else self._core.save()
        return b"%s\n%s\n%s" % (_FORMAT, json.dumps(described).encode(), content)

    @classmethod
    def restore(cls, sam: Sam, state: bytes) -> Tracker:
        """A tracker that goes on where :meth:`state` was taken.

        Args:
            sam: the same model, on any engine.
            state: what :meth:`state` gave.

        Raises:
            EvsamError: it is something else, damaged, or of another model.

        Example:
            >>> tracker = sam.track(image, box=(20, 10, 90, 70))
            >>> Tracker.restore(sam, tracker.state()).ids
            (1,)
        """
        expected = f"state: expected that of a tracker of {sam.variant.name} {sam.fingerprint}"
        if not isinstance(state, bytes):
            raise EvsamError(f"{expected}, bytes, got {shown(state)}")
        first, _, rest = state.partition(b"\n")
        line, _, content = rest.partition(b"\n")
        if first != _FORMAT:
            raise EvsamError(f"{expected}, got other bytes")
        try:
            described = json.loads(line)
            model = described["variant"], described["fingerprint"]
            size = tuple(described["size"])
            bgr = described["bgr"]
            window = _checked_window(described["window"])
            least = 1 if content else 0
            sound = len(size) == 2 and all(type(side) is int and least <= side <= _LONGEST for side in size)
            if not sound or type(bgr) is not bool:
                raise ValueError(f"size {size}, bgr {bgr}")
        except (EvsamError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise EvsamError(f"{expected}, got a damaged one ({error})") from error
        if model != (sam.variant.name, sam.fingerprint):
            raise EvsamError(f"{expected}, got one of {' '.join(map(str, model))}")
        tracker = cls(sam, bgr=bgr, window=window)
        if content:
            tracker._size = size
            tracker._core = tracker._new_core()
            try:
                tracker._core.load(content)
            except ValueError as error:
                raise EvsamError(str(error)) from error
        return tracker

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`state` to a file, whole or not at all; missing folders are made.

        Raises:
            EvsamError: path is none.
            OSError: the file cannot be written.

        Example:
            >>> sam.track(image, box=(20, 10, 90, 70)).save(folder / "tracker.evsam")
            >>> Tracker.load(folder / "tracker.evsam", sam).ids
            (1,)
        """
        with replaced(Path(path_text("path", path))) as temporary:
            temporary.write_bytes(self.state())

    @classmethod
    def load(cls, path: str | os.PathLike[str], sam: Sam) -> Tracker:
        """A tracker that goes on where :meth:`save` was called.

        Raises:
            EvsamError: as :meth:`restore`.
            OSError: the file cannot be read.
        """
        return cls.restore(sam, Path(path_text("path", path)).read_bytes())

    def _known(self, id: object) -> int:  # noqa: A002
        """The number of an object that is there."""
        ids = self.ids
        if isinstance(id, (int, np.integer)) and not isinstance(id, bool) and id in ids:
            return int(id)
        raise PromptError(f"id: expected one of {list(ids)}, got {shown(id)}")

    def _read(self, frame: Embedding | ImageLike) -> Embedding | Pixels:
        """The frame's embedding, or its pixels, uint8 (H, W, 3), RGB."""
        found: Embedding | Pixels
        if isinstance(frame, Embedding):
            self._sam.check_embedding(frame)
            found, size = frame, frame.original_size
        elif isinstance(frame, (list, tuple)):
            raise ImageError(f"frame: expected one image or embedding, got {shown(frame)}")
        else:
            found = read_image(frame, bgr=self._bgr)
            size = _size(found)
        if self._core is not None and size != self._size:
            raise ImageError(f"frame: expected height and width {self._size} as before, got {size}")
        return found

    def _core_for(self, size: tuple[int, int]) -> _C.Tracker:
        """The tracker of frames of that size, if it is the first."""
        if self._core is None:
            self._size = size
            self._core = self._new_core()
        return self._core

    def _new_core(self) -> _C.Tracker:
        channels, side, _ = embedding_shapes(self._sam.variant)[0]
        return _C.Tracker(channels, side, self._size, self._sam.threshold(), self._window or 0.0)

    def _given(self, embedding: Embedding, mask: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Logits of a mask that is the object's, as prompts have them."""
        sizes = embedding.original_size, embedding.resized_size
        prompts = read_prompts(*sizes, mask=mask, mask_prompt="logits")
        if prompts.count != 1 or prompts.groups[0].masks is None:
            raise PromptError(f"mask: expected one, got {prompts.count}")
        logits: npt.NDArray[np.float32] = prompts.groups[0].masks[0, 0]
        return logits


def _checked_window(window: Any) -> float | None:
    if window is None:
        return None
    least, most = _WINDOWS
    is_number = isinstance(window, (int, float, np.integer, np.floating)) and not isinstance(window, bool)
    if is_number and least <= window <= most:
        return float(window)
    raise EvsamError(f"window: expected None or a number from {least:g} to {most:g}, got {shown(window)}")


def _size(image: Pixels) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _all_of(size: tuple[int, int]) -> list[int]:
    return [0, 0, size[1], size[0]]


def _cut(image: Pixels, part: Sequence[int]) -> Pixels:
    x0, y0, x1, y1 = part
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def _host(embedding: Embedding) -> npt.NDArray[np.float32]:
    """The embedding itself, without lateral maps, on the host."""
    return np.ascontiguousarray(embedding.arrays[0], np.float32)
