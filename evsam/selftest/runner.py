"""Runs checks, one after the other, and tells how they went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

from evsam.errors import EvsamError
from evsam.selftest.check import Check
from evsam.selftest.tolerance import Comparison

__all__ = ["Outcome", "as_line", "header", "run_checks"]


@dataclass(frozen=True)
class Outcome:
    """How a check went.

    Attributes:
        check: what was checked.
        comparison: of result and truth; None if there was no result.
        problem: why not; empty if there was one.
    """

    check: Check
    comparison: Comparison | None
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether there was a result, and close enough."""
        return self.comparison is not None and self.comparison.passed


def run_checks(checks: Sequence[Check], module: ModuleType) -> Iterator[Outcome]:
    """Runs checks; one that raises has failed and does not stop the others.

    Args:
        checks: what to check.
        module: ``evsam._cuda``.
    """
    for check in checks:
        yield _run(check, module)


def _run(check: Check, module: ModuleType) -> Outcome:
    try:
        return Outcome(check, check.run(module))
    except (EvsamError, RuntimeError, TypeError, ValueError) as error:
        return Outcome(check, None, f"{type(error).__name__}: {error}")


def header() -> str:
    """Column titles for :func:`as_line`."""
    return f"{'op':<22} {'dtype':<9} {'error':>9} {'allowed':>9}  {'':<6}  shape"


def as_line(outcome: Outcome) -> str:
    """One line of the table."""
    check, comparison = outcome.check, outcome.comparison
    numbers = f"{comparison.error:>9.2e} {comparison.allowed:>9.2e}" if comparison else f"{'-':>9} {'-':>9}"
    verdict = "ok" if outcome.passed else "FAILED"
    problem = f"  ({outcome.problem})" if outcome.problem else ""
    return f"{check.op:<22} {check.dtype:<9} {numbers}  {verdict:<6}  {check.shape}{problem}"
