"""From frame to frame: the masks of objects that were shown once.

A tracker keeps a few numbers of each object, and no frame. What travels from one frame to the next, and how it is told
that an object is lost, is told below; every engine can answer its prompts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.arguments import path_text, shown
from evsam.embedding import Embedding
from evsam.errors import EvsamError, ImageError, PromptError
from evsam.images import ImageLike
from evsam.masks import MaskSet
from evsam.overlay import OPACITY, draw_masks
from evsam.writing import replaced

if TYPE_CHECKING:
    from evsam.sam import Sam


@dataclass(frozen=True, eq=False)
class Track:
    """An object in one frame.

    Attributes:
        id: the object's number.
        mask: bool (H, W), H and W those of the frame; all False where the object is lost.
        box: float32 (4,), x0, y0, x1, y1 around the mask in pixels of the frame, along the pixels' edges; where the
            object is lost, where it was last seen.
        score: how well the mask is expected to fit, 0 to 1.
        lost: whether the object is not to be seen, or cannot be told from others.
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
        return [track.mask for track in self._tracks.values()]

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

    Frames come one by one, each as it arrives, and all have one size. Objects are added and removed at any time.
    """

    def __init__(self, sam: Sam, *, bgr: bool = False) -> None:
        self._sam = sam
        self._bgr = bgr
        self._size: tuple[int, int] | None = None
        self._boxes: dict[int, npt.NDArray[np.float32]] = {}
        self._next = 1

    @property
    def ids(self) -> tuple[int, ...]:
        """Numbers of the objects, in the order in which they were added."""
        return tuple(self._boxes)

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
            frame: the frame in which it is shown, as :meth:`evsam.Sam.predict` takes images, or its embedding.
            points: (T, 2), as in :meth:`evsam.Sam.predict`.
            labels: (T,).
            box: (4,).
            mask: (H, W) of the frame: taken as it is; or logits (256, 256).
            id: of an object that is there already, to show it again; None for a new one.

        Returns:
            The object's number.

        Raises:
            PromptError: no prompt, one that cannot be meant, one that gives an empty mask, or no such object.
            ImageError: the frame cannot be read, or has another size than those before.
        """
        if id is not None and id not in self._boxes:
            raise PromptError(f"id: expected one of {list(self._boxes)}, or None for a new object, got {shown(id)}")
        embedding = self._encoded(frame)
        result = self._sam.predict(embedding, points=points, labels=labels, box=box, mask=mask)
        found = result.boxes
        if len(found) != 1 or not found.any():
            raise PromptError(f"prompt: expected one that gives one mask, got {len(found)} of boxes {found.tolist()}")
        number = self._next if id is None else id
        self._next = max(self._next, number + 1)
        self._boxes[number] = found[0].astype(np.float32)
        return number

    def step(self, frame: Embedding | ImageLike) -> Tracks:
        """Find the objects in the next frame.

        Args:
            frame: an image as :meth:`evsam.Sam.encode` takes it, or its embedding, of the same size as those before.

        Returns:
            Each object's mask, box and score, by its number.

        Raises:
            ImageError: the frame cannot be read, or has another size than those before.
        """
        embedding = self._encoded(frame)
        height, width = embedding.original_size
        tracks: dict[int, Track] = {}
        if self._boxes:
            result = self._sam.predict(embedding, boxes=np.stack(list(self._boxes.values())))
            found, best = result.boxes, result.best()
            for row, number in enumerate(self._boxes):
                score = float(np.clip(result.scores[row].max(), 0, 1))
                lost = not found[row].any() or score < 0.5
                if not lost:
                    self._boxes[number] = found[row].astype(np.float32)
                mask = np.zeros_like(best[row]) if lost else best[row]
                tracks[number] = Track(number, mask, self._boxes[number], score, lost)
        return Tracks(tracks, (height, width))

    def remove(self, id: int) -> None:  # noqa: A002
        """Forget an object.

        Raises:
            PromptError: there is no such object.
        """
        if id not in self._boxes:
            raise PromptError(f"id: expected one of {list(self._boxes)}, got {shown(id)}")
        del self._boxes[id]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what is known of the objects to a file, whole or not at all; missing folders are made.

        Raises:
            EvsamError: path is none.
            OSError: the file cannot be written.
        """
        state = {
            "model": [self._sam.variant.name, self._sam.fingerprint],
            "bgr": self._bgr,
            "size": self._size,
            "next": self._next,
            "boxes": [[number, *box.tolist()] for number, box in self._boxes.items()],
        }
        with replaced(Path(path_text("path", path))) as temporary:
            temporary.write_text(json.dumps(state), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], sam: Sam) -> Tracker:
        """A tracker that goes on where :meth:`save` was called.

        Raises:
            EvsamError: the file is something else, damaged, or of another model.
            OSError: the file cannot be read.
        """
        expected = f"path: expected the state of a tracker of {sam.variant.name} {sam.fingerprint}"
        try:
            state = json.loads(Path(path_text("path", path)).read_text(encoding="utf-8"))
            model, size = state["model"], state["size"]
            tracker = cls(sam, bgr=bool(state["bgr"]))
            tracker._size = None if size is None else (int(size[0]), int(size[1]))
            tracker._next = int(state["next"])
            tracker._boxes = {int(number): np.array(box, np.float32).reshape(4) for number, *box in state["boxes"]}
        except (ValueError, KeyError, TypeError) as error:
            raise EvsamError(f"{expected}, got a damaged one ({error})") from error
        if model != [sam.variant.name, sam.fingerprint]:
            raise EvsamError(f"{expected}, got one of {' '.join(map(str, model))}")
        return tracker

    def _encoded(self, frame: Embedding | ImageLike) -> Embedding:
        embedding = frame if isinstance(frame, Embedding) else self._sam.encode(frame, bgr=self._bgr)
        if self._size not in (None, embedding.original_size):
            raise ImageError(f"frame: expected height and width {self._size} as before, got {embedding.original_size}")
        self._size = embedding.original_size
        return embedding
