"""The documentation's tables are those of the results files."""

from __future__ import annotations

from pathlib import Path

from benchmarks.training.tables import tables

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "training-experiments.md"


def test_the_document_has_the_tables_of_the_results() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [table for table in tables() if table not in text] == []
