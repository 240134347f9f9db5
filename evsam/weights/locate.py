"""Where weights are (a path, the package, the cache or the hub, in this order), and fetching them from the hub."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evsam.errors import BackendUnavailable, WeightsError
from evsam.weights.files import sha256
from evsam.writing import replaced
from evsam.zoo import VARIANTS, HubFile, Variant, get_variant

_HUB = "https://huggingface.co"

_PATIENCE = 5.0
"""Seconds to wait for a connection to the hub."""

_PACKAGE_DATA = Path(__file__).resolve().parents[1] / "data"


def cache_dir() -> Path:
    """Folder in which weights are looked for by name: ``$EVSAM_CACHE``, else ``evsam`` in the user's cache folder.

    A file ``<variant>.safetensors`` put there, or one under the hub's file name, is found.
    """
    if chosen := os.environ.get("EVSAM_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "evsam"


def packed_dir() -> Path:
    """Folder of the native engine's packed weights (docs/environment.md)."""
    return cache_dir() / "packed"


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
    name = str(source)[:200]
    try:
        path = Path(source).expanduser()
        if path.is_file():
            return path
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # too long, with a NUL, or of a user without a home
        raise WeightsError(f"weights {name!r}: expected a path, got one that is none ({error.args[-1]})") from error
    variant = VARIANTS.get(os.fspath(source))
    if variant is None:
        if path.is_dir():
            raise WeightsError(f"weights {path}: expected a file, got a directory")
        close = sorted(get_close_matches(path.name, VARIANTS, 3, cutoff=0.5))
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise WeightsError(f"weights {path}: no such file, and no variant of that name ({', '.join(VARIANTS)}){hint}")
    found = bundled(variant) or cached(variant)
    if found is not None:
        return found

    tried = (
        f"tried the path {path} (no such file), the package ({variant.bundled or 'nothing bundled'}) and the cache "
        f"{cache_dir()} (not there)"
    )
    try:
        return download(variant.name)
    except (WeightsError, BackendUnavailable) as error:
        raise type(error)(f"weights {variant.name!r}: {tried}; hub: {error}") from error


def download(variant: str, *, progress: bool = True) -> Path:
    """Fetch the weights of a variant, unless they are here already.

    The package ``huggingface_hub`` keeps the file in its own cache, resumes a download that broke off and draws the
    progress bar. The checksum is verified once; commit and checksum are then recorded in :func:`cache_dir`.

    Args:
        variant: a name in :data:`evsam.zoo.VARIANTS`.
        progress: whether to draw a progress bar on the error stream.

    Returns:
        Path of the file: a released checkpoint, or the bundled file of a variant that ships with the package.

    Raises:
        WeightsError: unknown variant, hub out of reach, or a wrong checksum; the message says what to do.
        BackendUnavailable: the package ``huggingface_hub`` is not installed.

    Example:
        >>> download("nano").name
        'nano.safetensors'
    """
    record = get_variant(variant)
    file = record.weights
    if file is None:
        if (path := bundled(record)) is not None:
            return path
        raise WeightsError(f"variant {variant!r} is not on the hub, and this installation does not bundle it")
    if (path := recorded(file)) is not None:
        return path
    path = _fetch(file, progress=progress)
    digest = sha256(path)
    if digest != file.sha256:
        raise WeightsError(
            f"{path}: expected SHA-256 {file.sha256}, got {digest}: the download is damaged, or the file on the hub "
            "has changed. Delete it and try again; to use it as it is, pass its path"
        )
    _record(file, path)
    return path


def _fetch(file: HubFile, *, progress: bool) -> Path:
    try:
        import huggingface_hub
        import huggingface_hub.utils  # not an attribute of the package before it is imported
    except ImportError as error:
        raise BackendUnavailable(
            f"downloading weights needs huggingface_hub (pip install 'evsam[hub]'); {_by_hand(file)}"
        ) from error
    check_connection(file)
    try:
        with _progress_bars(huggingface_hub.utils, shown=progress):
            path = huggingface_hub.hf_hub_download(file.repo, file.filename, revision=file.revision)
    except Exception as error:  # its classes, and those of the HTTP client below it, differ from version to version
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise WeightsError(f"{file.repo}/{file.filename} cannot be downloaded ({reason}); {_by_hand(file)}") from error
    return Path(path)


def check_connection(file: HubFile) -> None:
    """Find out in seconds that the hub cannot be reached, which its package tries again for minutes.

    Raises:
        WeightsError: neither the hub nor the proxy before it can be reached.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE or isinstance(
        try_to_load_from_cache(file.repo, file.filename, revision=file.revision), str
    ):
        return  # the package makes do with that
    from urllib.request import getproxies, proxy_bypass

    url = urlsplit(os.environ.get("HF_ENDPOINT") or _HUB)
    proxy = getproxies().get(url.scheme)
    if proxy and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    problems = [f"no answer within {_PATIENCE:g} seconds"]

    def connect() -> None:
        try:
            address = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
            socket.create_connection(address, timeout=_PATIENCE).close()
            problems.clear()
        except OSError as error:
            problems[0] = error.strerror or str(error)
        except ValueError as error:  # no port, or no name
            problems[0] = str(error)

    attempt = threading.Thread(target=connect, daemon=True)  # looking up a name has no time limit of its own
    attempt.start()
    attempt.join(_PATIENCE)
    if problems:
        raise WeightsError(f"no connection to {url.hostname} ({problems[0]}); {_by_hand(file)}")


def _by_hand(file: HubFile) -> str:
    return f"or fetch {file.url} elsewhere and put it at {cache_dir() / file.filename}, or pass its path"


@contextmanager
def _progress_bars(utils: Any, *, shown: bool) -> Iterator[None]:
    """Hide the bars for the time of one download; whoever has switched them off for good is left in peace."""
    hide = not shown and not utils.are_progress_bars_disabled()
    if hide:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            utils.enable_progress_bars()


def _record(file: HubFile, path: Path) -> None:
    """Write down what was fetched. The hub's cache keeps files under ``snapshots/<commit>/``."""
    commit = next((part for part in reversed(path.parts) if re.fullmatch(r"[0-9a-f]{40}", part)), None)
    text = {"path": str(path), "repo": file.repo, "filename": file.filename, "commit": commit, "sha256": file.sha256}
    with replaced(record_path(file)) as temporary:
        temporary.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
