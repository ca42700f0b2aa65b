"""The command `kstore`: topics, records and groups of a running broker, and log directories without one."""

import os
import sys
from collections.abc import Sequence

from kstore.cli import consume, groups, log, produce, shell, topics
from kstore.cli.arguments import Parser
from kstore.cli.completion import complete_if_asked
from kstore.cli.errors import CommandError

GROUPS = (topics, produce, consume, groups, log, shell)
INTERRUPTED = 130  # as a shell says of a process that SIGINT ended


def build_parser() -> Parser:
    from kstore import __version__

    parser = Parser(
        prog="kstore",
        description="Topics, records and groups of a running kstore or Kafka, and log directories without any broker.",
        epilog="`kstore COMMAND --help` shows more, and examples. Exit status: 0 done, 1 refused or failed, 2 usage.",
    )
    parser.add_argument("--version", action="version", version=f"kstore {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for group in GROUPS:
        group.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        parser = build_parser()
        complete_if_asked(parser)
        options = parser.parse_args(arguments)
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except CommandError as error:
        sys.stdout.flush()
        print(f"kstore: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read us has seen enough, as `head` has. What is buffered must not be flushed at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
