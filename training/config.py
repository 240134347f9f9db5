"""Typed configurations: a YAML file, and changes from the command line.

Here is what every run has; what one command adds is in its own file (``distill``, ``finetune``, ``cache_embeddings``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from evsam.datasets.halves import Half
from evsam.errors import EvsamError
from evsam.writing import replaced


class Config(BaseModel):
    """Base of all configurations: constant, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ConfigError(EvsamError):
    """A configuration that cannot be used; the message names the key and what was expected."""


class SourceConfig(Config):
    """One source of photos with masks.

    Attributes:
        kind: ``annotated``, a set of a data directory (:mod:`evsam.datasets.annotated`); ``coco`` or ``lvis``, a
            folder of photos and a json file; ``sa1b``, tars as published; ``sa1b-folder``, the same unpacked.
        path: the data directory; the folder of the photos; the folder of the tars, or a pattern such as
            ``/data/sa_0000*.tar``; the folder of the pairs.
        annotations: json file, of ``coco`` and ``lvis``.
        split: ``train`` or ``val``, of ``annotated``.
        set: name of the set, of ``annotated``.
        half: ``select`` or ``report``, one half of the photos (:mod:`evsam.datasets.halves`), so that a run is not
            chosen by the scores that are reported; or ``all``.
        licences: only the photos whose record states one of these, in these words, of ``annotated``; none for all.
            ``python -m evsam.training.licences`` prints what they state.
        weight: how often the source is drawn, compared with the others; 0 leaves it out.
        name: in logs and scores; by default that of the set, or of the path.
        cache: folder for the indexes of tars, of ``sa1b``; by default they are written beside the tars.
    """

    kind: Literal["annotated", "coco", "lvis", "sa1b", "sa1b-folder"]
    path: Path
    annotations: Path | None = None
    split: str = "train"
    set: str | None = None
    half: Half = "all"
    licences: tuple[str, ...] = ()
    weight: float = Field(default=1.0, ge=0)
    name: str = ""
    cache: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("name") and "path" in values:
            return {**values, "name": values.get("set") or Path(values["path"]).name}
        return values

    @model_validator(mode="after")
    def _complete(self) -> SourceConfig:
        if self.kind == "annotated" and self.set is None:
            raise ValueError("set: a source of kind annotated needs the name of a set")
        if self.kind != "annotated" and self.licences:
            raise ValueError(f"licences: only sources of kind annotated state those of their photos, got {self.kind}")
        if self.kind in ("coco", "lvis") and self.annotations is None:
            raise ValueError(f"annotations: a source of kind {self.kind} needs a json file")
        return self


class BatchConfig(Config):
    """How many photos make a step.

    Attributes:
        images: photos that a process works on at once.
        accumulate: how many such micro-batches are added up before the weights change.
    """

    images: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)


class OptimConfig(Config):
    """AdamW and its schedule.

    Attributes:
        lr: peak learning rate for a global batch of ``reference_batch`` photos, as it stands.
        scaling: how ``lr`` follows the global batch: ``none``, ``linear`` (lr * batch / reference) or ``sqrt``.
        reference_batch: global batch, in photos, that ``lr`` was chosen for; not read where ``scaling`` is ``none``.
        steps: changes of the weights; or give ``epochs``.
        epochs: passes over the training photos, in place of ``steps``.
        warmup: first steps, over which the learning rate rises from 0.
        schedule: ``cosine`` or ``constant`` after the warm-up.
        final: where the cosine ends, as a part of the peak.
        weight_decay: not applied to norms, biases and embeddings.
        betas: of AdamW.
        eps: of AdamW.
        clip_norm: largest norm of all gradients together, or None.
        clip_value: largest absolute value of a gradient, or None.
        backbone: the backbone's learning rate as a part of ``lr``.
        ema: decay per step of the averaged weights, which are scored and published; None for the weights themselves.
        tail: the averaged weights are instead the mean of those after each step from this part of the run on
            (stochastic weight averaging, arXiv 1803.05407); before it, they are the weights themselves.
    """

    lr: float = Field(default=1e-4, gt=0)
    scaling: Literal["none", "linear", "sqrt"] = "none"
    reference_batch: int = Field(default=256, ge=1)
    steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0)
    warmup: int = Field(default=0, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1)
    weight_decay: float = Field(default=0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float | None = Field(default=1.0, gt=0)
    clip_value: float | None = Field(default=None, gt=0)
    backbone: float = Field(default=1.0, ge=0)
    ema: float | None = Field(default=0.999, ge=0, lt=1)
    tail: float | None = Field(default=None, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_length(self) -> OptimConfig:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self

    @model_validator(mode="after")
    def _one_average(self) -> OptimConfig:
        if self.ema is not None and self.tail is not None:
            raise ValueError("give either ema or tail; ema: null leaves the average to tail")
        return self


class SystemConfig(Config):
    """Where and how a run computes; nothing here changes what is learnt, but for rounding.

    Attributes:
        device: torch device; ``auto`` is cuda where there is one.
        precision: ``bfloat16`` computes under autocast; weights and optimiser stay in float32.
        compile: let torch.compile build the image encoder.
        checkpoint_activations: compute blocks again in the backward pass instead of keeping their activations.
        shard: with several processes, ``ddp`` keeps all weights in each, ``fsdp2`` a part.
        workers: processes per trainer process that prepare photos; 0 prepares them in between.
        threads: CPU threads per trainer process, or None for torch's choice.
    """

    device: str = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    checkpoint_activations: bool = False
    shard: Literal["ddp", "fsdp2"] = "ddp"
    workers: int = Field(default=4, ge=0)
    threads: int | None = Field(default=None, ge=1)


class LogConfig(Config):
    """What a run writes, and how often.

    Attributes:
        every: steps between lines of losses.
        validate_every: steps between validations; one more is made at the end.
        checkpoint_minutes: minutes between checkpoints, looked at when losses are logged; one more is written at the
            end.
        keep: checkpoints that are kept.
        tensorboard: also write events for TensorBoard (package tensorboard).
        pictures: photos of each validation set that are drawn with their masks.
    """

    every: int = Field(default=50, ge=1)
    validate_every: int = Field(default=1000, ge=1)
    checkpoint_minutes: float = Field(default=10.0, ge=0)
    keep: int = Field(default=2, ge=1)
    tensorboard: bool = False
    pictures: int = Field(default=4, ge=0)


class ValidationConfig(Config):
    """What is scored during a run.

    Attributes:
        sources: validation photos; none means no validation.
        every_nth: only each n-th photo of a source.
        masks: at most that many masks of a photo, None for all.
        clicks: clicks to simulate, 0 for boxes only.
        mask_prompts: whether the model is shown its own answers as prompts, too.
    """

    sources: tuple[SourceConfig, ...] = ()
    every_nth: int = Field(default=1, ge=1)
    masks: int | None = Field(default=None, ge=1)
    clicks: int = Field(default=1, ge=0)
    mask_prompts: bool = False


class RunConfig(Config):
    """What every kind of training run needs.

    Attributes:
        variant: what is trained; a name of :mod:`evsam.zoo` or of :mod:`evsam.training.efficientnet_lite`, or the path
            of a ``.json`` file with a record (:mod:`evsam.record`), whose text takes its place.
        start: ``none`` (random weights), ``imagenet`` (nano's family: EfficientNet-Lite backbone), or a variant,
            weights file or run whose weights are taken.
        norms: ``frozen`` keeps the statistics of batch norms; ``train`` learns them, normalising by the photos of each
            process and publishing the statistics of the first; ``sync`` normalises by those of all processes (GPUs).
        freeze_stages: so many leading stages of the backbone keep their starting values and statistics.
        train: photos to learn from, drawn by their weights.
        seed: of everything random.
        batch: see :class:`BatchConfig`.
        optim: see :class:`OptimConfig`.
        system: see :class:`SystemConfig`.
        log: see :class:`LogConfig`.
        validation: see :class:`ValidationConfig`.
    """

    variant: str
    start: str = "none"
    norms: Literal["frozen", "train", "sync"] = "train"
    freeze_stages: int = Field(default=0, ge=0)
    train: tuple[SourceConfig, ...] = Field(min_length=1)
    seed: int = 0
    batch: BatchConfig = BatchConfig()
    optim: OptimConfig
    system: SystemConfig = SystemConfig()
    log: LogConfig = LogConfig()
    validation: ValidationConfig = ValidationConfig()

    @field_validator("variant")
    @classmethod
    def _read_record(cls, variant: str) -> str:
        if not variant.endswith(".json"):
            return variant
        try:
            return Path(variant).read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"{variant} cannot be read: {error.strerror or error}") from error

    @model_validator(mode="after")
    def _names_differ(self) -> RunConfig:
        for key, sources in (("train", self.train), ("validation.sources", self.validation.sources)):
            names = [source.name for source in sources]
            if len(set(names)) != len(names):
                raise ValueError(f"{key}: expected sources of different names, got {', '.join(names)}; set name")
        return self


C = TypeVar("C", bound=BaseModel)


def read_config(model: type[C], path: Path, overrides: Sequence[str] = ()) -> C:
    """Read a configuration.

    Args:
        model: what the file has to describe.
        path: YAML file; or the name of one that ships with evsam, such as ``nano-crops``.
        overrides: ``key=value`` with dots between levels and a number for an element of a list, such as
            ``optim.lr=1e-4`` or ``train.0.path=/data``; values are YAML.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value does not fit.
    """
    path = _find(path)
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"config {path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"config {path}: expected keys and values, got {type(content).__name__}")
    for override in overrides:
        _override(content, override)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc'])) or 'config'}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"config {path} does not describe a {model.__name__}:\n" + "\n".join(lines)) from error


def write_config(config: BaseModel, path: Path) -> None:
    """Write a configuration as YAML with every value in it, defaults too."""
    with replaced(path) as temporary:
        temporary.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    shipped = {found.stem: found for found in (Path(__file__).parent / "configs").glob("*.yaml")}
    if str(path) in shipped:
        return shipped[str(path)]
    names = ", ".join(sorted(shipped))
    raise ConfigError(f"config {path}: no such file, and none of those that ship with evsam: {names}")


def _override(content: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {text!r}: expected key=value")
    *parents, last = key.split(".")
    node: Any = content
    for part in parents:
        node = node[_index(node, part, text)] if isinstance(node, list) else node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise ConfigError(f"--set {text!r}: {part} is no group of keys")
    node[_index(node, last, text) if isinstance(node, list) else last] = _value(value, text)


def _index(node: list[Any], part: str, text: str) -> int:
    if not part.isdecimal() or int(part) >= len(node):
        raise ConfigError(f"--set {text!r}: expected a number below {len(node)} in place of {part!r}")
    return int(part)


def _value(text: str, whole: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {whole!r}: the value is no YAML: {error}") from error
