"""Fine-tuning recipes: what is prompted, which answers count, and by which losses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from evsam.training.data.prompts import PromptConfig
from evsam.training.settings import Config


class Recipe(Config):
    """How masks are learnt from prompts.

    Attributes:
        mask_loss: ``focal`` is 20 focal + dice (the paper, and SAM); ``points`` is 20 cross-entropy + dice on sampled
            points (the authors' code); ``local`` is 2 cross-entropy, normalised by the object's box, + ``dice`` x dice.
        dice: weight of dice in ``local``; more of it makes a model include what is in doubt, which mean IoU rewards.
        boundary: additional weight, in ``local``, of the pixels within two of the object's border.
        answers: which masks of the decoder learn: ``three``, that of the lowest loss (the paper); ``three-or-one``,
            either that or the single mask, half of the steps each (the authors' code); ``all``, both, and a little of
            each of the three.
        iou: weight of the squared error of predicted IoU.
        choice: weight of what is lost by choosing among the three masks by predicted IoU.
        resemblance: weight of the auxiliary loss on features, for variants with nano's decoder.
        prompts: how first prompts are made.
        rounds: probabilities of one, two, ... rounds of prompts; each after the first adds a click.
        click_on_error: put that click where the last mask is wrong; else anywhere in the object.
        mask_prompt: feed the last mask back.
        colour: jitter colours.
    """

    mask_loss: Literal["focal", "points", "local"] = "local"
    dice: float = Field(default=1.0, ge=0)
    boundary: float = Field(default=0.0, ge=0)
    answers: Literal["three", "three-or-one", "all"] = "all"
    iou: float = Field(default=0.0, ge=0)
    choice: float = Field(default=0.0, ge=0)
    resemblance: float = Field(default=0.0, ge=0)
    prompts: PromptConfig = PromptConfig()
    rounds: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    click_on_error: bool = True
    mask_prompt: bool = True
    colour: bool = False


_PLAIN_PROMPTS = PromptConfig(box=0.5, jitter=0.0, clicks=(1, 10), few=0.0, mixed=False, negative=0.0, centre=0.0)

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "paper": Recipe(mask_loss="focal", answers="three", prompts=_PLAIN_PROMPTS),
        "authors-code": Recipe(mask_loss="points", answers="three-or-one", prompts=_PLAIN_PROMPTS),
        "evsam": Recipe(
            mask_loss="local",
            dice=4.0,
            answers="all",
            iou=3.0,
            choice=1.0,
            resemblance=0.2,
            prompts=PromptConfig(
                box=0.5, jitter=0.6, jitter_limit=None, clicks=(1, 3), few=0.4, mixed=True, negative=0.3, centre=0.6
            ),
            rounds=(0.6, 0.2, 0.1, 0.1),
            colour=True,
        ),
    }
)
"""``paper``: arXiv 2402.05008, section 3.2. ``authors-code``: the released fine-tuning. ``evsam``: ours."""


def _named(value: Any) -> Any:
    """A name, or ``{base: name, changed: value, ...}``, as the recipe's full set of values."""
    if isinstance(value, str):
        value = {"base": value}
    if not isinstance(value, dict) or "base" not in value:
        return value
    base = value["base"]
    if base not in RECIPES:
        raise ValueError(f"expected one of {', '.join(RECIPES)}, got {base!r}")
    changed = {key: part for key, part in value.items() if key != "base"}
    values = RECIPES[base].model_dump()
    if isinstance(changed.get("prompts"), dict):
        changed["prompts"] = {**values["prompts"], **changed["prompts"]}
    return {**values, **changed}


RecipeChoice = Annotated[Recipe, BeforeValidator(_named)]
"""In a configuration: a name of :data:`RECIPES`, or a name as ``base`` and what to change."""
