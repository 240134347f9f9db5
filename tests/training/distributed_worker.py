"""One process of a distributed test: ``distributed_worker.py KIND SHARD OUT STEPS`` under torchrun, or alone.

Trains on fixed photos, of which each process takes its share: nano by fine-tuning, or a tiny model by distillation.
With FSDP2 the share comes in micro-batches of one photo, whose activations are computed again. The first process saves
in OUT the gradients of the first step and the weights at the end, whole and by name; the run's checkpoints are beside
it.
"""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from evsam.nn import EfficientViTSam
from evsam.training.config import BatchConfig, LogConfig, OptimConfig, SourceConfig, SystemConfig
from evsam.training.data.frames import FrameBatch, FrameMaker
from evsam.training.data.samples import Batch
from evsam.training.distill import DistillLossConfig, DistillTask
from evsam.training.distributed import World, whole, world
from evsam.training.finetune import RECIPES, FinetuneConfig, FinetuneTask
from evsam.training.model import build_model, freeze_norms
from evsam.training.teachers import copy_decoder
from evsam.training.trainer import StepRandom, Trained, Trainer
from tests.training import tiny

PHOTOS = 4
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
        optim=OptimConfig(lr=1e-3, steps=steps, ema=0.5, clip_norm=None),
        system=SystemConfig(device="cpu", shard=shard, workers=0),
        log=LogConfig(every=1, validate_every=1000),
        recipe=RECIPE,
    )


def frames(first: int, count: int) -> FrameBatch:
    """Photos for distillation with a prompt each; the same for the same numbers."""
    maker = FrameMaker(tiny.SIZE, tiny.SIZE, prompts=1)
    samples = [maker.sample(tiny.photo(number), None, random.Random(number)) for number in range(first, first + count)]
    return maker.collate(samples, None, ())


def finetuning(settings: FinetuneConfig, where: World) -> tuple[nn.Module, EfficientViTSam]:
    model = build_model(settings, where.device)
    recompute = settings.system.checkpoint_activations
    return InPlace(model, RECIPE, checkpoint_activations=recompute), model


def distilling(settings: FinetuneConfig, where: World) -> tuple[nn.Module, EfficientViTSam]:
    teacher, model = tiny.teacher(), tiny.student()
    freeze_norms(model)
    copy_decoder(teacher, model)
    return DistillTask(model, DistillLossConfig(cosine=1.0, decoder=1.0), teacher), model


KINDS = {"finetune": (finetuning, photos), "distill": (distilling, frames)}


def main(kind: str, shard: str, out: Path, steps: int) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with world("cpu") as where:
        build, make = KINDS[kind]
        share = PHOTOS // where.size
        micro = 1 if shard == "fsdp2" and where.size > 1 else share
        settings = config(shard, steps, micro)
        update: dict[str, Any] = {"batch": BatchConfig(images=micro, accumulate=share // micro)}
        update["system"] = settings.system.model_copy(update={"checkpoint_activations": micro < share})
        settings = settings.model_copy(update=update)
        task, model = build(settings, where)
        batches: Any = itertools.cycle([make(share * where.rank + first, micro) for first in range(0, share, micro)])

        def load(seen: int) -> DataLoader[Any]:
            return batches

        trainer = Trainer(Trained(task, model, load, epoch=PHOTOS, unused=True), settings, out.parent / "run", where)
        gradients: dict[str, torch.Tensor] = {}
        forget = trainer.optimiser.zero_grad

        def keep_first() -> None:
            if not gradients:
                named = sorted(task.named_parameters())
                gradients.update({name: whole(p.grad).clone() for name, p in named if p.grad is not None})
            forget()

        trainer.optimiser.zero_grad = keep_first
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
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
