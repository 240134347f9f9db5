"""Large annotation files: read part by part, and kept as text."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from evsam.datasets import packed
from evsam.datasets.packed import Packed, json_elements, json_parts, json_text


def test_packed_values_come_back() -> None:
    values: list[Any] = [["a", 1], [{"b": [1.5, None]}, "ü,]["], [], ["c"]]
    kept = Packed.of(iter(values))
    assert list(kept) == values
    assert list(pickle.loads(pickle.dumps(kept))) == values
    with pytest.raises(IndexError):
        kept[4]
    text = b'{"x": [1, "a"], "y": 2}'
    assert list(Packed(text, [[(21, 22), (7, 8)], [], [(10, 13)]])) == [[2, 1], [], ["a"]]


def test_numbers_that_windows_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    for window in range(1, 9):
        monkeypatch.setattr(packed, "WINDOW", window)
        found = [part.value for part in json_elements(b"[12345, -6.5e2 ,true,12]")]
        assert found == [12345, -650.0, True, 12]


DOCUMENT = {"info": {"a,]": ["}", 1]}, "images": [{"n": 'ü"\\'}, 3, [], "x"], "none": [], "last": None}


@pytest.mark.parametrize("options", [{}, {"ensure_ascii": False}, {"indent": 3}, {"separators": (",", ":")}], ids=str)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("window", [1, 2, 7, packed.WINDOW])
def test_the_parts_of_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], encoding: str, window: int
) -> None:
    monkeypatch.setattr(packed, "WINDOW", window)
    path = tmp_path / "x.json"
    path.write_bytes(f"\n {json.dumps(DOCUMENT, **options)} \t".encode(encoding))
    text = json_text(path)
    parts = list(json_parts(text, ("images", "none")))
    assert [(part.name, part.value, part.element) for part in parts] == [
        ("info", DOCUMENT["info"], False),
        ("images", None, False),
        *(("images", value, True) for value in DOCUMENT["images"] or ()),
        ("none", None, False),
        ("last", None, False),
    ]
    for part in parts:
        if part.begin < part.end:
            assert json.loads(text[part.begin : part.end]) == part.value
    elements = json.dumps(DOCUMENT["images"], **options).encode()
    assert [part.value for part in json_elements(elements)] == DOCUMENT["images"]
    assert list(json_parts(b" {} ", ())) == list(json_elements(b"[ ]")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "byte 0: expected {, got the end"),
        ("[]", r"byte 0: expected {, got \["),
        ("{", "byte 1: Expecting value"),
        ('{"a" 1}', "byte 5: expected :, got 1"),
        ("{1: 2}", "expected a name"),
        ('{"a": }', "byte 6: Expecting value"),
        ('{"a": 1', "byte 7: expected , or }, got the end"),
        ('{"a": 1 "b": 2}', 'byte 8: expected , or }, got "'),
        ('{"a": 1,}', "byte 8: Expecting value"),
        ('{"a": 1} 2', "byte 9: expected the end"),
        ('{"images": 1}', "images: expected an array"),
        ('{"images": [1, ]}', "byte 15: Expecting value"),
        ('{"images": [1 2]}', "byte 14: expected , or ], got 2"),
        ('{"images": [1', "byte 13: expected , or ], got the end"),
        ('{"a": "' + "\xff", "Unterminated string"),
    ],
)
@pytest.mark.parametrize("window", [1, packed.WINDOW])
def test_what_is_no_document(monkeypatch: pytest.MonkeyPatch, text: str, message: str, window: int) -> None:
    monkeypatch.setattr(packed, "WINDOW", window)
    with pytest.raises(ValueError, match=message):
        list(json_parts(text.encode("latin-1"), ("images",)))


def test_text_that_is_no_unicode() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        list(json_parts(b'{"a": "\xff"}', ()))
