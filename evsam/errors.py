"""The exceptions evsam raises on purpose, and its warnings.

Every message names the argument, what was expected and what came. Each class also derives from the built-in exception
that fits, so callers may catch either.
"""

from __future__ import annotations

import sys
import warnings

__all__ = [
    "BackendUnavailable",
    "EvsamError",
    "EvsamWarning",
    "ImageError",
    "PromptError",
    "ResultIndexError",
    "WeightsError",
]


class EvsamError(Exception):
    """Base class of all errors raised by evsam."""


class PromptError(EvsamError, ValueError):
    """A point, label, box or mask prompt cannot be used."""


class ImageError(EvsamError, ValueError):
    """An image has a wrong type, shape or content."""


class ResultIndexError(EvsamError, IndexError):
    """A prediction has no such prompt."""


class WeightsError(EvsamError, ValueError):
    """A weights file is damaged or does not fit the variant."""


class BackendUnavailable(EvsamError, RuntimeError):  # noqa: N818 - says what is the matter
    """A requested engine, kernel or optional package is not available here; the message says how to get it."""


class EvsamWarning(UserWarning):
    """Something is done otherwise than the caller probably expects; the message says how to have it without a word."""


def warn(message: str) -> None:
    """Warn whoever called evsam: the warning names the first line outside of the package."""
    level, frame = 1, sys._getframe()  # warnings.warn's own skip_file_prefixes needs Python 3.12
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "evsam":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, EvsamWarning, stacklevel=level)
