"""Options that all benchmarks of models share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.models.contest import Contestant
from benchmarks.models.peers import CLASSES, Peers, default_folder


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=Path, default=default_folder(), help="default: $EVSAM_PEERS or build/peers")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter with evsam and torch")
    add_engine(parser)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contestants to run, by the names of the table")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")


def add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", default="native", help="evsam's engine (default: native)")


def add_precisions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--precisions", nargs="+", default=list(CLASSES), choices=CLASSES, help="classes of them")


def peers(chosen: argparse.Namespace) -> Peers:
    return Peers(chosen.peers.absolute(), chosen.python, chosen.engine)


def select(chosen: argparse.Namespace, contestants: Sequence[Contestant]) -> list[Contestant]:
    return [each for each in contestants if chosen.only is None or each.name in chosen.only]
