"""Activations that are computed again in the backward pass instead of being kept."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from evsam.nn import EfficientViTSam


def recompute_blocks(model: EfficientViTSam) -> None:
    """Let the blocks of the image encoder compute their activations again in the backward pass.

    The methods are replaced, not the modules, so that no weight changes its name.
    """
    encoder = model.image_encoder
    for part in [*encoder.backbone.stages, encoder.neck.middle]:
        for block in part.op_list:
            block.forward = functools.partial(recomputed, block, block.forward)


def recomputed(module: nn.Module, function: Callable[..., Any], *inputs: Tensor) -> Any:
    """What a function of a module answers; its activations are computed again in the backward pass.

    That second time leaves the statistics of the module's batch norms alone, so that nothing else is learnt.
    """
    contexts = functools.partial(_contexts, module)
    return checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)


def _contexts(
    module: nn.Module,
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """Of the first and of the second forward pass."""
    return contextlib.nullcontext(), _statistics_kept(module)


@contextlib.contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm)]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # statistics still go through the same operations, which recomputation checks, but move by nothing
        norm.momentum = 0.0
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
