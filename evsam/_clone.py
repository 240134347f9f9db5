"""Which package is meant where Python runs in a clone's folder, whose sources it finds first."""

import sys
from filecmp import cmp
from importlib.machinery import PathFinder
from pathlib import Path


def installed(sources: Path) -> str:
    """The installed package's folder, which has the compiled modules and Python files that equal the sources.

    Args:
        sources: The clone's folder ``evsam``; ``training`` stands beside it and is installed as ``evsam.training``.

    Raises:
        ImportError: Nothing is installed, or the sources are other ones than those that were installed.
    """
    compiled = PathFinder.find_spec("evsam._C", [str(Path(entry) / "evsam") for entry in sys.path])
    if compiled is None or compiled.origin is None:
        message = "evsam: expected an installed package, got its sources; run: pip install -e ."
        raise ImportError(message, name="evsam._C")
    package = Path(compiled.origin).parent
    pairs = [(file, package / file.relative_to(sources)) for file in sources.rglob("*.py")]
    training = sources.with_name("training")
    pairs += [(file, package / "training" / file.relative_to(training)) for file in training.rglob("*.py")]
    others = [str(file) for file, copy in sorted(pairs) if not (copy.exists() and cmp(file, copy, shallow=False))]
    if others:
        named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        message = (
            f"evsam: expected sources as they were installed in {package}, got others: {named}; run: pip install -e ."
        )
        raise ImportError(message, name="evsam")
    return str(package)
