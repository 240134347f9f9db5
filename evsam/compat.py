"""Drop-in replacements for classes of segment_anything, for code that was written for them.

They take a :class:`evsam.Sam` where the originals take their own model. Coordinates, shapes and dtypes are those of the
originals; torch is needed only by the methods whose names or results speak of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from evsam.embedding import Embedding
from evsam.engines.base import AnyFeatures, FloatArray
from evsam.errors import BackendUnavailable, ImageError, PromptError
from evsam.prompts import BOTTOM_RIGHT, PADDING, TOP_LEFT, decode, group_prompts, pad_points, refuse_binary
from evsam.transforms import fitted_size, resize_image, upscale_logits
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

if TYPE_CHECKING:
    import torch

    from evsam.sam import Sam

__all__ = ["ResizeLongestSide", "SamPredictor"]


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
