"""Files and folders are written whole or not at all, and what killed processes left goes away."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evsam import Embedding, writing
from evsam.writing import (
    check_folder,
    check_writable,
    claimed_folder,
    replaced,
    replaced_folder,
    replaced_together,
)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture
def small_files():
    """Files end at 10,000 bytes, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


class TestFile:
    def test_takes_its_place_at_the_end(self, tmp_path) -> None:
        path = tmp_path / "new" / "folder" / "file"
        with replaced(path) as temporary:
            temporary.write_text("new")
            assert temporary.parent == path.parent
            assert not path.exists()
        assert path.read_text() == "new"
        assert names(path.parent) == ["file"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
    def test_an_exception_leaves_what_was_there(self, tmp_path, error) -> None:
        (tmp_path / "file").write_text("old")
        for path in (tmp_path / "file", tmp_path / "new" / "folder" / "file"):
            with pytest.raises(error), replaced(path) as temporary:  # noqa: PT012
                temporary.write_text("half")
                raise error
        assert (tmp_path / "file").read_text() == "old"
        assert names(tmp_path) == ["file"]

    def test_full_disk(self, tmp_path, small_files) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with pytest.raises(OSError, match=f"too large.*'{path}'$"), replaced(path) as temporary:
            temporary.write_bytes(b"x" * 20_000)
        assert path.read_text() == "old"
        assert names(tmp_path) == ["file"]

    @pytest.mark.parametrize("length", [1, 230, 255])
    def test_any_name_that_the_system_has(self, tmp_path, length) -> None:
        path = tmp_path / ("n" * length)
        with replaced(path) as temporary:
            temporary.write_text("text")
        assert path.read_text() == "text"

    def test_permissions_and_links_stay(self, tmp_path) -> None:
        (tmp_path / "elsewhere").mkdir()
        real, link = tmp_path / "elsewhere" / "real", tmp_path / "link"
        real.write_text("old")
        real.chmod(0o640)
        link.symlink_to(real)
        with replaced(link) as temporary:
            temporary.write_text("new")
        assert link.is_symlink()
        assert real.read_text() == "new"
        assert real.stat().st_mode & 0o777 == 0o640

    def test_links_in_circles_are_refused_by_name(self, tmp_path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(OSError, match="symbolic links") as caught, replaced(tmp_path / "a"):
            pytest.fail("there is nothing to write to")
        assert caught.value.filename in (str(tmp_path / "a"), str(tmp_path / "b"))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]

    def test_a_new_file_has_the_usual_permissions(self, tmp_path) -> None:
        (tmp_path / "usual").touch()
        with replaced(tmp_path / "file"):
            pass
        assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode

    def test_what_is_no_file_is_not_replaced(self, tmp_path) -> None:
        with replaced(Path(os.devnull)) as temporary:
            temporary.write_text("text")
        assert Path(os.devnull).is_char_device()
        with pytest.raises(IsADirectoryError, match=str(tmp_path)), replaced(tmp_path):
            pass

    def test_errors_name_what_was_to_be_written(self, tmp_path) -> None:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "below"
        with pytest.raises(OSError, match=str(tmp_path / "file")), replaced(path):
            pass

    def test_embedding_with_a_long_name(self, tmp_path, sam, image) -> None:
        path = tmp_path / ("e" * 240)
        sam.encode(image).save(path)
        assert Embedding.load(path).original_size == (80, 120)


def test_several_files_are_replaced_together(tmp_path, small_files) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("old")
    with pytest.raises(OSError, match="too large"), replaced_together(paths) as (first, second):  # noqa: PT012
        first.write_text("new")
        second.write_bytes(b"x" * 20_000)
    assert [path.read_text() for path in paths] == ["old", "old"]
    with replaced_together(paths) as (first, second):
        first.write_text("new")
        assert paths[0].read_text() == "old"
        second.write_text("new")
    assert [path.read_text() for path in paths] == ["new", "new"]
    assert names(tmp_path) == ["a", "b"]


def test_folder(tmp_path) -> None:
    path = tmp_path / "folder"
    for content in ("first", "second"):
        with replaced_folder(path) as new:
            (new / content).write_text(content)
        assert names(path) == [content]
    with pytest.raises(KeyboardInterrupt), replaced_folder(path) as new:  # noqa: PT012
        (new / "third").write_text("third")
        raise KeyboardInterrupt
    assert names(path) == ["second"]
    assert names(tmp_path) == ["folder"]


KILLED = """
import os, signal, sys
from pathlib import Path
from evsam import writing
with getattr(writing, sys.argv[1])(Path(sys.argv[2])) as temporary:
    (temporary / "part" if temporary.is_dir() else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("function", ["replaced", "replaced_folder"])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, monkeypatch, function) -> None:
    monkeypatch.setattr(writing, "_swept", set())
    with replaced(tmp_path / "slow") as alive:
        subprocess.run([sys.executable, "-c", KILLED, function, str(tmp_path / "target")], check=False)
        left = [name for name in names(tmp_path) if name != alive.name]
        assert left
        monkeypatch.setattr(writing, "_swept", set())
        with replaced(tmp_path / "next"):
            pass
        assert names(tmp_path) == sorted([alive.name, "next"])
    assert names(tmp_path) == ["next", "slow"]


def test_without_locks_age_decides(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(writing, "fcntl", None)
    monkeypatch.setattr(writing, "_swept", set())
    for name, age in ((".evsam-old.part", 2 * 86400), (".evsam-new.part", 10)):
        (tmp_path / name).touch()
        time = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (time, time))
    with replaced(tmp_path / "file"):
        pass
    assert names(tmp_path) == [".evsam-new.part", "file"]


def test_a_claimed_folder_is_one_users(tmp_path) -> None:
    path = tmp_path / "new" / "folder"
    with claimed_folder(path):
        (path / "file").touch()
        with pytest.raises(BlockingIOError), claimed_folder(path):
            pass
        program = "import sys, pathlib; from evsam.writing import claimed_folder\n"
        program += "with claimed_folder(pathlib.Path(sys.argv[1])): pass"
        other = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
        assert "BlockingIOError" in other.stderr
        assert path.exists(), "others that are refused do not remove it"
    assert names(path) == ["file"], "what is in it stays"
    (path / "file").unlink()
    with pytest.raises(ZeroDivisionError), claimed_folder(path):
        raise ZeroDivisionError
    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new") == [], "an empty one does not"


def test_checks_before_work(tmp_path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "new", tmp_path / "no" / "folder" / "yet", Path(os.devnull), Path("x")):
        check_writable(path)
    with pytest.raises(OSError, match="expected a file to write, got a folder"):
        check_writable(tmp_path)
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="expected a folder to write to, got a file"):
            check_folder(path)
    if os.getuid():  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(OSError, match="may be written to"):
            check_folder(tmp_path / "new")
        tmp_path.chmod(0o700)
