"""The largest magnitude of every tensor of a graph, found by running it on images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evsam.errors import EvsamError
from evsam.export.graph import FLOAT, HALF, Graph
from evsam.export.session import open_session

if TYPE_CHECKING:
    import onnx

Ranges = dict[str, npt.NDArray[np.float32]]
"""Largest magnitude by name of tensor: a scalar, or one for each row of the axis that was asked for."""

PREFIX = "probe."


def add_probes(graph: Graph, axes: Mapping[str, int] | None = None, rank: int = 4) -> list[str]:
    """Make the largest magnitude of every floating-point value an output of the graph.

    Args:
        graph: finished but for its probes.
        axes: for names that end so, the axis whose rows are told apart.
        rank: number of axes of those tensors.

    Returns:
        Names of the values, in the order in which they are computed.
    """
    found = []
    for name, dtype in list(graph.types.items()):
        if dtype not in (FLOAT, HALF) or graph.is_constant(name) or graph.is_output(name):
            continue
        found.append(name)
        size = graph.node("Abs", graph.wide(name), name=f"{name}.abs")
        suffix = next((suffix for suffix in axes or () if name.endswith(suffix)), None)
        reduced = []
        if axes is not None and suffix is not None:
            reduced = [graph.constant(np.array([axis for axis in range(rank) if axis != axes[suffix]]))]
        largest = graph.node("ReduceMax", size, *reduced, name=f"{name}.largest", keepdims=0)
        graph.output(f"{PREFIX}{name}", largest, () if suffix is None else (None,))
    return found


def measure(
    model: onnx.ModelProto, feeds: Iterable[Mapping[str, npt.NDArray[Any]]], threads: int | None = None
) -> Ranges:
    """Run a model with probes.

    Args:
        model: of a graph that went through :func:`add_probes`.
        feeds: inputs of each run.
        threads: upper limit of CPU threads.

    Returns:
        The largest magnitude of each value over all runs; infinity where one was not finite.

    Raises:
        EvsamError: there was nothing to run on.
    """
    session = open_session(model.SerializeToString(), threads=threads)
    names = [output.name for output in session.get_outputs() if output.name.startswith(PREFIX)]
    largest: Ranges = {}
    for feed in feeds:
        for name, value in zip(names, session.run(names, dict(feed)), strict=True):
            seen = np.where(np.isfinite(value), value, np.inf).astype(np.float32)
            key = name.removeprefix(PREFIX)
            largest[key] = np.maximum(largest[key], seen) if key in largest else seen
    if not largest:
        raise EvsamError("images: expected at least one to measure ranges on, got none")
    return largest
