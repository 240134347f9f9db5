"""Every way to run a model gives the reference implementation's numbers, see tests/golden/README.md.

A way to run a model is a class with three methods; to put another one under the same tests, add it to ``RUNNERS``. The
engines of the package are there by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import pytest

import evsam
from evsam.engines import ENGINES
from evsam.prompts import read_prompts
from evsam.transforms import fitted_size, image_to_pixels, masks_from_logits, resize_image
from evsam.weights import Weights
from evsam.zoo import VARIANTS
from tests.golden import cases
from tests.memory import give_back
from tests.thorough import sparing

torch = pytest.importorskip("torch")


@dataclass(frozen=True)
class Answer:
    """Logits (N, M, 256, 256), predicted IoU (N, M) and masks (N, M, H, W) of N prompts with M masks each."""

    logits: np.ndarray
    iou: np.ndarray
    masks: np.ndarray


class Runner(Protocol):
    """One way to run a model."""

    def encode(self, photo: np.ndarray) -> np.ndarray:
        """Take a photo, keep its features, return the embedding (C, G, G)."""

    def predict(self, prompt: cases.Prompt) -> Answer:
        """Answer a prompt on that photo."""

    def close(self) -> None:
        """Release the model."""


class Modules:
    """The PyTorch modules, called directly."""

    def __init__(self, variant: str, fixture: Callable[[str], Any]) -> None:
        self.side = VARIANTS[variant].image_size
        self.model = fixture("seeded_model")(variant)

    def close(self) -> None:
        """The model is shared."""

    def encode(self, photo: np.ndarray) -> np.ndarray:
        self.size = photo.shape[:2]
        self.stages: list[np.ndarray] = []
        pixels = torch.from_numpy(image_to_pixels(photo, self.side))[None]
        hook = self.model.image_encoder.backbone.register_forward_hook(self._keep_stages)
        with hook, torch.inference_mode():
            self.features = self.model.encode(pixels)
        embedding: np.ndarray = self.features[0][0].numpy()
        return embedding

    def _keep_stages(self, module: object, inputs: object, stages: list[Any]) -> None:
        self.stages = [stage[0, ::4, ::4, ::4].numpy() for stage in stages]

    def predict(self, prompt: cases.Prompt) -> Answer:
        fitted = fitted_size(self.size)
        (group,) = read_prompts(
            self.size,
            fitted,
            points=prompt.points,
            labels=prompt.labels,
            boxes=prompt.boxes,
            mask=prompt.mask,
        ).groups
        mask = None if group.masks is None else torch.from_numpy(group.masks)
        points, labels = torch.from_numpy(group.points), torch.from_numpy(group.labels).long()
        with torch.inference_mode():
            logits, iou = (x.numpy() for x in self.model.decode(self.features, points, labels, mask))
        chosen = slice(1, None) if prompt.multimask else slice(0, 1)
        return Answer(logits[:, chosen], iou[:, chosen], masks_from_logits(logits[:, chosen], fitted, self.size))


class PublicApi:
    """``evsam.load`` with one of the engines, then ``encode`` and ``predict``."""

    def __init__(self, engine: str, variant: str, fixture: Callable[[str], Any]) -> None:
        if ENGINES[engine].missing:
            pytest.skip(f"engine {engine} needs {', '.join(ENGINES[engine].missing)}")
        weights = Weights(VARIANTS[variant], fixture("seeded_tensors")(variant), None, {})
        self.sam = evsam.load(weights, engine=engine)

    def close(self) -> None:
        self.sam.close()

    def encode(self, photo: np.ndarray) -> np.ndarray:
        self.photo = self.sam.encode(photo)
        return self.photo.features

    def predict(self, prompt: cases.Prompt) -> Answer:
        result = self.sam.predict(
            self.photo,
            points=prompt.points,
            labels=prompt.labels,
            boxes=prompt.boxes,
            mask=prompt.mask,
            multimask=prompt.multimask,
        )
        return Answer(result.logits, result.scores, result.masks)


class PluginModels(PublicApi):
    """The ONNX models whose fused blocks are nodes of evsam's plugins, by the bodies that they carry."""

    def __init__(self, variant: str, fixture: Callable[[str], Any]) -> None:
        pytest.importorskip("onnx", reason="plugin flavour: no onnx")
        pytest.importorskip("onnxruntime", reason="plugin flavour: no onnxruntime")
        from evsam.engines.onnxruntime import OnnxRuntimeEngine
        from evsam.export.onnx import build_decoder, build_encoder
        from evsam.export.options import PLUGINS, ExportOptions

        weights = Weights(VARIANTS[variant], fixture("seeded_tensors")(variant), None, {})
        encoder = build_encoder(weights, ExportOptions(plugins=frozenset(PLUGINS)))
        assert {node.domain for node in encoder.graph.node} == {"", "evsam"}
        models = (encoder.SerializeToString(), build_decoder(weights).SerializeToString())
        del encoder
        self.sam = evsam.Sam(VARIANTS[variant], OnnxRuntimeEngine(*models), "")


RUNNERS: dict[str, Callable[[str, Callable[[str], Any]], Runner]] = {
    "modules": Modules,
    **{engine: partial(PublicApi, engine) for engine in ENGINES},
    "onnx-plugins": PluginModels,
}


@dataclass(frozen=True)
class Run:
    """A golden case, the runner that has encoded its photo, and the embedding."""

    golden: cases.Golden
    runner: Runner
    embedding: np.ndarray


RUNS = [(runner, name) for name in cases.NAMES for runner in RUNNERS]
LONG = [(runner, "xl0_hubble") for runner in ("torch", "onnx-plugins")]  # modules and onnxruntime run the same


@pytest.fixture(scope="module", params=sparing(RUNS, *LONG), ids="-".join)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    runner_name, name = request.param
    golden = cases.load(name)
    runner = RUNNERS[runner_name](golden.variant, request.getfixturevalue)
    give_back()  # onnxruntime takes 2 GB for xl0
    image = request.getfixturevalue("photo")(golden.image)
    assert image.shape[:2] == golden.size
    yield Run(golden, runner, runner.encode(image))
    runner.close()
    give_back()


@pytest.mark.parametrize("name", cases.NAMES)
def test_resized_photo(name: str, photo: Callable[[str], np.ndarray]) -> None:
    golden = cases.load(name)
    resized = resize_image(photo(golden.image), VARIANTS[golden.variant].image_size)
    np.testing.assert_array_equal(resized[::8, ::8], golden.arrays["resized_uint8_sub"])


def test_encoder(run: Run) -> None:
    if isinstance(run.runner, Modules):  # engines do not show their stages
        assert len(run.runner.stages) == len(VARIANTS[run.golden.variant].encoder.stages)
        for stage, expected in zip(run.runner.stages, run.golden.stages, strict=True):
            np.testing.assert_allclose(stage, expected, rtol=0, atol=cases.EMBEDDING_ATOL)
    x = run.embedding
    assert x.shape == (256, 64, 64)
    assert x.dtype == np.float32
    expected = run.golden.arrays["embedding"]
    np.testing.assert_allclose(x[:, ::4, ::4], expected, rtol=0, atol=cases.EMBEDDING_ATOL)
    statistics = [x.mean(dtype=np.float64), x.std(dtype=np.float64), np.abs(x).max()]
    expected = run.golden.arrays["embedding_mean_std"]
    np.testing.assert_allclose(statistics, expected, rtol=0, atol=cases.EMBEDDING_ATOL)


@pytest.mark.parametrize("key", cases.PROMPTS)
def test_prediction(run: Run, key: str) -> None:
    prompt = run.golden.prompts[key]
    answer = run.runner.predict(prompt)
    np.testing.assert_allclose(answer.logits[..., ::4, ::4], prompt.logits, rtol=0, atol=cases.LOGITS_ATOL)
    np.testing.assert_allclose(answer.iou, prompt.iou, rtol=0, atol=cases.IOU_ATOL)
    assert answer.masks.shape == prompt.masks.shape
    assert (answer.masks == prompt.masks).mean() >= cases.MASK_AGREEMENT


def test_all_prompts_are_tested() -> None:
    for name in cases.NAMES:
        assert set(cases.load(name).prompts) == set(cases.PROMPTS)
    assert {path.stem for path in cases.FOLDER.glob("*.npz")} == set(cases.NAMES)


def test_mask_prompt_is_the_best_mask_of_the_point() -> None:
    """The golden mask prompt is made of numbers that are compared elsewhere, not of some other run."""
    golden = cases.load("l0_coffee")
    point = golden.prompts["point"]
    best = point.logits[0, point.iou[0].argmax()]
    mask = golden.prompts["points_and_mask"].mask
    assert mask is not None
    np.testing.assert_allclose(mask[0, ::4, ::4], best, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mistake", ["norm eps 1e-5", "erf gelu", "bilinear neck", "padding before normalisation"])
def test_tolerance_sees_mistakes(
    mistake: str,
    seeded_model: Callable[[str], Any],
    photo: Callable[[str], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mistakes that are easy to make, and of which some move the embedding by very little, do not pass."""
    from evsam.nn import encoder, layers

    golden = cases.load("l0_coffee")
    model = seeded_model("l0")
    pixels = torch.from_numpy(image_to_pixels(photo(golden.image), 512))[None]
    if mistake == "norm eps 1e-5":
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                monkeypatch.setattr(module, "eps", 1e-5)
    elif mistake == "erf gelu":
        monkeypatch.setitem(layers._ACTIVATIONS, "gelu", torch.nn.functional.gelu)
    elif mistake == "bilinear neck":
        resize = torch.nn.functional.interpolate
        replacement = torch.nn.Module()
        replacement.interpolate = lambda x, size, **_: resize(x, size=size, mode="bilinear", align_corners=False)
        monkeypatch.setattr(encoder, "F", replacement)
    else:
        black = -np.array([123.675, 116.28, 103.53], np.float32) / np.array([58.395, 57.12, 57.375], np.float32)
        pixels[0, :, fitted_size(golden.size, 512)[0] :] = torch.from_numpy(black)[:, None, None]
    with torch.inference_mode():
        x = model.encode(pixels)[0][0].numpy()
    error = np.abs(x[:, ::4, ::4] - golden.arrays["embedding"]).max()
    assert error > cases.EMBEDDING_ATOL
