"""What the arguments of ``evsam eval`` mean: the photos, the model, and the protocols that photos go through."""

from __future__ import annotations

import argparse
import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evsam.datasets import Category, Photos
    from evsam.datasets.detections import Detection
    from evsam.datasets.halves import Half
    from evsam.evaluation.average_precision import Style
    from evsam.evaluation.fidelity import EmbeddingFiles
    from evsam.evaluation.protocols import PhotoProtocol
    from evsam.sam import Sam
    from evsam.weights import Weights

MEASURES = {"boundary": "boundary_iou", **{name: name for name in ("f", "pieces", "stability", "calibration")}}
"""What rows call the measures of ``--measures``."""

SEARCHING = {"detections", "everything"}
"""Prompts whose scores depend on photos without objects, too."""

RUN_CONFIG = "config.yaml"
"""What the folder of a training run holds."""

TRACKERS = {
    "track": "the model's own, Sam.track",
    "last-box": "the box around the last mask is the prompt",
    "last-logits": "the logits of the last mask are the prompt",
    "still": "no model: the first mask in all frames",
}
"""As :data:`evsam.evaluation.video.TRACKERS` has them."""

LOOSENESS = 0.1
"""Noise on the edges of loose boxes, in sides of the box: SAM's training has the same (arXiv 2304.02643)."""


@dataclass(frozen=True)
class Data:
    """The photos that the arguments mean; worker processes open them on their own."""

    path: Path
    options: Mapping[str, Any]
    empty: bool
    video: bool = False
    half: Half = "all"

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Data:
        """Those of the arguments of ``evsam eval``."""
        options = {name: getattr(arguments, name) for name in ("kind", "annotations", "split", "sets", "objects")}
        options |= {"masks": arguments.mask_folder, "ignore": arguments.ignore}
        # photos without objects have no prompts, but detections that are wrong, and crowds, which the paper's count
        empty = arguments.protocol == "paper" or bool(SEARCHING & set(arguments.prompts))
        return cls(arguments.data, options, empty, arguments.video is not None, arguments.half)

    def open(self) -> Mapping[str, Photos]:
        """The photos, by name of the set."""
        from evsam.datasets import open_photos
        from evsam.datasets.halves import half

        sets = open_photos(self.path, empty=self.empty, **self.options)
        if not self.video:
            return {name: half(found, self.half) for name, found in sets.items()}
        from evsam.datasets import MaskPhotos
        from evsam.evaluation.video import Videos

        return {name: Videos(found) for name, found in sets.items() if isinstance(found, MaskPhotos)}


def open_model(source: str, options: Mapping[str, Any]) -> Sam:
    """The model that an argument means.

    Args:
        source: what :func:`evsam.load` takes, or the folder of a training run, whose averaged weights are taken.
        options: of :func:`evsam.load`.
    """
    from evsam.sam import load

    return load(_run_weights(source) or source, **options)


def _run_weights(source: str) -> Weights | None:
    if not (Path(source) / RUN_CONFIG).is_file():
        return None
    from evsam.training.convert import run_weights  # noqa: TID251 - the command line stands on everything

    weights: Weights = run_weights(source)
    return weights


def _reference(source: str, options: Mapping[str, Any]) -> Callable[[], Sam] | EmbeddingFiles:
    """What fidelity compares with: a model, or the folder of a teacher's embeddings."""
    from evsam.evaluation.fidelity import EmbeddingFiles

    if _is_embeddings(source):
        return EmbeddingFiles(Path(source))
    return partial(_opened_once, source, tuple(options.items()))


@lru_cache(maxsize=1)
def _opened_once(source: str, options: tuple[tuple[str, Any], ...]) -> Sam:
    """A model that all sets of this process share."""
    return open_model(source, dict(options))


def _is_embeddings(source: str) -> bool:
    from evsam.export.folder import MANIFEST

    path = Path(source)
    return path.is_dir() and not (path / MANIFEST).is_file() and not (path / RUN_CONFIG).is_file()


def describe_model(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """By what a model is told apart: its weights, and what computes."""
    from evsam.engines import chosen_precision, find_engine
    from evsam.export.folder import MANIFEST, ExportFolder
    from evsam.weights import load_weights, model_fingerprint

    if (Path(source) / MANIFEST).is_file():
        folder = ExportFolder.open(Path(source))
        files = {part: record["sha256"] for part, record in folder.manifest["files"].items()}
        return {
            "variant": folder.variant.name,
            "weights": files,
            "engine": folder.kind,
            "precision": folder.manifest["precision"],
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # loading warns again
        engine = find_engine(options["engine"], options["device"], options["precision"])
    weights = _run_weights(source) or load_weights(source)
    return {
        "variant": weights.variant.name,
        "weights": model_fingerprint(weights),
        "engine": engine.name,
        "precision": chosen_precision(engine, weights.variant, options["precision"]),
    }


@dataclass(frozen=True)
class Protocols:
    """What photos go through, as the arguments say it; worker processes make it on their own.

    Attributes:
        prompts: names of :data:`PROMPTS`.
        options: of the protocols that they mean.
        detections: file of a detector's results.
        reference: the model that fidelity compares with, or the folder of embeddings, and options of its engine.
    """

    prompts: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    detections: Path | None = None
    reference: tuple[str, Mapping[str, Any]] | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace, engine: Mapping[str, Any]) -> Protocols:
        """Those of the arguments of ``evsam eval``; engine: options of the model's."""
        paper = arguments.protocol == "paper"
        three = (arguments.masks or ("three" if paper else "one")) == "three"
        measures = tuple(MEASURES[name] for name in arguments.measures)
        kinds = ("segm", "boundary") if "boundary" in arguments.measures else ("segm",)
        common = {
            "bins": arguments.sizes or ("authors" if paper else "coco"),
            "crowds": paper,
            "min_area": float(paper),
        }
        box = {**common, "multimask": three, "best": three, "measures": measures}
        clicks = {
            **common,
            "clicks": arguments.clicks,
            "stop": arguments.stop_at,
            "multimask": "always" if three else "first",
            "feed_mask": not paper,
            "pixel": "corner" if paper else "centre",
            "measures": measures,
            "best": not three,
        }
        everything = {name: getattr(arguments, name) for name in ("mode", "points_per_side", "crop_n_layers")}
        options = {
            "box": box,
            "loose-box": {**box, "jitter": LOOSENESS},
            "clicks": clicks,
            "clicks-alone": {**clicks, "feed_mask": False},
            "masks": common,
            "ellipse": common,
            "blank-box": box,
            "blank-clicks": {**clicks, "clicks": 1},
            "fidelity": {"bins": common["bins"]},
            "detections": {
                "multimask": three,
                "max_detections": arguments.max_dets,
                "kinds": (*kinds, "bbox"),
                "backend": arguments.backend,
            },
            "everything": {"settings": everything, "kinds": kinds, "backend": arguments.backend},
            **{name: {} for name in TRACKERS},
        }
        if arguments.window is not None:
            options["track"] = {"window": arguments.window}
        # --precision is that of MODEL: what a smaller one loses shows against the engine's own choice
        reference = None if arguments.compare is None else (arguments.compare, {**engine, "precision": None})
        return cls(tuple(arguments.prompts), options, arguments.detections, reference)

    def __call__(self, name: str, source: Photos) -> tuple[PhotoProtocol, ...]:
        """Those of a set."""
        return tuple(self._make(prompt, source.categories, self._detected(name, source)) for prompt in self.prompts)

    def _detected(self, name: str, source: Photos) -> Mapping[Any, Sequence[Detection]]:
        from evsam.datasets.detections import read_detections

        if self.detections is None:
            return {}
        path = self.detections / f"{name}.json" if self.detections.is_dir() else self.detections
        return read_detections(path, source.ids, source.categories)

    def without_photos(self, categories: Mapping[Any, Category]) -> tuple[PhotoProtocol, ...]:
        """Those of a set that is not at hand: enough to put its tables together."""
        return tuple(self._make(prompt, categories, {}) for prompt in self.prompts)

    def _make(
        self, prompt: str, categories: Mapping[Any, Category], found: Mapping[Any, Sequence[Detection]]
    ) -> PhotoProtocol:
        from evsam.evaluation.fidelity import Fidelity
        from evsam.evaluation.protocols import Blank, Boxes, Clicks, Ellipses, Masks
        from evsam.evaluation.search import DetectedBoxes, Everything
        from evsam.evaluation.video import Following

        options = {"name": prompt, **self.options[prompt]}
        if prompt in TRACKERS:
            return Following(**options)
        if prompt == "fidelity":
            return Fidelity(None if self.reference is None else _reference(*self.reference), **options)
        if prompt in ("blank-box", "blank-clicks"):
            return Blank((Boxes if prompt == "blank-box" else Clicks)(**options), prompt)
        if prompt == "detections":
            style: Style = "lvis" if any(one.frequency for one in categories.values()) else "coco"
            return DetectedBoxes(found, tuple(categories.values()), style=style, **options)
        made = {
            "box": Boxes,
            "loose-box": Boxes,
            "clicks": Clicks,
            "clicks-alone": Clicks,
            "masks": Masks,
            "ellipse": Ellipses,
            "everything": Everything,
        }
        protocol: PhotoProtocol = made[prompt](**options)
        return protocol

    def settings(self) -> dict[str, Any]:
        """All of it that numbers depend on."""
        told = {name: {**self.options[name]} for name in self.prompts}
        for options in told.values():
            options.pop("backend", None)
        if self.detections is not None:
            folder = self.detections.is_dir()
            files = sorted(self.detections.glob("*.json")) if folder else [self.detections]
            digest = hashlib.blake2b(digest_size=8)
            for path in files:
                with path.open("rb") as file:
                    for block in iter(partial(file.read, 1 << 20), b""):
                        digest.update(block)
            told["detections"]["file"] = digest.hexdigest()
        if self.reference is not None:
            source, engine = self.reference
            embeddings = {"embeddings": sum(1 for _ in Path(source).iterdir())} if _is_embeddings(source) else None
            told["fidelity"]["file"] = embeddings or describe_model(source, engine)
        return told

    @classmethod
    def settled(cls, settings: Mapping[str, Any], backend: str) -> Protocols:
        """Those that :meth:`settings` told of."""
        options: dict[str, dict[str, Any]] = {}
        for name, values in settings.items():
            options[name] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key != "file"}
            if name in SEARCHING:
                options[name]["backend"] = backend
        return cls(tuple(settings), options)
