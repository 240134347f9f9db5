"""Train a variant on annotated photos: ``python -m evsam.training.train DATA --out RUN``.

One step: a few crops, several masks of each, a first prompt for each mask; then, for some steps, further rounds with a
click on an error and the last mask fed back. Runs on CPU or GPU, stops after ``--minutes`` of training, writes a
checkpoint every few minutes and goes on from it when started again with the same ``--out``.

Several processes share a run under ``torchrun --nproc-per-node N -m evsam.training.train ...``. On a CPU, take one
process of one thread per core: with more threads each small operation waits for the slowest of them, which hurts as
soon as anything else runs on the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from evsam.nn import EfficientViTSam, Features
from evsam.nn.layers import ConvLayer
from evsam.nn.lite_decoder import LitePromptEncoder
from evsam.training.data.samples import Batch, SampleConfig, SampleMaker, SampleStream
from evsam.training.data.sets import list_sets, read_set
from evsam.training.loading import load_into, load_state, to_device
from evsam.training.losses import ResemblanceLoss, choice_loss, mask_iou, mask_loss
from evsam.training.prompting import error_click, pick
from evsam.training.transfer import find_checkpoint, transfer_backbone
from evsam.training.validation import validate
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE, PIXEL_MEAN, PIXEL_STD

Metrics = dict[str, float]


@dataclasses.dataclass
class Options:
    """Hyper-parameters of a run; each is a command line option of the same name.

    Attributes:
        variant: variant to train.
        start: ``lite0`` copies EfficientNet-Lite0's ImageNet weights, ``none`` starts at random, else the
            run, weights file or variant to start from.
        minutes: training time.
        minutes_full: how many of them, at the end, train on whole frames instead of crops.
        crop: side of the crops.
        images: crops per step.
        images_full: whole frames per step.
        masks: masks per crop.
        lr: peak learning rate; it follows a cosine to a hundredth.
        backbone_lr: the backbone's learning rate as a part of ``lr``.
        weight_decay: not applied to gains, biases and embeddings.
        clip: largest gradient norm.
        ema: decay of the averaged weights.
        loss: ``local-bce`` or ``focal`` (focal : dice 20 : 1, the paper's).
        iou_weight: weight of the IoU head's squared error.
        choice_weight: weight of what is lost by choosing among the three masks of a click by predicted IoU.
        resemblance_weight: weight of the auxiliary loss on features.
        rounds: probabilities of one, two and three rounds of prompts.
        paste: probability of copy-paste.
        box: probability that the first prompt is a box.
        sets: weight of each set as NAME=WEIGHT; all sets alike if empty.
        freeze_stages: so many leading stages of the backbone keep their starting values.
        threads: CPU threads of each trainer process.
        workers: sample-making processes of each trainer process.
        seed: of everything random.
        validate_every: minutes between short validations.
        checkpoint_every: minutes between checkpoints.
        device: torch device.
    """

    variant: str = "nano"
    start: str = "lite0"
    minutes: float = 105.0
    minutes_full: float = 20.0
    crop: int = 256
    images: int = 4
    images_full: int = 2
    masks: int = 6
    lr: float = 1.5e-3
    backbone_lr: float = 0.2
    weight_decay: float = 0.05
    clip: float = 1.0
    ema: float = 0.998
    loss: str = "local-bce"
    iou_weight: float = 3.0
    choice_weight: float = 1.0
    resemblance_weight: float = 0.2
    rounds: tuple[float, ...] = (0.72, 0.2, 0.08)
    paste: float = 0.3
    box: float = 0.5
    sets: tuple[str, ...] = ("coco=.40", "bsds=.19", "ccp=.26", "camvid=.10", "dsb2018=.05")
    freeze_stages: int = 0
    threads: int = 1
    workers: int = 1
    seed: int = 0
    validate_every: float = 20.0
    checkpoint_every: float = 4.0
    device: str = "cpu"


class Trainer:
    """Model, average, optimiser and clock of a run; all of it is in a checkpoint."""

    def __init__(self, data: Path, out: Path, options: Options) -> None:
        self.data, self.out, self.options = data, out, options
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self.rng = random.Random(options.seed)  # alike in all processes, so that they do the same number of rounds
        self.device = torch.device(options.device)
        self.model = EfficientViTSam(options.variant)
        initialise(self.model, options.start)
        to_device(self.model, self.device)
        freeze(self.model, options.freeze_stages)
        self.average = EfficientViTSam(options.variant)
        self.average.load_state_dict(self.model.state_dict())
        to_device(self.average, self.device).eval().requires_grad_(False)
        self.resemblance = ResemblanceLoss().to(self.device)
        self.optimiser = torch.optim.AdamW(self._groups(), lr=options.lr, betas=(0.9, 0.99))
        self.step = 0
        self.seen = 0
        self.elapsed = 0.0  # minutes of training
        if (out / "checkpoint.pt").exists():
            self._load()

    def _groups(self) -> list[dict[str, object]]:
        options = self.options
        embeddings = {id(m.weight) for m in self.model.modules() if isinstance(m, nn.Embedding)}
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        named = [*self.model.named_parameters(), *self.resemblance.named_parameters()]
        for name, parameter in named:
            if parameter.requires_grad:
                plain = parameter.ndim < 2 or id(parameter) in embeddings
                groups.setdefault((".backbone." in name, plain), []).append(parameter)
        return [
            {
                "params": parameters,
                "weight_decay": 0.0 if plain else options.weight_decay,
                "factor": options.backbone_lr if backbone else 1.0,
            }
            for (backbone, plain), parameters in groups.items()
        ]

    def _load(self) -> None:
        state = torch.load(self.out / "checkpoint.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.resemblance.load_state_dict(state["resemblance"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seen, self.elapsed = state["step"], state["seen"], state["elapsed"]
        curves = self.out / "curves.jsonl"
        if curves.exists() and self.rank == 0:  # what was logged after the checkpoint did not happen
            lines = curves.read_text().splitlines(keepends=True)
            curves.write_text("".join(line for line in lines if json.loads(line)["step"] <= self.step))
        # what was drawn before the stop need not be drawn again
        self.rng.seed(self.options.seed + self.step)
        torch.manual_seed(self.options.seed + self.step)

    def save(self) -> None:
        """Write a checkpoint (first process only); a kill while writing leaves the last one whole."""
        if self.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "resemblance": self.resemblance.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seen": self.seen,
            "elapsed": self.elapsed,
        }
        part = self.out / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.out / "checkpoint.pt")

    def _log(self, record: Mapping[str, object]) -> None:
        if self.rank:
            return
        with (self.out / "curves.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _batches(self, full: bool) -> Iterator[Batch]:
        options = self.options
        config = SampleConfig(
            size=self.model.variant.image_size if full else options.crop,
            masks=options.masks,
            scale=(0.6, 1.25) if full else (0.45, 1.4),
            paste=options.paste,
            box=options.box,
            image_size=self.model.variant.image_size,
        )
        weights = {name: float(w) for name, _, w in (item.partition("=") for item in options.sets)}
        names = [name for name in list_sets(self.data, "train") if not weights or weights.get(name, 0) > 0]
        sets = {name: read_set(self.data, "train", name) for name in names}
        maker = SampleMaker(sets, weights or dict.fromkeys(names, 1.0), config)
        stream = SampleStream(
            maker, options.images_full if full else options.images, seed=options.seed + 1 + self.step + 97 * self.rank
        )
        return iter(DataLoader(stream, batch_size=None, num_workers=options.workers))

    def run(self) -> None:
        """Train until the time is up, then save and validate."""
        options = self.options
        crops_until = options.minutes - options.minutes_full
        full = self.elapsed >= crops_until
        batches = self._batches(full)
        last, checkpointed, validated = time.monotonic(), self.elapsed, self.elapsed
        running: Metrics = {}
        with tqdm(total=options.minutes, initial=self.elapsed, unit="min", disable=self.rank > 0) as bar:
            while self.elapsed < options.minutes:
                if not full and self.elapsed >= crops_until:
                    full, batches = True, self._batches(True)
                metrics = self._step(next(batches))
                for name, value in metrics.items():
                    running[name] = running.get(name, value) * 0.98 + value * 0.02
                now = time.monotonic()
                self.elapsed += self._mean((now - last) / 60)
                last = now
                if self.step % 50 == 0:
                    bar.update(self.elapsed - bar.n)
                    bar.set_postfix({name: f"{value:.3f}" for name, value in running.items()})
                    self._log(
                        {"step": self.step, "seen": self.seen, "minutes": round(self.elapsed, 2), "full": full}
                        | {name: round(value, 4) for name, value in running.items()}
                    )
                if self.elapsed - checkpointed >= options.checkpoint_every:
                    self.save()
                    checkpointed = self.elapsed
                if self.elapsed - validated >= options.validate_every:
                    self.validate()
                    validated, last = self.elapsed, time.monotonic()
        self.save()
        self.validate()

    def validate(self) -> None:
        """Score the averaged weights on a fixed part of every validation set and log it (first process only)."""
        if self.rank:
            return
        result: dict[str, dict[str, float]] = {}
        for name in list_sets(self.data, "val"):
            photos = read_set(self.data, "val", name)[::3]
            summary = validate(self.average, photos, clicks=1, masks_per_photo=4).summary()
            result[name] = {prompt: round(scores["all"], 4) for prompt, scores in summary.items()}
            tqdm.write(f"{self.elapsed:.0f} min {name}: {result[name]}")
        self._log({"step": self.step, "minutes": round(self.elapsed, 2), "validation": result})

    def _rate(self) -> float:
        progress = min(1.0, self.elapsed / self.options.minutes)
        warm = min(1.0, 0.02 + self.step / 300)
        return self.options.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _step(self, batch: Batch) -> Metrics:
        options = self.options
        rate = self._rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self.model.train()
        batch = Batch(*(part.to(self.device, non_blocking=True) for part in batch))
        features = self.model.encode(colour_jitter(normalise(batch.images)))
        # The rounds are backpropagated one by one into leaves, so that only one round's activations live at a time.
        leaves = tuple(f.detach().requires_grad_() for f in features)
        metrics = self._rounds(leaves, batch)
        torch.autograd.backward(features, [leaf.grad for leaf in leaves])
        self._share_gradients()
        nn.utils.clip_grad_norm_(self.model.parameters(), options.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self._update_average()
        self.step += 1
        self.seen += len(batch.images) * (dist.get_world_size() if dist.is_initialized() else 1)
        return metrics

    def _mean(self, value: float) -> float:
        """Mean of ``value`` over all processes."""
        if not dist.is_initialized():
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.item() / dist.get_world_size()

    def _share_gradients(self) -> None:
        """Average the gradients over all processes, as one message.

        A step backpropagates in several parts, which DistributedDataParallel's hooks do not expect.
        """
        if not dist.is_initialized():
            return
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for p, part in zip(parameters, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            p.grad = part.view_as(p)

    def _rounds(self, features: Features, batch: Batch) -> Metrics:
        options = self.options
        count, size = batch.images.shape[:2]
        per_image = len(batch.targets) // count
        target = batch.targets.float()[:, None]
        to_frame = FRAME_SIZE / self.model.variant.image_size
        span = FRAME_SIZE - size * to_frame
        origin = (torch.rand(count, 2, device=self.device) * span).repeat_interleave(per_image, 0)
        points = batch.points * to_frame + origin[:, None]
        labels = batch.labels
        rounds = self.rng.choices(range(1, len(options.rounds) + 1), options.rounds)[0]
        previous: Tensor | None = None
        metrics: Metrics = {}
        for number in range(rounds):
            repeated = tuple(f.repeat_interleave(per_image, 0) for f in features)
            logits, iou = self.model.decode(repeated, points, labels, previous, origin)
            masks = mask_loss(logits, target, options.loss)
            best = masks[:, 1:].detach().argmin(1, keepdim=True)
            mask_term = masks[:, 0] + masks[:, 1:].gather(1, best)[:, 0] + 0.04 * masks[:, 1:].mean(1)
            real = mask_iou(logits.detach(), target)
            iou_term = (iou - real).square().mean()
            choice_term = choice_loss(iou[:, 1:], real[:, 1:]).mean()
            loss = 0.5 * mask_term.mean() + options.iou_weight * iou_term + options.choice_weight * choice_term
            loss = loss / rounds
            if number == 0:
                boxed = (labels == 2).any(1)
                lone = real[:, 1:].gather(1, best)[:, 0]
                metrics = {"loss": loss.item() * rounds, "iou_error": iou_term.item(), "choice": choice_term.item()}
                if boxed.any():
                    metrics["box"] = real[boxed, 0].mean().item()
                if not boxed.all():
                    metrics["click_best"] = lone[~boxed].mean().item()
                    chosen = real[:, 1:].gather(1, iou[:, 1:].argmax(1, keepdim=True))[:, 0]
                    metrics["click"] = chosen[~boxed].mean().item()
                encoder = self.model.prompt_encoder
                if options.resemblance_weight and isinstance(encoder, LitePromptEncoder):
                    compared = encoder.compare(features[1])
                    auxiliary = self.resemblance(compared, target)
                    metrics["resemblance"] = auxiliary.item()
                    loss = loss + options.resemblance_weight * auxiliary
            loss.backward()
            if number + 1 < rounds:
                previous = pick(logits, iou, labels).detach()
                click, label = error_click(previous, target)
                click = click * (FRAME_SIZE / LOGITS_SIZE) + origin[:, None]
                points, labels = torch.cat([points, click], 1), torch.cat([labels, label], 1)
        return metrics

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        # batch norm statistics are frozen and alike in both
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)


def initialise(model: EfficientViTSam, start: str) -> None:
    """Give a model its starting values, see :class:`Options`."""
    if start == "lite0":
        transfer_backbone(model, find_checkpoint())
    elif start != "none":
        load_into(model, load_state(start)[1])


def freeze(model: EfficientViTSam, stages: int) -> None:
    """Keep all batch norm statistics, and the weights of the first ``stages`` backbone stages, as they are.

    With four crops a step, batch statistics would be noise; frozen, a batch norm costs nothing (see ConvLayer).
    """
    for module in model.modules():
        if isinstance(module, ConvLayer):
            module.freeze_norm = True
    for stage in list(model.image_encoder.backbone.stages)[:stages]:
        stage.requires_grad_(False)


def normalise(images: Tensor) -> Tensor:
    """Float (B, 3, H, W) in units of the pixel statistics from uint8 (B, H, W, 3), channels last in memory."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device)
    std = torch.tensor(PIXEL_STD, device=images.device)
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def colour_jitter(images: Tensor) -> Tensor:
    """Random saturation, contrast, colour cast and brightness per normalised image (B, 3, H, W)."""
    count, device = len(images), images.device
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(images, grey, (torch.rand(count, 1, 1, 1, device=device) * 1.2 - 0.3).clamp(-0.3, 0.8))
    gain = 1 + 0.25 * (2 * torch.rand(count, 1, 1, 1, device=device) - 1)
    cast = 1 + 0.08 * torch.randn(count, 3, 1, 1, device=device)
    return images * gain * cast + 0.25 * torch.randn(count, 1, 1, 1, device=device)


def parse(arguments: list[str] | None = None) -> tuple[Path, Path, Options]:
    """Command line to data directory, run directory and options."""
    parser = argparse.ArgumentParser(description="Train an evsam model on annotated photos.")
    parser.add_argument("data", type=Path, help="directory with SPLIT/SET.json and SPLIT/SET/FILE")
    parser.add_argument("--out", type=Path, required=True, help="run directory: checkpoint.pt and curves.jsonl")
    for field in dataclasses.fields(Options):
        flag, default = "--" + field.name.replace("_", "-"), field.default
        if isinstance(default, tuple):
            parser.add_argument(flag, nargs="*", type=type(default[0]), default=default, help=f"default {default}")
        else:
            parser.add_argument(flag, type=type(default), default=default, help=f"default {default}")
    values = vars(parser.parse_args(arguments))
    data, out = values.pop("data"), values.pop("out")
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return data, out, Options(**options)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``python -m evsam.training.train``."""
    data, out, options = parse(arguments)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if options.device == "cuda" else "gloo")
    trainer = Trainer(data, out, options)
    if trainer.rank == 0:
        (out / "options.json").write_text(json.dumps(dataclasses.asdict(options), indent=2) + "\n")
    trainer.run()
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
