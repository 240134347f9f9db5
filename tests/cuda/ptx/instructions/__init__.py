"""The instructions, by kind; importing this package makes the decoder know them all."""

from tests.cuda.ptx.instructions import (
    bits,
    comparison,
    control,
    conversion,
    copy,
    floating,
    integer,
    matrix,
    transfer,
    warp,
)

__all__ = [
    "bits",
    "comparison",
    "control",
    "conversion",
    "copy",
    "floating",
    "integer",
    "matrix",
    "transfer",
    "warp",
]
