"""Peak memory of everything mode above the loaded model: `python -m benchmarks.everything.memory`.

Each case in a fresh process: the model is loaded, the photo is made (that of scikit-image enlarged to 4000 x 3000, an
array that is not counted), and everything is segmented once; what counts is how much the process's peak of resident
memory rose meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.everything.__main__ import WORKERS, prepared
from benchmarks.models import report
from benchmarks.models.contest import Contestant, Worker
from benchmarks.models.inputs import PHOTO, frame, photo
from benchmarks.models.peers import Peers, default_folder
from evsam.cli.arguments import whole

MIB = 1 << 20

SIZE = (4000, 3000)


def rise(contestant: Contestant, threads: int, image: Path, log: Path) -> dict[str, Any]:
    """Peak after loading, and after segmenting everything once."""
    worker = Worker(contestant, log)
    try:
        worker.ask("load", threads=threads, inputs={"image": str(image)}, **contestant.request)
        before = worker.ask("memory")["peak"]
        worker.ask("run", repeat=1)
        return {"before": before, "peak": worker.ask("memory")["peak"]}
    finally:
        worker.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.everything.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--peers", type=Path, default=default_folder(), help="default: $EVSAM_PEERS or build/peers")
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--variant", nargs="+", default=["nano", "l0"])
    parser.add_argument("--threads", type=whole(1), default=2)
    parser.add_argument("--mode", nargs="+", choices=("exact", "fast"), default=["exact", "fast"])
    parser.add_argument("--crop-n-layers", nargs="+", type=whole(0), default=[0, 1])
    parser.add_argument("--points-per-side", type=whole(1), default=32)
    parser.add_argument("--size", nargs=2, type=whole(1), default=SIZE, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    peers = Peers(chosen.peers.absolute(), chosen.python)
    environment = {"PYTHONPATH": str(WORKERS)}
    rows = [["variant", "mode", "crop layers", "loaded MiB", "peak MiB", "above MiB"]]
    key = ["op", "variant", "contestant", "threads", "size", "crop_n_layers"]
    with tempfile.TemporaryDirectory(prefix="evsam-memory-") as temporary:
        image = Path(temporary) / "image.npy"
        np.save(image, frame(*chosen.size))
        for variant in chosen.variant:
            model = prepared(peers, variant, photo(PHOTO), PHOTO)
            for mode, layers in product(chosen.mode, chosen.crop_n_layers):
                same = {"points_per_side": chosen.points_per_side, "crop_n_layers": layers}
                settings = {**same, **model.thresholds}
                request = {"model": model.source, "mode": mode, "settings": settings}
                contestant = Contestant(f"evsam {mode}", "segment_everything", peers.python, request, environment)
                got = rise(contestant, chosen.threads, image, Path(temporary) / "log")
                loaded, peak = (round(got[key] / MIB, 1) for key in ("before", "peak"))
                above = round(peak - loaded, 1)
                rows.append([variant, mode, str(layers), *(f"{x:.0f}" for x in (loaded, peak, above))])
                case = {"op": "everything memory", "variant": variant, "contestant": f"evsam {mode}"}
                case |= {"size": [chosen.size[1], chosen.size[0]], "threads": chosen.threads, **settings}
                if chosen.save:  # each at once: l0 takes minutes
                    line = {**case, "loaded_mib": loaded, "peak_mib": peak, "above_mib": above}
                    harness.save(harness.result_path("everything-memory"), [line], key)
    print(report.grid(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
