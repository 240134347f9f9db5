"""One process of a distributed test: ``distributed_worker.py SHARD OUT STEPS`` under torchrun, or alone.

Trains nano on fixed photos, of which each process takes its share. The first process saves in OUT the gradients of the
first step and the weights at the end, whole and by name; the run's checkpoints are beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from evsam.training.config import BatchConfig, LogConfig, OptimConfig, SystemConfig
from evsam.training.data.samples import Batch
from evsam.training.data.sources import SourceConfig
from evsam.training.distributed import whole, world
from evsam.training.finetune import FinetuneConfig
from evsam.training.finetuning import FinetuneTask
from evsam.training.loop import Trained, Trainer
from evsam.training.randomness import StepRandom
from evsam.training.recipes import RECIPES
from evsam.training.starting import build_model

PHOTOS = 2
RECIPE = RECIPES["evsam"].model_copy(update={"colour": False, "rounds": (1.0,)})


class InPlace(FinetuneTask):
    """Takes crops to lie at the top left of the frame: elsewhere each process draws its own places."""

    def _origin(self, batch: Batch, target: torch.Tensor, random: StepRandom) -> None:
        return None


def photos(first: int, count: int, crop: int = 64) -> Batch:
    """Photos of noise with two boxes each; the same for the same numbers."""
    images, targets, points = [], [], []
    side = crop // 2
    for number in range(first, first + count):
        generator = torch.Generator().manual_seed(number)
        images.append(torch.randint(0, 256, (crop, crop, 3), generator=generator, dtype=torch.uint8))
        for _ in range(2):
            x, y = torch.randint(0, side // 2, (2,), generator=generator).tolist()
            target = torch.zeros(side, side, dtype=torch.float16)
            target[y : y + side // 3, x : x + side // 2] = 1
            targets.append(target)
            corners = [[x, y], [x + side // 2, y + side // 3]]
            points.append(torch.tensor(corners, dtype=torch.float32) * 4)
    index = torch.arange(count).repeat_interleave(2)
    labels = torch.tensor([[2, 3]]).repeat(2 * count, 1)
    return Batch(torch.stack(images), torch.stack(targets), torch.stack(points), labels, index, ())


def config(shard: str, steps: int, images: int) -> FinetuneConfig:
    return FinetuneConfig(
        variant="nano",
        norms="frozen",
        train=(SourceConfig(kind="annotated", path=Path("unused"), set="unused", name="unused"),),
        batch=BatchConfig(images=images),
        optim=OptimConfig(lr=1e-3, steps=steps, ema=0.5),
        system=SystemConfig(device="cpu", shard=shard, workers=0),
        log=LogConfig(every=1, validate_every=1000),
        recipe=RECIPE,
    )


class Same:
    """An endless loader of this process's share of the same photos."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __iter__(self) -> Any:
        while True:
            yield self.batch


def main(shard: str, out: Path, steps: int) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with world("cpu") as where:
        share = PHOTOS // where.size
        settings = config(shard, steps, share)
        model = build_model(settings, where.device)
        task = InPlace(model, RECIPE)
        batch = photos(share * where.rank, share)
        loader: Any = Same(batch)

        def load(start: int) -> DataLoader[Any]:
            return loader

        trainer = Trainer(Trained(task, model, load, epoch=PHOTOS, unused=True), settings, out.parent / "run", where)
        loss, _ = trainer.wrapped(batch, StepRandom(0, 0, where.rank))
        loss.backward()
        gradients = {name: whole(p.grad).clone() for name, p in sorted(task.named_parameters()) if p.grad is not None}
        trainer.optimiser.zero_grad()
        trainer.run()
        weights = {name: whole(p.detach()).clone() for name, p in sorted(task.named_parameters())}
        moments = {
            name: whole(trainer.optimiser.state[p]["exp_avg"]).clone()
            for name, p in sorted(task.named_parameters())
            if p in trainer.optimiser.state
        }
        if where.rank == 0:
            found = {"gradients": gradients, "weights": weights, "moments": moments, "step": trainer.step}
            torch.save(found, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
