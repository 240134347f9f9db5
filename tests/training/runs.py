"""Configurations of tiny runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def settings(data: Path, **changes: Any) -> dict[str, Any]:
    """A run of two steps on the tiny data set."""
    return {
        "variant": "nano",
        "norms": "frozen",
        "train": [{"kind": "annotated", "path": str(data), "split": "train", "set": "blobs"}],
        "samples": {"size": 64, "image_size": 512, "masks": 2, "scale": [0.45, 1.4]},
        "batch": {"images": 2},
        "optim": {"lr": 1e-3, "steps": 2},
        "system": {"device": "cpu", "workers": 0, "threads": 1},
        "log": {"every": 1, "pictures": 1, "tensorboard": False},
        "validation": {
            "sources": [{"kind": "annotated", "path": str(data), "split": "val", "set": "blobs"}],
            "masks": 2,
        },
        **changes,
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path
