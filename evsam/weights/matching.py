"""Which variant a set of tensors belongs to, and what is wrong with it if it belongs to none."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from evsam.errors import WeightsError
from evsam.network import expected_tensors
from evsam.zoo import VARIANTS

Shapes = Mapping[str, tuple[int, ...]]

_LISTED = 3
"""How many names a message lists before it only counts."""

_AKIN = 0.5
"""Share of common tensors from which a file is called a damaged copy of a variant rather than something else."""


def identify(shapes: Shapes) -> str | None:
    """The variant that has exactly these names and shapes, or None."""
    return next((name for name in VARIANTS if shapes == expected_tensors(name)), None)


def choose_variant(label: str, shapes: Shapes, declared: str | None, wanted: str | None) -> str:
    """The variant of a file.

    Args:
        label: what to call the file in a message.
        shapes: its tensors.
        declared: variant that its metadata names, or None.
        wanted: variant that the caller asked for, or None.

    Raises:
        WeightsError: the variants contradict each other, or none was given and none fits.
    """
    for source, name in (("its metadata", declared), ("argument variant", wanted)):
        if name is not None and name not in VARIANTS:
            raise WeightsError(f"{label}: {source} names {name!r}, expected one of {', '.join(VARIANTS)}")
    if declared is not None and wanted is not None and declared != wanted:
        raise WeightsError(f"{label}: expected variant {wanted!r}, but its metadata says {declared!r}")
    found = identify(shapes)
    name = declared or wanted or found
    if name is None:
        raise WeightsError(f"{label}: {_resemblance(shapes)}")
    if found not in (None, name):
        raise WeightsError(f"{label}: expected tensors of variant {name!r}, but they are those of {found!r}")
    return name


def check_shapes(label: str, shapes: Shapes, variant: str) -> None:
    """Raise a WeightsError that says what is missing, too many or misshaped, if anything is."""
    problems = _problems(shapes, variant)
    if problems:
        raise WeightsError(f"{label}: does not fit variant {variant!r}: {problems}")


def check_finite(label: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise a WeightsError that names the tensors with NaN or infinite values, if there are any."""
    bad = [name for name, tensor in tensors.items() if not np.isfinite(tensor).all()]
    if bad:
        raise WeightsError(f"{label}: NaN or infinite values in {_count(bad)}: {_listed(bad)}")


def _resemblance(shapes: Shapes) -> str:
    def share(name: str) -> float:
        expected = expected_tensors(name)
        common = sum(shapes.get(key) == shape for key, shape in expected.items())
        return common / max(len(expected), len(shapes))

    closest = max(VARIANTS, key=share)
    if share(closest) < _AKIN:
        names = _listed(list(shapes)) if shapes else "nothing"
        return f"fits no variant ({', '.join(VARIANTS)}); it holds {_count(shapes)}: {names}"
    return f"fits no variant; the closest is {closest!r}: {_problems(shapes, closest)}"


def _problems(shapes: Shapes, variant: str) -> str:
    expected = expected_tensors(variant)
    missing = [name for name in expected if name not in shapes]
    extra = [name for name in shapes if name not in expected]
    misshaped = [
        f"{name} (expected {expected[name]}, got {shape})"
        for name, shape in shapes.items()
        if name in expected and shape != expected[name]
    ]
    parts = [
        f"{_count(names)} {what}: {_listed(names)}"
        for what, names in (("missing", missing), ("not known to it", extra), ("of another shape", misshaped))
        if names
    ]
    return "; ".join(parts)


def _count(names: Collection[str]) -> str:
    return f"{len(names)} tensor{'' if len(names) == 1 else 's'}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
