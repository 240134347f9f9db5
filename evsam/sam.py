"""The model as users hold it: load it, encode images, predict masks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from evsam.arguments import check_flag, shown
from evsam.embedding import Embedding
from evsam.engines import create_engine, find_engine, open_folder
from evsam.engines.base import AnyFeatures, Engine, FloatArray
from evsam.errors import BackendUnavailable, EvsamError, ImageError, PromptError, WeightsError
from evsam.everything import Callback, Mode, Progress, Segments, found_segments, make_generator, run_generator
from evsam.images import ImageLike, Scale16, read_image
from evsam.prompts import decode, photo_prompts, read_prompts
from evsam.results import DeferredPrediction, Prediction
from evsam.rle import Box
from evsam.transforms import fitted_size
from evsam.zoo import LOGITS_SIZE, Variant

if TYPE_CHECKING:
    from evsam.tracking import Tracker
    from evsam.weights import Weights

Source: TypeAlias = "str | os.PathLike[str] | Weights"
Precision: TypeAlias = Literal["fp32", "bf16", "fp16", "int8", "fp8", "fast"]

_MOST_THREADS = 2**31 - 1  # a C int

_SINGLE = slice(0, 1)
_AMBIGUOUS = slice(1, 4)


def load(
    source: Source = "nano",
    variant: str | Variant | None = None,
    engine: str = "auto",
    threads: int | None = None,
    device: str | None = None,
    precision: Precision | None = None,
    packed_cache: bool | None = None,
) -> Sam:
    """Load a model.

    Args:
        source: name of a variant (``nano`` ships with evsam; ``l0``, ``l1``, ``l2``, ``xl0`` and ``xl1`` are fetched
            once), path of a ``.safetensors`` or ``.pt`` file, folder that ``evsam export`` wrote, or weights that were
            loaded already.
        variant: the variant that a file or folder is expected to hold, its name or its record
            (:class:`evsam.zoo.Variant`); None takes what it holds.
        engine: ``auto`` for the best that is installed, or the name of one (``evsam info`` lists them).
        threads: upper limit of CPU threads for this model; None leaves the choice to the engine.
        device: where to compute, for example ``cuda``, if the engine can; None is its default, ``cpu``.
        precision: ``fp32``, ``bf16`` or ``fp16`` for 16 bits where they are enough, or ``int8`` or ``fp8`` for weights
            and activations of 8 bits where they cost little accuracy, if the engine can; ``fast`` for the narrowest
            that is faster here and leaves masks a mean IoU of .99 with those of ``fp32`` (``evsam info`` tells which
            that is); None for the engine's own choice, which is ``fp32`` for all but TensorRT. Where ``auto`` then
            means another engine, an :class:`evsam.EvsamWarning` names it.
        packed_cache: whether the engine ``native`` keeps the weights of the encoder on disk in the order in which its
            kernels read them, so that the model loads in less time from the second time on and processes share its
            memory; None for what ``EVSAM_PACKED_CACHE`` says, which is no where it is not set. See docs/environment.md.
            Where the cache cannot be used, the model loads all the same, and an :class:`evsam.EvsamWarning` says why.

    Returns:
        The model. It may be used from several threads at once.

    Raises:
        WeightsError: unknown variant, or a file that is missing, damaged or of another variant.
        BackendUnavailable: unknown engine, or one whose packages, device, precision or cache are missing.
        EvsamError: threads is no positive integer, or packed_cache neither True, False nor None.

    Example:
        >>> sam = evsam.load("nano", threads=2)
        >>> sam.variant.image_size
        512
    """
    _check_threads(threads)
    if packed_cache is not None:
        packed_cache = check_flag("packed_cache", packed_cache, EvsamError, "True, False or None")
    names = {"device": "cpu or cuda:0, or None", "engine": "auto or native", "precision": "fp32, or None"}
    given: dict[str, object] = {"device": device, "engine": engine, "precision": precision}
    for name, value in given.items():
        if not (isinstance(value, str) or (value is None and name != "engine")):
            raise BackendUnavailable(f"{name}: expected a name such as {names[name]}, got {shown(value)}")
    wanted: object = variant
    if not (wanted is None or isinstance(wanted, (str, Variant))):
        raise WeightsError(f"variant: expected a name, a record of evsam.zoo or None, got {shown(wanted)}")
    from evsam.weights import Weights, encoder_fingerprint, load_weights

    if not isinstance(source, Weights) and _is_export(source):
        return _load_folder(Path(source), variant, engine, threads, device, precision, packed_cache)
    # A wrong name should not cost the time to read, or even to download, the weights.
    chosen = find_engine(engine, device, precision).name
    weights = source if isinstance(source, Weights) else load_weights(source, variant)
    fingerprint = encoder_fingerprint(weights)  # before the engine, which drops the file's pages as it packs them
    made = create_engine(chosen, weights, threads, device, precision, packed_cache)
    return Sam(weights.variant, made, fingerprint, weights.path)


def _load_folder(
    path: Path,
    variant: str | Variant | None,
    engine: str,
    threads: int | None,
    device: str | None,
    precision: str | None,
    packed_cache: bool | None,
) -> Sam:
    from evsam.export.folder import ExportFolder

    folder = ExportFolder.open(path)
    name = variant.name if isinstance(variant, Variant) else variant
    if name not in (None, folder.variant.name):
        raise WeightsError(f"weights {path}: expected {name}, got {folder.variant.name}")
    made = open_folder(folder, engine, threads, device, precision, packed_cache)
    return Sam(folder.variant, made, folder.fingerprint)


def _is_export(source: str | os.PathLike[str]) -> bool:
    try:
        return (Path(source) / "evsam.json").is_file()
    except (OSError, ValueError, TypeError) as error:  # a name that is too long, or has a NUL; no name at all
        reason = error.args[-1]
        raise WeightsError(f"weights {shown(source)}: expected a path, got one that is none ({reason})") from error


def _check_threads(threads: object) -> None:
    if threads is None:
        return
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= _MOST_THREADS:
        raise EvsamError(f"threads: expected a positive integer or None, got {shown(threads)}")


class Sam:
    """A loaded model; made by :func:`load`.

    It holds nothing about images: all that a prediction needs is in the :class:`Embedding`, so images, threads and
    queues never get in each other's way. Usable as a context manager, which closes the engine.

    Attributes:
        variant: record of the model variant.
        fingerprint: digest of the encoder's weights, stored in every embedding.
        weights_path: file that the weights were read from; None where they were in memory, or an exported model's.
        mask_threshold: logits above this belong to the mask; any finite number, 0 as trained.
        image_format: order of an array's channels, unless ``bgr`` is given.
    """

    mask_threshold = 0.0
    image_format = "RGB"

    def __init__(self, variant: Variant, engine: Engine, fingerprint: str, weights_path: Path | None = None) -> None:
        self.variant = variant
        self.fingerprint = fingerprint
        self.weights_path = weights_path
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """The engine that computes; for code that works below prompts in original pixels."""
        return self._engine

    @property
    def device(self) -> str:
        """Where the engine computes, for example ``cpu`` or ``cuda:0``."""
        return self._engine.device

    def __reduce__(self) -> NoReturn:
        raise EvsamError(
            "Sam: expected to stay in the process that loaded it, got pickled or copied; load in each process, for "
            "example in the initializer of a pool, and send embeddings and predictions"
        )

    def __repr__(self) -> str:
        return f"<Sam {self.variant.name} {self.fingerprint}, engine {self._engine.name} on {self._engine.device}>"

    def __enter__(self) -> Sam:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the engine's memory and threads. Embeddings and predictions stay valid."""
        self._engine.close()

    @overload
    # A str is also a sequence of str, but never meant as one.
    def encode(  # type: ignore[overload-overlap]
        self, image: ImageLike, *, bgr: bool = False, scale_16bit: Scale16 | None = None
    ) -> Embedding: ...

    @overload
    def encode(
        self, image: Sequence[ImageLike], *, bgr: bool = False, scale_16bit: Scale16 | None = None
    ) -> list[Embedding]: ...

    def encode(
        self, image: ImageLike | Sequence[ImageLike], *, bgr: bool = False, scale_16bit: Scale16 | None = None
    ) -> Embedding | list[Embedding]:
        """Encode an image, the costly part, once for any number of predictions.

        Args:
            image: a path, the content of an image file (bytes, or a binary file), a PIL image, or a uint8 array
                (H, W, 3) in RGB order, (H, W) in grey, or (H, W, 4), whose alpha is dropped; from 1 x 1 pixel up. EXIF
                orientation is applied, to PIL images too. Or a list or tuple of images of any sizes, which are encoded
                in batches; all of them are read first, so split lists that memory cannot hold.
            bgr: whether arrays are in BGR order.
            scale_16bit: what to do with 16 bits per channel: ``full`` scales 0..65535 to 0..255, ``stretch`` the range
                of values in the image; None refuses them. See :func:`evsam.images.read_image`.

        Returns:
            The embedding, or a list of embeddings for a list of images (an empty one for an empty list).

        Raises:
            ImageError: an image has a wrong type, dtype or shape, or its file is missing or damaged. Nothing has been
                encoded then, whatever else is in the list.

        Example:
            >>> embedding = sam.encode(image)
            >>> embedding.features.shape, embedding.original_size
            ((128, 32, 32), (80, 120))
            >>> len(sam.encode([image, image[:40]]))
            2
        """
        if not isinstance(image, (list, tuple)):
            return self._encode([read_image(image, bgr=bgr, scale_16bit=scale_16bit)])[0]
        return self._encode([_read_item(index, item, bgr, scale_16bit) for index, item in enumerate(image)])

    def predict(
        self,
        image: Embedding | ImageLike,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        multimask: bool | None = None,
        masks: bool = True,
        bgr: bool = False,
        scale_16bit: Scale16 | None = None,
    ) -> Prediction:
        """Predict the masks that prompts ask for.

        All coordinates are x, y in pixels of the original image, whatever its size; (0, 0) is the upper left pixel.

        Args:
            image: an embedding of this model, or an image as :meth:`encode` takes it, encoded on the fly.
            points: (T, 2): one prompt of T clicks; or (N, T, 2): N prompts; or a list of N prompts, (T, 2) each, whose
                T differ. 0 <= x < W, 0 <= y < H.
            labels: (T,) or (N, T), or a list like that of the points: 1 foreground, 0 background, -1 padding, which
                fills prompts with fewer points up and changes nothing; None means that all points are foreground.
            box: (4,): x0, y0, x1, y1 with x0 < x1 and y0 < y1, alone or together with points (T, 2).
            boxes: (N, 4): N prompts, alone or together with points (N, T, 2). Boxes are clipped to the image;
                shape (0, 4) gives an empty prediction.
            mask: a mask, alone or as a further prompt. Logits of an earlier prediction, floating point, (256, 256) or
                (1, 256, 256), or (N, 256, 256) for N prompts; for example ``result.logits[:, 0]``. Or one of the
                image's own size, (H, W), or (N, H, W): bool, or integers that are 0 and 1 or 0 and 255. nano finds
                an object better with the box around its mask, and is shown that too, unless you give a box, or a
                foreground click on the mask (:attr:`evsam.zoo.Variant.mask_prompt`).
            multimask: True for three masks, for ambiguous prompts; False for one; None for three if each prompt is a
                single click without box or mask, otherwise one.
            masks: False leaves ``masks`` of the result to be computed when they are first asked for, which saves
                gigabytes where many prompts meet a large photo: choose by scores, then loop over the prompts.
            bgr: whether ``image`` is an array in BGR order.
            scale_16bit: see :meth:`encode`.

        Returns:
            Masks (N, M, H, W), scores (N, M) and logits (N, M, 256, 256), N prompts with M masks, three or one.

        Raises:
            PromptError: no prompt, or one that cannot be meant; nothing has been computed then.
            ImageError: the image cannot be read, or the embedding is of another model.
            EvsamError: numbers of damaged weights or of a damaged embedding are so large that the results overflow.

        Example:
            >>> embedding = sam.encode(image)
            >>> sam.predict(embedding, box=(20, 10, 90, 70)).masks.shape
            (1, 1, 80, 120)
            >>> sam.predict(embedding, points=[(50, 40), (5, 5)], labels=[1, 0]).masks.shape
            (1, 1, 80, 120)
            >>> sam.predict(embedding, points=[[(50, 40)], [(60, 40), (5, 5)]], labels=[[1], [1, 0]]).masks.shape
            (2, 1, 80, 120)
            >>> sam.predict(embedding, boxes=[(20, 10, 90, 70), (0, 0, 30, 30)]).best().shape
            (2, 80, 120)
        """
        if multimask is not None:
            multimask = check_flag("multimask", multimask, PromptError, "True, False or None")
        if not isinstance(masks, (bool, np.bool_)):
            raise PromptError(f"masks: expected True or False, got {shown(masks)}; a mask as a prompt is given as mask")
        pixels = []
        if isinstance(image, Embedding):
            self.check_embedding(image)
            original_size, resized_size = image.original_size, image.resized_size
        else:
            pixels = [read_image(image, bgr=bgr, scale_16bit=scale_16bit)]
            original_size = _size(pixels[0])
            resized_size = fitted_size(original_size)
        prompts = read_prompts(
            original_size,
            resized_size,
            points=points,
            labels=labels,
            box=box,
            boxes=boxes,
            mask=mask,
            mask_prompt=self.variant.mask_prompt,
            copy=False,
        )
        # Only now, so that a wrong prompt does not cost an encoding.
        chosen = _AMBIGUOUS if (prompts.ambiguous if multimask is None else multimask) else _SINGLE
        if prompts.count == 0:  # no box: engines need not know of it, and an image need not be encoded
            return _empty(chosen.stop - chosen.start, original_size)
        embedding = image if isinstance(image, Embedding) else self._encode(pixels)[0]
        try:
            logits, scores = decode(self._engine, embedding.arrays, prompts.groups, chosen)
            asked = photo_prompts(prompts, original_size, resized_size)
            if not masks:
                return DeferredPrediction(scores, logits, asked, (resized_size, original_size), self.threshold())
            return Prediction(self.masks_from_logits(logits, resized_size, original_size), scores, logits, asked)
        except MemoryError as error:
            height, width = original_size
            raise PromptError(
                f"prompts: expected as many as memory holds, got {prompts.count} on an image of "
                f"{width} x {height} pixels; predict fewer at a time, or without masks ({error})"
            ) from error

    def segment_everything(
        self,
        image: Embedding | ImageLike,
        *,
        mode: Mode = "fast",
        points_per_side: int = 32,
        point_grids: Sequence[npt.ArrayLike] | None = None,
        points_per_batch: int = 64,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        min_mask_region_area: int = 0,
        callback: Callback | None = None,
        bgr: bool = False,
        scale_16bit: Scale16 | None = None,
    ) -> Segments:
        """Find masks for all that is in an image: a grid of clicks, of whose masks the good ones are kept.

        The options are named as in segment_anything's ``SamAutomaticMaskGenerator``, and mean the same.

        Args:
            image: an embedding of this model, or an image as :meth:`encode` takes it, encoded on the fly. Crops need
                the image.
            mode: ``exact`` for the masks that segment_anything's generator gives with this model; ``fast`` for most of
                them, by fewer clicks: beside clicks that gave nothing nearly good enough, none are made.
            points_per_side: clicks along each side of the grid; not read where there are ``point_grids``.
            point_grids: own grids instead: for each layer, the whole image and then those of crops, an array (N, 2) of
                x and y in parts of the width and the height, 0 to 1.
            points_per_batch: clicks that are decoded at once, at most; no mask depends on it.
            pred_iou_thresh: masks of which the model expects no more are dropped, 0 to 1, negative ones drop none; None
                for that of the variant (:attr:`evsam.zoo.Variant.everything`).
            stability_score_thresh: masks of which less stays where the threshold of the logits moves are dropped,
                likewise; None for that of the variant.
            stability_score_offset: how far it moves, up and down.
            box_nms_thresh: of two masks whose boxes overlap by more (IoU), the one with the lower predicted IoU is
                dropped.
            crop_n_layers: how often the image is divided further, for small things: layer i has 4 ** i crops, which are
                encoded one by one.
            crop_nms_thresh: as ``box_nms_thresh``, between crops; those of smaller crops are kept.
            crop_overlap_ratio: how far the crops of the first layer overlap, in parts of the image's shorter side.
            crop_n_points_downscale_factor: layer i has grids of ``points_per_side`` divided by this factor ** i.
            min_mask_region_area: pieces and holes of masks with fewer pixels are removed and filled.
            callback: called after each batch with a :class:`evsam.everything.Progress`, for progress bars and to show
                what was found so far; if it returns False, that is the result. Exceptions pass through.
            bgr: whether ``image`` is an array in BGR order.
            scale_16bit: see :meth:`encode`.

        Returns:
            The masks, best first, run-length encoded; see :class:`evsam.Segments`.

        Raises:
            PromptError: an option that cannot be meant; nothing has been computed then.
            ImageError: the image cannot be read, or the embedding is of another model.

        Example:
            >>> segments = sam.segment_everything(image, points_per_side=8, pred_iou_thresh=0, stability_score_thresh=0)
            >>> segments.label_map().shape
            (80, 120)
            >>> stopped = sam.segment_everything(image, callback=lambda progress: progress.done < 100)
        """
        if callback is not None and not callable(callback):
            raise PromptError(f"callback: expected a function of the progress, or None, got {shown(callback)}")
        stock = self.variant.everything
        features_of: Callable[[Box], AnyFeatures]
        if isinstance(image, Embedding):
            self.check_embedding(image)
            size, arrays = image.original_size, image.arrays
            features_of = lambda _: arrays  # noqa: E731
        else:
            pixels = read_image(image, bgr=bgr, scale_16bit=scale_16bit)
            size = _size(pixels)
            features_of = lambda box: self._engine.encode([_crop(pixels, box)])[0]  # noqa: E731
        generator = make_generator(
            size,
            {
                "mode": mode,
                "points_per_side": points_per_side,
                "point_grids": point_grids,
                "points_per_batch": points_per_batch,
                "pred_iou_thresh": stock.pred_iou_thresh if pred_iou_thresh is None else pred_iou_thresh,
                "stability_score_thresh": (
                    stock.stability_score_thresh if stability_score_thresh is None else stability_score_thresh
                ),
                "stability_score_offset": stability_score_offset,
                "box_nms_thresh": box_nms_thresh,
                "crop_n_layers": crop_n_layers,
                "crop_nms_thresh": crop_nms_thresh,
                "crop_overlap_ratio": crop_overlap_ratio,
                "crop_n_points_downscale_factor": crop_n_points_downscale_factor,
                "min_mask_region_area": min_mask_region_area,
            },
            mask_threshold=self.threshold(),
            threads=getattr(self._engine, "threads", None),
        )
        if isinstance(image, Embedding) and len(generator.crops) > 1:
            raise PromptError(f"crop_n_layers: expected 0 for an embedding, got {crop_n_layers}; crops need the image")
        progress = Progress(generator, size)

        def report() -> bool:
            answer = None if callback is None else callback(progress)
            return answer is None or bool(answer)

        run_generator(generator, self._engine, features_of, report)
        return found_segments(generator, size)

    def track(
        self,
        frame: Embedding | ImageLike | None = None,
        *,
        bgr: bool = False,
        window: float | None = None,
        **prompt: Any,
    ) -> Tracker:
        """A tracker, which follows objects from frame to frame.

        Args:
            frame: shows an object at once; the object's number is 1.
            bgr: whether frames are arrays in BGR order, this one and those of the tracker.
            window: encode only the part around the objects, which shows small ones better: its side in longer sides of
                the box around all of them, such as 4; see :class:`evsam.tracking.Tracker`. None: all of each frame.
            **prompt: ``points``, ``labels``, ``box`` or ``mask``, as in :meth:`evsam.tracking.Tracker.add`.

        Raises:
            PromptError: as :meth:`evsam.tracking.Tracker.add`, or a prompt without a frame.
            ImageError: the frame cannot be read.

        Example:
            >>> tracker = sam.track(image, box=(20, 10, 90, 70))
            >>> tracks = tracker.step(image)
            >>> tracks[1].mask.shape, tracks[1].box.shape
            ((80, 120), (4,))
        """
        from evsam.tracking import Tracker

        tracker = Tracker(self, bgr=bgr, window=window)
        if frame is not None:
            tracker.add(frame, **prompt)
        elif prompt:
            raise PromptError(f"frame: expected the one that {', '.join(prompt)} belongs to, got None")
        return tracker

    def masks_from_logits(
        self, logits: FloatArray, resized_size: tuple[int, int], original_size: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """Masks at the size of the original image: where logits, interpolated to it, are above ``mask_threshold``.

        Args:
            logits: (N, M, 256, 256).
            resized_size: height and width of the resized image in the 1024 frame.
            original_size: height and width of the original image.

        Returns:
            bool (N, M, H, W).

        Raises:
            EvsamError: ``mask_threshold`` is no finite number.
        """
        threshold = self.threshold()
        if threshold != 0:  # engines compare with 0; interpolation's weights add up to 1, so it keeps the shift
            logits = logits - np.float32(threshold)
        return self._engine.masks(logits, resized_size, original_size)

    def threshold(self) -> float:
        """``mask_threshold``, checked.

        Raises:
            EvsamError: it is no finite number.
        """
        threshold: object = self.mask_threshold
        if not (isinstance(threshold, (int, float, np.number)) and math.isfinite(threshold)):
            raise EvsamError(f"mask_threshold: expected a finite number, got {shown(threshold)}")
        return float(threshold)

    def check_embedding(self, embedding: Embedding) -> None:
        """Make sure that an embedding is of this model.

        Raises:
            ImageError: it was computed by another variant, or with other weights of the encoder.
        """
        theirs = (embedding.variant, embedding.fingerprint)
        if theirs != (self.variant.name, self.fingerprint):
            raise ImageError(
                f"image: expected an embedding of this model, {self.variant.name} {self.fingerprint}, "
                f"got one of {' '.join(theirs)}"
            )

    def _encode(self, images: list[npt.NDArray[np.uint8]]) -> list[Embedding]:
        return [
            Embedding(
                features=features,
                lateral=tuple(lateral),
                original_size=_size(array),
                resized_size=fitted_size(_size(array)),
                variant=self.variant.name,
                fingerprint=self.fingerprint,
            )
            for array, (features, *lateral) in zip(images, self._engine.encode(images), strict=True)
        ]


def _read_item(index: int, image: object, bgr: bool, scale_16bit: Scale16 | None) -> npt.NDArray[np.uint8]:
    try:
        return read_image(image, bgr=bgr, scale_16bit=scale_16bit)
    except ImageError as error:
        raise ImageError(f"{error} (item {index} of the list)") from error


def _empty(masks: int, size: tuple[int, int]) -> Prediction:
    logits = np.empty((0, masks, LOGITS_SIZE, LOGITS_SIZE), np.float32)
    return Prediction(np.empty((0, masks, *size), np.bool_), np.empty((0, masks), np.float32), logits)


def _crop(image: npt.NDArray[np.uint8], box: Box) -> npt.NDArray[np.uint8]:
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def _size(image: npt.NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
