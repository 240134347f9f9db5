"""What a generator found, in a form that can be passed between processes and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from evsam.rle import run_ends

if TYPE_CHECKING:
    from evsam.everything import Segments

Rles: TypeAlias = "Sequence[Mapping[str, Any]]"

FOUND = 0.9
"""IoU from which a mask counts as one that was found before."""

SAME = 0.98
"""IoU from which two masks of the same click are the same one: some pixels lie on the threshold."""


def mask_ious(a: Rles, b: Rles) -> NDArray[np.float64]:
    """IoU of every mask of one list with every one of another: (A, B)."""
    if not a or not b:
        return np.zeros((len(a), len(b)))
    return np.asarray(coco_masks.iou(list(a), list(b), [0] * len(b)), np.float64)


def share_found(wanted: Rles, found: Rles) -> int:
    """How many of the wanted masks another list has, with an IoU of :data:`FOUND` at least."""
    return int((mask_ious(wanted, found).max(1, initial=0) >= FOUND).sum())


@dataclass(frozen=True)
class Records:
    """The masks of one photo.

    Attributes:
        numbers: float32 (N, 9): box (x0, y0, x1, y1, ends on the last pixels as segment_anything has them), predicted
            IoU, stability, click (x, y), and how many runs the mask has.
        runs: float32 (R,), lengths of the runs of all masks, column by column, zeros first; below 2**24, so exact.
    """

    numbers: NDArray[np.float32]
    runs: NDArray[np.float32]

    @classmethod
    def of_segment_anything(cls, records: Sequence[Mapping[str, Any]]) -> Records:
        """Of its records with masks as uncompressed RLE."""
        rows, runs = [], []
        for record in records:
            counts = record["segmentation"]["counts"]
            x, y, width, height = record["bbox"]
            scores = record["predicted_iou"], record["stability_score"]
            rows.append([x, y, x + width, y + height, *scores, *record["point_coords"][0], len(counts)])
            runs.extend(counts)
        return cls._of(rows, runs)

    @classmethod
    def of_segments(cls, segments: Segments) -> Records:
        """Of evsam's result."""
        rows, runs = [], []
        for segment in segments:
            counts = np.diff(run_ends(segment.rle), prepend=0)
            x0, y0, x1, y1 = segment.box
            scores = segment.predicted_iou, segment.stability_score
            rows.append([x0, y0, x1 - 1, y1 - 1, *scores, *segment.point, len(counts)])
            runs.extend(counts.tolist())
        return cls._of(rows, runs)

    @classmethod
    def _of(cls, rows: list[list[float]], runs: list[int]) -> Records:
        return cls(np.array(rows, np.float32).reshape(-1, 9), np.array(runs, np.float32))

    def arrays(self) -> list[NDArray[np.float32]]:
        """As they travel."""
        return [self.numbers, self.runs]

    def __len__(self) -> int:
        return len(self.numbers)

    def rles(self, size: tuple[int, int]) -> list[dict[str, Any]]:
        """The masks as pycocotools has them."""
        ends = np.cumsum(self.numbers[:, 8].astype(np.int64))
        counts = np.split(self.runs.astype(np.uint32), ends[:-1]) if len(self) else []
        whole = [{"size": list(size), "counts": each.tolist()} for each in counts]
        return [dict(coco_masks.frPyObjects(each, *size)) for each in whole]


@dataclass(frozen=True)
class Agreement:
    """How two sets of masks of one photo compare.

    Attributes:
        both: masks that both have: of the same click, with an IoU of :data:`SAME` at least.
        ours: masks that only the first set has.
        theirs: masks that only the second has.
        least_iou: lowest IoU of those that both have; 1 where there are none.
        scores: largest difference of their predicted IoU and stability.
        edges: largest difference of their boxes, in pixels.
    """

    both: int
    ours: int
    theirs: int
    least_iou: float
    scores: float
    edges: float


def compare(ours: Records, theirs: Records, size: tuple[int, int]) -> Agreement:
    """Finds for each mask of one set that of the other with the same click and nearly the same pixels."""
    iou = mask_ious(ours.rles(size), theirs.rles(size))
    distance = np.abs(ours.numbers[:, None, 6:8] - theirs.numbers[None, :, 6:8]).max(-1, initial=0)
    left = np.where(distance < 0.01, iou, 0.0)
    pairs = []
    while left.size and left.max() >= SAME:
        i, j = (int(k) for k in np.unravel_index(int(left.argmax()), left.shape))
        pairs.append((i, j))
        left[i, :] = left[:, j] = 0
    apart = [np.abs(ours.numbers[i] - theirs.numbers[j]) for i, j in pairs]
    return Agreement(
        both=len(pairs),
        ours=len(ours) - len(pairs),
        theirs=len(theirs) - len(pairs),
        least_iou=round(min((float(iou[i, j]) for i, j in pairs), default=1.0), 5),
        scores=float(f"{max((row[4:6].max() for row in apart), default=0.0):.3g}"),
        edges=float(max((row[:4].max() for row in apart), default=0.0)),
    )
