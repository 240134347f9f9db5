"""Writes the zoo's records where they are kept a second time; run it as ``python -m tests.named_records``.

They are in csrc/capi/named_records.inc, by which the C interface knows the variants of weights files without a record,
and in the bundled weights. Tests compare both with the zoo.
"""

from pathlib import Path

import numpy as np

from evsam.record import write_record
from evsam.weights.files import read_tensor_file, write_tensor_file
from evsam.writing import replaced
from evsam.zoo import VARIANTS, Variant

ROOT = Path(__file__).parents[1]
FILE = ROOT / "csrc" / "capi" / "named_records.inc"
WEIGHTS = ROOT / "evsam" / "data"


def content() -> str:
    """What the file has to hold."""
    lines = [f'{{"{name}", R"({write_record(variant)})"}},' for name, variant in VARIANTS.items()]
    return "// Written by python -m tests.named_records.\n" + "\n".join(lines) + "\n"


def stamp(variant: Variant, path: Path) -> None:
    """Give a weights file the zoo's record, and leave all else in it as it is."""
    file = read_tensor_file(path)
    tensors = {name: np.array(tensor) for name, tensor in file.tensors.items()}  # not of the file that is replaced
    with replaced(path) as temporary:
        write_tensor_file(temporary, tensors, {**file.metadata, "evsam.variant": write_record(variant)})


if __name__ == "__main__":
    FILE.write_text(content())
    for variant in VARIANTS.values():
        if variant.bundled:
            stamp(variant, WEIGHTS / variant.bundled)
