"""Nothing read from outside is run: no call in the package that could do that, and files that try it do nothing."""

from __future__ import annotations

import ast
import io
import os
import pickle
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evsam
from evsam.datasets.sa1b import index_path, open_index
from evsam.distributed import shards
from evsam.engines.native import NativeEngine
from evsam.errors import EvsamError
from evsam.evaluation.fidelity import EmbeddingFiles
from tests.builds import ROOT
from tests.own_variants import NANO_LIKE, own_weights

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
FORBIDDEN_CALLS = {"eval", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system"}


def findings(source: str) -> Iterator[str]:
    """What a program's text has that could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
            # an empty string runs nothing: evsam/cli/__init__.py
            constant = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == ""
            if name in FORBIDDEN_CALLS or (name == "exec" and not constant):
                yield name
            if name == "torch.load" and keywords.get("weights_only") != "True":
                yield "torch.load without weights_only=True"
            if keywords.get("allow_pickle", "False") != "False" or (name == "np.load" and len(node.args) > 2):
                yield f"{name} with allow_pickle"


@pytest.mark.parametrize("folder", ["evsam", "training"])
def test_nothing_that_is_read_can_run(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 10
    found = {str(path.relative_to(ROOT)): list(findings(path.read_text())) for path in files}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, None, True)",
        "yaml.load(text)",
        "eval(text)",
        "exec(text)",
    ],
)
def test_what_is_looked_for_is_found(source: str) -> None:
    assert list(findings(source))


class _Program:
    """A pickle of it makes the folder ``evidence`` in the one where it is read."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("evidence",)


def _npy() -> bytes:
    """An array file of objects, which NumPy keeps as a pickle."""
    file = io.BytesIO()
    np.save(file, np.array([_Program()], object), allow_pickle=True)
    return file.getvalue()


@pytest.fixture(autouse=True)
def _nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "evidence").exists()


def test_the_program_would_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Program()))
    (tmp_path / "evidence").rmdir()
    np.load(io.BytesIO(_npy()), allow_pickle=True)
    (tmp_path / "evidence").rmdir()


@pytest.mark.parametrize("content", [pickle.dumps(_Program()), _npy()], ids=["pickle", "npy"])
class TestFilesThatTryToRun:
    """Each would, were it read by pickle, or by NumPy with allow_pickle."""

    def test_embedding(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "photo.safetensors").write_bytes(content)
        with pytest.raises(evsam.ImageError, match=r"expected an embedding file, got .*damaged"):
            evsam.Embedding.load(tmp_path / "photo.safetensors")

    def test_state_of_a_tracker(self, tmp_path: Path, content: bytes) -> None:
        with evsam.load("nano", engine="native", threads=1) as sam:
            own = evsam.Tracker(sam).state()
            (tmp_path / "tracker.evsam").write_bytes(content)
            with pytest.raises(EvsamError, match=r"state: expected that of a tracker .* got other bytes"):
                evsam.Tracker.load(tmp_path / "tracker.evsam", sam)
            with pytest.raises(EvsamError, match=r"state: expected that of a tracker .* damaged"):
                evsam.Tracker.restore(sam, own.partition(b"\n")[0] + b"\n" + content)
            sized = own.replace(b"[0, 0]", b"[40, 60]")
            assert sized != own
            with pytest.raises(EvsamError, match="state: "):
                evsam.Tracker.restore(sam, sized + content)

    def test_packed_weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        monkeypatch.setenv("EVSAM_CACHE", str(tmp_path / "cache"))
        weights = own_weights(NANO_LIKE)

        def load() -> tuple[str, Path]:
            cache = NativeEngine(weights, 1, packed_cache=True, packed_least=0).packed_cache
            return cache.state, Path(cache.path)

        state, path = load()
        assert state == "written"
        sound = path.read_bytes()
        path.write_bytes(content)
        assert load()[0] == "written"  # packed anew, over it
        assert path.read_bytes() == sound

    def test_array_of_a_teacher(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "photo.npy").write_bytes(content)
        with pytest.raises(EvsamError, match=r"that of photo\.jpg cannot be read: .*allow_pickle"):
            EmbeddingFiles(tmp_path).features("photo.jpg")

    def test_index_of_a_tar(self, tmp_path: Path, content: bytes) -> None:
        tar = tmp_path / "sa.tar"
        with tarfile.open(tar, "w") as file:
            file.addfile(tarfile.TarInfo("sa_1.jpg"), io.BytesIO())
        expected = open_index(tar)
        path = index_path(tar, None)
        with np.load(path, allow_pickle=False) as kept:
            stamp = kept["stamp"]
        path.write_bytes(content)
        assert open_index(tar).names.tolist() == expected.names.tolist()  # made anew
        np.savez(path, stamp=stamp, names=np.array([_Program()], object), spans=expected.spans)
        assert open_index(tar).names.tolist() == expected.names.tolist()

    def test_shard_of_a_run(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / f"part{shards.SUFFIXES['webdataset']}"
        with tarfile.open(path, "w") as file:
            member = tarfile.TarInfo("0.embedding.npy")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        with pytest.raises(ValueError, match="allow_pickle"):
            shards.read_shard(path)

    def test_cached_embeddings_of_a_teacher(self, tmp_path: Path, content: bytes) -> None:
        pytest.importorskip("torch")
        from evsam.training.data.embeddings import CacheError, EmbeddingCache, Range, ShardWriter
        from evsam.training.teachers import TeacherInfo

        teacher = TeacherInfo("teacher", "0", 1024, ((1, 64, 64),), paired=False)
        writer = ShardWriter(tmp_path, Range("photos", 0, 0, 1, 1, teacher, "float32"))
        writer.put(0, "photo", 0, [np.ones((1, 64, 64), np.float16)])
        writer.finish()
        array = next(tmp_path.rglob("*.npy"))
        array.write_bytes(content.ljust(array.stat().st_size, b"."))  # of the size that the shard's json names
        with pytest.raises(CacheError, match=r"damaged: .*(pickle|Python objects)"):
            EmbeddingCache(tmp_path).get("photo")
