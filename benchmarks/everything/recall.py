"""What fast mode loses: `python -m benchmarks.everything.recall --data DIR --split val --set coco`.

Of each photo everything is segmented in both modes. Printed are the share of the exact mode's masks that the fast one
has as well (IoU of 0.9 at least), and the average recall of both by the protocol of `evsam eval` (masks without
categories, at most 1000 of a photo). The thresholds are the variant's unless said otherwise; those of nano were chosen
on the other half of each set (benchmarks/everything/thresholds.py), and so were the settings of fast mode.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import evsam
from benchmarks import harness
from benchmarks.everything.halves import add_arguments, photos
from benchmarks.everything.records import share_found
from evsam.cli.arguments import whole
from evsam.evaluation.search import Everything
from evsam.evaluation.truth import Truth

MODES = ("exact", "fast")

AR = "AR@1000"


def measure(sam: Any, chosen: argparse.Namespace, name: str) -> dict[str, Any]:
    """The figures of one set."""
    given = {"pred_iou_thresh": chosen.pred_iou_thresh, "stability_score_thresh": chosen.stability_score_thresh}
    shared = {
        "points_per_side": chosen.points_per_side,
        "crop_n_layers": chosen.crop_n_layers,
        **{key: value for key, value in given.items() if value is not None},
    }
    protocols = {mode: Everything(settings={**shared, "mode": mode}) for mode in MODES}
    rows: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    found = 0
    counted = photos(chosen.data, chosen.split, name, chosen.half, chosen.photos, chosen.skip)
    for number, photo in enumerate(counted, 1):
        pixels = photo.pixels()
        embedding, truth = sam.encode(pixels), Truth.read(photo, pixels)
        masks = {}
        for mode, protocol in protocols.items():
            (row,) = protocol.rows(sam, embedding, truth)
            rows[mode].append(row)
            masks[mode] = [record["segmentation"] for record in row["segments"]]
        found += share_found(masks["exact"], masks["fast"])
        print(f"\r{name} {number}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    tables = {mode: protocol.summary(rows[mode]) for mode, protocol in protocols.items()}
    count = {mode: sum(len(row["segments"]) for row in rows[mode]) for mode in MODES}
    line: dict[str, Any] = {
        "photos": len(rows["exact"]),
        "skipped": chosen.skip,
        "objects": sum(len(row["truth"]) for row in rows["exact"]),
        "found": round(found / max(count["exact"], 1), 4),
    }
    for mode in MODES:
        line[f"masks_{mode}"] = count[mode]
        line[f"ar1000_{mode}"] = round(float(tables[mode]["AR"]["masks"][AR] or 0.0), 4)
    return {**line, **shared}


def table(lines: list[dict[str, Any]]) -> str:
    """The lines in Markdown."""
    rows = [
        "| set | photos | crop layers | exact's masks | of them in fast | AR@1000 exact | AR@1000 fast |",
        "|---|---|---|---|---|---|---|",
    ]
    for x in lines:
        figures = f"{x['masks_exact']} | **{x['found']:.1%}** | {x['ar1000_exact']:.4f} | {x['ar1000_fast']:.4f}"
        rows.append(f"| {x['set']}, {x['half']} | {x['photos']} | {x['crop_n_layers']} | {figures} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.everything.recall",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, ["coco"], "report")
    parser.add_argument("--skip", type=whole(0), default=0, help="leave out so many, which were looked at (default: 0)")
    parser.add_argument("--crop-n-layers", type=whole(0), default=0)
    parser.add_argument("--pred-iou-thresh", type=float, help="default: the variant's")
    parser.add_argument("--stability-score-thresh", type=float, help="default: the variant's")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    sam = evsam.load(chosen.model, threads=chosen.threads)
    lines = []
    for name in chosen.set:
        case = {"op": "everything recall", "variant": sam.variant.name, "set": name, "split": chosen.split}
        lines.append({**case, "half": chosen.half, **measure(sam, chosen, name)})
    print(table(lines))
    if chosen.save:
        key = ["op", "variant", "set", "split", "half", "crop_n_layers"]
        harness.save(harness.result_path("everything-recall"), lines, key)
    return 0


if __name__ == "__main__":
    sys.exit(main())
