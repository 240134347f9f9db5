"""Writes csrc/capi/named_records.inc, by which the C interface knows the variants of weights files without a record.

Run it as ``python -m tests.named_records``; a test compares the file with the zoo.
"""

from pathlib import Path

from evsam.record import write_record
from evsam.zoo import VARIANTS

FILE = Path(__file__).parents[1] / "csrc" / "capi" / "named_records.inc"


def content() -> str:
    """What the file has to hold."""
    lines = [f'{{"{name}", R"({write_record(variant)})"}},' for name, variant in VARIANTS.items()]
    return "// Written by python -m tests.named_records.\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(content())
