"""Packages of the extra ``distributed``, loaded where they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from evsam.errors import BackendUnavailable


def needed(module: str, what: str) -> Any:
    """A module of the extra.

    Args:
        module: its name.
        what: needs it, for the message.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BackendUnavailable(f"{what} needs {package}; use pip install 'evsam[distributed]'") from error
