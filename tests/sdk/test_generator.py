"""The generator of "everything" mode, against segment_anything's own: record by record, with a made-up model whose
masks are as awkward as can be, and with nano."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from evsam import _C
from evsam.rle import decode_rle
from evsam.transforms import fitted_size, upscale_logits

Answers = Callable[[npt.NDArray[np.float32]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Points (N, 2) in the frame to logits (N, 4, 256, 256) and scores (N, 4)."""


@lru_cache(maxsize=256)
def invented_at(px: float, py: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Ovals around a point, some with holes and specks; many equal scores, and some masks that are empty."""
    rng = np.random.default_rng([int(px * 64), int(py * 64)])
    y, x = np.arange(256, dtype=np.float32)[:, None], np.arange(256, dtype=np.float32)
    planes = []
    for _ in range(4):
        size = rng.choice([3, 12, 40, 90, 400])
        (cx, cy), (rx, ry) = np.array([px, py]) / 4 + rng.normal(0, size / 8, 2), rng.uniform(0.5, 1.5, 2) * size
        plane = rng.choice([1, 4, 20]) * (4 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2).astype(np.float32)
        if rng.uniform() < 0.3:
            for sx, sy in rng.uniform(0, 256, (6, 2)):
                spread = rng.uniform(2, 40)
                spot = np.exp(-((y - sy) ** 2) / spread) * np.exp(-((x - sx) ** 2) / spread)
                plane += rng.choice([-60, 60]) * spot.astype(np.float32)
        planes.append(plane - 1000 * (rng.uniform() < 0.05))
    return np.array(planes, np.float32), rng.uniform(0.5, 1, 4).round(2).astype(np.float32)


def invented(points: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    logits, scores = zip(*(invented_at(float(x), float(y)) for x, y in points), strict=True)
    return np.array(logits), np.array(scores)


class Predictor:
    """What segment_anything's generator needs of its predictor."""

    def __init__(self, answers: Answers, upscale: Callable[..., Any] = upscale_logits) -> None:
        from segment_anything.utils.transforms import ResizeLongestSide

        self.answers, self.upscale = answers, upscale
        self.transform = ResizeLongestSide(1024)
        self.model = SimpleNamespace(mask_threshold=0.0, image_encoder=SimpleNamespace(img_size=1024))
        self.device = "cpu"

    def set_image(self, image: npt.NDArray[np.uint8]) -> None:
        self.size = image.shape[:2]

    def reset_image(self) -> None:
        del self.size

    def predict_torch(self, points: Any, labels: Any, multimask_output: bool, return_logits: bool) -> Any:
        import torch

        assert multimask_output
        assert return_logits
        assert labels.tolist() == [[1]] * len(points)
        logits, scores = self.answers(points[:, 0].numpy().astype(np.float32))
        upscaled = self.upscale(np.ascontiguousarray(logits[:, 1:]), fitted_size(self.size), self.size)
        return torch.as_tensor(upscaled), torch.from_numpy(scores[:, 1:]), None


def original(predictor: Any, image: npt.NDArray[np.uint8], **options: Any) -> list[dict[str, Any]]:
    """Records of segment_anything's generator."""
    from segment_anything import SamAutomaticMaskGenerator

    generator = SamAutomaticMaskGenerator(SimpleNamespace(image_encoder=SimpleNamespace(img_size=1024)), **options)
    generator.predictor = predictor
    records: list[dict[str, Any]] = generator.generate(image)
    return records


def generate(answers: Answers, size: tuple[int, int], **options: Any) -> Any:
    """A generator that has had all its answers."""
    generator = _C.EverythingGenerator(*size, **options)
    while (batch := generator.batch()) is not None:
        _, points, labels = batch
        assert labels.tolist() == [[1, -1]] * len(points)
        generator.add(*answers(points[:, 0]))
    return generator


def records_of(generator: Any, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Ours in the form of the original's."""
    records = []
    for counts, (x0, y0, x1, y1), area, iou, stability, point, (cx0, cy0, cx1, cy1) in generator.segments():
        mask = decode_rle({"size": size, "counts": counts})
        records.append(
            {
                "segmentation": mask,
                "area": area,
                "bbox": [x0, y0, x1 - 1 - x0, y1 - 1 - y0],
                "predicted_iou": iou,
                "point_coords": [list(point)],
                "stability_score": stability,
                "crop_box": [cx0, cy0, cx1 - cx0, cy1 - cy0],
            }
        )
    return records


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert np.array_equal(mine.pop("segmentation"), other.pop("segmentation"))
        assert mine == other


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((60, 90), {}),
        ((60, 90), {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.6, "box_nms_thresh": 0.95}),
        ((97, 61), {"stability_score_offset": 3.0, "points_per_batch": 7, "crop_n_layers": 1}),
        ((200, 260), {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "crop_nms_thresh": 0.4}),
        ((150, 130), {"min_mask_region_area": 40, "stability_score_thresh": 0.7}),
        ((150, 130), {"min_mask_region_area": 9, "crop_n_layers": 1, "crop_overlap_ratio": 0.1}),
        ((1, 70), {"box_nms_thresh": 0.2}),
        ((700, 1300), {"points_per_side": 4, "min_mask_region_area": 900}),
        ((120, 90), {"points_per_side": None, "point_grids": [np.array([[0.2, 0.3], [0.9, 0.5], [1.0, 1.0]])]}),
    ],
)
def test_records_are_the_originals(size, options) -> None:
    pytest.importorskip("segment_anything")
    options = {"points_per_side": 6, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.8, **options}
    theirs = original(Predictor(invented), np.zeros((*size, 3), np.uint8), **options)
    assert len(theirs) >= 2
    if options["points_per_side"] is None:
        del options["points_per_side"]
    generator = generate(invented, size, mode="exact", **options)
    assert_same(records_of(generator, size), theirs)
    assert generator.done == generator.total
