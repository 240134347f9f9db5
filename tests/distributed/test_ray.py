"""The tasks as callable classes of Ray Data, on a Ray that the test starts, which takes a minute on two cores."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evsam import load
from evsam.distributed import Embed
from tests.thorough import thorough

pytestmark = [thorough, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]  # Ray's own warnings


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    data = pytest.importorskip("ray.data")
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    data.DataContext.get_current().enable_progress_bars = False
    yield data
    ray.shutdown()


def columns(table: Any, *names: str) -> list[list[Any]]:
    return [table.column(name).combine_chunks().to_pylist() for name in names]


def test_two_actors_embed_what_the_model_does(data) -> None:
    random = np.random.default_rng(0)
    photos, rows = {}, []
    for number in range(6):
        key, file = f"{number}.png", io.BytesIO()
        photos[key] = random.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(photos[key]).save(file, "PNG")
        rows.append({"key": key, "bytes": b"broken" if number == 3 else file.getvalue()})
    done = data.from_items(rows, override_num_blocks=3).map_batches(
        Embed,
        fn_constructor_kwargs={"engine_options": {"threads": 1}},
        batch_size=2,
        batch_format="numpy",
        compute=data.ActorPoolStrategy(size=2),
        num_cpus=1,
    )
    # tables, as Ray's own rows cannot have tensors that are missing, which a broken photo's are
    tables = list(done.iter_batches(batch_size=None, batch_format="pyarrow"))
    errors = {key: error for table in tables for key, error in zip(*columns(table, "key", "error"), strict=True)}
    features = {key: values for table in tables for key, values in zip(*columns(table, "key", "features"), strict=True)}
    assert sorted(errors) == sorted(photos)
    assert "cannot be decoded" in errors.pop("3.png")
    with load("nano", threads=1) as sam:
        for key, error in errors.items():
            assert error is None
            wanted = np.asarray(sam.encode(photos[key]).features).astype(np.float16)
            assert np.array_equal(np.asarray(features[key], np.float16).reshape(wanted.shape), wanted)
