"""Figures that public files pin down.

The files are not part of evsam. Tests run where ``EVSAM_EVAL_VECTORS`` names a folder that holds them, in any
subfolders (a clone is fine); what is missing is skipped:

* of github.com/MiXaiLL76/faster_coco_eval: ``instances_val2014_100.json``,
  ``instances_val2014_fakesegm100_results.json``, ``instances_val2014_fakebbox100_results.json``, ``gt_dataset.json``,
  ``dt_dataset.json``, ``lvis_val_100.json``, ``lvis_results_100.json``;
* of davischallenge.org (TrainVal, 480p) and github.com/davisvideochallenge/davis2017-evaluation:
  ``Annotations/480p/SEQUENCE/*.png`` and ``results/semi-supervised/osvos/SEQUENCE/*.png`` of the 30 validation
  sequences.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam.datasets import CocoPhotos, read_detections
from evsam.evaluation.average_precision import Kind, available, average_precision
from evsam.evaluation.metrics import boundary, boundary_f, iou, sequence_statistics
from evsam.evaluation.search import DetectedBoxes, document
from evsam.evaluation.truth import Truth
from evsam.rle import encode_rle
from tests.evaluation.made import EMBEDDING

pytest.importorskip("pycocotools")

FOLDER = os.environ.get("EVSAM_EVAL_VECTORS")

pytestmark = pytest.mark.skipif(not FOLDER, reason="EVSAM_EVAL_VECTORS names no folder with public files")

WITHOUT = ("boundary", "hotcoco")
"""What a package does not know."""

DIGITS = 1e-10
"""To which the files' own tests compare."""


def find(pattern: str) -> list[Path]:
    found = sorted(path for path in Path(FOLDER or ".").rglob(pattern) if path.is_file() and path.stat().st_size)
    if not found:
        pytest.skip(f"EVSAM_EVAL_VECTORS has no {pattern}")
    return found


def read(name: str) -> Any:
    return json.loads(find(name)[0].read_text())


COCO: dict[Kind, dict[str, float]] = {
    "bbox": {
        "AP": 0.5045806987249628, "AP50": 0.6969727247299577, "AP75": 0.5729816669904824, "APs": 0.5856257209410443,
        "APm": 0.5193996948036719, "APl": 0.5013978986347466, "AR@1": 0.38681277964578054, "AR@10": 0.5936795762842003,
        "AR@100": 0.595352982877607, "ARs": 0.6398109626113442, "ARm": 0.5664205978994309, "ARl": 0.5642905982905982,
    },
    "segm": {
        "AP": 0.3195452758576433, "AP50": 0.5622883972521636, "AP75": 0.29892653412086784, "APs": 0.3873740315997838,
        "APm": 0.31018272403369485, "APl": 0.3269339071005138, "AR@1": 0.2682297225711534, "AR@10": 0.41544868114906375,
        "AR@100": 0.4168394992198818, "ARs": 0.4694498622754236, "ARm": 0.37675922666197265, "ARl": 0.3814715099715099,
    },
}  # fmt: skip

BOUNDARY = {
    "AP": 0.6947194719471946, "AP50": 0.6947194719471946, "AP75": 0.6947194719471946, "APs": None,
    "APm": 0.7367986798679867, "APl": 0.0, "AR@1": 0.6666666666666666, "AR@10": 0.75, "AR@100": 0.75, "ARs": None,
    "ARm": 0.7916666666666666, "ARl": 0.0,
}  # fmt: skip
"""Computed by the original boundary_iou_api, says the test that they are from."""

LVIS = {
    "AP": 0.3676645003471999, "AP50": 0.626197183778713, "AP75": 0.3842680457694463, "APs": 0.30144006848393434,
    "APm": 0.4383116520502349, "APl": 0.44698568700634994, "APr": 0.0, "APc": 0.2743466491059044,
    "APf": 0.3875839974389359, "AR@300": 0.4298204126791178, "ARs": 0.3451549077565635, "ARm": 0.48783590386221964,
    "ARl": 0.5153366620657926,
}  # fmt: skip


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_coco(kind, backend) -> None:
    truth = read("instances_val2014_100.json")
    found = read(f"instances_val2014_fake{kind}100_results.json")
    table = average_precision(truth, found, kind=kind, backend=backend)
    assert table == pytest.approx(COCO[kind], rel=0, abs=DIGITS)


def test_coco_by_evsams_readers(tmp_path) -> None:
    """The same from the files to the tables: photos, annotations and detections as ``evsam eval`` reads them."""
    path = find("instances_val2014_100.json")[0]
    photos = CocoPhotos(tmp_path, path, empty=True)
    boxes = read_detections(find("instances_val2014_fakebbox100_results.json")[0], photos.ids, photos.categories)
    protocol = DetectedBoxes(boxes, tuple(photos.categories.values()), kinds=("bbox",))
    model: Any = Empty()
    rows = []
    for photo in photos:
        assert photo.size is not None
        rows += protocol.rows(model, EMBEDDING, Truth.read(photo, np.zeros((*photo.size, 3), np.uint8)))
    random.Random(0).shuffle(rows)
    tables = protocol.summary(json.loads(json.dumps(rows)))
    assert tables["AP"]["boxes"] == pytest.approx(COCO["bbox"], rel=0, abs=DIGITS)
    found = read("instances_val2014_fakesegm100_results.json")
    table = average_precision(document(rows, protocol.categories), found)
    assert table == pytest.approx(COCO["segm"], rel=0, abs=DIGITS)


class Empty:
    """A model that answers with nothing: boxes are compared, not masks."""

    def predict(self, embedding: Any, **asked: Any) -> Any:
        count = len(asked["boxes"])
        return SimpleNamespace(logits=np.zeros((count, 1, 2, 2), np.float32), scores=np.zeros((count, 1), np.float32))

    def masks_from_logits(self, logits: Any, *sizes: Any) -> Any:
        return np.zeros((*logits.shape[:2], 8, 8), bool)


@pytest.mark.parametrize("backend", [name for name in available() if name != "hotcoco"])
def test_boundary_ap(backend) -> None:
    masks = pytest.importorskip("pycocotools.mask")
    truth = read("gt_dataset.json")
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    found = [
        {**record, "segmentation": masks.merge(masks.frPyObjects(record["segmentation"], *sizes[record["image_id"]]))}
        for record in read("dt_dataset.json")
    ]
    table = average_precision(truth, found, kind="boundary", backend=backend)
    assert {name: value for name, value in table.items() if value is None} == {"APs": None, "ARs": None}
    assert {name: -1 if value is None else value for name, value in table.items()} == pytest.approx(
        {name: -1 if value is None else value for name, value in BOUNDARY.items()}, rel=0, abs=DIGITS
    )


def test_the_boundary_of_a_small_mask() -> None:
    rows = ("00111", "01110", "01110", "01111", "00010"), ("00111", "01110", "01010", "01111", "00010")
    mask, band = (np.array([[value == "1" for value in row] for row in one]) for one in rows)
    np.testing.assert_array_equal(boundary(mask), band)


@pytest.mark.parametrize("backend", available())
def test_lvis(backend) -> None:
    table = average_precision(
        read("lvis_val_100.json"), read("lvis_results_100.json"), kind="bbox", style="lvis", backend=backend
    )
    assert table == pytest.approx(LVIS, rel=0, abs=DIGITS)


@pytest.mark.parametrize(
    ("kind", "backend"),
    [(kind, name) for kind in ("segm", "bbox", "boundary") for name in available() if (kind, name) != WITHOUT],
)
def test_lvis_truth_as_detections(kind, backend) -> None:
    masks = pytest.importorskip("pycocotools.mask")
    truth = read("lvis_val_100.json")
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    found = []
    for number, record in enumerate(truth["annotations"]):
        rle = masks.merge(masks.frPyObjects(record["segmentation"], *sizes[record["image_id"]]))
        same = {key: record[key] for key in ("image_id", "category_id", "bbox")}
        found.append({**same, "segmentation": rle, "score": (number * 37 % 101) / 101})
    # masks without a pixel cannot be found
    whole = {int(masks.area(one["segmentation"])) > 0 for one in found} == {True}
    table = average_precision(truth, found, kind=kind, style="lvis", backend=backend)
    assert whole
    assert {name: value for name, value in table.items() if value != 1.0} == {}


def test_davis() -> None:
    """OSVOS on the validation sequences of DAVIS 2017: the figures that davis2017-evaluation's own tests expect."""
    j: dict[str, list[float]] = {}
    f: dict[str, list[float]] = {}
    sequences = sorted({path.parent.name for path in find("results/semi-supervised/osvos/*/*.png")})
    for sequence in sequences:
        files = find(f"Annotations/480p/{sequence}/*.png")
        answers = {path.name: path for path in find(f"results/semi-supervised/osvos/{sequence}/*.png")}
        count = int(_labels(files[0]).max())
        for file in files[1:-1]:
            true, found = _labels(file), _labels(answers[file.name])
            for number in range(1, count + 1):
                key = f"{sequence} {number}"
                j.setdefault(key, []).append(iou(found == number, true == number))
                f.setdefault(key, []).append(boundary_f(found == number, true == number))
    table = sequence_statistics(j, f)
    expected = {
        "J mean": 0.566,
        "J recall": 0.638,
        "J decay": 0.261,
        "F mean": 0.639,
        "F recall": 0.738,
        "F decay": 0.270,
    }
    assert {name: table[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def _labels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        labels = np.array(image)
    return np.where(labels == 255, 0, labels)


def test_masks_survive_coding() -> None:
    """The figures above stand on masks that both sides read alike."""
    masks = pytest.importorskip("pycocotools.mask")
    truth = read("instances_val2014_100.json")
    coco = pytest.importorskip("pycocotools.coco").COCO()
    coco.dataset = truth
    coco.createIndex()
    for record in truth["annotations"][:200]:
        mask = coco.annToMask(record).astype(bool)
        assert encode_rle(mask)["counts"].encode() == masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
