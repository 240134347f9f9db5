"""Where weights are: a path, the package, the cache or the hub, in this order."""

from __future__ import annotations

import json
import os
from pathlib import Path

from evsam.errors import BackendUnavailable, WeightsError
from evsam.zoo import VARIANTS, HubFile, Variant

_PACKAGE_DATA = Path(__file__).resolve().parents[1] / "data"


def cache_dir() -> Path:
    """Folder in which weights are looked for by name: ``$EVSAM_CACHE``, else ``evsam`` in the user's cache folder.

    A file ``<variant>.safetensors`` put there, or one under the hub's file name, is found.
    """
    if chosen := os.environ.get("EVSAM_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "evsam"


def record_path(file: HubFile) -> Path:
    """Where a verified download is recorded."""
    return cache_dir() / f"{file.filename}.json"


def recorded(file: HubFile) -> Path | None:
    """The verified download of a hub file, or None if there is none (any more)."""
    try:
        record = json.loads(record_path(file).read_text(encoding="utf-8"))
        path = Path(record["path"])
        known = record["sha256"] == file.sha256
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if known and path.is_file() else None


def bundled(variant: Variant) -> Path | None:
    """The weights that ship inside the package, or None."""
    path = _PACKAGE_DATA / variant.bundled if variant.bundled else None
    return path if path is not None and path.is_file() else None


def cached(variant: Variant) -> Path | None:
    """Weights in the cache, or None: files put there by hand first, then what was downloaded."""
    names = [f"{variant.name}.safetensors"] + ([variant.weights.filename] if variant.weights else [])
    for name in names:
        path = cache_dir() / name
        if path.is_file():
            return path
    return recorded(variant.weights) if variant.weights else None


def resolve(source: str | os.PathLike[str]) -> Path:
    """Find the weights file that ``source`` means.

    Args:
        source: path of a file, or the name of a variant, which is looked for as a file of that name, in the package, in
            the cache (see :func:`cache_dir`) and on the hub.

    Returns:
        Path of an existing file.

    Raises:
        WeightsError: nothing was found; the message says where it was looked for.
        BackendUnavailable: only the hub has it, and the package ``huggingface_hub`` is not installed.

    Example:
        >>> resolve("nano").name
        'nano.safetensors'
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    variant = VARIANTS.get(os.fspath(source))
    if variant is None:
        if path.is_dir():
            raise WeightsError(f"weights {path}: expected a file, got a directory")
        raise WeightsError(f"weights {path}: no such file, and no variant of that name ({', '.join(VARIANTS)})")
    found = bundled(variant) or cached(variant)
    if found is not None:
        return found

    from evsam.weights.hub import download

    tried = (
        f"tried the path {path} (no such file), the package ({variant.bundled or 'nothing bundled'}) and the cache "
        f"{cache_dir()} (not there)"
    )
    try:
        return download(variant.name)
    except (WeightsError, BackendUnavailable) as error:
        raise type(error)(f"weights {variant.name!r}: {tried}; hub: {error}") from error
