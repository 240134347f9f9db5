"""What all configurations are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base of all configurations: constant, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
