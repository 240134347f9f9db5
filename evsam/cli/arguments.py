"""Arguments that several commands have: numbers in a range, and which model on which engine."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from typing import Any

PRECISIONS = ("fp32", "bf16", "fp16", "int8", "fp8", "fast")

LARGEST = 2**31 - 1  # a C int

_MOST_PIXELS = 178_956_970
"""Where Pillow suspects an attack: 2/3 of a GiB of RGB."""


def whole(least: int, largest: int = LARGEST) -> Callable[[str], int]:
    """A type of argparse: whole numbers from ``least`` to ``largest``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= largest:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {largest}, got {text[:40]}")
        return number

    return read


def number(least: float, largest: float, unit: str = "") -> Callable[[str], float]:
    """A type of argparse: finite numbers from ``least`` to ``largest``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= largest:
            expected = f"a number from {least:g} to {largest:g}{unit}"
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:40]}")
        return value

    return read


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A hint at the word that was probably meant, to stand behind a message; empty where none is alike."""
    close = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {close[0]}?" if close else ""


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the arguments that say on which engine a model runs."""
    from evsam.engines import ENGINES

    parser.add_argument(
        "--engine",
        default="auto",
        choices=("auto", *ENGINES),
        metavar="NAME",
        help=f"{', '.join(ENGINES)}, see evsam info (default: the best that is installed)",
    )
    parser.add_argument("--device", help="where the engine computes, for example cuda")
    parser.add_argument("--threads", type=whole(1), metavar="N", help="upper limit of CPU threads")
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of the engine; fast: see evsam info (default: its own choice)"
    )


def add_loading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which model is loaded, and on which engine."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", default="nano", help="variant, weights file or folder of evsam export (default: nano)"
    )
    group.add_argument("--variant", help="the variant that the weights file is expected to hold")
    add_model_arguments(group)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how photos are read."""
    group = parser.add_argument_group("reading photos")
    group.add_argument(
        "--scale-16bit",
        choices=("full", "stretch"),
        help="what to do with 16 bits per channel: full takes 0 to 65535 to 0 to 255, stretch the darkest to the "
        "brightest value of each photo (default: refuse them)",
    )
    group.add_argument(
        "--max-pixels",
        type=whole(1),
        default=_MOST_PIXELS,
        metavar="N",
        help=f"refuse photos with more, before they are decoded (default: {_MOST_PIXELS})",
    )


def engine_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What :func:`add_model_arguments` added, as arguments of :func:`evsam.load`."""
    return {name: getattr(arguments, name) for name in ("engine", "threads", "device", "precision")}
