"""``evsam convert`` and ``evsam download``."""

from __future__ import annotations

import argparse
from pathlib import Path

from evsam.cli.arguments import whole
from evsam.cli.console import say
from evsam.errors import WeightsError
from evsam.writing import check_writable


class Convert:
    """``evsam convert``."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command."""
        parser.add_argument("source", help="path of a .pt or .safetensors file, a variant, or a run's folder")
        parser.add_argument("destination", type=Path, help="path of the .safetensors file to write")
        parser.add_argument("--variant", help="the variant that the source is expected to hold")
        parser.add_argument(
            "--photos",
            type=whole(0),
            default=32,
            metavar="N",
            help="of a run: training photos to calibrate exports with (default: 32)",
        )
        parser.add_argument(
            "--mean-with",
            nargs="+",
            default=[],
            metavar="RUN",
            help="of a run: take the mean with the weights of others",
        )
        parser.add_argument(
            "--dtype", choices=("float32", "float16"), help="how to store the tensors (default: float32)"
        )

    @staticmethod
    def run(arguments: argparse.Namespace) -> None:
        """Do what the arguments say."""
        from evsam.weights import convert

        if arguments.mean_with and not Path(arguments.source).is_dir():
            raise WeightsError(f"--mean-with: expected the folder of a run to convert, got {arguments.source}")
        check_writable(arguments.destination)
        if Path(arguments.source).is_dir():
            from evsam.training.convert import convert_run  # noqa: TID251 - the command line stands on everything

            weights = convert_run(
                arguments.source,
                arguments.destination,
                arguments.variant,
                arguments.dtype,
                arguments.photos,
                arguments.mean_with,
            )
        else:
            weights = convert(arguments.source, arguments.destination, arguments.variant, arguments.dtype)
        say(f"wrote {arguments.destination}: {weights.variant.name}, {len(weights.tensors)} tensors")


class Download:
    """``evsam download``."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command."""
        from evsam.zoo import VARIANTS

        parser.add_argument("variant", choices=tuple(VARIANTS), metavar="variant", help=", ".join(VARIANTS))

    @staticmethod
    def run(arguments: argparse.Namespace) -> None:
        """Do what the arguments say."""
        from evsam.weights import download

        say(str(download(arguments.variant)))
