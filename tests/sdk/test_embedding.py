from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evsam import Embedding, EvsamError, ImageError
from evsam.embedding import embedding_shapes


@pytest.fixture
def embedding() -> Embedding:
    rng = np.random.default_rng(0)
    features, *lateral = (rng.standard_normal(shape, np.float32) for shape in embedding_shapes("nano"))
    return Embedding(features, tuple(lateral), (400, 600), (683, 1024), "nano", "0123456789abcdef")


def assert_equal(one: Embedding, other: Embedding) -> None:
    for name in ("original_size", "resized_size", "variant", "fingerprint"):
        assert getattr(one, name) == getattr(other, name)
    assert len(one.arrays) == len(other.arrays)
    for a, b in zip((one.features, *one.lateral), (other.features, *other.lateral), strict=True):
        assert a.dtype == b.dtype == np.float32
        assert np.array_equal(a, b)
    for array in other.arrays:
        assert isinstance(array, np.ndarray)
        assert not array.flags.writeable


def test_is_immutable(embedding) -> None:
    for name in ("features", "lateral", "arrays", "original_size", "resized_size", "variant", "fingerprint"):
        with pytest.raises(AttributeError):
            setattr(embedding, name, getattr(embedding, name))
    for array in embedding.arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_features_are_copies_that_torch_takes(embedding) -> None:
    """Without the warning that it has for read-only arrays; warnings are errors in these tests."""
    torch = pytest.importorskip("torch")
    kept = [np.array(array) for array in embedding.arrays]
    for array in (embedding.features, *embedding.lateral):
        torch.from_numpy(array).zero_()
    assert all(np.array_equal(array, before) for array, before in zip(embedding.arrays, kept, strict=True))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(embedding, protocol) -> None:
    assert_equal(embedding, pickle.loads(pickle.dumps(embedding, protocol)))


def test_copies(embedding) -> None:
    assert_equal(embedding, copy.copy(embedding))
    assert_equal(embedding, copy.deepcopy(embedding))


def test_save_and_load(embedding, tmp_path) -> None:
    path = tmp_path / "folder" / "photo.safetensors"
    embedding.save(path)
    assert_equal(embedding, Embedding.load(path))
    assert_equal(embedding, Embedding.load(str(path)))
    assert [file.name for file in path.parent.iterdir()] == ["photo.safetensors"]


def test_save_replaces_a_file_that_is_in_use(embedding, tmp_path) -> None:
    path = tmp_path / "photo.safetensors"
    embedding.save(path)
    first = Embedding.load(path)
    sizes = embedding.original_size, embedding.resized_size
    changed = Embedding(embedding.features + 1, embedding.lateral, *sizes, embedding.variant, embedding.fingerprint)
    changed.save(path)
    assert_equal(embedding, first)
    assert np.array_equal(Embedding.load(path).features, embedding.features + 1)


def test_features_without_lateral_maps(tmp_path) -> None:
    features = np.zeros((256, 64, 64), np.float32)
    one = Embedding(features, (), (1, 2000), (1, 1024), "l0", "0" * 16)
    one.save(tmp_path / "one")
    assert_equal(one, Embedding.load(tmp_path / "one"))


@pytest.mark.parametrize("path", [3, None, b"x", "a\0", "\ud800"])
def test_what_is_no_path(embedding, path) -> None:
    for call in (embedding.save, Embedding.load):
        with pytest.raises(EvsamError, match="path: expected a path, got"):
            call(path)


def test_missing_file(tmp_path) -> None:
    with pytest.raises(ImageError, match=r"path: expected an embedding file, got '.*nothing', which is no file"):
        Embedding.load(tmp_path / "nothing")


@pytest.mark.parametrize("keep", [0, 5, 100, 5000])
def test_truncated_file(embedding, tmp_path, keep) -> None:
    embedding.save(tmp_path / "whole")
    (tmp_path / "part").write_bytes((tmp_path / "whole").read_bytes()[:keep])
    with pytest.raises(ImageError, match="which is damaged"):
        Embedding.load(tmp_path / "part")


def test_file_of_something_else(tmp_path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "weights.safetensors")
    with pytest.raises(ImageError, match=r"expected a file of format evsam.embedding.1, got .* of None"):
        Embedding.load(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, _: t.pop("features"), "damaged"),
        (lambda t, _: t.pop("lateral.1"), "damaged"),
        (lambda t, _: t.update(extra=np.zeros(3, np.float32)), "damaged"),
        (lambda t, _: t.update(features=t["features"][:, :16].copy()), "features of shapes"),
        (lambda t, _: t.update(features=t["features"].astype(np.float16)), "features of shapes"),
        (lambda t, _: t["features"].__setitem__((0, 0, 0), np.nan), "not finite"),
        (lambda _, m: m.pop("fingerprint"), "fingerprint"),
        (lambda t, m: (m.update(variant="own"), t.update(features=t["features"][:, :16].copy())), "features of shapes"),
        (lambda _, m: m.update(variant="l0"), "features of shapes"),
        (lambda _, m: m.update(original_size="[400]"), "size"),
        (lambda _, m: m.update(original_size="[400, 0]"), "size"),
        (lambda _, m: m.update(original_size="four"), "damaged"),
        (lambda _, m: m.update(original_size="[" * 20000), "damaged"),
        (lambda _, m: m.update(original_size=f"[{10**400}, 400]"), "size"),
        (lambda _, m: m.update(original_size=f"[{10**18}, 400]"), "size"),
        (lambda _, m: m.update(original_size="[true, true]"), "size"),
        (lambda _, m: m.update(resized_size="[1024, 683]"), "resized size"),
    ],
)
def test_file_that_does_not_add_up(embedding, tmp_path, change, message) -> None:
    from safetensors import safe_open

    path = tmp_path / "photo.safetensors"
    embedding.save(path)
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata())
    tensors = {name: array.copy() for name, array in load_file(path).items()}
    change(tensors, metadata)
    save_file(tensors, tmp_path / "changed", metadata)
    with pytest.raises(ImageError, match=message) as caught:
        Embedding.load(tmp_path / "changed")
    assert "which is damaged" in str(caught.value)


def test_repr_is_short(embedding) -> None:
    assert repr(embedding) == "<Embedding of an image of 600 x 400 pixels by nano 0123456789abcdef>"
