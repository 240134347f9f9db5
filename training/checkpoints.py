"""Checkpoints by torch.distributed.checkpoint: any number of processes reads what any other number wrote."""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load as read_state
from torch.distributed.checkpoint.state_dict_saver import save as write_state

from evsam.training.distributed import World


def folder(run: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return run / "checkpoints"


def latest(run: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None."""
    return max(folder(run).glob("step-*[0-9]"), default=None)


def save(run: Path, step: int, state: dict[str, Any], where: World, keep: int) -> Path:
    """Write a checkpoint; all processes have to call this. A kill while writing leaves the ones before whole.

    Args:
        run: folder of the run.
        step: number of the step, part of the name.
        state: nested dicts of tensors, parts of which may be sharded.
        where: this process.
        keep: how many checkpoints are left.
    """
    path = folder(run) / f"step-{step:09d}"
    part = path.with_suffix(".part")
    if where.rank == 0:
        for left in folder(run).glob("step-*.part"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        part.mkdir(parents=True)
    where.barrier()
    try:
        with _quiet():
            write_state(state, checkpoint_id=part, no_dist=not dist.is_initialized())
    except BaseException:  # a full disk stays full with half a checkpoint on it
        if where.rank == 0:
            shutil.rmtree(part, ignore_errors=True)
        raise
    if where.rank == 0:
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
        for old in sorted(folder(run).glob("step-*[0-9]"))[:-keep]:
            shutil.rmtree(old)
    where.barrier()
    return path


def names(path: Path) -> set[str]:
    """Names of the tensors in a checkpoint, levels joined by dots."""
    return set(FileSystemReader(path).read_metadata().state_dict_metadata)


def flat_names(state: Mapping[str, Any], before: str = "") -> set[str]:
    """Names of the tensors in nested dicts, levels joined by dots, as :func:`names` gives them."""
    found = set()
    for name, value in state.items():
        found |= flat_names(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name}
    return found


def load(path: Path, state: dict[str, Any], *, alone: bool = False) -> None:
    """Read a checkpoint into the tensors of ``state``, in place; what ``state`` lacks is not read.

    Args:
        path: of the checkpoint.
        state: nested dicts of tensors.
        alone: whether this process reads for itself, whatever others do; else all processes have to call this.
    """
    with _quiet():
        read_state(state, checkpoint_id=path, no_dist=alone or not dist.is_initialized())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings that a single process is one, and of how torch itself stores tensors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        warnings.filterwarnings("ignore", message="TypedStorage is deprecated", category=UserWarning)
        yield
