"""Sources of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evsam.datasets.records import DataError
from evsam.training.config import SourceConfig
from evsam.training.data.sources import open_source
from tests.datasets.made import COCO_URL, coco_file, members, pair, write_tar


def test_configurations_open_their_sources(data_dir: Path, tmp_path: Path) -> None:
    annotations = coco_file(tmp_path, coco_url=COCO_URL)
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars" / "sa_000000.tar", members(range(8)))
    (tmp_path / "pairs").mkdir()
    for name, content in zip(("sa_1.jpg", "sa_1.json"), pair(1), strict=True):
        (tmp_path / "pairs" / name).write_bytes(content)
    configs = [
        SourceConfig(kind="annotated", path=data_dir, set="blobs"),
        SourceConfig(kind="coco", path=tmp_path, annotations=annotations, name="mine"),
        SourceConfig(kind="lvis", path=tmp_path, annotations=annotations),
        SourceConfig(kind="sa1b", path=tmp_path / "tars", cache=tmp_path / "cache"),
        SourceConfig(kind="sa1b-folder", path=tmp_path / "pairs"),
    ]
    assert [len(open_source(config)) for config in configs] == [3, 1, 1, 8, 1]
    assert [config.name for config in configs] == ["blobs", "mine", tmp_path.name, "tars", "pairs"]
    for config in configs:
        assert SourceConfig.model_validate(config.model_dump(mode="json")) == config
    with pytest.raises(DataError, match=r"source absent \(sa1b\): path .*absent: expected"):
        open_source(SourceConfig(kind="sa1b", path=tmp_path / "absent"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "coco"}, "annotations: a source of kind coco needs a json file"),
        ({"kind": "annotated"}, "set: a source of kind annotated needs the name of a set"),
        ({"kind": "tar"}, "Input should be 'annotated', 'coco', 'lvis', 'sa1b' or 'sa1b-folder'"),
        ({"kind": "sa1b", "weight": -1}, "greater than or equal to 0"),
        ({"kind": "sa1b", "colour": 1}, "Extra inputs are not permitted"),
    ],
)
def test_incomplete_configurations(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceConfig(path=Path("x"), **values)
