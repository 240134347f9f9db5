"""``evsam embed``: embeddings of many photos."""

from __future__ import annotations

import argparse

from evsam.cli.arguments import add_loading_arguments, add_reading_arguments
from evsam.cli.sharded import SOURCES, add_out_arguments, run_sharded, task_options

DESCRIPTION = """Embeddings of photos, in float16, for predictions and training later.

Rows have the photo's key, its size and the encoder's features; docs/scale.md says how to
read them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam embed``."""
    parser.add_argument("photo", nargs="+", help=f"a photo; {SOURCES}")
    add_out_arguments(parser, required=True)
    add_loading_arguments(parser)
    add_reading_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say: 0, or 1 if photos have an error instead of an embedding."""
    from evsam.distributed import Embed

    return run_sharded(arguments, Embed(**task_options(arguments)), arguments.photo)
