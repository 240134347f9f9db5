"""Sets the peers up: `python -m benchmarks.models.prepare --peers FOLDER`.

Makes the virtual environments of the peers and the files of their models, all under FOLDER, and keeps what is there.
Run it in an environment with evsam, torch, onnx, onnxscript and scikit-image. All variants take about 25 GB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.models.peers import ENVIRONMENTS, INT8_MNN, Peers, default_folder
from evsam.zoo import get_variant

VARIANTS = ("nano", "l0", "l1", "l2", "xl0", "xl1")
REPOSITORY = Path(__file__).resolve().parents[2]


def make_environments(folder: Path) -> None:
    for name, packages in ENVIRONMENTS.items():
        if not (folder / name / "bin" / "python").exists():
            print(f"environment {name}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
            subprocess.run([str(folder / name / "bin" / "pip"), "install", "--quiet", *packages], check=True)


def export(peers: Peers, variants: list[str]) -> None:
    command = [str(peers.python), "-m", "benchmarks.models.export", str(peers.folder / "models"), *variants]
    subprocess.run(command, cwd=REPOSITORY, check=True)


def once(target: Path, convert: Callable[[Path], None]) -> None:
    """Has `convert` write a file under another name, and moves it into place when it is whole."""
    if not target.exists():
        print(f"converting {target.parent.name}/{target.name}", flush=True)
        part = target.with_name(f"part-{target.name}")
        convert(part)
        part.rename(target)


def run_quietly(command: list[str], folder: Path) -> None:
    result = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]}: {result.stdout[-2000:]}")


def to_mnn(peers: Peers, source: Path, target: Path, *settings: str) -> None:
    tool = str(peers.folder / "mnn-convert" / "bin" / "mnnconvert")

    def convert(part: Path) -> None:
        files = ["--modelFile", str(source), "--MNNModel", str(part)]
        run_quietly([tool, "-f", "ONNX", *files, "--bizCode", "evsam", *settings], source.parent)

    once(target, convert)


def to_ncnn(peers: Peers, source: Path, shapes: str, target: Path) -> None:
    """Writes `target`.param and .bin; the .bin last."""
    tool = str(peers.folder / "pnnx" / "bin" / "pnnx")

    def convert(part: Path) -> None:
        settings = [f"inputshape={shapes}", "fp16=0", f"ncnnparam={target}.param", f"ncnnbin={part}"]
        others = ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnpy")
        settings += [f"{name}={source.parent / 'unused'}-{name}" for name in others]
        run_quietly([tool, str(source), *settings], source.parent)
        for name in others:
            (source.parent / f"unused-{name}").unlink(missing_ok=True)

    once(target.with_name(f"{target.name}.bin"), convert)


def quantize(peers: Peers, environment: str, source: Path, target: Path, calibration: str) -> None:
    script = REPOSITORY / "benchmarks" / "models" / "workers" / f"quantize_{environment}.py"
    command = [str(peers.interpreter(environment)), str(script), str(source)]
    examples = str(source.parent / calibration)
    once(target, lambda part: run_quietly([*command, str(part), examples], source.parent))


def convert_graph(peers: Peers, variant: str, graph: str, calibration: str) -> None:
    """Brings an exported graph into the forms of MNN, and of all that have int8."""
    source = peers.model(variant, f"{graph}.onnx")
    to_mnn(peers, source, peers.model(variant, f"{graph}.mnn"))
    to_mnn(peers, source, peers.model(variant, f"{graph}.int8.mnn"), *INT8_MNN)
    quantize(peers, "onnxruntime", source, peers.model(variant, f"{graph}.int8.onnx"), calibration)
    quantize(peers, "openvino", source, peers.model(variant, f"{graph}.int8.openvino"), calibration)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=default_folder(), help="default: $EVSAM_PEERS or build/peers")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    options = parser.parse_args(arguments)

    peers = Peers(options.peers.absolute())
    make_environments(peers.folder)
    export(peers, options.variants)
    for variant in options.variants:
        side = get_variant(variant).image_size
        shapes = f"[1,3,{side},{side}]"
        to_ncnn(peers, peers.model(variant, "encoder.torchscript"), shapes, peers.model(variant, "encoder.ncnn"))
        convert_graph(peers, variant, "encoder", "calibration.npz")
        if variant == "l0":
            convert_graph(peers, variant, "decoder_1", "decoder_calibration.npz")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main())
