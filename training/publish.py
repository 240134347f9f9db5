"""Turn a run's averaged weights into a weights file: ``python -m evsam.training.publish RUN OUT.safetensors``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from evsam.weights import save_weights


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``python -m evsam.training.publish``."""
    parser = argparse.ArgumentParser(description="Write the averaged weights of a training run as safetensors.")
    parser.add_argument("run", type=Path, help="run directory with checkpoint.pt and options.json")
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float16")
    options = parser.parse_args(arguments)
    state = torch.load(options.run / "checkpoint.pt", map_location="cpu", weights_only=True)
    variant = json.loads((options.run / "options.json").read_text())["variant"]
    tensors = {name: value.numpy() for name, value in state["average"].items()}
    metadata = {"training.steps": str(state["step"]), "training.photos": str(state["seen"])}
    save_weights(options.out, tensors, variant, metadata=metadata, dtype=options.dtype)


if __name__ == "__main__":
    main()
