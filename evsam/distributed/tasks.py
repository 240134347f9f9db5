"""What is done with each photo. Tasks are pickled without their model, which each worker loads once."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evsam.arguments import shown
from evsam.errors import BackendUnavailable, EvsamError, WeightsError
from evsam.images import Scale16, decode_image

if TYPE_CHECKING:
    import numpy.typing as npt

    from evsam.sam import Sam

Row = dict[str, Any]
"""A photo's results by names of columns: ``key``, ``error`` (None, or why there are no others), the photo's ``height``
and ``width``, and those of the task."""


class PhotoTask(ABC):
    """A model, and what it is asked for in each photo.

    As a callable class for ``map_batches`` of Ray Data: batches have the columns ``key`` and ``bytes``, and become
    tables of the columns that :mod:`evsam.distributed.shards` writes.

    Args:
        model: what :func:`evsam.load` takes; a path has to be there on every machine.
        variant: as of :func:`evsam.load`.
        engine_options: further arguments of it.
        scale_16bit: see :func:`evsam.images.read_image`.
        max_pixels: photos with more are errors; None leaves that to Pillow.
    """

    name: str
    """Of the command."""

    def __init__(
        self,
        model: str = "nano",
        variant: str | None = None,
        engine_options: Mapping[str, Any] | None = None,
        scale_16bit: Scale16 | None = None,
        max_pixels: int | None = None,
    ) -> None:
        self.model, self.variant = model, variant
        self.engine_options = dict(engine_options or {})
        self.scale_16bit, self.max_pixels = scale_16bit, max_pixels
        self._sam: Sam | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sam": None}

    @property
    def sam(self) -> Sam:
        """The model, loaded when it is first asked for.

        Raises:
            WeightsError, BackendUnavailable: it cannot be had.
        """
        if self._sam is None:
            from evsam.sam import load

            self._sam = load(self.model, self.variant, **self.engine_options)
        return self._sam

    def close(self) -> None:
        """Free the model; it is loaded again when it is needed."""
        if self._sam is not None:
            self._sam.close()
            self._sam = None

    def row(self, key: str, read: Callable[[], bytes]) -> Row:
        """The row of a photo.

        Args:
            key: of it.
            read: gives the encoded photo.

        Raises:
            WeightsError, BackendUnavailable: the model cannot be had, which is no fault of the photo.
            MemoryError: there is too little.
        """
        sam = self.sam
        row: Row = {"key": key, "error": None, "height": None, "width": None}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Pillow, on photos that are odd but can be read
                image = decode_image(BytesIO(read()), scale_16bit=self.scale_16bit, max_pixels=self.max_pixels)
            found = self.found(sam, key, image)
            row["height"], row["width"] = image.shape[:2]
        except (WeightsError, BackendUnavailable):
            raise
        except (EvsamError, OSError) as error:
            return row | {"error": str(error)}
        return row | found

    @abstractmethod
    def found(self, sam: Sam, key: str, image: npt.NDArray[np.uint8]) -> Row:
        """The task's columns for a photo, RGB (H, W, 3)."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What results depend on besides the model, as JSON values."""

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> Any:
        """The rows of a batch, as a pyarrow table.

        Args:
            batch: ``key``, and ``bytes`` with the encoded photos; or ``path``, as ``ray.data.read_binary_files`` with
                ``include_paths`` calls it.

        Raises:
            EvsamError: another batch.
        """
        from evsam.distributed.shards import make_table

        keys = batch.get("key", batch.get("path"))
        if keys is None or "bytes" not in batch:
            raise EvsamError(f"batch: expected columns key (or path) and bytes, got {shown(sorted(batch))}")
        rows = [
            self.row(str(key), lambda content=content: bytes(content))  # type: ignore[misc]
            for key, content in zip(keys, batch["bytes"], strict=True)
        ]
        return make_table(self, rows)


class Embed(PhotoTask):
    """Embeddings: the column ``features``, and ``lateral0``, ... of variants that have them, float16 (C, G, G) each.

    Float16 keeps 11 bits; values beyond its range make the photo's row an error.
    """

    name = "embed"

    def found(self, sam: Sam, key: str, image: npt.NDArray[np.uint8]) -> Row:  # noqa: ARG002
        """See the class."""
        arrays = sam.encode(image).on_host().arrays
        with np.errstate(over="ignore"):
            narrow = [np.asarray(array).astype(np.float16) for array in arrays]
        if not all(np.isfinite(array).all() for array in narrow):
            raise EvsamError("embedding: expected values within float16, got larger ones")
        return dict(zip(embedding_columns(len(narrow)), narrow, strict=True))

    def settings(self) -> dict[str, Any]:
        """Nothing more."""
        return {}


class Predict(PhotoTask):
    """Masks for prompts: the column ``masks``, of a prompt's masks the best first.

    Each has ``prompt`` (its number), ``score``, ``area``, ``bbox`` (x, y, width, height) and ``counts``, COCO's
    compressed RLE.

    Args:
        prompts: arguments of :meth:`evsam.Sam.predict`, for all photos; or what gives those of a photo by its key,
            which has to be picklable and may raise PromptError.
        multimask: as of :meth:`evsam.Sam.predict`.
        told: what stands for the prompts in the settings, if they are a function.
        options: those of :class:`PhotoTask`.
    """

    name = "predict"

    def __init__(
        self,
        prompts: Mapping[str, Any] | Callable[[str], Mapping[str, Any]],
        multimask: bool | None = None,
        told: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.prompts, self.multimask, self.told = prompts, multimask, told

    def found(self, sam: Sam, key: str, image: npt.NDArray[np.uint8]) -> Row:
        """See the class."""
        given = self.prompts(key) if callable(self.prompts) else self.prompts
        result = sam.predict(image, multimask=self.multimask, **given)
        masks = []
        for number, (of_prompt, scores) in enumerate(zip(result.masks, result.scores, strict=True)):
            masks += [
                {"prompt": number, "score": float(scores[i]), **_measured(of_prompt[i])}
                for i in (-scores).argsort(kind="stable")
            ]
        return {"masks": masks}

    def settings(self) -> dict[str, Any]:
        """The prompts."""
        given = self.told if callable(self.prompts) else {k: np.asarray(v).tolist() for k, v in self.prompts.items()}
        return {"prompts": given, "multimask": self.multimask}


class Everything(PhotoTask):
    """All masks of a photo: the column ``masks``.

    Each has ``predicted_iou``, ``stability_score``, ``area``, ``bbox``, ``point``, ``crop_box`` and ``counts``; boxes
    are x, y, width and height.

    Args:
        search: options of :meth:`evsam.Sam.segment_everything`.
        min_area: masks of fewer pixels are left out.
        max_area: masks of more pixels are left out.
        sort: by which value the masks come, largest first.
        limit: at most so many are kept.
        options: those of :class:`PhotoTask`.
    """

    name = "everything"

    def __init__(
        self,
        search: Mapping[str, Any] | None = None,
        min_area: int | None = None,
        max_area: int | None = None,
        sort: Literal["predicted_iou", "stability_score", "area"] = "predicted_iou",
        limit: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.search, self.min_area, self.max_area = dict(search or {}), min_area, max_area
        self.sort, self.limit = sort, limit

    def found(self, sam: Sam, key: str, image: npt.NDArray[np.uint8]) -> Row:  # noqa: ARG002
        """See the class."""
        found = sam.segment_everything(image, **self.search)
        found = found.filter(min_area=self.min_area, max_area=self.max_area).sort_by(self.sort)[: self.limit]
        return {
            "masks": [
                {
                    "predicted_iou": float(segment.predicted_iou),
                    "stability_score": float(segment.stability_score),
                    "area": int(segment.area),
                    "bbox": _coco_box(segment.box),
                    "point": [float(value) for value in segment.point],
                    "crop_box": _coco_box(segment.crop_box),
                    "counts": segment.rle["counts"],
                }
                for segment in found
            ]
        }

    def settings(self) -> dict[str, Any]:
        """The search, and which masks are kept."""
        kept = {name: getattr(self, name) for name in ("min_area", "max_area", "sort", "limit")}
        return {"search": self.search, "kept": kept}


def embedding_columns(arrays: int) -> list[str]:
    """Names of the columns of an embedding with so many arrays."""
    return ["features", *(f"lateral{index}" for index in range(arrays - 1))]


def _measured(mask: npt.NDArray[np.bool_]) -> Row:
    from evsam.rle import encode_rle, mask_extent

    area, box = mask_extent(mask)
    return {"area": int(area), "bbox": _coco_box(box), "counts": encode_rle(mask)["counts"]}


def _coco_box(box: tuple[int, int, int, int]) -> list[int]:
    """X, y, width and height, as COCO's files have boxes."""
    left, top, right, bottom = map(int, box)
    return [left, top, right - left, bottom - top]
