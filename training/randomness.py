"""Random numbers that depend on seed, step and process alone: nothing to save, and a resumed run draws the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch


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
