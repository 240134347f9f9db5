"""From a run to what the runtime loads: ``evsam convert RUN out.safetensors``."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

from evsam.datasets.records import BrokenSample, DataError, Photos
from evsam.errors import WeightsError
from evsam.export.calibration import calibration_folder
from evsam.training.config import SourceConfig
from evsam.training.data.sources import open_source
from evsam.training.model import CONFIG_FILE, Loaded, is_run, load_state
from evsam.weights import Weights, load_weights, save_weights
from evsam.writing import replaced

CALIBRATION_PHOTOS = 32
"""Photos that are stored beside the weights; ranges hardly change with more of them."""


def convert_run(
    run: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    variant: str | None = None,
    dtype: Any = None,
    photos: int = CALIBRATION_PHOTOS,
    others: Sequence[str | os.PathLike[str]] = (),
) -> Weights:
    """Write the averaged weights of a run's latest checkpoint, and photos to calibrate exports with beside them.

    With ``others``, the mean of the weights of several runs: of runs that went on from one another, or from the same
    weights, it often scores better than each of them (arXiv 2203.05482).

    The photos, drawn at random from the run's training sources and shrunk to what the encoder sees, go into the folder
    that :func:`evsam.export.calibration.calibration_folder` names; ``evsam export`` finds ranges on them.

    Args:
        run: folder of a run.
        destination: file to write, ending in ``.safetensors``.
        variant: the variant that the run is expected to be of, None for any.
        dtype: ``float32``, ``float16``, or None for float32.
        photos: how many photos are stored; 0 for none.
        others: runs, weights files or variants whose weights the mean is taken with.

    Returns:
        The weights as read back.

    Raises:
        WeightsError: the path is no run, the run has no checkpoint, it is of another variant or of one that no
            engine can build, or the destination cannot be written.
        DataError: photos are wanted, and the run's training photos are not where they were. Nothing is written then.
    """
    run, destination = Path(run), Path(destination)
    if not is_run(run):
        raise WeightsError(f"run {run}: expected a folder with {CONFIG_FILE}")
    if destination.suffix != ".safetensors":
        raise WeightsError(f"destination: expected a path that ends in .safetensors, got {destination}")
    loaded = load_state(run)
    if variant not in (None, loaded.variant.name):
        raise WeightsError(f"run {run}: expected {variant}, got {loaded.variant.name}")
    sources = _training_photos(run) if photos else []
    tensors = {name: tensor.numpy() for name, tensor in _mean(loaded, others).items()}
    save_weights(destination, tensors, loaded.variant, {"evsam.step": str(loaded.step)}, dtype)
    if photos:
        write_calibration(sources, calibration_folder(destination), loaded.variant.image_size, photos)
    return load_weights(destination)


def run_weights(run: str | os.PathLike[str]) -> Weights:
    """The averaged weights of a run's latest checkpoint, for :func:`evsam.load`.

    Raises:
        WeightsError: the path is no run, or the run has no checkpoint.
    """
    if not is_run(run):
        raise WeightsError(f"run {run}: expected a folder with {CONFIG_FILE}")
    loaded = load_state(run)
    return Weights(loaded.variant, {name: t.numpy() for name, t in _mean(loaded, ()).items()}, None, {})


def _mean(first: Loaded, others: Sequence[str | os.PathLike[str]]) -> dict[str, Tensor]:
    states = [first.state]
    for source in others:
        other = load_state(source)
        if other.variant.name != first.variant.name:
            raise WeightsError(f"{source}: expected weights of {first.variant.name}, got {other.variant.name}")
        states.append(other.state)
    # no weights file has the batch counters of norms
    names = [name for name in first.state if not name.endswith("num_batches_tracked")]
    return {name: torch.stack([state[name].float() for state in states]).mean(0) for name in names}


def _training_photos(run: Path) -> list[Photos]:
    config = yaml.safe_load((run / CONFIG_FILE).read_text())
    sources = TypeAdapter(list[SourceConfig]).validate_python(config["train"])
    try:
        return [open_source(source) for source in sources if source.weight > 0]
    except DataError as error:
        raise DataError(
            f"{error}; convert where the run was trained, or without photos for calibration (--photos 0)"
        ) from error


def write_calibration(sources: Sequence[Photos], folder: Path, side: int, count: int) -> None:
    """Store photos as PNG files whose longer side is at most ``side`` pixels, in place of those stored before."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9]*.png"):
        old.unlink()
    rng = random.Random(0)
    written = 0
    for _ in range(2 * count):  # some may be broken
        source = rng.choice(sources)
        try:
            image = Image.fromarray(source.photo(rng.randrange(len(source))).pixels())
        except BrokenSample:
            continue
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
        with replaced(folder / f"{written:04d}.png") as temporary:
            image.save(temporary, "PNG")
        written += 1
        if written == count:
            break
