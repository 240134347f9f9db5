"""What tests leave out unless ``EVSAM_THOROUGH`` is set: what takes long and tells little that shorter ones do not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

THOROUGH = bool(os.environ.get("EVSAM_THOROUGH"))

thorough = pytest.mark.skipif(not THOROUGH, reason="takes long: EVSAM_THOROUGH=1 runs it")


def sparing(values: Iterable[Any], *long: Any) -> list[Any]:
    """Values of a parameter, of which some are for thorough tests only."""
    return [pytest.param(value, marks=thorough) if value in long else value for value in values]
