"""Files and folders that are written whole or not at all, by whatever name and on whatever end of the process.

What is written goes first to a temporary name beside the target, ``.evsam-<token>.part``, and takes the target's place
when it is complete and on the disk. An exception (a full disk, Ctrl-C) removes it again, with the folders that were
made for it. What a killed process left is removed by the next one that writes to the folder: whoever writes holds a
lock on its temporary name, which ends with the process, so a name that can be locked is nobody's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: age decides what is nobody's, and nobody waits for others
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = ".evsam-", ".part"

_FORGOTTEN = 86400.0
"""Seconds without a change after which a temporary name is nobody's, where files cannot be locked."""

_swept: set[str] = set()
"""Folders in which this process has looked for what others left: once is enough, as folders can be large."""


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Path of a temporary file in the same folder, which takes the place of ``path`` if the block succeeds.

    Missing folders are made. A link stays, and what it points to is replaced; a file keeps its permissions. What is no
    regular file, such as ``/dev/stdout``, is given as it is.

    Raises:
        OSError: the file cannot be written; it names ``path``.
    """
    with replaced_together([path]) as (temporary,):
        yield temporary


@contextlib.contextmanager
def replaced_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """As :func:`replaced` for several files, which take their places in this order once all of them are written.

    Raises:
        OSError: a file cannot be written; none has taken its place then, unless the system fails just as they do.
    """
    # realpath leaves links that lead in circles to the system, which refuses them by name; resolve() has its own error
    targets = [Path(os.path.realpath(path)) if path.is_symlink() else path for path in paths]
    with contextlib.ExitStack() as stack:
        temporaries = [stack.enter_context(_temporary_file(target)) for target in targets]
        with _naming({None: paths[0], **dict(zip(temporaries, paths, strict=True))}):
            yield temporaries
            for temporary in temporaries:
                _flush(temporary)
            for temporary, target in zip(temporaries, targets, strict=True):
                if temporary != target:
                    temporary.replace(target)


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Path of an empty temporary folder beside ``path``, which takes its place as a whole if the block succeeds.

    If another process puts a folder there at the same moment, one of the two is kept.

    Raises:
        OSError: the folder cannot be written.
    """
    with _parents(path), _temporary(path, os.mkdir) as new, _temporary(path, os.mkdir) as old:
        yield new
        with contextlib.suppress(FileNotFoundError):
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if not path.is_dir():
                raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process and no other thread is inside for this path, where the system can do that.

    Raises:
        OSError: the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)  # which the end of the process releases as well
        yield


@contextlib.contextmanager
def claimed_folder(path: Path) -> Iterator[None]:
    """A folder that no other process and no other thread claims meanwhile, where the system can say so.

    It is made if it is missing, and removed in the end if it is empty.

    Raises:
        BlockingIOError: somebody else has claimed it.
        OSError: it cannot be made.
    """
    with _parents(path), contextlib.ExitStack() as stack:
        path.mkdir(exist_ok=True)
        while fcntl is not None:
            path.mkdir(exist_ok=True)
            try:
                handle = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # removed by whoever had it
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # file systems without locks
                break
            if path.exists() and os.path.samestat(path.stat(), os.fstat(handle)):
                break  # else likewise: the lock is on a folder that is gone
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.rmdir()


def check_writable(path: Path) -> None:
    """Make sure, before any work, that a file can be written; missing folders are no obstacle.

    Raises:
        OSError: it is a folder, or its folder is none or may not be written to.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "expected a file to write, got a folder", str(path))
    if not path.exists() or path.is_file():
        check_folder(path.parent)


def check_folder(path: Path) -> None:
    """Make sure, before any work, that files can be written to a folder, which may be missing.

    Raises:
        OSError: it, or the first of its parents that exists, is a file or may not be written to.
    """
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder to write to, got a file", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "expected a folder that may be written to", str(there))


@contextlib.contextmanager
def _temporary_file(target: Path) -> Iterator[Path]:
    """An empty file beside the target, with its permissions; the target itself if it is no regular file."""
    try:
        mode: int | None = target.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if mode is not None and not stat.S_ISREG(mode):
        yield target
        return
    with _parents(target), _temporary(target, lambda path: path.touch(exist_ok=False)) as temporary:
        if mode is not None:
            with contextlib.suppress(OSError):  # of file systems without permissions
                temporary.chmod(stat.S_IMODE(mode))
        yield temporary


@contextlib.contextmanager
def _temporary(target: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new file or folder beside the target, locked by this process; removed in the end, if it is still there."""
    _sweep(target.parent)
    with _naming({None: target}):
        path, handle = _locked_new(target, make)
    try:
        with _naming({path: target}):
            yield path
    finally:
        _remove(path)
        os.close(handle)


def _locked_new(target: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    while True:
        path = target.with_name(f"{_PREFIX}{secrets.token_hex(6)}{_SUFFIX}")
        with _naming({path: target}):
            make(path)
            try:
                handle = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # swept by another process before it was locked
        if fcntl is not None:
            with contextlib.suppress(OSError):  # file systems without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists():
            return path, handle
        os.close(handle)  # likewise


def _sweep(folder: Path) -> None:
    """Remove what processes that are no more have left in a folder."""
    if str(folder) in _swept:
        return
    _swept.add(str(folder))
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
                _remove_if_nobodys(folder / name)


def _remove_if_nobodys(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # gone, or of another user
        return
    try:
        forgotten = time.time() - os.fstat(handle).st_mtime > _FORGOTTEN
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                forgotten = True
            except BlockingIOError:  # somebody writes it
                forgotten = False
            except OSError:  # file systems without locks
                pass
        if forgotten:
            _remove(path)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file is on the disk: writes that were put off fail now, not when the old file is gone."""
    if path.is_file():
        handle = os.open(path, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the missing folders above a path, and remove them again if the block fails and they are empty."""
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def _naming(names: Mapping[Path | None, Path]) -> Iterator[None]:
    """Errors that name a temporary file, or (for None) no file at all, name what was to be written."""
    try:
        yield
    except OSError as error:
        for temporary, path in names.items():
            if error.errno is not None and error.filename == (None if temporary is None else str(temporary)):
                raise OSError(error.errno, error.strerror, str(path)) from error
        raise
