"""Checks of arguments that many functions have, and how a message shows what came instead."""

from __future__ import annotations

import os
from collections.abc import Collection

import numpy as np

from evsam.errors import EvsamError

_SHOWN = 80
"""Characters of a value in a message."""


def shown(value: object) -> str:
    """A value as a message shows it: its repr in one line, cut where it is long.

    Example:
        >>> shown(np.zeros((300, 400)))[:30], len(shown("x" * 1000))
        ('array([[0., 0., 0., ..., 0., 0', 80)
    """
    if isinstance(value, str) and len(value) > _SHOWN:
        value = f"{value[: _SHOWN - 5]}..."
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - of anybody's class, and of integers with too many digits
        text = f"a {type(value).__module__}.{type(value).__qualname__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def is_one_of(value: object, names: Collection[str]) -> bool:
    """Whether a value of any type is one of some names; arrays of texts, which ``in`` fails with, are not."""
    return isinstance(value, str) and value in names


def check_flag(name: str, value: object, error: type[EvsamError] = EvsamError, expected: str = "True or False") -> bool:
    """True or False, which may also be NumPy's, or the numbers 1 and 0.

    Raises:
        EvsamError: another value.
    """
    if isinstance(value, (bool, np.bool_, int, float, np.number)) and value in (0, 1):
        return bool(value)
    raise error(f"{name}: expected {expected}, got {shown(value)}")


def path_text(name: str, path: object, kind: type[EvsamError] = EvsamError) -> str:
    """A path, or a URL, as text.

    Raises:
        EvsamError: it is none, or no system has such a name; the message calls it by ``name``.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise kind(f"{name}: expected a path, got {type(path).__module__}.{type(path).__qualname__}")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise kind(f"{name}: expected a path, got {shown(text)}, which is no Unicode text") from error
    if b"\0" in encoded:
        raise kind(f"{name}: expected a path, got {shown(text)}, which has a NUL character")
    return text
