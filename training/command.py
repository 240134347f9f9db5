"""What the commands that train have in common: arguments, a trial without consequences, and the run itself."""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
import yaml

from evsam.errors import EvsamError
from evsam.training import checkpoints
from evsam.training.callbacks import (
    Callback,
    Curves,
    Progress,
    TensorBoard,
    require_tensorboard,
)
from evsam.training.config import ConfigError, RunConfig, read_config, write_config
from evsam.training.distributed import World, local, world
from evsam.training.model import CONFIG_FILE
from evsam.training.trainer import Meter, Trained, Trainer, TrainingError

TRIAL_STEPS = 3
"""Steps of a trial that are timed, at least."""

C = TypeVar("C", bound=RunConfig)


def main(
    name: str, model: type[C], build: Callable[[C, World], Trained], arguments: Sequence[str] | None = None
) -> int:
    """Run a training command.

    Args:
        name: of the module, for the help text.
        model: type of its configuration.
        build: makes what is trained.
        arguments: of the command line, None for the process's own.

    Returns:
        Exit status.
    """
    parser = argparse.ArgumentParser(prog=f"python -m evsam.training.{name}", description=model.__doc__)
    parser.add_argument("config", type=Path, help="YAML file, or the name of a configuration that ships with evsam")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value: optim.lr=1e-4")
    parser.add_argument("--out", type=Path, help="folder of the run, by default runs/CONFIG; an existing run goes on")
    parser.add_argument("--dry-run", action="store_true", help="a few steps that change nothing: memory, steps, hours")
    options = parser.parse_args(arguments)
    out = options.out or Path("runs") / options.config.stem
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        config = read_config(model, options.config, options.set)
        if config.log.tensorboard:
            require_tensorboard()  # before teachers are loaded and tars are indexed
        if config.system.threads is not None:
            torch.set_num_threads(config.system.threads)
        with world(config.system.device) as where, advice(config):
            with where.first_alone():
                trained = build(config, where)
            if options.dry_run:
                print_trial(trial(trained, config, where), where)
            else:
                train(trained, config, out, where)
    except EvsamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def train(trained: Trained, config: RunConfig, out: Path, where: World, more: Sequence[Callback] = ()) -> Trainer:
    """Run to the end.

    Args:
        trained: what is trained.
        config: its configuration, which is written into the run's folder.
        out: folder of the run.
        where: this process.
        more: callbacks besides curves, progress bar and, where configured, TensorBoard.
    """
    callbacks: list[Callback] = []
    check_same_run(config, out)
    if where.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        write_config(config, out / CONFIG_FILE)
        callbacks = [Curves(out), Progress(), *([TensorBoard(out)] if config.log.tensorboard else []), *more]
    where.barrier()
    trainer = Trainer(trained, config, out, where, callbacks)
    trainer.run()
    return trainer


def check_same_run(config: RunConfig, out: Path) -> None:
    """Refuse to go on with another run's checkpoint.

    Raises:
        ConfigError: the folder holds a run whose variant, seed or average differs: its weights would not fit, or other
            photos would be drawn. The batch may change, for another number of processes.
    """
    path = out / CONFIG_FILE
    if not path.is_file() or checkpoints.latest(out) is None:
        return
    old = yaml.safe_load(path.read_text())
    new = config.model_dump(mode="json")
    wanted = {key: (old[key], new[key]) for key in ("variant", "seed")}
    for key in ("ema", "tail"):
        wanted[f"optim.{key}"] = old["optim"].get(key), new["optim"][key]
    changed = [f"{key} was {was}, is {now}" for key, (was, now) in wanted.items() if was != now]
    if changed:
        raise ConfigError(
            f"run {out}: holds a run of another configuration: {'; '.join(changed)}; choose another --out"
        )


def trial(trained: Trained, config: RunConfig, where: World) -> dict[str, float]:
    """Take a few steps that nothing remembers.

    Returns:
        ``parameters`` and those that ``learn``; ``state_gib`` of weights, gradients, moments and average in each
        process, ``peak_gib`` of everything; ``steps``, ``epochs``, ``seconds_per_step``, ``waiting`` (part of the time)
        and ``hours``.
    """
    trainer = Trainer(trained, config, Path(), where, resume=False)
    batches = iter(trained.loader(0))
    trainer.take_step(batches)
    # workers begin together, so that batches come in bursts: the first says nothing, and whole ones are timed
    workers = max(1, config.system.workers)
    for _ in range(workers):
        next(batches)
    where.finish()
    meter = Meter(trainer.batch)
    for _ in range(workers * math.ceil(TRIAL_STEPS / workers)):
        trainer.take_step(batches, meter)
    where.finish()
    seconds = meter.seconds_per_step()
    parameters = list(trained.task.parameters())
    held = [*parameters, *trainer.average.parameters.values()]
    held += [p.grad if p.grad is not None else p for p in parameters if p.requires_grad]
    held += [value for state in trainer.optimiser.state.values() for value in state.values() if value.ndim]
    return {
        "parameters": sum(p.numel() for p in parameters),
        "learn": sum(p.numel() for p in parameters if p.requires_grad),
        "state_gib": sum(local(t).numel() * t.element_size() for t in held) / 2**30,
        "peak_gib": peak_memory(where) / 2**30,
        "steps": trainer.steps,
        "epochs": trainer.steps * trainer.batch / trained.epoch,
        "seconds_per_step": seconds,
        "waiting": meter.waited(),
        "hours": trainer.steps * seconds / 3600,
    }


def print_trial(values: dict[str, float], where: World) -> None:
    """Print what :func:`trial` found, in the first process."""
    if where.rank:
        return
    print(f"parameters   {values['parameters'] / 1e6:.2f} M, of which {values['learn'] / 1e6:.2f} M learn")
    print(f"memory       {values['peak_gib']:.2f} GiB at most per process ({values['state_gib']:.2f} GiB of it state)")
    print(f"steps        {values['steps']} ({values['epochs']:.2f} epochs)")
    print(f"time         {values['seconds_per_step']:.2f} s a step, {100 * values['waiting']:.0f} % waiting for photos")
    print(f"in all       {values['hours']:.2f} hours without validation")


def peak_memory(where: World) -> int:
    """Most bytes that this process has held: of the GPU where it uses one, else of the machine's memory.

    0 on Windows, where Python does not know.
    """
    if where.device.type == "cuda":
        return torch.cuda.max_memory_allocated(where.device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextlib.contextmanager
def advice(config: RunConfig) -> Iterator[None]:
    """Say what to change where memory runs out."""
    try:
        yield
    except RuntimeError as error:
        # on a CPU it is a plain RuntimeError of torch's allocator
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        images, accumulate = config.batch.images, config.batch.accumulate
        smaller = (
            f"batch.images={images // 2} with batch.accumulate={2 * accumulate} (the same global batch), "
            if images > 1
            else ""
        )
        raise TrainingError(
            f"out of memory on {config.system.device} with batch.images={images}: try {smaller}"
            "system.checkpoint_activations=true, system.precision=bfloat16, fewer masks, or system.shard=fsdp2 on "
            f"several devices ({error})"
        ) from error
