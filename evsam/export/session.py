"""Opening ONNX models in onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from evsam.errors import BackendUnavailable, EvsamError

try:
    import onnxruntime
except ImportError as error:
    raise BackendUnavailable("onnxruntime is needed; use pip install 'evsam[onnx]'") from error

SILENT = 3
"""Severity from which onnxruntime logs: errors."""


def open_session(
    model: bytes | str | os.PathLike[str],
    threads: int | None = None,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
    optimise: bool = True,
) -> onnxruntime.InferenceSession:
    """A session for a model.

    Args:
        model: its bytes, or the path of its file.
        threads: upper limit of CPU threads, None for onnxruntime's own choice.
        providers: of onnxruntime, the first choice first.
        optimise: whether onnxruntime may change the graph.

    Raises:
        EvsamError: onnxruntime does not take the model; the message says why.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model if isinstance(model, bytes) else os.fspath(model)
    try:
        return onnxruntime.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions share no other base
        name = "model" if isinstance(model, bytes) else os.fspath(model)
        raise EvsamError(f"{name}: expected a model that onnxruntime can run, got: {error}") from error
