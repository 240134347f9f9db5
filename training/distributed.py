"""Several processes, as torchrun starts them: DistributedDataParallel or FSDP2, chosen by the configuration alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from evsam.nn import EfficientViTSam

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""How long processes wait for one another: the first indexes all of SA-1B, about a quarter of an hour, before others go
on."""


@dataclass(frozen=True)
class World:
    """This process among all of a run.

    Attributes:
        rank: its number.
        size: how many there are.
        device: what it computes on.
    """

    rank: int
    size: int
    device: torch.device

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Means over all processes of scalars with the same names in each; one message for all of them.

        A process whose value is not-a-number has none, and does not count.
        """
        flat = torch.stack([value.detach().double() for value in values.values()])
        if self.size > 1:
            both = torch.stack([torch.where(flat.isnan(), 0, flat), (~flat.isnan()).double()])
            dist.all_reduce(both)
            flat = both[0] / both[1]
        return dict(zip(values, flat.tolist(), strict=True))

    def any(self, happened: bool) -> bool:
        """Whether something happened in any process."""
        if self.size == 1:
            return happened
        flag = torch.tensor(float(happened), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def gather(self, value: T) -> list[T]:
        """What every process has, in order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return cast("list[T]", values)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()

    def share_first(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the first one's values, such as the statistics of batch norms."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process does what is inside before the others do: what it leaves on disk, they find."""
        if self.rank:
            self.barrier()
        yield
        if not self.rank:
            self.barrier()

    def finish(self) -> None:
        """Wait until the device has done what it was told, so that clocks can be read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def pick_device(name: str) -> torch.device:
    """What a process computes on.

    Args:
        name: torch device; ``auto`` is cuda where there is one. Of cuda, torchrun's LOCAL_RANK names the device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", device.index or 0)))
    return device


@contextlib.contextmanager
def world(device: str) -> Iterator[World]:
    """Join the run that torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK) describe, or make one of a single process.

    Args:
        device: torch device; ``auto`` is cuda where there is one. With cuda, each process takes the one of LOCAL_RANK.
    """
    chosen = pick_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if "WORLD_SIZE" not in os.environ:
        yield World(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()


def distribute(
    task: nn.Module, model: EfficientViTSam, where: World, shard: Literal["ddp", "fsdp2"], unused: bool
) -> nn.Module:
    """Make a task learn together with those of the other processes.

    Args:
        task: what is called for the loss; all that is computed with its parameters must happen inside of that call.
        model: the part of it whose stages are sharded one by one.
        where: this process.
        shard: see :class:`evsam.training.config.SystemConfig`.
        unused: whether a step may leave parameters without a gradient.

    Returns:
        What to call in place of ``task``. With ``fsdp2`` that is ``task``, changed in place.
    """
    if where.size == 1:
        return task
    if shard == "ddp":
        return DistributedDataParallel(task, find_unused_parameters=unused)
    for parameter in task.parameters():  # channels last, which FSDP2 cannot split
        parameter.data = parameter.data.contiguous()
    mesh = init_device_mesh(where.device.type, (where.size,))
    encoder = model.image_encoder
    for part in [*encoder.backbone.stages, encoder.neck.middle]:
        fully_shard(part, mesh=mesh)
    fully_shard(task, mesh=mesh)
    return task


@contextlib.contextmanager
def sharing(wrapped: nn.Module, share: bool) -> Iterator[None]:
    """Average gradients over processes in the backward passes inside, or only add them up locally."""
    if isinstance(wrapped, FSDPModule):
        wrapped.set_requires_gradient_sync(share)
        yield
    elif isinstance(wrapped, DistributedDataParallel) and not share:
        with wrapped.no_sync():
            yield
    else:
        yield


def local(tensor: Tensor) -> Tensor:
    """The part of a parameter that this process holds; shares its memory."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a parameter. With FSDP2, every process has to call this."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
