"""Turn a run's averaged weights into a weights file: ``python -m evsam.training.publish RUN OUT.safetensors``."""

from __future__ import annotations

import argparse
from pathlib import Path

from evsam.training.loading import load_state
from evsam.weights import save_weights


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``python -m evsam.training.publish``."""
    parser = argparse.ArgumentParser(description="Write the averaged weights of a training run as safetensors.")
    parser.add_argument("run", type=Path, help="run directory with checkpoint.pt and options.json")
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float16")
    options = parser.parse_args(arguments)
    variant, state = load_state(str(options.run))
    tensors = {name: value.numpy() for name, value in state.items()}
    save_weights(options.out, tensors, variant, dtype=options.dtype)


if __name__ == "__main__":
    main()
