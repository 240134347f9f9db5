"""What precisions cost, and what "fast" means."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import evsam
from evsam import _C, engines
from evsam.engines import ENGINES, chosen_precision
from evsam.info import collect
from evsam.zoo import VARIANTS
from tests.golden import cases, nano

ROOT = Path(__file__).parents[2]

LEAST_COSINE = {"fp32": 0.9999999, "bf16": 0.9995, "fp16": 0.9999, "int8": 0.999}
"""Of l0's embedding with the reference's."""


ROWS = {row["name"]: row for row in _C.narrow_extensions() if row["supported"]}
CLAIMED = [name for name, row in ROWS.items() if "lite" in row["keeps_masks"]]
HAS_FP16 = any(ROWS[name]["precision"] == "fp16" for name in CLAIMED)
NARROW = CLAIMED if HAS_FP16 else [*CLAIMED, "scalar_fp16"]
"""Extensions that this machine has. Where none has fp16, the reference tells what its roundings cost."""

SCRIPT = """
import sys
import numpy as np
from safetensors.numpy import load_file
import evsam
from tests.golden import nano
folder, precision, file = sys.argv[1:]
with evsam.load("nano", precision=precision, threads=1) as sam:
    found = nano.answers(sam, load_file(nano.PATH))
    for name, (photo, box) in nano.BOXES.items():
        found[f"mask of {name}"] = sam.predict(f"{folder}/{photo}", box=box).masks
np.savez(file, **found)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> Callable[[str], dict[str, np.ndarray]]:
    """What nano answers in float32 ("fp32"), or by one extension and its instruction set alone.

    The environment is read once by a process, so each is one of its own; "fast" where the extension keeps masks.
    """
    skimage = pytest.importorskip("skimage")
    folder = tmp_path_factory.mktemp("answers")

    @cache
    def run(name: str) -> dict[str, np.ndarray]:
        environment, precision = dict(os.environ), name
        if name != "fp32":
            environment |= {"EVSAM_NARROW": name, "EVSAM_ISA": ROWS[name]["isa"]}
            precision = "fast" if name in CLAIMED else ROWS[name]["precision"]
        file = folder / f"{name}.npz"
        command = [sys.executable, "-c", SCRIPT, str(Path(skimage.__file__).parent / "data"), precision, str(file)]
        subprocess.run(command, check=True, env=environment, cwd=ROOT)
        with np.load(file) as arrays:
            return dict(arrays)

    return run


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    difference = found.astype(np.float64) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))


@pytest.mark.parametrize("precision", list(LEAST_COSINE))
def test_golden(seeded_weights, photo, precision) -> None:
    golden = cases.load("l0_chelsea_rot90")
    with evsam.load(seeded_weights(golden.variant), threads=1, engine="native", precision=precision) as sam:
        found = sam.encode(photo(golden.image)).features[:, ::4, ::4].astype(np.float64).ravel()
    expected = golden.arrays["embedding"].astype(np.float64).ravel()
    assert found @ expected / np.sqrt((found @ found) * (expected @ expected)) > LEAST_COSINE[precision]


@pytest.mark.parametrize("name", ["fp32", *NARROW])
def test_golden_of_nano(name, answers) -> None:
    with safe_open(nano.PATH, framework="numpy") as file:
        assert file.metadata()["weights"] == nano.fingerprint(), "new weights: run python -m tests.golden.nano"
    golden, found = load_file(nano.PATH), answers(name)
    precision = "fp32" if name == "fp32" else ROWS[name]["precision"]
    maps, logits, scores = golden.get(f"tolerances.{name}", golden[f"tolerances.{precision}"])
    for i in range(4):
        assert relative_error(found[f"map{i}"], golden[f"map{i}"]) < maps, i
    assert relative_error(found["logits"], golden["logits"]) < logits
    assert np.abs(found["scores"] - golden["scores"]).max() < scores


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("photo_of", list(nano.BOXES))
def test_narrow_numbers_keep_masks(name, photo_of, answers) -> None:
    """By each extension of the table that this machine has, which must really be what computes."""
    assert not np.array_equal(answers(name)["map0"], answers("fp32")["map0"])
    narrow, exact = (answers(each)[f"mask of {photo_of}"] for each in (name, "fp32"))
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
