"""The commands and their arguments, and running the one that was asked for."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NoReturn, Protocol

from evsam.cli import (
    bench,
    completion,
    console,
    embed,
    eval,  # noqa: A004 - a command
    everything,
    info,
    predict,
    selftest,
    serve,
    track,
    weights,
)
from evsam.cli.arguments import did_you_mean
from evsam.errors import EvsamError
from evsam.export import command as export

_EXAMPLES = """examples:
  evsam predict cat.jpg --box 40 30 300 260
  evsam predict cat.jpg --point 120 80 --negative-point 10 10 --json cat.json
  evsam predict photos/ --prompts boxes.json -o masks/
  evsam everything photos/ -o segments/ --coco segments.json
  evsam track video.mp4 --box 40 30 300 260 -o tracks.mp4 --json tracks.json

evsam COMMAND --help says more about a command.
"""


class Command(Protocol):
    """A module or class that is a command."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add its arguments."""

    def run(self, arguments: argparse.Namespace) -> int | None:
        """Do what they say; the exit code, or None for 0."""


COMMANDS: dict[str, tuple[Command, str]] = {
    "predict": (predict, "masks for boxes and points in photos"),
    "everything": (everything, "masks for all that is in photos"),
    "embed": (embed, "embeddings of many photos, by several processes"),
    "track": (track, "masks for objects through a video or the frames of a camera"),
    "serve": (serve, "a server that other programs, and annotation tools, ask for masks"),
    "eval": (eval, "what a model scores on annotated photos"),
    "bench": (bench, "how long a model takes on this machine"),
    "export": (export, "write a model for another runtime: ONNX, TensorRT, Triton"),
    "selftest": (selftest, "check the kernels of this build on this machine"),
    "info": (info, "variants, engines, CPU features and versions"),
    "convert": (weights.Convert, "turn a checkpoint or a training run into a safetensors file"),
    "download": (weights.Download, "fetch the weights of a variant"),
    "completion": (completion, "completion of commands and options for a shell"),
}
"""By name, with what they are for."""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help whose column is wide enough for the longest command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 4 + max(map(len, COMMANDS))


class Parser(argparse.ArgumentParser):
    """Short messages that say what was probably meant, and no error where nobody reads the help to its end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)  # a shortened option would change its meaning with a new one
        # also numbers like -1e3 are values
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$|-inf$|-nan$", re.IGNORECASE)

    def error(self, message: str) -> NoReturn:
        """One line, and where to read on; exit code 2."""
        console.note(f"{self.prog}: {message}\n{self.prog} --help says how to use it")
        sys.exit(2)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), names) or f" (expected {', '.join(names)})"
            raise argparse.ArgumentError(action, f"unknown {str(value)[:80]!r}{hint}")

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            console.write(sys.stdout if file is None else file, message, "standard output")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As that of argparse, which would first complain of what is missing because of an option it does not know."""
        args = list(sys.argv[1:] if args is None else args)
        for token in takewhile(lambda word: word != "--", args):
            if self._subparsers and not token.startswith("-"):
                break  # the command, whose parser looks at the others
            if len(token) > 1 and token[0] == "-" and not self._negative_number_matcher.match(token):
                self._check_option(token)
        return super().parse_known_args(args, namespace)

    def _check_option(self, token: str) -> None:
        known = self._option_string_actions
        name = token.partition("=")[0]
        with_value = token[1] != "-" and token[:2] in known  # -oFILE
        if name not in known and not with_value:
            self.error(f"unknown option {name[:80]}{did_you_mean(name, known)}")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from evsam.info import installed

        console.say(f"evsam {installed('evsam')}")
        parser.exit()


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of the commands by name."""
    parser = Parser(
        prog="evsam",
        description="EfficientViT-SAM: masks for the objects in a photo.",
        epilog=_EXAMPLES,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    parsers = {}
    for name, (command, text) in COMMANDS.items():
        parsers[name] = commands.add_parser(name, help=text, description=getattr(command, "DESCRIPTION", None))
        parsers[name].formatter_class = argparse.RawDescriptionHelpFormatter
        parsers[name].set_defaults(run=command.run, fail=parsers[name].error, command=name)
        command.add_arguments(parsers[name])
    return parser, parsers


def run(argv: Sequence[str] | None) -> int:
    """See :func:`evsam.cli.main`."""
    parser, parsers = make_parser()
    arguments, beyond = parser.parse_known_args(argv)
    if "command" not in arguments:
        parser.print_help(sys.stderr)
        return 2
    if beyond:
        hint = "; give all photos beside each other" if arguments.command == "predict" else ""
        parsers[arguments.command].error(f"unexpected argument {beyond[0][:80]!r}{hint}")
    for word in sys.argv[1:] if argv is None else argv:
        if not word or "\0" in word:  # -o "$FOLDER" without FOLDER would mean the current one
            parsers[arguments.command].error(f"expected no argument that is empty or has a NUL, got {word[:80]!r}")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            return arguments.run(arguments) or 0
    except (EvsamError, OSError, MemoryError) as error:
        console.complain(error)
        return 1


def _show_warning(message: Warning | str, *_: Any) -> None:
    """One line, as for errors; where in the code it came from says nothing here."""
    console.complain(f"warning: {message}")
