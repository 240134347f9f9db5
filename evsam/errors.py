"""The exceptions evsam raises on purpose.

Every message names the argument, what was expected and what came. Each class also derives from the built-in exception
that fits, so callers may catch either.
"""

from __future__ import annotations

__all__ = ["BackendUnavailable", "EvsamError", "ImageError", "PromptError", "WeightsError"]


class EvsamError(Exception):
    """Base class of all errors raised by evsam."""


class PromptError(EvsamError, ValueError):
    """A point, label, box or mask prompt cannot be used."""


class ImageError(EvsamError, ValueError):
    """An image has a wrong type, shape or content."""


class WeightsError(EvsamError, ValueError):
    """A weights file is damaged or does not fit the variant."""


class BackendUnavailable(EvsamError, RuntimeError):  # noqa: N818 - says what is the matter
    """A requested engine, kernel or optional package is not available here; the message says how to get it."""
