"""The licences of the photos that a run learns from: ``python -m evsam.training.licences CONFIG``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from evsam.datasets.records import BrokenSample
from evsam.errors import EvsamError
from evsam.training.config import SourceConfig, read_config
from evsam.training.data.sources import open_source
from evsam.training.finetune import FinetuneConfig

NONE = "none stated"
"""What is said of photos whose record states no licence."""


def table(sources: Sequence[SourceConfig]) -> str:
    """A row in Markdown for each source: its photos, masks, share of what is drawn, and stated licences with photos.

    Raises:
        DataError: a source is not there.
    """
    total = sum(source.weight for source in sources)
    lines = ["| set | photos | masks | drawn | licence, as stated |", "|---|---|---|---|---|"]
    for source in sources:
        licences: Counter[str] = Counter()
        masks = 0
        photos = open_source(source)
        for index in range(len(photos)):
            try:
                photo = photos[index]
            except BrokenSample as error:
                licences[f"unreadable ({error.reason})"] += 1
                continue
            licences[photo.licence or NONE] += 1
            masks += len(photo.annotations)
        told = [text if len(licences) == 1 else f"{text} ({count:,})" for text, count in licences.most_common()]
        row = [source.name, f"{len(photos):,}", f"{masks:,}", f"{source.weight / total:.3f}", "; ".join(told)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m evsam.training.licences``."""
    parser = argparse.ArgumentParser(prog="python -m evsam.training.licences", description=__doc__)
    parser.add_argument("config", type=Path, help="YAML file of fine-tuning, or the name of one that ships with evsam")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value")
    options = parser.parse_args(arguments)
    try:
        print(table(read_config(FinetuneConfig, options.config, options.set).train))
    except EvsamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
