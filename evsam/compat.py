"""Drop-in replacements for classes of segment_anything, for code that was written for them.

They take a :class:`evsam.Sam` where the originals take their own model. Coordinates, shapes and dtypes are those of the
originals; torch is needed only by the methods whose names or results speak of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from evsam import _C
from evsam.arguments import is_one_of, shown
from evsam.embedding import Embedding
from evsam.engines.base import AnyFeatures, FloatArray
from evsam.errors import BackendUnavailable, ImageError, PromptError
from evsam.everything import OUTPUT_MODES, OutputMode, make_generator
from evsam.prompts import BOTTOM_RIGHT, PADDING, TOP_LEFT, decode, group_prompts, pad_points, refuse_binary
from evsam.rle import encode_rle, mask_extent, mask_pixels, run_ends
from evsam.transforms import fitted_size, resize_image, upscale_logits
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

if TYPE_CHECKING:
    import torch

    from evsam.sam import Sam

__all__ = ["ResizeLongestSide", "SamAutomaticMaskGenerator", "SamPredictor"]


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise BackendUnavailable("torch: this part of evsam.compat needs it; use pip install 'evsam[torch]'") from None
    return torch


class ResizeLongestSide:
    """Scales images and prompts so that the longer side of the image has ``target_length`` pixels.

    Args:
        target_length: in pixels.

    Example:
        >>> transform = ResizeLongestSide(1024)
        >>> transform.apply_coords(np.array([[300, 200]]), (400, 600)).round(1).tolist()
        [[512.0, 341.5]]
    """

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Scale an image, uint8 (H, W, 3); returns a new array."""
        return np.array(resize_image(image, self.target_length))

    def apply_coords(self, coords: npt.NDArray[Any], original_size: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Scale points (..., 2), x and y in pixels of an image of height and width ``original_size``."""
        return np.asarray(np.asarray(coords, np.float64) * self._scale(original_size), np.float64)

    def apply_boxes(self, boxes: npt.NDArray[Any], original_size: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Scale boxes (B, 4) or (4,), x0, y0, x1, y1; returns (B, 4)."""
        return self.apply_coords(np.asarray(boxes).reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def apply_image_torch(self, image: torch.Tensor) -> torch.Tensor:
        """Scale images (B, 3, H, W), float. Close to :meth:`apply_image`, which models are used to, but not equal."""
        size = self.get_preprocess_shape(image.shape[2], image.shape[3], self.target_length)
        resize = _torch().nn.functional.interpolate
        return resize(image, size, mode="bilinear", align_corners=False, antialias=True)  # type: ignore[no-any-return]

    def apply_coords_torch(self, coords: torch.Tensor, original_size: tuple[int, int]) -> torch.Tensor:
        """Scale points (..., 2); returns float32."""
        points = coords.to(_torch().float)
        return points * points.new_tensor(self._scale(original_size))

    def apply_boxes_torch(self, boxes: torch.Tensor, original_size: tuple[int, int]) -> torch.Tensor:
        """Scale boxes (B, 4); returns float32 (B, 4)."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """Height and width after scaling; at least one pixel each."""
        return fitted_size((oldh, oldw), long_side_length)

    def _scale(self, original_size: tuple[int, int]) -> tuple[float, float]:
        height, width = fitted_size((original_size[0], original_size[1]), self.target_length)
        return width / original_size[1], height / original_size[0]


class SamPredictor:
    """Predicts masks for one image at a time, as ``segment_anything.SamPredictor`` does.

    Holds the state of the current image, so each thread needs its own (they may share the ``Sam``). Where it differs:
    wrong arguments raise :class:`evsam.PromptError` or :class:`evsam.ImageError` (both ValueErrors) instead of an
    AssertionError, and features of ``nano`` can be set only by :meth:`set_embedding`, since they have several parts.

    Args:
        sam_model: from :func:`evsam.load`.

    Attributes:
        model: the ``sam_model``.
        transform: scales to the 1024 frame; ``predict_torch`` expects prompts scaled by it.
        original_size: height and width of the current image.
        input_size: its height and width in the 1024 frame.
        is_image_set: whether there is a current image.

    Example:
        >>> predictor = SamPredictor(sam)
        >>> predictor.set_image(image)
        >>> masks, scores, logits = predictor.predict(box=np.array([20, 10, 90, 70]), multimask_output=False)
        >>> masks.shape, scores.shape, logits.shape
        ((1, 80, 120), (1,), (1, 256, 256))
    """

    def __init__(self, sam_model: Sam) -> None:
        self.model = sam_model
        self.transform = ResizeLongestSide(FRAME_SIZE)
        self.reset_image()

    def reset_image(self) -> None:
        """Forget the current image."""
        self.is_image_set = False
        self.original_size: tuple[int, int] | None = None
        self.input_size: tuple[int, int] | None = None
        self._features: AnyFeatures | None = None

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return _torch().device(self.model.device)  # type: ignore[no-any-return]

    @property
    def features(self) -> torch.Tensor | None:
        """The current image's embedding, float32 (1, C, G, G), or None. May be set to one that was kept earlier."""
        if self._features is None:
            return None
        return _torch().from_numpy(np.array(self._features[0]))[None].to(self.device)  # type: ignore[no-any-return]

    @features.setter
    def features(self, value: torch.Tensor | npt.NDArray[np.float32] | None) -> None:
        if value is None:
            self._features = None
            return
        neck = self.model.variant.encoder.neck
        if neck.lateral:
            raise ImageError(
                f"features: expected a variant whose only features are the embedding, got {self.model.variant.name}; "
                "use set_embedding"
            )
        array = np.asarray(_numpy(value), np.float32)
        expected = (1, neck.width, neck.grid, neck.grid)
        if array.shape != expected:
            raise ImageError(f"features: expected shape {expected}, got {array.shape}")
        self._features = (array[0],)

    def set_image(self, image: npt.NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode an image and make it the current one.

        Args:
            image: uint8 (H, W, 3).
            image_format: ``RGB`` or ``BGR``.

        Raises:
            ImageError: wrong format, dtype or shape.
        """
        if image_format not in ("RGB", "BGR"):
            raise ImageError(f"image_format: expected 'RGB' or 'BGR', got {image_format!r}")
        self.set_embedding(self.model.encode(image, bgr=image_format == "BGR"))

    def set_torch_image(self, transformed_image: torch.Tensor, original_image_size: tuple[int, ...]) -> None:
        """Encode an image that was scaled by ``transform``, and make it the current one.

        Variants that see 512 pixels scale it once more; :meth:`set_image` scales only once and is more exact.

        Args:
            transformed_image: (1, 3, h, w), RGB from 0 to 255, the longer side 1024; fractions are rounded.
            original_image_size: height and width before scaling.

        Raises:
            ImageError: wrong shape.
        """
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != FRAME_SIZE:
            raise ImageError(f"transformed_image: expected (1, 3, h, w) with long side {FRAME_SIZE}, got {shape}")
        pixels = np.rint(_numpy(transformed_image[0]).transpose(1, 2, 0)).clip(0, 255).astype(np.uint8)
        embedding = self.model.encode(pixels)
        height, width = original_image_size
        features, *lateral = embedding.arrays  # wherever they are: dataclasses.replace would copy them to the host
        sizes = (height, width), (shape[2], shape[3])
        self.set_embedding(Embedding(features, tuple(lateral), *sizes, embedding.variant, embedding.fingerprint))

    def set_embedding(self, embedding: Embedding) -> None:
        """Make an image that was encoded before the current one.

        Raises:
            ImageError: the embedding is of another model.
        """
        self.model.check_embedding(embedding)
        self._features = embedding.arrays
        self.original_size = embedding.original_size
        self.input_size = embedding.resized_size
        self.is_image_set = True

    def get_image_embedding(self) -> torch.Tensor:
        """The current image's embedding, float32 (1, C, G, G).

        Raises:
            RuntimeError: no image is set.
        """
        features = self.features
        if not self.is_image_set or features is None:
            raise RuntimeError("no current image: call set_image before get_image_embedding")
        return features

    def predict(
        self,
        point_coords: npt.NDArray[Any] | None = None,
        point_labels: npt.NDArray[Any] | None = None,
        box: npt.NDArray[Any] | None = None,
        mask_input: npt.NDArray[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Predict masks for one prompt on the current image.

        Args:
            point_coords: (T, 2), x and y in pixels of the original image.
            point_labels: (T,), 1 foreground and 0 background.
            box: (4,), x0, y0, x1, y1 in pixels of the original image.
            mask_input: (1, 256, 256), logits of an earlier prediction.
            multimask_output: three masks (good for ambiguous prompts), or one.
            return_logits: masks as logits instead of booleans.

        Returns:
            Masks (C, H, W) of the original image's size, bool or float32; expected IoU (C,), float32; low-resolution
            logits (C, 256, 256), float32. C is 3 or 1.

        Raises:
            RuntimeError: no image is set.
            PromptError: wrong shapes, labels, or numbers that are not finite.
        """
        original_size = self._need_image()[1]
        points = labels = boxes = masks = None
        if point_coords is not None:
            if point_labels is None:
                raise PromptError("point_labels: expected labels for point_coords, got None")
            points = self.transform.apply_coords(np.asarray(point_coords), original_size)[None]
            labels = np.asarray(point_labels)[None]
        if box is not None:
            if np.asarray(box).size != 4:
                raise PromptError(f"box: expected shape (4,), got {np.asarray(box).shape}")
            boxes = self.transform.apply_boxes(np.asarray(box), original_size)
        if mask_input is not None:
            masks = np.asarray(mask_input)[None]
        out = self._predict(points, labels, boxes, masks, multimask_output, return_logits)
        return out[0][0], out[1][0], out[2][0]

    def predict_torch(
        self,
        point_coords: torch.Tensor | None,
        point_labels: torch.Tensor | None,
        boxes: torch.Tensor | None = None,
        mask_input: torch.Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Predict masks for B prompts on the current image; prompts as ``transform`` returns them.

        Args:
            point_coords: (B, T, 2), x and y in the 1024 frame.
            point_labels: (B, T), 1 foreground, 0 background, -1 padding.
            boxes: (B, 4), in the 1024 frame.
            mask_input: (B, 1, 256, 256) or (1, 1, 256, 256).
            multimask_output: three masks, or one.
            return_logits: masks as logits instead of booleans.

        Returns:
            Masks (B, C, H, W), expected IoU (B, C), logits (B, C, 256, 256), on the model's device.

        Raises:
            RuntimeError: no image is set.
            PromptError: wrong shapes, labels, or numbers that are not finite.
        """
        self._need_image()
        points, labels = _numpy(point_coords), _numpy(point_labels)
        torch, device = _torch(), self.device
        out = self._predict(points, labels, _numpy(boxes), _numpy(mask_input), multimask_output, return_logits)
        masks, scores, logits = (torch.from_numpy(array).to(device) for array in out)
        return masks, scores, logits

    def _need_image(self) -> tuple[AnyFeatures, tuple[int, int], tuple[int, int]]:
        """Features, original size and input size of the current image."""
        if not self.is_image_set or self._features is None or self.original_size is None or self.input_size is None:
            raise RuntimeError("no current image: call set_image before predict")
        return self._features, self.original_size, self.input_size

    def _predict(
        self,
        points: npt.NDArray[Any] | None,
        labels: npt.NDArray[Any] | None,
        boxes: npt.NDArray[Any] | None,
        masks: npt.NDArray[Any] | None,
        multimask: bool,
        return_logits: bool,
    ) -> tuple[npt.NDArray[Any], FloatArray, FloatArray]:
        features, original_size, input_size = self._need_image()
        tokens = _tokens(points, labels, boxes, masks)
        groups = group_prompts(*tokens, input_size, self.model.variant.mask_prompt)
        logits, scores = decode(self.model.engine, features, groups, slice(1, 4) if multimask else slice(0, 1))
        upscale = upscale_logits if return_logits else self.model.masks_from_logits
        return upscale(logits, input_size, original_size), scores, logits


class SamAutomaticMaskGenerator:
    """Finds masks for a whole image, as ``segment_anything.SamAutomaticMaskGenerator`` does.

    It gives the masks of the original with the same model, record by record, except for pixels whose logits lie on the
    threshold. Where it differs: thresholds that are not given are the variant's own
    (:attr:`evsam.zoo.Variant.everything`; 0.88 and 0.95 for the published models), since with the original's a small
    model whose scores end below them would find nothing; and wrong arguments raise :class:`evsam.PromptError` instead
    of an AssertionError. :meth:`evsam.Sam.segment_everything` has a faster mode, and its results can do more.

    Args:
        model: from :func:`evsam.load`.
        points_per_side: clicks along each side of the grid; None with ``point_grids``.
        points_per_batch: clicks that are decoded at once, at most.
        pred_iou_thresh: masks of which the model expects no more are dropped; None for that of the variant.
        stability_score_thresh: less stable masks are dropped; None for that of the variant.
        stability_score_offset: how far the threshold of logits moves for that.
        box_nms_thresh: of two masks whose boxes overlap by more, the one with the lower predicted IoU is dropped.
        crop_n_layers: layers of crops, which are searched too; layer i has 4 ** i of them.
        crop_nms_thresh: as ``box_nms_thresh``, between crops.
        crop_overlap_ratio: how far crops of the first layer overlap, in parts of the image's shorter side.
        crop_n_points_downscale_factor: layer i has grids of ``points_per_side`` divided by this factor ** i.
        point_grids: own grids, one for each layer, (N, 2), in parts of width and height, with ``points_per_side=None``.
        min_mask_region_area: pieces and holes of fewer pixels are removed and filled; OpenCV is not needed.
        output_mode: ``binary_mask``, ``uncompressed_rle`` or ``coco_rle``.

    Raises:
        PromptError: an argument that cannot be meant.

    Example:
        >>> generator = SamAutomaticMaskGenerator(sam, points_per_side=8, output_mode="coco_rle")
        >>> records = generator.generate(image)
        >>> [record["area"] for record in records if record["area"] < 0]
        []
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[npt.NDArray[Any]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            got = "neither" if point_grids is None else "both"
            raise PromptError(f"points_per_side, point_grids: expected one of them, and None for the other, got {got}")
        if not is_one_of(output_mode, OUTPUT_MODES):
            raise PromptError(f"output_mode: expected {', '.join(OUTPUT_MODES)}, got {shown(output_mode)}")
        stock = model.variant.everything
        self.predictor = SamPredictor(model)
        self.points_per_side = points_per_side
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh = stock.pred_iou_thresh if pred_iou_thresh is None else pred_iou_thresh
        self.stability_score_thresh = (
            stock.stability_score_thresh if stability_score_thresh is None else stability_score_thresh
        )
        self.stability_score_offset = stability_score_offset
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.point_grids = point_grids
        self.min_mask_region_area = min_mask_region_area
        self.output_mode = output_mode
        make_generator((1, 1), self._options())  # which checks them

    def generate(self, image: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
        """The masks of an image.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            A dict for each mask, as :meth:`evsam.Segments.records` describes them: ``segmentation``, ``area``,
            ``bbox``, ``predicted_iou``, ``point_coords``, ``stability_score`` and ``crop_box``.

        Raises:
            ImageError: the image has a wrong dtype or shape.
        """
        found = self.predictor.model.segment_everything(image, **self._options())
        return found.records(self.output_mode)

    def _options(self) -> dict[str, Any]:
        names = (
            "points_per_batch",
            "pred_iou_thresh",
            "stability_score_thresh",
            "stability_score_offset",
            "box_nms_thresh",
            "crop_n_layers",
            "crop_nms_thresh",
            "crop_overlap_ratio",
            "crop_n_points_downscale_factor",
            "point_grids",
            "min_mask_region_area",
        )
        sides = {} if self.points_per_side is None else {"points_per_side": self.points_per_side}
        return {"mode": "exact", **sides, **{name: getattr(self, name) for name in names}}

    @staticmethod
    def postprocess_small_regions(mask_data: Any, min_area: int, nms_thresh: float) -> Any:
        """Remove small pieces and fill small holes of masks, and drop those that double others then.

        Args:
            mask_data: a ``MaskData`` of segment_anything, or a dict of lists and arrays; with ``rles`` of N masks and
                ``boxes`` (N, 4), x0, y0, x1, y1 of their first and last pixels. It is changed in place.
            min_area: pixels that pieces and holes have at least.
            nms_thresh: of two masks whose boxes overlap by more (IoU), one is dropped: rather one that was changed.

        Returns:
            ``mask_data``.
        """
        rles, boxes = mask_data["rles"], mask_data["boxes"]
        if len(rles) == 0:
            return mask_data
        corners = np.empty((len(rles), 4), np.float32)
        cleaned: dict[int, npt.NDArray[np.uint8]] = {}
        for index, rle in enumerate(rles):
            pixels = mask_pixels(rle)
            new = _C.clean_mask(pixels, min_area, min_area, corners=True)
            area, (x0, y0, x1, y1) = mask_extent(new.view(np.bool_))
            corners[index] = (x0, y0, x1 - 1, y1 - 1) if area else (0, 0, 0, 0)
            if 0 < area < min_area or not np.array_equal(pixels, new):  # or all pieces are small, and the largest stays
                cleaned[index] = new
        kept = _kept_boxes(corners, np.array([float(i not in cleaned) for i in range(len(rles))]), nms_thresh)
        for index in kept:
            if index in cleaned:
                rle = encode_rle(cleaned[index])
                counts = np.diff(run_ends(rle), prepend=0).tolist()
                rles[index] = rle if isinstance(rles[index]["counts"], str) else {"size": rle["size"], "counts": counts}
                for side, value in enumerate(corners[index].astype(int).tolist()):
                    boxes[index][side] = value  # of arrays, tensors and lists alike
        if isinstance(mask_data, dict):
            for name, values in mask_data.items():
                mask_data[name] = [values[i] for i in kept] if isinstance(values, list) else values[kept]
        else:
            mask_data.filter(_torch().as_tensor(kept))
        return mask_data


def _kept_boxes(boxes: npt.NDArray[np.float32], scores: npt.NDArray[Any], most: float) -> list[int]:
    """Indices of boxes that no better one, or an earlier one as good, overlaps by more; the best first."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(int(first))
        least, past = np.maximum(boxes[first, :2], boxes[left, :2]), np.minimum(boxes[first, 2:], boxes[left, 2:])
        shared = np.prod(np.maximum(past - least, 0), axis=1)
        with np.errstate(invalid="ignore"):  # 0 / 0 of boxes without an area, which double nothing
            left = left[~(shared / (areas[first] + areas[left] - shared) > most)]
    return kept


def _tokens(
    points: npt.NDArray[Any] | None,
    labels: npt.NDArray[Any] | None,
    boxes: npt.NDArray[Any] | None,
    masks: npt.NDArray[Any] | None,
) -> tuple[FloatArray, npt.NDArray[np.int32], FloatArray | None]:
    """Prompts in the 1024 frame in the form that engines take. No prompt at all is one, as in the original."""
    parts: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    if points is not None:
        clicks = _click_tokens(points, labels)
        parts.append(clicks if boxes is not None else pad_points(*clicks))
    if boxes is not None:
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise PromptError(f"boxes: expected shape (B, 4), got {boxes.shape}")
        parts.append((boxes.reshape(-1, 2, 2), np.full((len(boxes), 2), (TOP_LEFT, BOTTOM_RIGHT))))
    if masks is not None and (masks.ndim != 4 or masks.shape[1:] != (1, LOGITS_SIZE, LOGITS_SIZE)):
        expected = f"(1, {LOGITS_SIZE}, {LOGITS_SIZE})"
        raise PromptError(f"mask_input: expected shape {expected}, in a batch (B, ...), got {masks.shape}")

    counts = {len(xy) for xy, _ in parts}
    if masks is not None and (len(masks) != 1 or not counts):  # a single mask serves every prompt
        counts.add(len(masks))
    if len(counts) > 1 or 0 in counts:
        raise PromptError(f"point_coords, boxes, mask_input: expected batches of one size, got {sorted(counts)}")
    number = counts.pop() if counts else 1

    xy = np.concatenate([np.zeros((number, 0, 2), np.float32), *(xy for xy, _ in parts)], 1).astype(np.float32)
    kind = np.concatenate([np.zeros((number, 0), np.int32), *(kind for _, kind in parts)], 1).astype(np.int32)
    if masks is not None:
        masks = np.ascontiguousarray(np.broadcast_to(masks, (number, *masks.shape[1:])), np.float32)
        refuse_binary("mask_input", masks)
    for name, array in (("point_coords, boxes", xy), ("mask_input", masks)):
        if array is not None and not np.isfinite(array).all():
            raise PromptError(f"{name}: expected finite numbers, got NaN or infinity")
    return xy, kind, masks


def _click_tokens(
    points: npt.NDArray[Any], labels: npt.NDArray[Any] | None
) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    if points.ndim != 3 or points.shape[2] != 2:
        raise PromptError(f"point_coords: expected shape (T, 2), in a batch (B, T, 2), got {points.shape}")
    if labels is None or labels.shape != points.shape[:2]:
        got = None if labels is None else labels.shape
        raise PromptError(f"point_labels: expected one label for each point, {points.shape[:2]}, got {got}")
    if not np.isin(labels, range(PADDING, BOTTOM_RIGHT + 1)).all():
        raise PromptError("point_labels: expected 1 (foreground), 0 (background) or -1 (padding), got others")
    return points.astype(np.float32), labels.astype(np.int32)


@overload
def _numpy(value: None) -> None: ...


@overload
def _numpy(value: torch.Tensor | npt.NDArray[Any]) -> npt.NDArray[Any]: ...


def _numpy(value: torch.Tensor | npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
    return value if value is None or isinstance(value, np.ndarray) else value.detach().cpu().numpy()
