"""Fine-tune a model end to end on photos with masks: ``python -m evsam.training.finetune CONFIG``."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Sequence

from evsam.training import command
from evsam.training.config import ConfigError, RunConfig
from evsam.training.data.mix import Mix
from evsam.training.data.records import Photo
from evsam.training.data.samples import SampleConfig, SampleMaker
from evsam.training.distributed import World
from evsam.training.feeding import open_loader, open_mix
from evsam.training.finetuning import FinetuneTask
from evsam.training.loop import Trained
from evsam.training.recipes import RECIPES, RecipeChoice
from evsam.training.starting import build_model
from evsam.training.validating import Validator
from evsam.training.variants import find_variant


class FinetuneConfig(RunConfig):
    """Fine-tuning of a model on photos with masks.

    Attributes:
        recipe: ``paper``, ``authors-code`` or ``evsam``, or ``{base: NAME, ...}`` with what is changed.
        samples: how photos become samples.
    """

    recipe: RecipeChoice = RECIPES["evsam"]
    samples: SampleConfig = SampleConfig()


def build(config: FinetuneConfig, where: World) -> Trained:
    """Model, task, photos and validation of a run."""
    _check_samples(config)
    model = build_model(config, where.device)
    task = FinetuneTask(
        model,
        config.recipe,
        fixed_grid=bool(config.samples.sizes),
        checkpoint_activations=config.system.checkpoint_activations,
    ).to(where.device)
    mix = open_mix(config)
    maker = SampleMaker(config.samples, config.recipe.prompts, functools.partial(_any_photo, mix))
    return Trained(
        task=task,
        model=model,
        loader=functools.partial(open_loader, mix, maker, config, where),
        epoch=mix.epoch_size,
        unused=True,  # a mask prompt comes in the second round, if there is one
        validate=Validator(config.validation, config.log) if config.validation.sources else None,
    )


def _check_samples(config: FinetuneConfig) -> None:
    variant, samples = find_variant(config.variant), config.samples
    if samples.image_size != variant.image_size:
        raise ConfigError(
            f"samples.image_size: {variant.name} reads images of {variant.image_size}, got {samples.image_size}"
        )
    if samples.sizes and variant.encoder.neck.lateral:
        raise ConfigError(
            f"samples.sizes: {variant.name} hands finer maps to its decoder, which grow with the image; set "
            "samples.sizes=[] and samples.size"
        )


def _any_photo(mix: Mix, rng: random.Random) -> Photo:
    return mix.photo(rng.randrange(mix.epoch_size))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m evsam.training.finetune``."""
    return command.main("finetune", FinetuneConfig, build, arguments)


if __name__ == "__main__":
    sys.exit(main())
