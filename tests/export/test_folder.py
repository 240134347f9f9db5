"""Folders of exported models: manifests that are damaged, by accident or on purpose."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

import evsam
from evsam import EvsamError
from evsam.export.folder import ExportFolder, make_manifest, write_folder


@pytest.fixture
def manifest(tmp_path) -> dict[str, Any]:
    files = {"encoder": b"an encoder", "decoder": b"a decoder"}
    content = make_manifest("onnx", "nano", "fp32", "plain", "f" * 16, files, "onnx")
    write_folder(tmp_path, files, content)
    return content


def places(content: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to all values in a document."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in items for place in ((*before, key), *places(value, (*before, key)))]


ODD: list[Any] = [
    *(None, True, -1, 10**400, 1.5, float("nan"), [], [[]], {}, {"a": 1}),
    *("", "x\0y", "x" * 5000, "../encoder.onnx", "/etc/passwd", "..", ".", "\ud800"),
]


def test_whatever_a_value_is_turned_into(tmp_path, manifest) -> None:
    """Either it does not matter, or it is an error of evsam's, here or when the files are read."""
    refused = 0
    for place in places({**manifest, "record": None}):  # tests/test_record.py has what is in it
        for value in ODD:
            changed = copy.deepcopy(manifest)
            inside = changed
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = value
            (tmp_path / "evsam.json").write_text(json.dumps(changed))
            try:
                folder = ExportFolder.open(tmp_path)
                assert folder.kind == "onnx"
                assert folder.variant.image_size == 512
                assert (folder.read("encoder"), folder.read("decoder")) == (b"an encoder", b"a decoder")
            except EvsamError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a": ' * 100_000, "3", "[]", '"evsam.json"', "{", "", "NaN", "\0", "{}"]
)
def test_what_is_no_manifest(tmp_path, content) -> None:
    (tmp_path / "evsam.json").write_text(content)
    with pytest.raises(
        EvsamError, match=r"path: expected a folder with an exported model and its evsam\.json"
    ) as caught:
        evsam.load(tmp_path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["../encoder.onnx", "a/b", "x\0y", "", "..", 3, None, "\ud800"])
def test_names_of_files(tmp_path, manifest, name) -> None:
    """A folder from anywhere must not name files elsewhere."""
    manifest["files"]["encoder"]["name"] = name
    (tmp_path / "evsam.json").write_text(json.dumps(manifest))
    with pytest.raises(EvsamError, match="whose manifest lacks the name of a file for encoder"):
        ExportFolder.open(tmp_path)
