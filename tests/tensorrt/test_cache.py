"""Plans are kept, and never used where they do not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evsam.engines.tensorrt import TensorRTEngine
from evsam.engines.tensorrt_runtime import builder
from evsam.engines.tensorrt_runtime.builder import install_folder
from evsam.engines.tensorrt_runtime.facts import BuildOptions, Profiles
from evsam.export.folder import make_manifest, write_folder
from evsam.export.options import PLUGINS
from evsam.export.tensorrt import plan_cache
from evsam.writing import locked
from tests.tensorrt.stand_in.install import install_plugins
from tests.tensorrt.test_engine import PROFILES


def start(weights: Any, **more: Any) -> None:
    TensorRTEngine(weights, 1, profiles=more.pop("profiles", PROFILES), **more).close()


def folders() -> list[Path]:
    return sorted(path for path in plan_cache().iterdir() if path.is_dir())


def test_the_second_start_builds_nothing(world, small, weights, quiet) -> None:
    start(weights)
    assert len(world.built) == 2
    assert "building TensorRT plans of nano (fp16, plain) for Stand-in GPU" in quiet.text
    start(weights)
    assert len(world.built) == 2
    (folder,) = folders()
    manifest = json.loads((folder / "evsam.json").read_text())
    assert manifest["key"] == folder.name
    assert manifest["plan"]["machine"] == {
        "gpu": "Stand-in GPU",
        "compute_capability": "8.7",
        "driver": 12060,
        "tensorrt": "10.3.0",
        "plugins": "none",
    }
    assert (manifest["kind"], manifest["variant"], manifest["precision"], manifest["flavour"]) == (
        "tensorrt",
        "nano",
        "fp16",
        "plain",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["decoder.plan", "encoder.plan", "evsam.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"gpu": "Another GPU"},
        {"compute_capability": (8, 6)},
        {"driver": 12080},
        {"tensorrt": "10.3.1"},
        {"tensorrt": "11.4.0"},
    ],
)
def test_another_machine_builds_its_own(machine, small, weights, change) -> None:
    machine()
    start(weights)
    world = machine(**change)
    start(weights)
    assert len(world.built) == 2
    assert len(folders()) == 2


def test_another_model_builds_its_own(world, small, weights) -> None:
    start(weights)
    name = next(name for name in weights.tensors if not name.startswith("image_encoder."))
    other = replace(weights, tensors={**weights.tensors, name: weights.tensors[name] + np.float32(1e-3)})
    start(other)
    start(weights, profiles=Profiles(batch=(1, 1, 2), prompts=(1, 2, 4), points=(1, 2, 8)))
    start(weights, options=BuildOptions(tf32=True))
    start(weights, precision="fp32")
    assert len(folders()) == 5
    assert len(world.built) == 10


def test_another_version_of_the_exporter(world, small, weights, monkeypatch) -> None:
    from evsam.export import onnx

    start(weights)
    monkeypatch.setattr(onnx, "EXPORTER", onnx.EXPORTER + ".1")
    start(weights)
    assert len(folders()) == 2


def test_other_plugins(world, small, weights, monkeypatch, tmp_path) -> None:
    file = tmp_path / "plugins.so"
    for content in (b"one", b"two"):
        file.with_name(content.decode()).write_bytes(content)
        digest = install_plugins(monkeypatch, world, file.with_name(content.decode()), PLUGINS)
        start(weights)
        found = [json.loads((folder / "evsam.json").read_text()) for folder in folders()]
        assert digest in [manifest["plan"]["machine"]["plugins"] for manifest in found]
        assert {manifest["flavour"] for manifest in found} == {"plugins"}
    assert len(folders()) == 2
    start(weights, plugins=False)
    assert len(folders()) == 3
    assert len(world.built) == 6


DAMAGES = {
    "no manifest": lambda folder: (folder / "evsam.json").unlink(),
    "half a manifest": lambda folder: (folder / "evsam.json").write_text('{"format": '),
    "no plan": lambda folder: (folder / "decoder.plan").unlink(),
    "half a plan": lambda folder: (folder / "encoder.plan").write_bytes((folder / "encoder.plan").read_bytes()[:99]),
    "other bytes": lambda folder: (folder / "encoder.plan").write_bytes(
        (folder / "encoder.plan").read_bytes()[:-1] + b"!"
    ),
    "other facts": lambda folder: (folder / "evsam.json").write_text(
        (folder / "evsam.json").read_text().replace('"gpu"', '"cpu"')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_plans_are_built_again(world, small, weights, damage, quiet) -> None:
    start(weights)
    (folder,) = folders()
    DAMAGES[damage](folder)
    start(weights)
    assert "plans are built again" in quiet.text
    assert len(world.built) == 4
    start(weights)
    assert len(world.built) == 4
    assert folders() == [folder]


def test_plans_that_tensorrt_refuses_are_built_again(world, small, weights, quiet) -> None:
    start(weights)
    (folder,) = folders()
    files = {part: (folder / f"{part}.plan").read_bytes() for part in ("encoder", "decoder")}
    manifest = json.loads((folder / "evsam.json").read_text())
    files["decoder"] = b"not a plan"
    plan = manifest["plan"]
    wrong = make_manifest("tensorrt", "nano", "fp16", "plain", "f" * 16, files, "plan", key=folder.name, plan=plan)
    install_folder(folder, files, wrong)
    start(weights)
    assert "plans of the cache are built again: decoder: expected a plan that TensorRT 10.3.0 can load" in quiet.text
    assert "magicTag" in quiet.text
    assert len(world.built) == 4
    start(weights)
    assert len(world.built) == 4


def test_a_cache_that_cannot_be_written(world, small, weights, quiet) -> None:
    plan_cache().parent.mkdir(parents=True)
    plan_cache().write_text("a file")
    start(weights)
    assert "the plans cannot be kept in" in quiet.text
    assert len(world.built) == 2


def test_threads_build_once(world, small, weights) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: start(weights), range(3)))
    assert len(world.built) == 2


def test_an_installed_folder_is_whole(tmp_path) -> None:
    path = tmp_path / "cache" / "key"
    for number in (b"1", b"2"):
        files = {"encoder": number, "decoder": number * 2}
        manifest = make_manifest("tensorrt", "nano", "fp16", "plain", "f", files, "plan")
        install_folder(path, files, manifest)
        assert (path / "encoder.plan").read_bytes() == number
        assert json.loads((path / "evsam.json").read_text()) == manifest
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]


def test_another_process_was_faster(tmp_path, monkeypatch) -> None:
    path = tmp_path / "key"
    files = {"encoder": b"ours", "decoder": b"ours"}
    manifest = make_manifest("tensorrt", "nano", "fp16", "plain", "f", files, "plan")

    def write_late(folder: Path, *arguments: Any) -> None:
        write_folder(folder, *arguments)
        if not path.exists():
            return
        rename = Path.rename

        def renamed(self: Path, target: Path) -> Path:
            result = rename(self, target)
            if self == path:
                path.mkdir()
                (path / "evsam.json").write_text("theirs")
            return result

        monkeypatch.setattr(Path, "rename", renamed)

    monkeypatch.setattr(builder, "write_folder", write_late)
    install_folder(path, files, manifest)
    install_folder(path, files, manifest)
    assert (path / "evsam.json").read_text() == "theirs"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


LOCKER = """
import sys
from pathlib import Path
from evsam.writing import locked
with locked(Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def locking_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock, until its input ends."""
    command = [sys.executable, "-c", LOCKER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        yield process
        process.stdin.close()


@pytest.mark.skipif(os.name == "nt", reason="no locks of files there")
def test_processes_wait_for_each_other(tmp_path) -> None:
    path = tmp_path / "key"
    inside = threading.Event()

    def enter() -> None:
        with locked(path):
            inside.set()

    with locking_process(path) as process:
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not inside.wait(0.2)
    waiting.join()
    assert inside.is_set()
    assert process.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="no locks of files there")
def test_the_lock_of_a_dead_process_is_free(tmp_path) -> None:
    path = tmp_path / "key"
    with locking_process(path) as process:
        process.kill()
        process.wait()
        with locked(path):
            pass
