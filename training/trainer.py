"""The loop that distillation and fine-tuning share: steps, schedule, average, checkpoints, validation.

What a step computes is in the task: of :mod:`evsam.training.distill` or :mod:`evsam.training.finetune`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from evsam.errors import EvsamError
from evsam.nn import EfficientViTSam
from evsam.training import checkpoints
from evsam.training.callbacks import Callback, Pictures, ValidationScores
from evsam.training.config import OptimConfig, RunConfig
from evsam.training.data.stream import BrokenCounter
from evsam.training.distributed import World, distribute, local, sharing, whole
from evsam.training.model import kept_buffers, ready

_log = logging.getLogger(__name__)

STARVED = 0.2
"""From this part of the time spent waiting for photos on, a run says that its loader is too slow."""

Validate = Callable[[EfficientViTSam, World], tuple[ValidationScores, Pictures]]


class TrainingError(EvsamError):
    """A run that cannot go on; the message says what to change."""


@dataclass(frozen=True)
class StepRandom:
    """What is drawn in one micro-step.

    Attributes:
        seed: of the run.
        step: number of the micro-step, counted from the start of the run.
        rank: number of this process.
    """

    seed: int
    step: int
    rank: int = 0

    def shared(self, name: str) -> random.Random:
        """Generator for a purpose, alike in all processes: for choices that decide what is computed."""
        return random.Random(f"{self.seed}/{name}/{self.step}")

    def own(self, name: str) -> random.Random:
        """Generator for a purpose of this process alone."""
        return random.Random(f"{self.seed}/{name}/{self.step}/{self.rank}")

    def generator(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """Torch generator for a purpose of this process alone."""
        return torch.Generator(device).manual_seed(self.own(name).getrandbits(63))


@dataclass
class Trained:
    """What is trained, and on what.

    Attributes:
        task: called as ``task(batch, random)`` for loss and metrics; all parameters of it that require gradients learn.
        model: the part of ``task`` that is averaged, scored and published.
        loader: makes the loader of this process's micro-batches, given how many photos all processes have seen; batches
            are named tuples of tensors with the fields ``images`` and ``broken``.
        epoch: photos in one pass over the data.
        unused: whether a step may leave parameters that learn without a gradient.
        validate: scores a model together with the other processes; None for no validation.
    """

    task: nn.Module
    model: EfficientViTSam
    loader: Callable[[int], DataLoader[Any]]
    epoch: int
    unused: bool = False
    validate: Validate | None = None


class Trainer:
    """A run: goes on from its latest checkpoint if there is one.

    Args:
        trained: see :class:`Trained`.
        config: of the run.
        out: folder of the run.
        where: this process among all.
        callbacks: told of progress; only those of the first process are.
        resume: whether to go on from a checkpoint in ``out``.
    """

    def __init__(
        self,
        trained: Trained,
        config: RunConfig,
        out: Path,
        where: World,
        callbacks: Sequence[Callback] = (),
        *,
        resume: bool = True,
    ) -> None:
        self.config, self.out, self.where = config, out, where
        self.task, self.model, self.trained = trained.task, trained.model, trained
        self.callbacks = callbacks if where.rank == 0 else ()
        self.batch = config.batch.images * config.batch.accumulate * where.size
        self.steps = total_steps(config.optim, trained.epoch, self.batch)
        self.peak = scaled_rate(config.optim, self.batch)
        self.wrapped = distribute(self.task, self.model, where, config.system.shard, trained.unused)
        optim = config.optim
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.task, optim), lr=self.peak, betas=optim.betas, eps=optim.eps
        )
        self.average = Average(self.model, optim.ema, None if optim.tail is None else int(optim.tail * self.steps))
        self.broken = BrokenCounter(log=out / f"broken-{where.rank}.jsonl" if resume else None)
        self.bad = torch.zeros((), dtype=torch.bool, device=where.device)
        self.step = self.photos = 0
        self.minutes = self.rate = 0.0
        if resume:
            self.resume()

    def state(self) -> dict[str, Any]:
        """Everything that a run goes on from; tensors of it share memory with the run."""
        return {
            "parameters": {name: p.detach() for name, p in self.task.named_parameters()},
            "buffers": dict(self.task.named_buffers()),
            "average": self.average.parameters,
            "optimiser": {
                name: self.optimiser.state[p] for name, p in self.task.named_parameters() if p in self.optimiser.state
            },
            "progress": {
                "step": torch.tensor(self.step),
                "photos": torch.tensor(self.photos),
                "minutes": torch.tensor(self.minutes, dtype=torch.float64),
            },
        }

    def _all_photos(self) -> float:
        """Photos that the run sees from its start to its end, where that is given in epochs."""
        assert self.config.optim.epochs is not None
        return self.config.optim.epochs * self.trained.epoch

    def _progress(self) -> float:
        """Part of the run that is over, by photos where its length is given in epochs, else by steps."""
        if self.config.optim.epochs is None:
            return self.step / self.steps
        return min(1.0, self.photos / self._all_photos())

    def save(self) -> None:
        """Write a checkpoint; every process has to call this."""
        self._check_losses()
        self.where.share_first(self.task.buffers())
        checkpoints.save(self.out, self.step, self.state(), self.where, self.config.log.keep)

    def resume(self) -> None:
        """Go on from the latest checkpoint, if there is one."""
        path = checkpoints.latest(self.out)
        if path is None:
            return
        stored = checkpoints.names(path)
        for name, parameter in self.task.named_parameters():
            if f"optimiser.{name}.step" in stored:  # a parameter that was never used has no moments
                self.optimiser.state[parameter] = {
                    "step": torch.zeros(()),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        state = self.state()
        lacking = checkpoints.flat_names(state) - stored
        if lacking:
            some = ", ".join(sorted(lacking)[:3])
            raise TrainingError(
                f"run {self.out}: its checkpoint lacks {len(lacking)} of the values that this run has, such as {some}: "
                "it is of another command, recipe or version; choose another --out, or start from it (start=RUN)"
            )
        checkpoints.load(path, state)
        self.step, self.photos = int(state["progress"]["step"]), int(state["progress"]["photos"])
        self.minutes = float(state["progress"]["minutes"])
        if self.config.optim.epochs is not None:  # the batch may have changed
            self.steps = self.step + math.ceil((self._all_photos() - self.photos) / self.batch)

    def run(self) -> None:
        """Train to the last step, then write a checkpoint and validate."""
        for callback in self.callbacks:
            callback.on_start(self.step, self.steps)
        try:
            self._run()
        finally:
            for callback in self.callbacks:
                callback.on_end()

    def _run(self) -> None:
        log = self.config.log
        meter = Meter(self.batch)
        batches = iter(self.trained.loader(self.photos))
        began, saved = time.monotonic() - 60 * self.minutes, self.minutes
        while self.step < self.steps:
            values = self.take_step(batches, meter)
            self.minutes = (time.monotonic() - began) / 60
            last = self.step == self.steps
            logged = self.step % log.every == 0 or last
            if logged:
                self._log(values, meter)
            # before a checkpoint: a run that is stopped here comes back to it
            if self.step % log.validate_every == 0 or last:
                self.validate()
                began = time.monotonic() - 60 * self.minutes  # not the time of training
                meter.restart()
            # the clocks of the processes differ a little: all of them do as the first to be due
            if last or (logged and self.where.any(self.minutes - saved >= log.checkpoint_minutes)):
                self.save()
                saved = self.minutes

    def take_step(self, batches: Iterator[Any], meter: Meter | None = None) -> dict[str, Tensor]:
        """One change of the weights; returns the means of loss and metrics over this process's micro-batches."""
        accumulate = self.config.batch.accumulate
        self.rate = self.peak * schedule(self.config.optim, self.step, self._progress())
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * group["factor"]
        self.task.train()
        seen: list[dict[str, Tensor]] = []
        for micro in range(accumulate):
            with meter.waiting() if meter else contextlib.nullcontext():
                batch = next(batches)
            self.broken.add(batch.broken, len(batch.images))
            batch = batch_to(batch, self.where.device)
            random = StepRandom(self.config.seed, self.step * accumulate + micro, self.where.rank)
            with sharing(self.wrapped, micro + 1 == accumulate):
                with self._precision():
                    loss, metrics = self.wrapped(batch, random)
                (loss / accumulate).backward()
            seen.append(metrics)
        self._clip()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update(self.step)
        self.step += 1
        self.photos += self.batch
        if meter:
            meter.count()
        for metrics in seen:
            self.bad |= ~torch.isfinite(metrics["loss"])
        return {name: torch.stack([metrics[name] for metrics in seen]).nanmean() for name in seen[0]}

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.system.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.where.device.type, torch.bfloat16)

    def _clip(self) -> None:
        optim, parameters = self.config.optim, list(self.task.parameters())
        if optim.clip_value is not None:
            gradients = [local(p.grad) for p in parameters if p.grad is not None]
            torch._foreach_clamp_min_(gradients, -optim.clip_value)
            torch._foreach_clamp_max_(gradients, optim.clip_value)
        if optim.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, optim.clip_norm)

    def _check_losses(self) -> None:
        """Stop a run whose losses are no numbers, in any process and at any step since the last look."""
        if self.where.any(bool(self.bad)):
            raise TrainingError(
                f"at step {self.step} or shortly before, the loss was not finite; the last checkpoint is from before. "
                f"Lower optim.lr ({self.config.optim.lr}), raise optim.warmup ({self.config.optim.warmup}), set "
                "optim.clip_norm, or use system.precision=float32"
            )

    def _log(self, values: dict[str, Tensor], meter: Meter) -> None:
        self._check_losses()
        means = self.where.mean(values | {"waiting": torch.tensor(meter.waited(), device=self.where.device)})
        seconds = meter.seconds_per_step()
        means |= {
            "lr": self.rate,
            "images_per_second": self.batch / seconds,
            "minutes": self.minutes,
            "minutes_left": (self.steps - self.step) * seconds / 60,
        }
        if means["waiting"] > STARVED and self.where.rank == 0:
            _log.warning(
                "step %d: %.0f %% of the time is spent waiting for photos; raise system.workers (%d)",
                self.step,
                100 * means["waiting"],
                self.config.system.workers,
            )
        for callback in self.callbacks:
            callback.on_step(self.step, means)
        meter.restart()

    def validate(self) -> None:
        """Score the averaged weights and tell the callbacks; every process has to call this."""
        if self.trained.validate is None:
            return
        self._check_losses()
        self.where.share_first(self.task.buffers())
        model = EfficientViTSam(self.model.variant)
        model.load_state_dict(self.average.state())
        scores, pictures = self.trained.validate(ready(model, self.where.device), self.where)
        for callback in self.callbacks:
            callback.on_validation(self.step, scores, pictures)


class Average:
    """The averaged weights of a model, each process holding what it holds of the model.

    Args:
        model: whose weights are averaged.
        decay: per step; None averages nothing by decay.
        first: the step from which on the average is the mean of the weights after each step; None for no such mean.
            With neither, nothing is kept, and the answer is the model's own weights.
    """

    def __init__(self, model: EfficientViTSam, decay: float | None, first: int | None = None) -> None:
        self.model, self.decay, self.first = model, decay, first
        kept = decay is not None or first is not None
        self.parameters: dict[str, Tensor] = (
            {name: p.detach().clone() for name, p in model.named_parameters()} if kept else {}
        )

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number ``step``; early steps count more, or the start would stay for long."""
        if self.first is not None:
            part = 1 / max(1, step - self.first + 1)
        elif self.decay is not None:
            part = 1 - min(self.decay, (1 + step) / (10 + step))
        else:
            return
        ours = [local(p) for p in self.parameters.values()]
        theirs = [local(p) for p in self.model.parameters()]
        torch._foreach_lerp_(ours, theirs, part)

    @torch.no_grad()
    def state(self) -> dict[str, Tensor]:
        """State dict of the model with averaged parameters and its present buffers; every process has to call this."""
        named = {**dict(self.model.named_parameters()), **self.parameters}
        return {name: whole(p) for name, p in named.items()} | kept_buffers(self.model)


class Meter:
    """Time per step, and what part of it the trainer waited for photos.

    Args:
        batch: photos in a step.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.restart()

    def restart(self) -> None:
        """Forget what was measured."""
        self.start, self.waits, self.steps = time.monotonic(), 0.0, 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting."""
        start = time.monotonic()
        yield
        self.waits += time.monotonic() - start

    def count(self) -> None:
        """A step is done."""
        self.steps += 1

    def seconds_per_step(self) -> float:
        """Mean time of the steps since the last restart."""
        return max(time.monotonic() - self.start, 1e-9) / max(self.steps, 1)

    def waited(self) -> float:
        """Part of that time, from 0 to 1."""
        return self.waits / max(time.monotonic() - self.start, 1e-9)


def total_steps(optim: OptimConfig, epoch: int, batch: int) -> int:
    """Changes of the weights in a run with ``epoch`` photos and a global batch of ``batch``."""
    if optim.steps is not None:
        return optim.steps
    assert optim.epochs is not None
    return max(1, math.ceil(optim.epochs * epoch / batch))


def scaled_rate(optim: OptimConfig, batch: int) -> float:
    """Peak learning rate for a global batch of ``batch`` photos."""
    power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[optim.scaling]
    return optim.lr * float((batch / optim.reference_batch) ** power)


def schedule(optim: OptimConfig, step: int, progress: float) -> float:
    """Learning rate of step number ``step``, counted from 0 and reached after the part ``progress`` of the run.

    As a part of the peak.
    """
    warm = min(1.0, (step + 1) / (optim.warmup + 1))
    if optim.schedule == "constant":
        return warm
    return warm * (optim.final + (1 - optim.final) * 0.5 * (1 + math.cos(math.pi * progress)))


def parameter_groups(task: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """Parameters that learn, by weight decay and by ``factor`` of the learning rate."""
    embeddings = {id(m.weight) for m in task.modules() if isinstance(m, nn.Embedding)}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim < 2 or id(parameter) in embeddings
            groups.setdefault((".backbone." in name, plain), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if plain else optim.weight_decay,
            "factor": optim.backbone if backbone else 1.0,
        }
        for (backbone, plain), parameters in groups.items()
    ]


def batch_to(batch: Any, device: torch.device) -> Any:
    """A named tuple with its tensors, and those of tuples in it, on a device; the rest as it is."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple):
        parts = [batch_to(part, device) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    return batch
