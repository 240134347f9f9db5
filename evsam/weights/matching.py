"""Which variant a set of tensors belongs to, and what is wrong with it if it belongs to none."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from evsam.errors import WeightsError
from evsam.network import expected_tensors
from evsam.record import same_architecture
from evsam.weights.files import of_each
from evsam.zoo import VARIANTS, Variant

Shapes = Mapping[str, tuple[int, ...]]

_LISTED = 3
"""How many names a message lists before it only counts."""

_SHOWN = 64
"""Characters of a name that a message shows."""

_AKIN = 0.5
"""Share of common tensors from which a file is called a damaged copy of a variant rather than something else."""


def identify(shapes: Shapes) -> Variant | None:
    """The variant of the zoo that has exactly these names and shapes, or None."""
    return next((variant for variant in VARIANTS.values() if shapes == expected_tensors(variant)), None)


def choose_variant(label: str, shapes: Shapes, declared: str | Variant | None, wanted: str | Variant | None) -> Variant:
    """The variant of a file.

    Args:
        label: what to call the file in a message.
        shapes: its tensors.
        declared: variant that its metadata describes or names, or None.
        wanted: variant that the caller asked for, or its name, or None.

    Raises:
        WeightsError: the variants contradict each other, or none was given and none fits.
    """
    if declared is not None:
        chosen = _named(label, "its metadata", declared) if isinstance(declared, str) else declared
        _check_wanted(label, chosen, wanted)
    elif wanted is not None:
        chosen = wanted if isinstance(wanted, Variant) else _named(label, "argument variant", wanted)
    found = identify(shapes)
    if declared is None and wanted is None:
        if found is None:
            raise WeightsError(f"{label}: {_resemblance(shapes)}")
        return found
    if found is not None and shapes != expected_tensors(chosen):
        raise WeightsError(
            f"{label}: expected tensors of variant {chosen.name!r}, but they are those of {found.name!r}"
        )
    return chosen


def _named(label: str, source: str, name: object) -> Variant:
    if not isinstance(name, str) or name not in VARIANTS:
        shown = repr(name)  # any text may be in a file
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        raise WeightsError(f"{label}: {source} names {shown}, expected one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def _check_wanted(label: str, declared: Variant, wanted: str | Variant | None) -> None:
    name = wanted.name if isinstance(wanted, Variant) else wanted
    if name not in (None, declared.name):
        raise WeightsError(f"{label}: expected variant {name!r}, but its metadata says {declared.name!r}")
    if isinstance(wanted, Variant) and not same_architecture(declared, wanted):
        raise WeightsError(f"{label}: expected the architecture of {name!r} that was asked for, got another one")


def check_shapes(label: str, shapes: Shapes, variant: Variant) -> None:
    """Raise a WeightsError that says what is missing, too many or misshaped, if anything is."""
    problems = _problems(shapes, variant)
    if problems:
        raise WeightsError(f"{label}: does not fit variant {variant.name!r}: {problems}")


def check_finite(label: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise a WeightsError that names the tensors with NaN or infinite values, if there are any."""
    bad = [name for name, finite in of_each(tensors, lambda tensor: np.isfinite(tensor).all()).items() if not finite]
    if bad:
        raise WeightsError(f"{label}: NaN or infinite values in {_count(bad)}: {_listed(bad)}")


def _resemblance(shapes: Shapes) -> str:
    def share(variant: Variant) -> float:
        expected = expected_tensors(variant)
        common = sum(shapes.get(key) == shape for key, shape in expected.items())
        return common / max(len(expected), len(shapes))

    closest = max(VARIANTS.values(), key=share)
    if share(closest) < _AKIN:
        names = _listed(list(shapes)) if shapes else "nothing"
        return f"fits no variant ({', '.join(VARIANTS)}); it holds {_count(shapes)}: {names}"
    return f"fits no variant; the closest is {closest.name!r}: {_problems(shapes, closest)}"


def _problems(shapes: Shapes, variant: Variant) -> str:
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
