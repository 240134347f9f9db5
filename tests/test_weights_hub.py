"""Names resolve in the order path, package, cache, hub; downloads go to a stand-in, never to the network."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from evsam import zoo
from evsam.errors import BackendUnavailable, WeightsError
from evsam.weights import cache_dir, download, expected_tensors, load_weights, locate, resolve, save_weights
from evsam.zoo import VARIANTS

COMMIT = "0123456789abcdef0123456789abcdef01234567"
check_connection = locate.check_connection  # which most tests here replace
CONTENT = b"these would be weights" * 100_000


@dataclass
class StandIn:
    """Behaves like the parts of huggingface_hub that are used."""

    folder: Path
    content: bytes = CONTENT
    error: Exception | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    bars: list[bool] = field(default_factory=list)
    disabled: bool = False

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str) -> str:
        self.calls.append((repo_id, filename, revision))
        self.bars.append(not self.disabled)
        if self.error:
            raise self.error
        path = self.folder / "models--a--b" / "snapshots" / COMMIT / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)
        return str(path)

    def modules(self) -> dict[str, Any]:
        package, utils = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.utils")
        vars(package).update(hf_hub_download=self.hf_hub_download, utils=utils, __path__=[])
        vars(utils).update(
            are_progress_bars_disabled=lambda: self.disabled,
            disable_progress_bars=lambda: setattr(self, "disabled", True),
            enable_progress_bars=lambda: setattr(self, "disabled", False),
        )
        return {module.__name__: module for module in (package, utils)}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A hub whose file for l0 has the checksum that the zoo asks for."""
    stand_in = StandIn(tmp_path / "hub")
    for name, module in stand_in.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    assert VARIANTS["l0"].weights is not None
    file = replace(VARIANTS["l0"].weights, sha256=hashlib.sha256(CONTENT).hexdigest())
    variants = MappingProxyType({**VARIANTS, "l0": replace(VARIANTS["l0"], weights=file)})
    monkeypatch.setattr(zoo, "VARIANTS", variants)
    monkeypatch.setattr(locate, "VARIANTS", variants)
    return stand_in


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache, a package and a working directory without any weights."""
    monkeypatch.setenv("EVSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(locate, "_PACKAGE_DATA", tmp_path / "package")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr(locate, "check_connection", lambda _: None)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


# Resolving


def test_order(tmp_path: Path, hub: StandIn) -> None:
    downloaded = resolve("l0")
    assert downloaded.read_bytes() == CONTENT
    by_hand = _touch(cache_dir() / "efficientvit_sam_l0.pt")
    assert resolve("l0") == by_hand
    converted = _touch(cache_dir() / "l0.safetensors")
    assert resolve("l0") == converted
    _touch(Path("l0"))
    assert resolve("l0") == Path("l0")
    assert len(hub.calls) == 1


def test_bundled_before_cache(tmp_path: Path) -> None:
    in_cache = _touch(cache_dir() / "nano.safetensors")
    assert resolve("nano") == in_cache
    in_package = _touch(tmp_path / "package" / "nano.safetensors")
    assert resolve("nano") == in_package
    assert resolve(in_cache) == in_cache


def test_directory_of_the_name_is_no_weights_file(tmp_path: Path) -> None:
    in_package = _touch(tmp_path / "package" / "nano.safetensors")
    Path("nano").mkdir()
    assert resolve("nano") == in_package


def test_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = _touch(tmp_path / "a.safetensors")
    assert resolve("~/a.safetensors") == path
    monkeypatch.setenv("EVSAM_CACHE", "~/c")
    assert cache_dir() == tmp_path / "c"
    monkeypatch.delenv("EVSAM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / ".cache" / "evsam"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "evsam"


def test_unknown_name() -> None:
    with pytest.raises(WeightsError, match=r"l3: no such file, and no variant of that name \(nano, l0, .*\)"):
        resolve("l3")


def test_nano_that_is_not_bundled() -> None:
    message = (
        r"weights 'nano': tried the path nano \(no such file\), the package \(nano.safetensors\) and the cache .*cache "
        r"\(not there\); hub: variant 'nano' is not on the hub, and this installation does not bundle it"
    )
    with pytest.raises(WeightsError, match=message):
        resolve("nano")


def test_everything_failed_says_what_was_tried(hub: StandIn) -> None:
    hub.error = ConnectionError("Network is unreachable\nand a long story")
    message = (
        r"weights 'l0': tried the path l0 \(no such file\), the package \(nothing bundled\) and the cache .*cache "
        r"\(not there\); hub: mit-han-lab/efficientvit-sam/efficientvit_sam_l0.pt cannot be downloaded "
        r"\(ConnectionError: Network is unreachable\); "
        r"or fetch https://huggingface.co/\S+/efficientvit_sam_l0.pt elsewhere and put it at "
        r"\S+efficientvit_sam_l0.pt, or pass its path$"
    )
    with pytest.raises(WeightsError, match=message):
        load_weights("l0")


def test_hub_package_missing() -> None:
    for function in (download, resolve):
        with pytest.raises(BackendUnavailable, match=r"pip install 'evsam\[hub\]'.*or fetch https://"):
            function("l0")


def test_name_expects_its_own_variant(tmp_path: Path) -> None:
    """A file under the name of a variant that holds another one is not taken silently."""
    rng = np.random.default_rng(0)
    nano = {name: rng.standard_normal(shape, np.float32) for name, shape in expected_tensors("nano").items()}
    save_weights(cache_dir() / "l0.safetensors", nano, "nano")
    with pytest.raises(WeightsError, match="expected variant 'l0', but its metadata says 'nano'"):
        load_weights("l0")
    save_weights(tmp_path / "package" / "nano.safetensors", nano, "nano", dtype="float16")
    assert load_weights("nano").path == tmp_path / "package" / "nano.safetensors"


# Downloading


def test_download(hub: StandIn) -> None:
    path = download("l0")
    assert path.read_bytes() == CONTENT
    assert hub.calls == [("mit-han-lab/efficientvit-sam", "efficientvit_sam_l0.pt", "main")]
    record = json.loads((cache_dir() / "efficientvit_sam_l0.pt.json").read_text())
    assert record == {
        "path": str(path),
        "repo": "mit-han-lab/efficientvit-sam",
        "filename": "efficientvit_sam_l0.pt",
        "commit": COMMIT,
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }


def test_second_download_asks_nobody(hub: StandIn) -> None:
    path = download("l0")
    hub.error = ConnectionError("offline")
    assert download("l0") == resolve("l0") == path
    assert len(hub.calls) == 1


@pytest.mark.parametrize("damage", ["file gone", "record damaged", "record of another checksum", "record without path"])
def test_record_that_no_longer_holds(hub: StandIn, damage: str) -> None:
    path = download("l0")
    record = cache_dir() / "efficientvit_sam_l0.pt.json"
    if damage == "file gone":
        path.unlink()
    elif damage == "record damaged":
        record.write_text("{")
    elif damage == "record of another checksum":
        record.write_text(json.dumps({**json.loads(record.read_text()), "sha256": "0" * 64}))
    else:
        record.write_text("[]")
    assert download("l0").read_bytes() == CONTENT
    assert len(hub.calls) == 2


def test_wrong_checksum(hub: StandIn) -> None:
    hub.content = CONTENT[:-1] + b"?"
    message = (
        "expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}: the download is damaged, or the file on the hub has changed"
    )
    for _ in range(2):  # the damaged file stays in the hub's cache, and must not be taken the second time
        with pytest.raises(WeightsError, match=message):
            resolve("l0")
    assert not (cache_dir() / "efficientvit_sam_l0.pt.json").exists()


@pytest.mark.parametrize("error", [ConnectionError("no route"), ValueError("bad repo"), RuntimeError("closed client")])
def test_unreachable_hub(hub: StandIn, error: Exception) -> None:
    hub.error = error
    with pytest.raises(
        WeightsError, match=f"cannot be downloaded \\({type(error).__name__}: {error}\\); or fetch"
    ) as caught:
        download("l0")
    assert caught.value.__cause__ is error


def test_interruption_is_not_swallowed(hub: StandIn) -> None:
    hub.error = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        download("l0", progress=False)
    assert not hub.disabled


@pytest.mark.parametrize("switched_off", [False, True])
@pytest.mark.parametrize("progress", [False, True])
def test_progress_bar(hub: StandIn, progress: bool, switched_off: bool) -> None:
    hub.disabled = switched_off
    download("l0", progress=progress)
    assert hub.bars == [progress and not switched_off]
    assert hub.disabled == switched_off, "the setting of the program is restored"


def test_download_of_bundled_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="variant 'nano' is not on the hub"):
        download("nano")
    path = _touch(tmp_path / "package" / "nano.safetensors")
    assert download("nano") == path


def test_download_of_an_unknown_variant() -> None:
    with pytest.raises(WeightsError, match="expected one of nano, l0"):
        download("l7")


def test_real_package_offline(tmp_path: Path) -> None:
    """The stand-in cannot notice when the real interface moves; offline, it fails before it needs the network."""
    try:
        version("huggingface_hub")  # not an import: in this process, tests hide the package
    except PackageNotFoundError:
        pytest.skip("huggingface_hub is not installed")
    code = "from evsam.weights import download\ntry: download('l0')\nexcept ValueError as error: print(error)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "EVSAM_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "cannot be downloaded (LocalEntryNotFoundError" in done.stdout
    assert str(tmp_path / "efficientvit_sam_l0.pt") in done.stdout


class TestConnection:
    """Real connections, on this machine only."""

    @pytest.fixture
    def check(self, monkeypatch: pytest.MonkeyPatch, hub: StandIn) -> Any:
        vars(sys.modules["huggingface_hub"]).update(
            try_to_load_from_cache=lambda *_, **__: None, constants=SimpleNamespace(HF_HUB_OFFLINE=False)
        )
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(locate, "check_connection", check_connection)
        return hub

    @pytest.fixture
    def server(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield listening.getsockname()[1]

    @pytest.fixture
    def nobody(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            return closed.getsockname()[1]

    def test_nobody_there(self, check: StandIn, monkeypatch: pytest.MonkeyPatch, nobody: int) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{nobody}")
        connect = mock.Mock(wraps=socket.create_connection)
        monkeypatch.setattr(socket, "create_connection", connect)
        with pytest.raises(WeightsError, match=r"no connection to 127.0.0.1 \(Connection refused\); or fetch https"):
            download("l0")
        assert connect.call_count == 1, "nothing is tried again"
        assert check.calls == []

    def test_no_answer(self, check: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        given_up = threading.Event()
        monkeypatch.setattr(locate, "_PATIENCE", 0.05)

        def silent(*_: object, **__: object) -> None:
            given_up.wait()
            raise TimeoutError

        monkeypatch.setattr(socket, "create_connection", silent)
        with pytest.raises(WeightsError, match=r"no answer within 0\.05 seconds"):
            download("l0")
        given_up.set()

    def test_addresses_that_are_none(self, check: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        for address in ("http://127.0.0.1:none", "https://" + "x" * 100, "nothing"):
            monkeypatch.setenv("HF_ENDPOINT", address)
            with pytest.raises(WeightsError, match="no connection to"):
                download("l0")

    def test_reached(self, check: StandIn, monkeypatch: pytest.MonkeyPatch, server: int) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server}")
        download("l0")
        assert len(check.calls) == 1

    def test_by_a_proxy(self, check: StandIn, monkeypatch: pytest.MonkeyPatch, server: int, nobody: int) -> None:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server}")
        download("l0")
        assert len(check.calls) == 1

    @pytest.mark.parametrize("has", ["file", "offline"])
    def test_no_connection_is_needed(
        self, check: StandIn, monkeypatch: pytest.MonkeyPatch, nobody: int, has: str
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{nobody}")
        hub = vars(sys.modules["huggingface_hub"])
        if has == "file":
            hub["try_to_load_from_cache"] = lambda *_, **__: "/somewhere/l0.pt"
        else:
            hub["constants"].HF_HUB_OFFLINE = True  # the package says so itself, at once
        download("l0")
        assert len(check.calls) == 1
