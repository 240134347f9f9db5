"""Everything mode against segment_anything's generator: `python -m benchmarks.everything`.

segment_anything's SamAutomaticMaskGenerator, as it is, drives the same model in onnxruntime and in OpenVINO: the same
weights, photo, grid, thresholds and number of threads. What it finds is compared with evsam's exact mode first; then
all take turns. Its masks are left as uncompressed RLE, the form that costs it least, and prompts reach the decoder 1, 8
or 64 at a time, whichever its runtime decodes fastest.

l0 has seeded weights, whose predicted IoU means nothing, while how many masks pass the thresholds decides how much is
to do. Such a variant is made to look like nano on the same photo, the same for all: predicted IoU gets nano's mean and
deviation, by the last layer's weights, and thresholds let as many points keep a mask, and as many of the masks whose
predicted IoU passes, as nano's own do.

Needs the packages torch, torchvision, segment-anything, pycocotools, onnx, onnxruntime, openvino and scikit-image, all
in one environment. Models for the peers are made at first use and kept under --peers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import evsam
from benchmarks import harness
from benchmarks.everything.records import Records, compare, share_found
from benchmarks.models import report
from benchmarks.models.contest import Contest, Contestant
from benchmarks.models.inputs import Scores, photo, write_weights
from benchmarks.models.peers import Peers, default_folder
from evsam.cli.arguments import whole
from evsam.export.onnx import build_models
from evsam.export.options import ExportOptions, encoder_interface
from evsam.images import read_image
from evsam.weights import load_weights
from evsam.zoo import get_variant

WORKERS = Path(__file__).resolve().parent / "workers"

PEERS = {"onnxruntime": "onnxruntime", "OpenVINO": "openvino"}
"""Runtimes of the peers by the name of the contestant."""

AGREEING = 0.98
"""Share of the masks that a peer must have in common with us to count as correct: a mask's scores can lie on a
threshold, and which of two masks NMS keeps can depend on the last bit."""

MODEL = "nano"
"""Whose scores those of seeded weights resemble."""

GRID = 12
"""Points a side on which scores are compared."""


@dataclass(frozen=True)
class Scored:
    """All masks of a grid of points: predicted IoU, stability, and the number of the point that each is of."""

    iou: NDArray[np.float64]
    stability: NDArray[np.float64]
    points: NDArray[np.int64]

    @classmethod
    def of(cls, model: str, image: NDArray[np.uint8]) -> Scored:
        """With the model that `evsam.load` takes."""
        every = evsam.load(model).segment_everything(
            image, mode="exact", points_per_side=GRID, pred_iou_thresh=-1, stability_score_thresh=0, box_nms_thresh=1
        )
        _, points = np.unique([segment.point for segment in every], axis=0, return_inverse=True)
        return cls(every.predicted_iou, every.stability_score, points.ravel())

    def best(self) -> NDArray[np.float64]:
        """The largest predicted IoU of each point of the grid; those without a mask have none that passes."""
        best = np.full(GRID**2, -np.inf)
        np.maximum.at(best, self.points, self.iou)
        return best


def scores_like(model: Scored, seeded: Scored) -> Scores:
    """What gives seeded predicted IoU the mean and the deviation of a model's."""
    scale = float(model.iou.std() / seeded.iou.std())
    return Scores(scale, float(model.iou.mean() - scale * seeded.iou.mean()))


def thresholds_like(model: Scored, seeded: Scored) -> dict[str, float]:
    """Thresholds that as many points and masks pass as the model's with its own.

    The same share of points keeps a mask by predicted IoU; of the masks that do, the same share is stable.
    """
    own = get_variant(MODEL).everything
    passing = model.iou > own.pred_iou_thresh
    kept = float(np.mean(model.best() > own.pred_iou_thresh))
    stable = float(np.mean(model.stability[passing] >= own.stability_score_thresh))
    least = float(np.quantile(seeded.best(), 1 - kept))
    if not 0 < least <= 1:
        raise RuntimeError(f"pred_iou_thresh: expected one above 0, so that it filters, and at most 1, got {least:.4f}")
    sure = seeded.stability[seeded.iou > least]
    return {
        "pred_iou_thresh": round(least, 4),
        "stability_score_thresh": round(float(np.quantile(sure, 1 - stable)), 4),
    }


@dataclass(frozen=True)
class Model:
    """A model for a photo: what `evsam.load` takes, its thresholds, and how its files for the peers begin."""

    source: str
    thresholds: dict[str, float]
    files: str = "everything"


def prepared(peers: Peers, variant: str, image: NDArray[np.uint8], photo_name: str) -> Model:
    """The bundled weights with the variant's thresholds, or seeded ones with thresholds and scores like nano's."""
    record = get_variant(variant)
    if record.bundled:
        return Model(variant, dict(vars(record.everything)))
    plain = peers.model(variant, "everything_seeded.safetensors")
    write_weights(plain, variant)
    model = Scored.of(MODEL, image)
    files = f"everything_like_{MODEL}_{Path(photo_name).stem}"
    path = peers.model(variant, f"{files}.safetensors")
    write_weights(path, variant, scores_like(model, Scored.of(str(plain), image)))
    return Model(str(path), thresholds_like(model, Scored.of(str(path), image)), files)


def export(peers: Peers, variant: str, model: Model) -> tuple[Path, Path]:
    """The encoder and the decoder (its three ambiguous masks) of `evsam export`, unless they are there already."""
    encoder, decoder = (peers.model(variant, f"{model.files}_{part}.onnx") for part in ("encoder", "decoder"))
    if not decoder.exists():
        encoder.parent.mkdir(parents=True, exist_ok=True)
        models = build_models(load_weights(model.source), options=ExportOptions(masks="multi", opset=20))
        encoder.write_bytes(models.encoder.SerializeToString())
        decoder.write_bytes(models.decoder.SerializeToString())
    return encoder, decoder


def contestants(peers: Peers, variant: str, model: Model, settings: Mapping[str, Any]) -> list[Contestant]:
    """Ours in both modes, and the peers."""
    environment = {"PYTHONPATH": str(WORKERS)}
    encoder, decoder = export(peers, variant, model)
    files = {"encoder": str(encoder), "decoder": str(decoder)}
    features = [tensor.name for tensor in encoder_interface(variant).outputs]
    side: dict[str, Any] = {"features": features, "image_size": get_variant(variant).image_size}
    listed = []
    for mode in ("exact", "fast"):
        request = {"model": model.source, "mode": mode, "settings": settings}
        listed.append(Contestant(f"evsam {mode}", "segment_everything", peers.python, request, environment))
    for name, runtime in PEERS.items():
        request = {**files, **side, "runtime": runtime, "settings": settings}
        listed.append(Contestant(name, "segment_anything", peers.python, request, environment))
    return listed


def settings_of(chosen: argparse.Namespace, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Arguments that all generators get."""
    given = {"pred_iou_thresh": chosen.pred_iou_thresh, "stability_score_thresh": chosen.stability_score_thresh}
    return {
        "points_per_side": chosen.points_per_side,
        "crop_n_layers": chosen.crop_n_layers,
        **thresholds,
        **{name: value for name, value in given.items() if value is not None},
    }


def judge(outputs: Mapping[str, Sequence[NDArray[np.float32]]], size: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """What of each contestant's masks is to be said: how many, and how they compare with those of our exact mode."""
    found = {name: Records(arrays[0], arrays[1]) for name, arrays in outputs.items()}
    said: dict[str, dict[str, Any]] = {name: {"masks": len(records)} for name, records in found.items()}
    exact = found.get("evsam exact")
    if exact is None:
        return said
    for name, records in found.items():
        if name == "evsam fast":
            said[name]["found"] = round(share_found(exact.rles(size), records.rles(size)) / max(len(exact), 1), 4)
        elif name != "evsam exact":
            same = compare(exact, records, size)
            said[name].update(vars(same), prompts_at_a_time=int(outputs[name][2][0]))
            said[name]["correct"] = same.both >= AGREEING * max(len(exact), len(records))
    return said


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lines in Markdown."""
    rows = [
        [
            "variant",
            "photo",
            "crop layers",
            "contestant",
            "median s",
            "p10, p90",
            "runs",
            "of the faster peer",
            "masks",
            "",
        ],
        ["---"] * 10,
    ]
    for line in lines:
        note = ""
        if "found" in line:
            note = f"{line['found']:.1%} of exact's masks"
        elif "both" in line:
            note = f"{line['both']} as evsam exact, {line['theirs']} others, {line['ours']} missing"
            note += "" if line["correct"] else ": incorrect"
        rows.append(
            [
                line["variant"],
                f"{line['photo']} {line['size'][1]} x {line['size'][0]}",
                str(line["crop_n_layers"]),
                line["contestant"],
                f"{line['median_ms'] / 1e3:.2f}",
                f"{line['p10_ms'] / 1e3:.2f}, {line['p90_ms'] / 1e3:.2f}",
                str(line["runs"]),
                f"**{line['ratio']:.3f}** ({line['fastest_peer']})" if "ratio" in line else "",
                str(line["masks"]),
                note,
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def run(chosen: argparse.Namespace, peers: Peers, variant: str, name: str) -> list[dict[str, Any]]:
    """One table: a variant and a photo."""
    image = read_image(name) if Path(name).exists() else photo(name)
    model = prepared(peers, variant, image, name)
    settings = settings_of(chosen, model.thresholds)
    case = {"op": "everything", "variant": variant, "photo": Path(name).name, "threads": chosen.threads}
    case = {**case, "size": list(image.shape[:2]), **settings}
    entrants = [
        each for each in contestants(peers, variant, model, settings) if chosen.only is None or each.name in chosen.only
    ]
    with Contest(entrants, chosen.threads, {"image": image}) as contest:
        outputs = {entry.name: entry.outputs for entry in contest.entries}
        said = judge(outputs, (image.shape[0], image.shape[1]))
        samples = contest.measure(chosen.rounds)
        lines = [report.line(case, entry, samples[entry.name], said[entry.name]) for entry in contest.entries]
    report.add_ratios(lines)
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.everything", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, default=default_folder(), help="default: $EVSAM_PEERS or build/peers")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter of all contestants")
    parser.add_argument("--variant", nargs="+", default=["nano", "l0"])
    parser.add_argument("--threads", type=whole(1), default=2)
    parser.add_argument(
        "--photos", nargs="+", default=["coffee.png"], help="files, or names of photos that scikit-image has"
    )
    parser.add_argument("--points-per-side", type=whole(1), default=32)
    parser.add_argument("--crop-n-layers", type=whole(0), default=0)
    parser.add_argument("--pred-iou-thresh", type=float, help="default: the variant's")
    parser.add_argument("--stability-score-thresh", type=float, help="default: the variant's")
    parser.add_argument("--rounds", type=whole(1), default=4, help="turns; who is much slower takes a third of them")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contestants to run, by the names of the table")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    peers = Peers(chosen.peers.absolute(), chosen.python)
    lines: list[dict[str, Any]] = []
    for variant in chosen.variant:
        for name in chosen.photos:
            lines += run(chosen, peers, variant, name)
            if chosen.save:
                key = ["variant", "photo", "threads", "points_per_side", "crop_n_layers", "contestant"]
                harness.save(harness.result_path("everything"), lines, key)
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
