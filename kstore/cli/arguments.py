"""How command lines are declared: argparse, as in `kstore-server`, with examples under each help.

Nothing that a command does is imported to declare it: `run` imports it when the command is chosen, so that a help or a
mistyped word answers at once.
"""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from kstore.cli.errors import UsageError

Run = Callable[[argparse.Namespace], int]
# What add_subparsers() returns; argparse has no public name for it.
Commands = Any


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves descriptions and examples as they are written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where the help is."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", Formatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def add_group(commands: Commands, name: str, summary: str) -> Commands:
    """A word that only has commands of its own, as `topics`."""
    parser = commands.add_parser(name, help=summary, description=summary)
    return parser.add_subparsers(metavar="COMMAND", required=True, title="commands")


def add_command(
    commands: Commands, name: str, run: Run, *, summary: str, description: str = "", examples: str = ""
) -> argparse.ArgumentParser:
    """A command: `run` gets its arguments and returns the exit status."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or summary,
        epilog=f"examples:\n{indent(examples)}" if examples else None,
    )
    parser.set_defaults(run=run)
    return parser


def indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip("\n").splitlines())


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document a line, for programs")


def add_topic(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """The argument TOPIC, as `topic` or, where there may be several, `topics`."""
    from kstore.cli.completion import complete_topics

    if nargs is None:
        argument = parser.add_argument("topic", metavar="TOPIC")
    else:
        argument = parser.add_argument("topics", metavar="TOPIC", nargs=nargs)
    argument.completer = complete_topics  # type: ignore[attr-defined]


def integer(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """The type of an argument that is a number from `least` to `most`."""

    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not in [{least}, {most}]")
        return value

    parse.__name__ = "number"  # argparse names it where int() refuses
    return parse
