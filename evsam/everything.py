"""All that a model finds in a photo without being told where to look: what was found, and how it is asked for.

The algorithm is csrc/engine/everything.cpp, whatever the engine: it says which clicks to decode next, and keeps what is
good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import _C
from evsam.arguments import is_one_of, shown
from evsam.engines.base import MASKS, AnyFeatures, Engine, GeneratorEngine
from evsam.errors import EvsamError, PromptError
from evsam.images import ImageLike
from evsam.masks import MaskSet, chosen_rows
from evsam.overlay import draw_masks
from evsam.rle import Box, Rle, compressed, decode_rle, encode_rle, mask_extent, mask_window, run_ends

Mode: TypeAlias = Literal["fast", "exact"]

OutputMode: TypeAlias = Literal["binary_mask", "uncompressed_rle", "coco_rle"]

OUTPUT_MODES: tuple[OutputMode, ...] = ("binary_mask", "uncompressed_rle", "coco_rle")

_LINE = 0.6  # of the usual width of outlines: a hundred masks leave little room
_OPACITY = 0.5

_WHOLE = (
    "points_per_side",
    "points_per_batch",
    "crop_n_layers",
    "crop_n_points_downscale_factor",
    "min_mask_region_area",
)
"""Options that are whole numbers; the others, but for the mode and the grids, are real ones."""

_AMBIGUOUS = slice(1, 4)  # of a decoder's masks, those for a click that can mean several things
_LARGEST = 2**53  # whole numbers beyond are not counts of anything

_KEYS = ("area", "predicted_iou", "stability_score")


@dataclass(frozen=True)
class Segment:
    """One mask that was found, and what is known of it.

    Attributes:
        rle: the mask in COCO's compressed run-length encoding.
        box: around the mask: x0, y0, x1, y1 in pixels of the photo, along the pixels' edges.
        area: pixels of the mask.
        predicted_iou: the IoU that the model expects the mask to have with an object.
        stability_score: IoU of the masks at a higher and a lower threshold: 1 where nothing depends on it.
        point: x, y of the click that it was found by, in pixels of the photo.
        crop_box: the part of the photo that it was found in, as ``box``; all of it without crops.
    """

    rle: Rle
    box: Box
    area: int
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    crop_box: Box

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The mask, bool (H, W), a new array each time."""
        return decode_rle(self.rle)

    def __repr__(self) -> str:
        scores = f"predicted IoU {self.predicted_iou:.3f}, stability {self.stability_score:.3f}"
        return f"<Segment of {self.area} pixels in {self.box}, {scores}>"


class Segments(MaskSet, Sequence[Segment]):  # noqa: PLW1641 - no hash, as lists have none
    """The masks found in a photo, those with the highest predicted IoU first: a sequence of :class:`Segment`.

    ``segments[i]`` is one of them; slices, lists of indices and boolean arrays (``segments[segments.areas > 500]``)
    give Segments. Masks stay run-length encoded and are unpacked one at a time; nothing changes the object.

    As npz (:meth:`save`), they are the arrays ``size``, ``boxes``, ``areas``, ``predicted_iou``, ``stability_score``,
    ``points``, ``crop_boxes``, and ``counts``, the lengths of all masks' runs, of which those of mask i begin at
    ``starts[i]`` and end at ``starts[i + 1]``; ``evsam.rle.decode_rle({"size": size, "counts": ...})`` unpacks them.

    Args:
        segments: found in one photo.
        size: height and width of the photo.

    Example:
        >>> segments = sam.segment_everything(image, points_per_side=8)
        >>> large = segments.filter(min_area=100).sort_by("area")
        >>> large.label_map().shape, large.overlay(image).size
        ((80, 120), (120, 80))
    """

    def __init__(self, segments: Iterable[Segment], size: tuple[int, int]) -> None:
        self._segments = tuple(segments)
        self._size = (int(size[0]), int(size[1]))
        for segment in self._segments:
            if tuple(segment.rle["size"]) != self._size:
                raise EvsamError(f"segments: expected masks of size {self._size}, got one of {segment.rle['size']}")

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]], size: tuple[int, int] | None = None) -> Segments:
        """Segments from records in segment_anything's form: its own, :meth:`records`, or annotations of SA-1B's files.

        Args:
            records: of one photo; areas and boxes are those of the masks, whatever the records say.
            size: height and width of the photo; None for those of the first mask.

        Raises:
            EvsamError: a record without a mask or one of the scores, or no record and no size.

        Example:
            >>> segments = sam.segment_everything(image, points_per_side=8)
            >>> Segments.from_records(segments.records("coco_rle"), segments.size) == segments
            True
        """
        found = [_from_record(index, record) for index, record in enumerate(records)]
        if size is None:
            if not found:
                raise EvsamError("size: expected height and width where there are no records, got None")
            size = (found[0].rle["size"][0], found[0].rle["size"][1])
        return cls(found, size)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the photo."""
        return self._size

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segments) and (self._size, self._segments) == (other._size, other._segments)

    def __repr__(self) -> str:
        height, width = self._size
        return f"<Segments: {len(self)} masks of an image of {width} x {height} pixels>"

    @overload
    def __getitem__(self, index: int) -> Segment: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]) -> Segments: ...

    def __getitem__(self, index: int | slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]) -> Segment | Segments:
        """One or some of the segments.

        Args:
            index: a segment's number, negative ones from the end; a slice; numbers in any order; or N booleans.

        Raises:
            ResultIndexError: there is no such segment, or it is none of these.
        """
        rows = chosen_rows(index, len(self), "segments")
        if not isinstance(rows, slice):
            return Segments((self._segments[row] for row in rows.tolist()), self._size)
        if isinstance(index, slice):
            return Segments(self._segments[rows], self._size)
        return self._segments[int(rows.start)]

    @property
    def boxes(self) -> npt.NDArray[np.int64]:
        """The boxes around the masks: int64 (N, 4), x0, y0, x1, y1; they serve as box prompts."""
        return np.array([segment.box for segment in self], np.int64).reshape(-1, 4)

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of the masks: int64 (N,)."""
        return np.array([segment.area for segment in self], np.int64)

    @property
    def predicted_iou(self) -> npt.NDArray[np.float64]:
        """The IoU that the model expects of each mask: float64 (N,)."""
        return np.array([segment.predicted_iou for segment in self], np.float64)

    @property
    def stability_score(self) -> npt.NDArray[np.float64]:
        """How little each mask depends on the threshold: float64 (N,)."""
        return np.array([segment.stability_score for segment in self], np.float64)

    def sort_by(
        self,
        key: Literal["area", "predicted_iou", "stability_score"] | Callable[[Segment], Any],
        descending: bool = True,
    ) -> Segments:
        """The same segments in another order; those that are equal in it keep theirs.

        Args:
            key: ``area``, ``predicted_iou``, ``stability_score``, or a function of a segment.
            descending: largest first.

        Raises:
            EvsamError: another key.
        """
        if not callable(key) and not is_one_of(key, _KEYS):
            raise EvsamError(f"key: expected {', '.join(_KEYS)}, or a function, got {shown(key)}")
        of = key if callable(key) else attrgetter(key)
        return Segments(sorted(self._segments, key=of, reverse=bool(descending)), self._size)

    def filter(
        self,
        function: Callable[[Segment], object] | None = None,
        *,
        min_area: float | None = None,
        max_area: float | None = None,
        min_predicted_iou: float | None = None,
        min_stability_score: float | None = None,
        inside: npt.ArrayLike | None = None,
        touching: npt.ArrayLike | None = None,
        at: npt.ArrayLike | None = None,
    ) -> Segments:
        """The segments that fit all that is given, in their order.

        Args:
            function: of a segment; what it is true for is kept.
            min_area: pixels that a mask has at least.
            max_area: pixels that a mask has at most.
            min_predicted_iou: that a mask has at least.
            min_stability_score: that a mask has at least.
            inside: a box x0, y0, x1, y1 in pixels of the photo, which a mask does not leave.
            touching: a box in which a mask has a pixel.
            at: a point x, y in pixels of the photo, on which a mask lies.

        Raises:
            EvsamError: one of them is not what is expected.

        Example:
            >>> segments = sam.segment_everything(image, points_per_side=8)
            >>> len(segments.filter(min_area=80 * 120 + 1))
            0
        """
        if function is not None and not callable(function):
            raise EvsamError(f"function: expected a function of a segment, got {shown(function)}")
        limits = {
            "min_area": min_area,
            "max_area": max_area,
            "min_predicted_iou": min_predicted_iou,
            "min_stability_score": min_stability_score,
        }
        tests: list[Callable[[Segment], object]] = []
        for name, limit in limits.items():
            if limit is not None:
                tests.append(_limit(name, limit))
        if inside is not None:
            tests.append(_inside(_floats("inside", inside, ("x0", "y0", "x1", "y1"))))
        if touching is not None:
            tests.append(_touching(_floats("touching", touching, ("x0", "y0", "x1", "y1"))))
        if at is not None:
            x, y = np.floor(_floats("at", at, ("x", "y")))
            tests.append(_touching((x, y, x + 1, y + 1)))
        if function is not None:
            tests.append(function)
        return Segments((segment for segment in self if all(test(segment) for test in tests)), self._size)

    def records(self, output_mode: OutputMode = "binary_mask") -> list[dict[str, Any]]:
        """The segments as segment_anything's ``SamAutomaticMaskGenerator`` returns them.

        Args:
            output_mode: what ``segmentation`` is: ``binary_mask``, bool (H, W), which takes much memory for many masks
                of a large photo; ``uncompressed_rle``, with ``counts`` as numbers; or ``coco_rle``, with ``counts`` as
                text. With the last two, records are plain Python values, as json takes them.

        Returns:
            Dicts with ``segmentation``, ``area``, ``bbox`` (x, y, width, height), ``predicted_iou``, ``point_coords``
            ([[x, y]]), ``stability_score`` and ``crop_box`` (x, y, width, height). As in segment_anything, ``bbox``
            ends at the middles of the last pixels: width and height are one less than in ``box`` and in COCO's files.

        Raises:
            EvsamError: another output_mode.
        """
        if not is_one_of(output_mode, OUTPUT_MODES):
            raise EvsamError(f"output_mode: expected {', '.join(OUTPUT_MODES)}, got {shown(output_mode)}")
        return [_record(segment, output_mode) for segment in self]

    def overlay(
        self, image: ImageLike, *, opacity: float = _OPACITY, tags: bool | Sequence[str] = False
    ) -> Image.Image:
        """The image with the masks drawn over it, each in its colour and with an outline, smaller ones above.

        Args:
            image: the image of the segments, in any form that :meth:`evsam.Sam.encode` takes (arrays as RGB).
            opacity: of the masks, from 0 (outlines alone) to 1.
            tags: True for number and predicted IoU of each mask, False for none, or N texts.

        Returns:
            An RGB image of the same size. ``numpy.asarray`` makes it a uint8 array (H, W, 3).

        Raises:
            ImageError: the image cannot be read or has another size than the masks.
            EvsamError: opacity is not from 0 to 1, or not as many tags as masks.
        """
        texts = self._tags(tags)
        return draw_masks(self._photo(image), self._masks(), opacity=opacity, tags=texts, line=_LINE, covered=True)

    def _masks(self) -> list[Rle]:
        return [segment.rle for segment in self]

    def _scores(self) -> list[float]:
        return [segment.predicted_iou for segment in self]

    def _titles(self) -> list[str]:
        return [f"{number}  {segment.predicted_iou:.2f}" for number, segment in enumerate(self, 1)]

    def _properties(self) -> list[dict[str, Any]]:
        return [_scores_and_origin(segment) for segment in self]

    def _arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        counts = [np.diff(run_ends(segment.rle), prepend=0) for segment in self]
        return {
            "size": np.array(self._size, np.int64),
            "boxes": self.boxes,
            "areas": self.areas,
            "predicted_iou": self.predicted_iou,
            "stability_score": self.stability_score,
            "points": np.array([segment.point for segment in self], np.float64).reshape(-1, 2),
            "crop_boxes": np.array([segment.crop_box for segment in self], np.int64).reshape(-1, 4),
            "counts": np.concatenate([np.zeros(0, np.int64), *counts]),
            "starts": np.cumsum([0, *map(len, counts)], dtype=np.int64),
        }


def _limit(name: str, limit: object) -> Callable[[Segment], bool]:
    """Whether a segment keeps to a limit of :meth:`Segments.filter`."""
    if not isinstance(limit, (int, float, np.number)) or isinstance(limit, bool) or limit != limit:
        raise EvsamError(f"{name}: expected a number, got {shown(limit)}")
    kind, _, field = name.partition("_")
    bound = float(limit)
    if kind == "min":
        return lambda segment: getattr(segment, field) >= bound
    return lambda segment: getattr(segment, field) <= bound


def _inside(box: Sequence[float]) -> Callable[[Segment], bool]:
    x0, y0, x1, y1 = box
    return lambda segment: (
        x0 <= segment.box[0] and y0 <= segment.box[1] and segment.box[2] <= x1 and segment.box[3] <= y1
    )


def _touching(box: Sequence[float]) -> Callable[[Segment], bool]:
    """Whether a pixel of a segment has a part in the box."""

    def test(segment: Segment) -> bool:
        left, top, right, bottom = segment.box
        x0, y0 = (max(int(np.floor(value)), 0) for value in np.clip(box[:2], -1, 2**31))
        x1, y1 = (int(np.ceil(value)) for value in np.clip(box[2:], -1, 2**31))
        if x1 <= left or y1 <= top or right <= x0 or bottom <= y0:
            return False
        part = mask_window(segment.rle).pixels[max(y0 - top, 0) : y1 - top, max(x0 - left, 0) : x1 - left]
        return bool(part.any())

    return test


def _floats(name: str, values: object, names: tuple[str, ...]) -> tuple[float, ...]:
    """As many finite numbers as there are names; a box must not be turned round."""
    expected = f"{name}: expected {', '.join(names)} in pixels of the photo"
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise EvsamError(f"{expected}, got {shown(values)}") from error
    if numbers.shape != (len(names),) or not np.isfinite(numbers).all():
        raise EvsamError(f"{expected}, got {shown(values)}")
    if len(names) == 4 and not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise EvsamError(f"{expected} with x0 < x1 and y0 < y1, got {shown(values)}")
    return tuple(numbers.tolist())


def _scores_and_origin(segment: Segment) -> dict[str, Any]:
    """Entries of SA-1B's files and of segment_anything's records that COCO does not have."""
    x0, y0, x1, y1 = segment.crop_box
    return {
        "predicted_iou": segment.predicted_iou,
        "point_coords": [list(segment.point)],
        "stability_score": segment.stability_score,
        "crop_box": [x0, y0, x1 - x0, y1 - y0],
    }


def _record(segment: Segment, output_mode: OutputMode) -> dict[str, Any]:
    segmentation: object = dict(segment.rle)
    if output_mode == "binary_mask":
        segmentation = segment.mask
    elif output_mode == "uncompressed_rle":
        counts = np.diff(run_ends(segment.rle), prepend=0).tolist()
        segmentation = {"size": list(segment.rle["size"]), "counts": counts}
    x0, y0, x1, y1 = segment.box
    return {
        "segmentation": segmentation,
        "area": segment.area,
        "bbox": [x0, y0, max(x1 - x0 - 1, 0), max(y1 - y0 - 1, 0)],
        **_scores_and_origin(segment),
    }


def _from_record(index: int, record: Mapping[str, Any]) -> Segment:
    expected = "expected segmentation, predicted_iou, point_coords, stability_score and crop_box"
    try:
        mask = record["segmentation"]
        rle = compressed(mask) if isinstance(mask, Mapping) else encode_rle(np.asarray(mask))
        ((x, y),) = record["point_coords"]
        left, top, width, height = map(int, record["crop_box"])
        area, box = mask_extent(rle)
        scores = float(record["predicted_iou"]), float(record["stability_score"])
        return Segment(rle, box, area, *scores, (float(x), float(y)), (left, top, left + width, top + height))
    except (KeyError, TypeError, ValueError) as error:
        raise EvsamError(f"records: {expected} in record {index}, got {shown(record)} ({error})") from error


class Progress:
    """How far :meth:`evsam.Sam.segment_everything` is, for its callback.

    Attributes:
        total: points in all, those of crops included.
    """

    def __init__(self, generator: _C.EverythingGenerator, size: tuple[int, int]) -> None:
        self._generator = generator
        self._size = size
        self.total = generator.total

    @property
    def done(self) -> int:
        """Points that were answered, or needed no answer."""
        return self._generator.done

    @property
    def segments(self) -> Segments:
        """What was found so far, as if these points had been all; computed when it is asked for."""
        return found_segments(self._generator, self._size)


Callback: TypeAlias = "Callable[[Progress], bool | None]"


def make_generator(
    size: tuple[int, int],
    options: Mapping[str, object],
    *,
    mask_threshold: float = 0.0,
    threads: int | None = None,
) -> _C.EverythingGenerator:
    """The algorithm for a photo, with options as :meth:`evsam.Sam.segment_everything` takes them, checked.

    Args:
        size: height and width of the photo.
        options: all of them but those of reading the photo.
        mask_threshold: logits above it belong to masks.
        threads: of the algorithm, not of the engine; None for all.

    Raises:
        PromptError: an option that cannot be meant.
    """
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name == "mode":
            if not is_one_of(value, ("fast", "exact")):
                raise PromptError(f"mode: expected fast or exact, got {shown(value)}")
            checked[name] = value
        elif name == "point_grids":
            checked[name] = None if value is None else _grids(value)
        elif name in _WHOLE:
            checked[name] = _whole(name, value)
        else:
            checked[name] = _real(name, value)
    try:
        return _C.EverythingGenerator(*size, **checked, mask_threshold=mask_threshold, threads=threads)
    except ValueError as error:  # what is out of range, with the names and ranges that C++ knows
        raise PromptError(str(error)) from error


def run_generator(
    generator: _C.EverythingGenerator,
    engine: Engine,
    features_of: Callable[[Box], AnyFeatures],
    report: Callable[[], bool],
) -> None:
    """Answer a generator's questions until it has none, or ``report`` says that it is enough.

    Args:
        generator: of one photo.
        engine: decodes.
        features_of: the features of a crop of the photo, which is asked for once for each crop.
        report: called after each batch; False stops.
    """
    crop, features = -1, None
    while (batch := generator.batch()) is not None:
        index, points, labels = batch
        if features is None or index != crop:
            features = None  # before the next ones are there
            crop, features = index, features_of(generator.crops[index])
        if isinstance(engine, GeneratorEngine):
            engine.answer(generator, features)
        else:
            logits, expected = engine.decode(features, points, labels, None, _AMBIGUOUS, generator.least_iou)
            scores = np.zeros((len(points), MASKS), np.float32)  # the single mask's is not looked at
            scores[:, _AMBIGUOUS] = expected
            generator.add(np.ascontiguousarray(logits), scores)
        if not report():
            return


def found_segments(generator: _C.EverythingGenerator, size: tuple[int, int]) -> Segments:
    """What a generator has found so far."""
    found = (
        Segment(compressed({"size": size, "counts": counts}), box, area, iou, stability, point, crop_box)
        for counts, box, area, iou, stability, point, crop_box in generator.segments()
    )
    return Segments(found, size)


def _grids(grids: object) -> list[npt.NDArray[np.float64]]:
    """Grids of points, one for each layer of crops, in parts of a crop's width and height."""
    expected = "point_grids: expected a list of arrays (N, 2) of x and y from 0 to 1, one for each layer of crops"
    if not isinstance(grids, Sequence) or isinstance(grids, str):
        raise PromptError(f"{expected}, got {shown(grids)}")
    arrays = []
    for grid in grids:
        try:
            array = np.ascontiguousarray(grid, np.float64)
        except (TypeError, ValueError) as error:
            raise PromptError(f"{expected}, got {shown(grid)}") from error
        if array.ndim != 2 or array.shape[1] != 2:
            raise PromptError(f"{expected}, got one of shape {array.shape}")
        arrays.append(array)
    return arrays


def _whole(name: str, value: object) -> int:
    number = _real(name, value)
    if not abs(number) <= _LARGEST or number != int(number):
        raise PromptError(f"{name}: expected a whole number, got {shown(value)}")
    return int(number)


def _real(name: str, value: object) -> float:
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise PromptError(f"{name}: expected a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise PromptError(f"{name}: expected a number, got {shown(value)}") from error
