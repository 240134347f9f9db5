"""The numbers in the zoo are those of the modules, and the published ones."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys

import pytest

from evsam import zoo
from evsam.errors import WeightsError
from evsam.weights import expected_tensors
from evsam.zoo import VARIANTS, get_variant
from tests.golden import cases

PUBLISHED = {  # arXiv 2402.05008, table 2: parameters in millions, encoder MACs in billions, mAP on COCO and LVIS
    "l0": (34.8, 35, 45.7, 41.8),
    "l1": (47.7, 49, 46.2, 42.1),
    "l2": (61.3, 69, 46.6, 42.7),
    "xl0": (117.0, 185, 47.5, 43.9),
    "xl1": (203.3, 322, 47.8, 44.4),
}


def test_names() -> None:
    assert list(VARIANTS) == ["nano", *PUBLISHED]
    assert all(name == variant.name for name, variant in VARIANTS.items())


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_and_macs_are_those_of_the_modules(name: str) -> None:
    pytest.importorskip("torch")
    from tests.nn.macs import encoder_macs, meta_model

    assert VARIANTS[name].parameters == sum(p.numel() for p in meta_model(name).parameters())
    assert VARIANTS[name].encoder_macs == encoder_macs(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    variant = VARIANTS[name]
    parameters, macs, coco, lvis = PUBLISHED[name]
    assert round(variant.parameters / 1e6, 1) == parameters
    assert round(variant.encoder_macs / 1e9) == macs
    assert variant.published["coco_map"] == coco
    assert variant.published["lvis_map"] == lvis
    assert set(variant.published) <= set(zoo.PUBLISHED_KEYS)
    assert not VARIANTS["nano"].published


def test_scores_of_others_are_told_by_the_same_keys() -> None:
    assert all(set(scores) <= set(zoo.PUBLISHED_KEYS) for scores in zoo.PUBLISHED_OTHERS.values())
    for data, prompt in (("coco", "box"), ("coco", "1_click"), ("lvis", "box"), ("lvis", "1_click")):
        sizes = [VARIANTS["xl1"].published[f"{data}_{prompt}_miou_{size}"] for size in ("small", "medium", "large")]
        assert min(sizes) < VARIANTS["xl1"].published[f"{data}_{prompt}_miou"] < max(sizes)


def test_published_speeds_give_the_published_speedups() -> None:
    """48.9 times for l2 and 16.5 times for xl1, against the 11 images per second of SAM ViT-H."""
    assert round(VARIANTS["l2"].published["a100_images_per_second"] / 11, 1) == 48.9
    assert round(VARIANTS["xl1"].published["a100_images_per_second"] / 11, 1) == 16.5
    latencies = [VARIANTS[name].published["orin_ms"] for name in PUBLISHED]
    assert latencies == sorted(latencies)


@pytest.mark.parametrize("case", cases.NAMES)
def test_parameters_of_the_reference(case: str) -> None:
    golden = cases.load(case)
    assert round(VARIANTS[golden.variant].parameters / 1e6, 6) == golden.parameters_million


def test_nano_is_small() -> None:
    nano = VARIANTS["nano"]
    assert nano.image_size == 512
    assert nano.encoder_macs <= 2e9
    numbers = sum(_size(shape) for shape in expected_tensors("nano").values())
    assert 2 * numbers <= 8e6, "bytes of all tensors in float16"


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


@pytest.mark.parametrize("name", PUBLISHED)
def test_hub_files(name: str) -> None:
    file = VARIANTS[name].weights
    assert file is not None
    assert file.filename == f"efficientvit_sam_{name}.pt"
    assert re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert file.url == f"https://huggingface.co/mit-han-lab/efficientvit-sam/resolve/main/{file.filename}"


def test_hub_files_differ() -> None:
    assert len({VARIANTS[name].weights for name in PUBLISHED}) == len(PUBLISHED)
    assert VARIANTS["nano"].weights is None
    assert VARIANTS["nano"].bundled == "nano.safetensors"


@pytest.mark.parametrize("name", VARIANTS)
def test_records_can_be_hashed_and_pickled(name: str) -> None:
    variant = VARIANTS[name]
    assert pickle.loads(pickle.dumps(variant)) == variant
    assert {variant: 1}[get_variant(name)] == 1


def test_get_variant() -> None:
    assert get_variant("l0") is VARIANTS["l0"]
    with pytest.raises(WeightsError, match="expected one of nano, l0, l1, l2, xl0, xl1, got 'l3'"):
        get_variant("l3")


def test_zoo_and_weights_import_no_torch() -> None:
    code = "import sys, evsam.zoo, evsam.weights; sys.exit(int('torch' in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)
