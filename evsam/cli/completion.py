"""``evsam completion``: scripts by which shells complete commands, options and names, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from evsam.cli.console import say

DESCRIPTION = """Completion of commands, options and names of variants and engines. To switch it on:

  bash  eval "$(evsam completion bash)"      in ~/.bashrc
  zsh   eval "$(evsam completion zsh)"       in ~/.zshrc, behind compinit
  fish  evsam completion fish | source       in ~/.config/fish/config.fish"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam completion``."""
    parser.add_argument("shell", choices=tuple(_SCRIPTS), help="prints the script for this shell")


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments say."""
    from evsam.cli.parser import COMMANDS, make_parser  # which needs this module

    parser, parsers = make_parser()
    commands = [_Command("", "", tuple(_options(parser)), ())]
    for name, (_, text) in COMMANDS.items():
        found = parsers[name]
        positional = [words for action in found._actions if not action.option_strings for words in _words(action)]
        commands.append(_Command(name, text, tuple(_options(found)), tuple(positional)))
    say(_SCRIPTS[arguments.shell](commands))


@dataclass(frozen=True)
class _Option:
    """An option: its names, help, number of values, and words that it takes; no words for any value or a file."""

    names: tuple[str, ...]
    text: str
    values: int
    words: tuple[str, ...]


@dataclass(frozen=True)
class _Command:
    """A command: its options, and words that its other arguments take besides files."""

    name: str
    text: str
    options: tuple[_Option, ...]
    words: tuple[str, ...]


def _options(parser: argparse.ArgumentParser) -> Iterator[_Option]:
    for action in parser._actions:
        if action.option_strings:
            values = action.nargs if isinstance(action.nargs, int) else 1  # "+" and the like: at least the first
            text = (action.help or "").replace("%%", "%").partition("(default")[0].strip()
            yield _Option(tuple(action.option_strings), text, values, tuple(_words(action)))


def _words(action: argparse.Action) -> Iterator[str]:
    from evsam.zoo import VARIANTS

    if action.choices is not None:
        yield from map(str, action.choices)
    elif action.dest in ("model", "source", "variant"):
        yield from VARIANTS


def _bash(commands: list[_Command]) -> str:
    """The last word that names a command decides; what has no words of its own is completed to files."""
    names = " ".join(command.name for command in commands if command.name)
    lines = [
        "_evsam() {",
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= word words=",
        '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        f"        case $word in {names.replace(' ', '|')}) command=$word; break ;; esac",
        "    done",
        "    COMPREPLY=()",
        '    case "$command $previous" in',
    ]
    for command in commands:
        for option in command.options:
            pattern = "|".join(f'"{command.name} {name}"' for name in option.names)
            if option.words:
                lines.append(f"        {pattern}) words='{' '.join(option.words)}' ;;")
    lines += ["        *) case $command in"]
    for command in commands:
        options = " ".join(name for option in command.options for name in option.names)
        plain = " ".join(command.words) if command.name else names
        choice = f"if [[ $current == -* ]]; then words='{options}'; else words='{plain}'; fi"
        lines.append(f'            "{command.name}") {choice} ;;')
    lines += [
        "        esac ;;",
        "    esac",
        '    COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "}",
        "complete -o default -F _evsam evsam",
    ]
    return "\n".join(lines)


def _zsh(commands: list[_Command]) -> str:
    def quote(text: str) -> str:
        return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")

    def option_lines(command: _Command) -> Iterator[str]:
        for option in command.options:
            action = f"({' '.join(option.words)})" if option.words else "_files"
            values = f":value:{action}" * option.values
            for name in option.names:
                yield f"        '*{name}[{quote(option.text)}]{values}' \\"

    lines = ["_evsam() {", "    local state line", "    local -a commands=("]
    lines += [f"        '{command.name}:{quote(command.text)}'" for command in commands if command.name]
    lines += ["    )", "    _arguments -C \\", *option_lines(commands[0])]
    lines += ["        '1:command:->command' '*::argument:->arguments' && return", "    case $state in"]
    lines += ["    command) _describe command commands ;;", "    arguments) case $line[1] in"]
    for command in commands[1:]:
        words = f'\'*:word:_alternative "words\\:word\\:({" ".join(command.words)})" "files\\:file\\:_files"\''
        rest = words if command.words else "'*:file:_files'"
        lines += [f"    {command.name}) _arguments \\", *option_lines(command), f"        {rest} ;;"]
    lines += ["    esac ;;", "    esac", "}", "compdef _evsam evsam"]
    return "\n".join(lines)


def _fish(commands: list[_Command]) -> str:
    def quote(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    lines = []
    for command in commands:
        where = f"'__fish_seen_subcommand_from {command.name}'" if command.name else "__fish_use_subcommand"
        if command.name:
            lines.append(f"complete -c evsam -f -n __fish_use_subcommand -a {command.name} -d {quote(command.text)}")
        for option in command.options:
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            words = f" -x -a {quote(' '.join(option.words))}" if option.words else " -r" if option.values else ""
            lines.append(f"complete -c evsam -n {where} {names}{words} -d {quote(option.text)}")
        if command.words:
            lines.append(f"complete -c evsam -n {where} -a {quote(' '.join(command.words))}")
    return "\n".join(lines)


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
