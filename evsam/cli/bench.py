"""``evsam bench``."""

from __future__ import annotations

import argparse

from evsam.cli.arguments import add_model_arguments, engine_options, number
from evsam.cli.console import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam bench``."""
    parser.add_argument(
        "model", nargs="?", default="nano", help="variant, weights file or folder of evsam export (default: nano)"
    )
    parser.add_argument("--random", action="store_true", help="random weights of the variant: nothing is fetched")
    add_model_arguments(parser)
    parser.add_argument(
        "--seconds",
        type=number(0, 86400, " seconds"),
        default=2.0,
        metavar="S",
        help="time for each measurement (default: 2)",
    )
    parser.add_argument("--profile", action="store_true", help="also the time of every block of the model")


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments say."""
    from evsam.bench import profile_model, random_weights, time_model
    from evsam.sam import load

    source = random_weights(arguments.model) if arguments.random else arguments.model
    with load(source, **engine_options(arguments)) as sam:
        say(f"{sam.variant.name}, engine {sam.engine.name} on {sam.device}, photo of 1280 x 720, milliseconds")
        say(f"{'':<18} {'median':>9} {'p10':>9} {'p90':>9} {'calls':>6}")
        for name, timing in time_model(sam, arguments.seconds).items():
            median, p10, p90 = (1e3 * seconds for seconds in (timing.median, timing.p10, timing.p90))
            say(f"{name:<18} {median:>9.2f} {p10:>9.2f} {p90:>9.2f} {timing.calls:>6}")
        if arguments.profile:
            blocks = profile_model(sam, arguments.seconds)
            width = max([5, *(len(block.name) for block in blocks)])
            say(f"\n{'block':<{width}} {'ms':>9} {'GFLOP/s':>9} {'% of roof':>10}")
            for block in blocks:
                say(f"{block.name:<{width}} {block.ms:>9.3f} {block.gflops:>9.1f} {block.percent:>10.1f}")
            say(f"{'sum':<{width}} {sum(block.ms for block in blocks):>9.3f}")
