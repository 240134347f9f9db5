"""The generator of "everything" mode, against segment_anything's own: record by record, with a made-up model whose
masks are as awkward as can be, and with nano."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import evsam
from evsam import _C
from evsam.rle import decode_rle
from evsam.transforms import fitted_size, upscale_logits

if TYPE_CHECKING:
    from evsam.sam import Sam

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
    """Records of segment_anything's generator, which removes small regions by OpenCV."""
    if options.get("min_mask_region_area"):
        pytest.importorskip("cv2")
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


def generate_native(sam: Sam, image: npt.NDArray[np.uint8], **options: Any) -> tuple[Any, int]:
    """A generator that the native engine drives, and how many points it asked."""
    generator, crop, asked = _C.EverythingGenerator(*image.shape[:2], threads=1, **options), None, 0
    engine: Any = sam.engine
    while (batch := generator.batch()) is not None:
        if batch[0] != crop:
            crop = batch[0]
            x0, y0, x1, y1 = generator.crops[crop]
            features: Any = sam.encode(image[y0:y1, x0:x1]).arrays
        asked += len(batch[1])
        generator.ask(engine._engine, features)
    return generator, asked


class TorchPredictor(Predictor):
    """evsam's torch modules, and PyTorch's own resizes as in segment_anything's postprocess_masks."""

    def __init__(self, sam: Sam) -> None:
        from torch import from_numpy
        from torch.nn.functional import interpolate

        def upscale(logits: Any, resized: tuple[int, int], size: tuple[int, int]) -> Any:
            framed = interpolate(from_numpy(logits), (1024, 1024), mode="bilinear", align_corners=False)
            return interpolate(framed[..., : resized[0], : resized[1]], size, mode="bilinear", align_corners=False)

        super().__init__(self.decode, upscale)
        self.sam = sam

    def set_image(self, image: npt.NDArray[np.uint8]) -> None:
        super().set_image(image)
        self.features = self.sam.encode(np.ascontiguousarray(image)).arrays

    def decode(self, points: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        padded = np.stack([points, np.zeros_like(points)], 1)
        return self.sam.engine.decode(
            self.features, padded, np.tile(np.array([1, -1], np.int32), (len(points), 1)), None
        )


@pytest.fixture(scope="module")
def nano() -> Iterator[tuple[Sam, Sam]]:
    """The bundled model on the native and on the torch engine."""
    pytest.importorskip("torch")
    with evsam.load("nano", threads=1) as native, evsam.load("nano", engine="torch") as torch:
        yield native, torch


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("chelsea", {"points_per_side": 5}),
        ("coffee", {"points_per_side": 4, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2}),
        ("astronaut", {"points_per_side": 4, "min_mask_region_area": 60}),
    ],
)
def test_nano_gives_the_originals_masks(nano, name, options) -> None:
    """Through evsam's torch modules in segment_anything's generator, and through the native engine in ours."""
    pytest.importorskip("segment_anything")
    data = pytest.importorskip("skimage.data")
    image = np.ascontiguousarray(getattr(data, name)()[::2, ::2, :3])
    options = {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.75, **options}
    theirs = original(TorchPredictor(nano[1]), image, **options)
    assert len(theirs) >= 4
    size = image.shape[:2]
    ours = records_of(generate_native(nano[0], image, mode="exact", **options)[0], size)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        different = np.count_nonzero(mine["segmentation"] != other["segmentation"])
        assert different <= 2e-4 * mine["segmentation"].size  # on the threshold
        assert abs(mine["area"] - other["area"]) <= different
        assert np.allclose(mine["bbox"], other["bbox"], atol=2)
        assert mine["predicted_iou"] == pytest.approx(other["predicted_iou"], abs=1e-4)
        assert mine["stability_score"] == pytest.approx(other["stability_score"], abs=2e-3)
        assert mine["point_coords"] == other["point_coords"]
        assert mine["crop_box"] == other["crop_box"]


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((60, 90), {}),
        ((60, 90), {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.6, "box_nms_thresh": 0.95}),
        ((97, 61), {"points_per_side": 4, "stability_score_offset": 3.0, "points_per_batch": 7, "crop_n_layers": 1}),
        (
            (200, 260),
            {"points_per_side": 5, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "crop_nms_thresh": 0.4},
        ),
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


class TestFast:
    def test_asks_beside_good_points_alone(self) -> None:
        """Of 8 x 8 points those in odd rows and columns; then, of the others, the neighbours of what was good."""

        def left_is_good(points: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            asked.extend((int(x) // 128, int(y) // 128) for x, y in points)
            logits, scores = invented(points)
            scores = np.minimum(scores, np.float32(0.58))
            scores[:, 2] = np.where(points[:, 0] < 512, 0.61, 0.599)  # from 0.6 on is near 0.7
            return logits, scores

        asked: list[tuple[int, int]] = []
        options = {"points_per_side": 8, "pred_iou_thresh": 0.7, "points_per_batch": 5}
        generator = generate(left_is_good, (90, 90), **options)
        coarse = [(x, y) for y in range(1, 8, 2) for x in range(1, 8, 2)]
        assert asked[:16] == coarse
        beside = [(x, y) for y in range(8) for x in range(5) if x % 2 == 0 or y % 2 == 0]
        assert asked[16:] == beside
        assert (generator.done, generator.total) == (64, 64)
        asked.clear()
        generate(left_is_good, (90, 90), mode="exact", **options)
        assert len(asked) == 64

    def test_drops_masks_that_are_nearly_the_same(self) -> None:
        """A speck makes the box of one large, so only their pixels tell that they are one."""

        def twins(points: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            logits = np.full((len(points), 4, 256, 256), -9, np.float32)
            logits[:, 1:3, 100:140, 100:140] = 9
            logits[:, 2, 20:22, 20:22] = 9
            logits[:, 3, 200:220, 200:220] = 9
            return logits, np.tile(np.array([0, 0.95, 0.9, 0.92], np.float32), (len(points), 1))

        found = {}
        for mode in ("exact", "fast"):
            generator = generate(twins, (256, 256), points_per_side=1, mode=mode, stability_score_thresh=0.5)
            found[mode] = [round(record["predicted_iou"], 2) for record in records_of(generator, (256, 256))]
        assert found == {"exact": [0.95, 0.92, 0.9], "fast": [0.95, 0.92]}

    def test_finds_what_exact_finds(self, nano) -> None:
        """As docs/everything.md says of the defaults: of all photos of everyday things that scikit-image has."""
        folder = Path(pytest.importorskip("skimage").__file__).parent / "data"
        options = dataclasses.asdict(nano[0].variant.everything)
        found = wanted = asked = 0
        for name in ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"):
            image = np.asarray(Image.open(folder / name).convert("RGB"))
            (fast, few), (exact, every) = (
                generate_native(nano[0], image, mode=mode, **options) for mode in ("fast", "exact")
            )
            assert every == 32 * 32
            asked += few
            records = records_of(exact, image.shape[:2])
            wanted += len(records)
            masks = [record["segmentation"] for record in records_of(fast, image.shape[:2])]
            for record in records:
                mask = record["segmentation"]
                found += any((mask & other).sum() >= 0.9 * (mask | other).sum() for other in masks)
        assert wanted >= 50
        assert found >= 0.95 * wanted
        assert asked < 0.95 * 5 * 32 * 32


class TestSoFar:
    def test_is_what_the_points_so_far_give(self) -> None:
        options: dict[str, Any] = {"points_per_side": 4, "points_per_batch": 6, "mode": "exact", "pred_iou_thresh": 0.6}
        generator = _C.EverythingGenerator(80, 80, stability_score_thresh=0.7, **options)
        batch = generator.batch()
        assert batch is not None
        points = batch[1]
        assert generator.segments() == []
        generator.add(*invented(points[:, 0]))
        assert (generator.done, generator.total, generator.finished) == (6, 16, False)
        grid = np.array([[x / 8, y / 8] for y in (1, 3, 5, 7) for x in (1, 3, 5, 7)])[:6]
        whole = generate(
            invented, (80, 80), mode="exact", point_grids=[grid], pred_iou_thresh=0.6, stability_score_thresh=0.7
        )
        assert_same(records_of(generator, (80, 80)), records_of(whole, (80, 80)))
        assert generator.bytes > 0

    def test_of_crops(self) -> None:
        options: dict[str, Any] = {"points_per_side": 3, "mode": "exact", "crop_n_layers": 1, "pred_iou_thresh": 0.6}
        generator = _C.EverythingGenerator(90, 70, **options)
        seen = []
        while (batch := generator.batch()) is not None:
            seen.append(batch[0])
            generator.add(*invented(batch[1][:, 0]))
            assert all(isinstance(row[2], int) for row in generator.segments())
        assert seen == [0, 1, 2, 3, 4]


class TestCrops:
    @pytest.mark.parametrize(("end", "kept"), [(236, True), (237, False), (256, False)])
    @pytest.mark.parametrize("axis", ["x", "y"])
    def test_masks_whose_last_pixel_is_twenty_from_the_end_of_a_crop_are_cut_off(self, end, kept, axis) -> None:
        # crops of 256 pixels, one for each logit, and a mask in the first of them
        generator = _C.EverythingGenerator(
            512, 512, mode="exact", points_per_side=1, crop_n_layers=1, crop_overlap_ratio=0.0, pred_iou_thresh=0.5
        )
        rows, columns = slice(0, 50), slice(100, end)
        part = (rows, columns) if axis == "x" else (columns, rows)
        while (batch := generator.batch()) is not None:
            logits = np.full((len(batch[1]), 3, 256, 256), -9, np.float32)
            scores = np.zeros((len(batch[1]), 4), np.float32)
            if batch[0] == 1:
                logits[:, :, part[0], part[1]] = 9
                scores[:, 1] = 0.9
            generator.add(logits, scores)
        box = (100, 0, end, 50) if axis == "x" else (0, 100, 50, end)
        assert [row[1] for row in generator.segments()] == ([box] if kept else [])


class TestMisuse:
    @pytest.fixture
    def generator(self) -> Any:
        return _C.EverythingGenerator(40, 60, points_per_side=2, mode="exact")

    @pytest.mark.parametrize(
        ("logits", "scores", "message"),
        [
            ((4, 4, 256, 255), (4, 4), r"logits: expected shape \(N, 4, 256, 256\) or \(N, 3, 256, 256\)"),
            ((4, 2, 256, 256), (4, 4), "logits: expected 3 or 4 masks for each point, got 2"),
            ((3, 3, 256, 256), (3, 4), "logits: expected those of the batch's 4 points, got 3"),
            ((4, 3, 256, 256), (4, 3), r"scores: expected shape \(N, 4\), N that of the logits"),
        ],
    )
    def test_shapes(self, generator, logits, scores, message) -> None:
        with pytest.raises(ValueError, match=message):
            generator.add(np.zeros(logits, np.float32), np.zeros(scores, np.float32))
        assert generator.done == 0

    def test_of_a_finished_one(self, generator) -> None:
        generator.add(np.zeros((4, 3, 256, 256), np.float32), np.zeros((4, 4), np.float32))
        assert generator.finished
        assert generator.batch() is None
        with pytest.raises(ValueError, match="generator: expected one that has points left, got a finished one"):
            generator.add(np.zeros((0, 3, 256, 256), np.float32), np.zeros((0, 4), np.float32))

    def test_of_an_engine(self, generator, sam, image) -> None:
        features = sam.encode(image).arrays
        with pytest.raises(ValueError, match="features: expected 4 arrays, got 1"):
            generator.ask(sam.engine._engine, features[:1])
        with pytest.raises((TypeError, RuntimeError)):
            generator.ask(sam, features)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "slow"}, "mode: expected exact or fast, got slow"),
            ({"point_grids": []}, "point_grids: expected at least one grid, got none"),
            ({"point_grids": [np.zeros(4)]}, r"point_grids: expected arrays \(N, 2\)"),
            ({"points_per_side": 0}, "points_per_side: expected 1 to 1024, got 0"),
        ],
    )
    def test_options(self, options, message) -> None:
        with pytest.raises(ValueError, match=message):
            _C.EverythingGenerator(10, 10, **options)
