"""What precisions cost, and what "fast" means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evsam
from evsam import _C, engines
from evsam.engines import ENGINES, chosen_precision
from evsam.info import collect
from evsam.zoo import VARIANTS
from tests.golden import cases

CAT = Path(__file__).parents[2] / "examples" / "cat.jpg"

LEAST_COSINE = {"fp32": 0.9999999, "bf16": 0.9995, "fp16": 0.9999, "int8": 0.999}
"""Of l0's embedding with the reference's."""

CLAIMED = [row for row in _C.narrow_extensions() if row["supported"] and "lite" in row["keeps_masks"]]

SCRIPT = """
import sys
import numpy as np
import evsam
with evsam.load("nano", precision="fast", threads=1) as sam:
    np.save(sys.argv[2], sam.predict(sys.argv[1], box=(60, 20, 420, 290)).masks)
"""


@pytest.mark.parametrize("precision", list(LEAST_COSINE))
def test_golden(seeded_weights, photo, precision) -> None:
    golden = cases.load("l0_chelsea_rot90")
    with evsam.load(seeded_weights(golden.variant), threads=1, engine="native", precision=precision) as sam:
        found = sam.encode(photo(golden.image)).features[:, ::4, ::4].astype(np.float64).ravel()
    expected = golden.arrays["embedding"].astype(np.float64).ravel()
    assert found @ expected / np.sqrt((found @ found) * (expected @ expected)) > LEAST_COSINE[precision]


@pytest.mark.parametrize("extension", [row["name"] for row in CLAIMED])
def test_fast_keeps_masks(extension, tmp_path) -> None:
    """By each extension of the table that this machine has, which must really be what computes."""
    environment = {**os.environ, "EVSAM_NARROW": extension}
    command = [sys.executable, "-c", SCRIPT, str(CAT), str(tmp_path / "masks.npy")]
    subprocess.run(command, check=True, env=environment)
    narrow = np.load(tmp_path / "masks.npy")
    with evsam.load("nano", threads=1) as sam:
        exact = sam.predict(CAT, box=(60, 20, 420, 290)).masks
    assert not np.array_equal(narrow, exact)
    assert (narrow & exact).sum() / (narrow | exact).sum() >= 0.99


def test_fast_is_one_precision_for_all_engines() -> None:
    found = {name: chosen_precision(engine, VARIANTS["nano"], "fast") for name, engine in ENGINES.items()}
    assert found["native"] == collect()["cpu"]["fast"]["nano"] == _C.fast_precisions()["lite"]
    assert (found["torch"], found["onnxruntime"], found["tensorrt"]) == ("fp32", "fp32", "fp16")
    assert all(
        engines.chosen_precision(each, VARIANTS["nano"], None) == each.precisions[0] for each in ENGINES.values()
    )


def test_fast_is_narrow_only_where_a_kernel_keeps_masks() -> None:
    kernels = _C.narrow_kernels()
    keeps = {row["name"]: row["keeps_masks"] for row in _C.narrow_extensions()}
    for kind, precision in _C.fast_precisions().items():
        assert precision == "fp32" or kind in keeps[kernels[precision] or ""]
    assert _C.fast_precisions()["sam"] != "int8", "whose published weights were not measured"
