"""The command line: ``evsam predict``, ``everything``, ``eval``, ``bench``, ``export``, ``selftest``, ``info`` ...

Exit codes: 0 done, 1 it could not be done (one line on stderr says why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    try:
        from evsam.cli.parser import run  # here, where Ctrl-C is caught: imports take the first tenths of a second

        return run(argv)
    except KeyboardInterrupt:
        # Python ends what `python -m` started as killed by the signal, whatever its exit code, once an interrupt passed
        # through code made from a string, which imports and data classes have. It forgets that at the next such code.
        exec("")  # noqa: S102
        return 130
