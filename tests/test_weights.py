"""Reading, checking, writing and converting weights; every error says what is wrong."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import os
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from evsam.errors import BackendUnavailable, WeightsError
from evsam.record import write_record
from evsam.weights import Weights, convert, encoder_fingerprint, expected_tensors, load_weights, save_weights
from evsam.zoo import VARIANTS

RECORD = write_record(VARIANTS["nano"])

Tensors = dict[str, np.ndarray]

FIRST = "image_encoder.backbone.stages.0.op_list.0.conv.weight"
NORM = "image_encoder.norm.weight"


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's cache is seen, and no test reaches the network."""
    monkeypatch.setenv("EVSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


@pytest.fixture(scope="module")
def shared() -> Tensors:
    """Random nano weights, shared: not to be changed."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in expected_tensors("nano").items()}


@pytest.fixture
def nano(shared: Tensors) -> Tensors:
    """Random nano weights; entries may be replaced, arrays not written to."""
    return dict(shared)


def _plain(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file as any tool would write it."""
    save_file(tensors, path, metadata=metadata)
    return path


def _raw(path: Path, entries: dict[str, tuple[str, list[int], bytes]]) -> Path:
    """A safetensors file byte by byte, for dtypes that numpy lacks."""
    header: dict[str, Any] = {}
    end = 0
    for name, (dtype, shape, content) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(content)]}
        end += len(content)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(entry[2] for entry in entries.values()))
    return path


def _checkpoint(path: Path, content: object, **options: Any) -> Path:
    torch = pytest.importorskip("torch")
    torch.save(content, path, **options)
    return path


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _torch(tensors: Tensors) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(value) for name, value in tensors.items()}


def _equal(weights: Weights, tensors: Tensors) -> bool:
    assert set(weights.tensors) == set(tensors)
    assert all(value.dtype == np.float32 for value in weights.tensors.values())
    return all(np.array_equal(weights.tensors[name], value) for name, value in tensors.items())


# Names and shapes


@pytest.mark.parametrize("case", ["l0_coffee", "l1_rocket", "xl0_hubble"])
def test_expected_tensors_are_those_of_the_reference(case: str) -> None:
    from tests.golden import cases

    golden = cases.load(case)
    shapes = {name: shape for name, shape in golden.shapes.items() if not name.endswith("num_batches_tracked")}
    assert expected_tensors(golden.variant) == shapes


def test_expected_tensors_of_an_unknown_variant() -> None:
    with pytest.raises(WeightsError, match="expected one of nano, l0"):
        expected_tensors("l9")


def test_expected_tensors_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        expected_tensors("nano")["x"] = (1,)  # type: ignore[index]


# Reading


def test_round_trip(tmp_path: Path, nano: Tensors) -> None:
    path = tmp_path / "deep" / "a.safetensors"
    save_weights(path, nano, "nano", {"trained": "for a test"})
    weights = load_weights(path)
    assert weights.variant is VARIANTS["nano"]
    assert weights.path == path
    assert weights.metadata == {"trained": "for a test", "evsam.variant": RECORD, "evsam.format": "1"}
    assert _equal(weights, nano)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.safetensors"], "temporary files are left"


@pytest.mark.parametrize("source", [str, Path])
def test_paths_of_any_kind(tmp_path: Path, nano: Tensors, source: Callable[[Path], str | Path]) -> None:
    path = _plain(tmp_path / "a.safetensors", nano)
    assert _equal(load_weights(source(path)), nano)


def test_variant_is_inferred(tmp_path: Path, nano: Tensors) -> None:
    path = _plain(tmp_path / "a.safetensors", nano)
    assert load_weights(path).variant.name == "nano"
    assert load_weights(path, variant="nano").variant.name == "nano"


def test_large_float32_tensors_are_mapped_not_copied(tmp_path: Path, nano: Tensors) -> None:
    tensor = load_weights(_plain(tmp_path / "a.safetensors", nano)).tensors[NORM]
    base = tensor
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)


def test_arrays_of_the_file_cannot_be_written(tmp_path: Path, nano: Tensors) -> None:
    path = _plain(tmp_path / "a.safetensors", nano)
    with pytest.raises(ValueError, match="read-only"):
        load_weights(path).tensors[NORM][:] = 7
    assert _equal(load_weights(path), nano)


def test_float16_is_widened(tmp_path: Path, nano: Tensors) -> None:
    halves = {name: value.astype(np.float16) for name, value in nano.items()}
    path = _plain(tmp_path / "a.safetensors", halves)
    assert _equal(load_weights(path), {name: value.astype(np.float32) for name, value in halves.items()})


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_bfloat16_is_widened(tmp_path: Path, nano: Tensors, kind: str) -> None:
    torch = pytest.importorskip("torch")
    brain = {name: value.bfloat16() for name, value in _torch(nano).items()}
    if kind == "safetensors":
        entries = {
            name: ("BF16", list(value.shape), value.view(torch.int16).numpy().tobytes())
            for name, value in brain.items()
        }
        path = _raw(tmp_path / "a.safetensors", entries)
    else:
        path = _checkpoint(tmp_path / "a.pt", brain)
    assert _equal(load_weights(path), {name: value.float().numpy() for name, value in brain.items()})


def test_unaligned_tensors(tmp_path: Path, nano: Tensors) -> None:
    """Some writers do not pad the header."""
    for pad in range(4):
        path = _raw(
            tmp_path / f"{pad}.safetensors",
            {
                "x" * (pad + 1) + "num_batches_tracked": ("I64", [], bytes(8)),
                **{name: ("F32", list(value.shape), value.tobytes()) for name, value in nano.items()},
            },
        )
        weights = load_weights(path)
        assert _equal(weights, nano)
        assert all(value.flags.aligned for value in weights.tensors.values())


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_batch_counters_are_dropped(tmp_path: Path, nano: Tensors, kind: str) -> None:
    counted = {**nano, FIRST.replace("conv.weight", "norm.num_batches_tracked"): np.array(5, np.int64)}
    if kind == "safetensors":
        path = _plain(tmp_path / "a.safetensors", counted)
    else:
        path = _checkpoint(tmp_path / "a.pt", _torch(counted))
    assert _equal(load_weights(path), nano)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_checkpoints(tmp_path: Path, nano: Tensors, wrap: bool, zipped: bool) -> None:
    state = _torch(nano)
    content = {"state_dict": state, "epoch": 3} if wrap else state
    path = _checkpoint(tmp_path / "a.pt", content, _use_new_zipfile_serialization=zipped)
    weights = load_weights(path)
    assert weights.metadata == {}
    assert _equal(weights, nano)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {
            "model": state,
            "optimizer": {"state": {0: {"exp_avg": next(iter(state.values()))}}},
        },
        lambda state: {"ema": {0.9998: state}, "epoch": 3},
        lambda state: {"epoch": next(iter(state.values())), "model_state_dict": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"state_dict": state, "ema": {0.9998: {name: value + 1 for name, value in state.items()}}},
    ],
    ids=["model", "ema", "model_state_dict", "model and state_dict", "state_dict and ema"],
)
def test_checkpoints_of_training_programs(tmp_path: Path, nano: Tensors, wrap: Callable[[Any], Any]) -> None:
    assert _equal(load_weights(_checkpoint(tmp_path / "a.pt", wrap(_torch(nano)))), nano)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.sam."])
@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_names_of_wrapped_models(tmp_path: Path, nano: Tensors, prefix: str, kind: str) -> None:
    wrapped = {prefix + name: value for name, value in nano.items()}
    if kind == "safetensors":
        path = _plain(tmp_path / "a.safetensors", wrapped)
    else:
        path = _checkpoint(tmp_path / "a.pt", _torch(wrapped) | _torch({"n_averaged": np.array(9)}))
    assert _equal(load_weights(path), nano)


def test_names_of_a_model_whose_parts_are_compiled(tmp_path: Path, nano: Tensors) -> None:
    wrapped = {name.replace("image_encoder.", "image_encoder._orig_mod."): value for name, value in nano.items()}
    assert set(wrapped) != set(nano)
    assert _equal(load_weights(_plain(tmp_path / "a.safetensors", wrapped)), nano)


def test_an_encoder_alone_keeps_its_name(tmp_path: Path, nano: Tensors) -> None:
    encoder = {name: value for name, value in nano.items() if name.startswith("image_encoder.")}
    with pytest.raises(WeightsError, match=r"the closest is 'nano': .* missing: (prompt|mask)_"):
        load_weights(_plain(tmp_path / "a.safetensors", encoder))


def test_archives_that_are_no_checkpoints(tmp_path: Path, nano: Tensors) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/nano.safetensors", b"")
        archive.writestr("weights/README.md", b"")
    message = (
        r"a zip archive, but not of a PyTorch checkpoint; it holds 'weights/nano.safetensors', 'weights/README.md'"
    )
    with pytest.raises(WeightsError, match=message):
        load_weights(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TorchScript as a whole
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    with pytest.raises(WeightsError, match=r"a TorchScript model, which is a program; save its state dict alone"):
        load_weights(path)
    content = _checkpoint(path, _torch(nano)).read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(WeightsError, match="truncated checkpoint: the table at the end of the zip archive is missing"):
        load_weights(path)


def test_checkpoint_of_parameters(tmp_path: Path, nano: Tensors) -> None:
    torch = pytest.importorskip("torch")
    state = {name: torch.nn.Parameter(value) for name, value in _torch(nano).items()}
    assert _equal(load_weights(_checkpoint(tmp_path / "a.pt", state)), nano)


def test_content_decides_not_the_suffix(tmp_path: Path, nano: Tensors) -> None:
    assert _equal(load_weights(_plain(tmp_path / "a.pt", nano)), nano)
    assert _equal(load_weights(_checkpoint(tmp_path / "a.safetensors", _torch(nano))), nano)


def test_header_length_that_looks_like_a_pickle(tmp_path: Path, nano: Tensors) -> None:
    """The first bytes of a safetensors file are a number; 0x..0280 is also how a pickle begins."""
    path = _plain(tmp_path / "a.safetensors", nano)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    padded = (length // 0x10000 + 1) * 0x10000 + 0x0280
    text = content[8 : 8 + length] + b" " * (padded - length)
    path.write_bytes(struct.pack("<Q", padded) + text + content[8 + length :])
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert _equal(load_weights(path), nano)


# Errors of a file


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.pt: no such file, and no variant of that name \(nano, l0, l1"):
        load_weights(tmp_path / "none.pt")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="expected a file, got a directory"):
        load_weights(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.touch()
    with pytest.raises(WeightsError, match=r"a.safetensors: the file is empty"):
        load_weights(path)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"x")

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"a.safetensors: cannot be read: Permission denied"):
        load_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello, these are no weights", "neither a PyTorch checkpoint nor a safetensors file: "),
        (b"\0", "neither a PyTorch checkpoint nor a safetensors file: "),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
            r"got a Git LFS pointer; fetch the file .*\(git lfs pull\)$",
        ),
        (b"\n<!doctype html><title>404</title>", "got a web page; the download went wrong$"),
        (encoded(np.zeros((8, 8, 3), np.uint8), "JPEG"), "got a JPEG image$"),
        (encoded(np.zeros((8, 8, 3), np.uint8), "PNG"), "got a PNG image$"),
        (gzip.compress(b"weights", mtime=0), "got a gzip archive; unpack it first$"),
        (npy(np.zeros(3)), "got an array of NumPy$"),
        (b'{"error": "not found"}', "got a JSON file$"),
        (struct.pack("<Q", 1 << 40) + b"{}", "damaged or truncated safetensors file"),
        (struct.pack("<Q", 20) + b"{this is not json at all", "damaged or truncated safetensors file"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged or truncated checkpoint: the table at the end"),
        (b"\x80\x02" + b"\0" * 100, "damaged"),
        (b"\x80\x02", "damaged"),
    ],
)
def test_other_content(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_weights(path)


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint", "old checkpoint"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, nano: Tensors, kind: str, share: float) -> None:
    if kind == "safetensors":
        path = _plain(tmp_path / "a", nano)
    else:
        path = _checkpoint(tmp_path / "a", _torch(nano), _use_new_zipfile_serialization=kind == "checkpoint")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(path)


class _Malicious:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch evidence",)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("wrap", [False, True])
def test_pickled_code_is_refused(
    tmp_path: Path, nano: Tensors, monkeypatch: pytest.MonkeyPatch, zipped: bool, wrap: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {**_torch(nano), "x": _Malicious()} if wrap else _Malicious()
    path = _checkpoint(tmp_path / "a.pt", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"a.pt: refused, for it holds more than tensors: loading it would run"):
        load_weights(path)
    assert not (tmp_path / "evidence").exists()


def test_plain_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(_Malicious(), protocol=2))
    with pytest.raises(WeightsError, match=r"refused|damaged"):
        load_weights(path)
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a state dict, or one under the key 'state_dict', 'model' or 'ema', got list"),
        ({}, "got a dict without tensors that holds nothing"),
        ({"model": {"a": 1}, "optimizer": {}}, "got a dict without tensors that holds 'a'"),
        ({"a": 1, "optimizer": {}}, "got a dict without tensors that holds 'a', 'optimizer'"),
        ({"ema": {"ema": {"ema": {"ema": {}}}}}, "got a dict without tensors that holds 'ema'"),
        ({"state_dict": {"epoch": 3}}, "got a dict without tensors that holds 'epoch'"),
    ],
)
def test_other_wrapping(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_weights(_checkpoint(tmp_path / "a.pt", content))


def test_entry_that_is_no_tensor(tmp_path: Path, nano: Tensors) -> None:
    with pytest.raises(WeightsError, match="entry 'epoch': expected a tensor, got int"):
        load_weights(_checkpoint(tmp_path / "a.pt", {**_torch(nano), "epoch": 3}))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_tensors_without_all_numbers(tmp_path: Path, nano: Tensors, kind: str) -> None:
    tensors = _torch(nano)
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name] = tensors[name].to_sparse() if kind == "sparse" else tensors[name].to("meta")
    with pytest.raises(WeightsError, match=f"tensor {name}: expected numbers of every element, got one .*{kind}"):
        load_weights(_checkpoint(tmp_path / "a.pt", tensors))


def test_two_models_in_one_do_not_mix(tmp_path: Path, nano: Tensors) -> None:
    twice = {prefix + name: value for prefix in ("a.", "_orig_mod.a.") for name, value in nano.items()}
    with pytest.raises(WeightsError, match="missing"):
        load_weights(_plain(tmp_path / "a.safetensors", twice), "nano")


def test_module_instead_of_state_dict(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(WeightsError, match=r"more than tensors: .*torch.nn.modules.linear.Linear"):
        load_weights(_checkpoint(tmp_path / "a.pt", torch.nn.Linear(1, 1)))


def test_checkpoint_without_torch(tmp_path: Path, nano: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _checkpoint(tmp_path / "a.pt", _torch(nano))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'evsam\[torch\]'"):
        load_weights(path)


def test_safetensors_without_torch(tmp_path: Path, nano: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only not needed: not even tried."""
    path = _plain(tmp_path / "a.safetensors", nano)
    original = builtins.__import__

    def guarded(name: str, *args: Any, **kwargs: Any) -> Any:
        assert name.partition(".")[0] != "torch"
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    assert _equal(load_weights(path), nano)
    assert convert(path, tmp_path / "b.safetensors").variant.name == "nano"


# Errors of the content


def test_wrong_variant_by_argument(tmp_path: Path, nano: Tensors) -> None:
    path = _plain(tmp_path / "a.safetensors", nano)
    with pytest.raises(WeightsError, match="expected tensors of variant 'l1', but they are those of 'nano'"):
        load_weights(path, variant="l1")


def test_wrong_variant_by_metadata(tmp_path: Path, nano: Tensors) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, nano, "nano")
    with pytest.raises(WeightsError, match="expected variant 'l1', but its metadata says 'nano'"):
        load_weights(path, variant="l1")
    _plain(path, nano, {"evsam.variant": "l0"})
    with pytest.raises(WeightsError, match="expected tensors of variant 'l0', but they are those of 'nano'"):
        load_weights(path)


def test_unknown_variant(tmp_path: Path, nano: Tensors) -> None:
    path = _plain(tmp_path / "a.safetensors", nano, {"evsam.variant": "huge"})
    with pytest.raises(WeightsError, match="its metadata names 'huge', expected one of nano, l0"):
        load_weights(path)
    with pytest.raises(WeightsError, match="argument variant names 'L0', expected one of nano, l0"):
        load_weights(_plain(path, nano), variant="L0")
    for wrong in (5, ["nano"]):
        with pytest.raises(WeightsError, match=r"argument variant names .*, expected one of nano, l0"):
            load_weights(path, variant=wrong)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"its metadata names 'x{63}\.\.\., expected one of nano, l0"):
        load_weights(_plain(path, nano, {"evsam.variant": "x" * 100_000}))


def test_newer_format(tmp_path: Path, nano: Tensors) -> None:
    path = _plain(tmp_path / "a.safetensors", nano, {"evsam.format": "2"})
    with pytest.raises(WeightsError, match="expected format 1, got '2': a newer evsam is needed"):
        load_weights(path)


def test_other_model(tmp_path: Path) -> None:
    path = _plain(tmp_path / "a.safetensors", {name: np.zeros(1, np.float32) for name in "abcd"})
    with pytest.raises(WeightsError, match=r"fits no variant \(nano, .*\); it holds 4 tensors: a, b, c, ...$"):
        load_weights(path)
    path = _plain(tmp_path / "b.safetensors", {})
    with pytest.raises(WeightsError, match="it holds 0 tensors: nothing"):
        load_weights(path)


@pytest.mark.parametrize("variant", [None, "nano"])
def test_missing_tensors(tmp_path: Path, nano: Tensors, variant: str | None) -> None:
    del nano[NORM]
    path = _plain(tmp_path / "a.safetensors", nano)
    start = "fits no variant; the closest is 'nano'" if variant is None else "does not fit variant 'nano'"
    with pytest.raises(WeightsError, match=f"{start}: 1 tensor missing: {NORM}$"):
        load_weights(path, variant)
    for name in list(nano)[:5]:
        del nano[name]
    with pytest.raises(WeightsError, match=f"{start}: 6 tensors missing: {FIRST}, .*, .*, \\.\\.\\.$"):
        load_weights(_plain(path, nano), variant)


@pytest.mark.parametrize("variant", [None, "nano"])
def test_extra_tensors(tmp_path: Path, nano: Tensors, variant: str | None) -> None:
    path = _plain(tmp_path / "a.safetensors", {**nano, "head.bias": np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match=r"variant.* 'nano': 1 tensor not known to it: head.bias$"):
        load_weights(path, variant)


@pytest.mark.parametrize("variant", [None, "nano"])
def test_misshaped_tensors(tmp_path: Path, nano: Tensors, variant: str | None) -> None:
    nano[NORM] = nano[NORM][None]
    path = _plain(tmp_path / "a.safetensors", nano)
    message = rf"1 tensor of another shape: {NORM} \(expected \(128,\), got \(1, 128\)\)$"
    with pytest.raises(WeightsError, match=message):
        load_weights(path, variant)


def test_all_problems_at_once(tmp_path: Path, nano: Tensors) -> None:
    nano["other"] = nano.pop(FIRST)
    nano[NORM] = nano[NORM][:3]
    with pytest.raises(WeightsError, match=r"1 tensor missing: .*; 1 tensor not known to it: .*; 1 tensor of ano"):
        load_weights(_plain(tmp_path / "a.safetensors", nano))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_values_that_are_not_finite(tmp_path: Path, nano: Tensors, value: float, dtype: type) -> None:
    bad: np.ndarray = nano[NORM].astype(dtype)
    bad[5] = value
    path = _plain(tmp_path / "a.safetensors", {**nano, NORM: bad})
    with pytest.raises(WeightsError, match=f"a.safetensors: NaN or infinite values in 1 tensor: {NORM}$"):
        load_weights(path)


@pytest.mark.parametrize("dtype", ["float64", "int8", "int32", "bool"])
@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_wrong_dtype(tmp_path: Path, nano: Tensors, dtype: str, kind: str) -> None:
    nano[NORM] = nano[NORM].astype(dtype)
    if kind == "safetensors":
        path, got = _plain(tmp_path / "a", nano), {"float64": "F64", "bool": "BOOL"}.get(dtype, f"I{dtype[3:]}")
    else:
        path, got = _checkpoint(tmp_path / "a", _torch(nano)), dtype
    with pytest.raises(WeightsError, match=f"{NORM}: expected float32, float16 or bfloat16, got {got}$"):
        load_weights(path)


# Writing


def test_strided_arrays_are_written_as_they_look(tmp_path: Path, nano: Tensors) -> None:
    strided = {**nano, FIRST: np.asfortranarray(nano[FIRST]), NORM: np.repeat(nano[NORM], 2)[::2]}
    assert not strided[FIRST].flags.c_contiguous
    save_weights(tmp_path / "a.safetensors", strided, "nano")
    assert _equal(load_weights(tmp_path / "a.safetensors"), nano)


def test_float16_storage(tmp_path: Path, nano: Tensors) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, nano, "nano", dtype="float16")
    with safe_open(path, "numpy") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
    assert path.stat().st_size < 8e6
    assert _equal(load_weights(path), {k: v.astype(np.float16).astype(np.float32) for k, v in nano.items()})


def test_float64_and_counters_can_be_saved(tmp_path: Path, nano: Tensors) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, {**nano, NORM: nano[NORM].astype(float), "x.num_batches_tracked": np.array(1)}, "nano")
    assert _equal(load_weights(path), nano)


def test_variant_and_format_are_not_taken_from_metadata(tmp_path: Path, nano: Tensors) -> None:
    save_weights(tmp_path / "a.safetensors", nano, "nano", {"evsam.variant": "l0", "evsam.format": "7"})
    assert load_weights(tmp_path / "a.safetensors").metadata == {"evsam.variant": RECORD, "evsam.format": "1"}


@pytest.mark.parametrize(
    ("change", "variant", "dtype", "message"),
    [
        ({}, "l0", None, "does not fit variant 'l0': .*missing"),
        ({}, "l7", None, "expected one of nano, l0"),
        ({}, "nano", "int8", "dtype: expected 'float32', 'float16' or None, got 'int8'"),
        ({"x": np.zeros(1, np.float32)}, "nano", None, "1 tensor not known to it: x"),
        ({NORM: np.zeros(128, np.int32)}, "nano", None, f"{NORM}: expected a float array, got int32"),
        ({NORM: np.full(128, np.nan, np.float32)}, "nano", None, f"NaN or infinite values in 1 tensor: {NORM}"),
        ({NORM: np.full(128, 7e4, np.float32)}, "nano", "float16", f"stored as float16: NaN or inf.* {NORM}"),
        ({NORM: np.full(128, 1e300)}, "nano", None, f"stored as float32: NaN or inf.* {NORM}"),
    ],
)
def test_what_is_not_written(
    tmp_path: Path, nano: Tensors, change: Tensors, variant: str, dtype: Any, message: str
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(WeightsError, match=message):
        save_weights(path, {**nano, **change}, variant, dtype=dtype)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_path_that_cannot_be_written(tmp_path: Path, nano: Tensors) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"a.safetensors: cannot be written"):
        save_weights(tmp_path / "file" / "a.safetensors", nano, "nano")


def test_written_file_has_the_usual_permissions(tmp_path: Path, nano: Tensors) -> None:
    (tmp_path / "any").touch()
    save_weights(tmp_path / "w.safetensors", nano, "nano")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_write_is_atomic(tmp_path: Path, nano: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that breaks off leaves the old file, and nothing else."""
    path = tmp_path / "a.safetensors"
    save_weights(path, nano, "nano")

    def broken(target: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
        target.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evsam.weights.store.write_tensor_file", broken)
    with pytest.raises(WeightsError, match="cannot be written: No space left on device"):
        save_weights(path, {name: value + 1 for name, value in nano.items()}, "nano")
    assert _equal(load_weights(path), nano)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


# Converting


@pytest.mark.parametrize("dtype", [None, "float32", "float16"])
@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_convert(tmp_path: Path, nano: Tensors, kind: str, dtype: Any) -> None:
    if kind == "safetensors":
        source = _plain(tmp_path / "in", nano, {"trained": "for a test"})
    else:
        source = _checkpoint(tmp_path / "in", {"state_dict": _torch(nano)})
    destination = tmp_path / "out.safetensors"
    weights = convert(source, destination, dtype=dtype)
    assert weights.path == destination
    assert weights.metadata["evsam.variant"] == RECORD
    assert weights.metadata.get("trained") == ("for a test" if kind == "safetensors" else None)
    stored = np.float16 if dtype == "float16" else np.float32
    assert _equal(weights, {name: value.astype(stored).astype(np.float32) for name, value in nano.items()})


def test_convert_in_place(tmp_path: Path, nano: Tensors) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, nano, "nano")
    before = load_weights(path)
    convert(path, path, dtype="float16")
    assert path.stat().st_size < 8e6
    assert _equal(before, nano), "weights in use are not changed under their user"


def test_convert_errors(tmp_path: Path, nano: Tensors) -> None:
    source = _plain(tmp_path / "a.safetensors", nano)
    with pytest.raises(WeightsError, match=r"expected a path that ends in .safetensors, got .*b\.pt"):
        convert(source, tmp_path / "b.pt")
    with pytest.raises(WeightsError, match="expected tensors of variant 'l2', but they are those of 'nano'"):
        convert(source, tmp_path / "b.safetensors", variant="l2")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_released_names_predict_the_same_after_convert(
    tmp_path: Path,
    seeded_tensors: Callable[[str], Tensors],
    photo: Callable[[str], np.ndarray],
) -> None:
    """From a checkpoint as the authors release it, counters included, to a safetensors file."""
    pytest.importorskip("torch")
    import evsam
    from tests.golden import cases

    golden = cases.load("l0_coffee")
    released = {name: np.zeros((), np.int64) for name in golden.shapes if name.endswith("num_batches_tracked")}
    released.update(seeded_tensors("l0"))
    assert set(released) == set(golden.shapes)
    source = _checkpoint(tmp_path / "efficientvit_sam_l0.pt", {"state_dict": _torch(released)})
    convert(source, tmp_path / "l0.safetensors")

    box = golden.prompts["box"].boxes
    answers = []
    for path in (source, tmp_path / "l0.safetensors"):
        sam = evsam.load(path)
        assert sam.variant.name == "l0"
        answers.append(sam.predict(photo("coffee.png"), boxes=box))
    np.testing.assert_array_equal(answers[0].logits, answers[1].logits)
    np.testing.assert_array_equal(answers[0].masks, answers[1].masks)
    np.testing.assert_allclose(answers[0].scores, golden.prompts["box"].iou, rtol=0, atol=cases.IOU_ATOL)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_file_that_was_read_is_not_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "nano.safetensors"
    save_weights(path, load_weights("nano").tensors, "nano")
    weights = load_weights(path)
    encoder_fingerprint(weights)
    maps = Path("/proc/self/smaps").read_text().split(str(path))
    assert len(maps) == 2, "the tensors are views of the file"
    (resident,) = (int(line.split()[1]) << 10 for line in maps[1].splitlines()[:8] if line.startswith("Rss:"))
    assert resident < path.stat().st_size / 4
