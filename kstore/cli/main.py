"""The command `kstore`: topics, records and groups of a running broker, and log directories without one."""

import os
import sys
from collections.abc import Sequence

from kstore.cli import cluster, consume, groups, log, produce, shell, topics
from kstore.cli.arguments import Parser
from kstore.cli.completion import complete_if_asked
from kstore.cli.errors import CommandError

GROUPS = (topics, produce, consume, groups, cluster, log, shell)
FAILED, USAGE = 1, 2
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
    status, said = run(arguments)
    try:
        sys.stdout.flush()  # before what is said on standard error
    except BrokenPipeError:
        let_go_of_output()  # who read us has seen enough, as `head` has
    except OSError as error:
        let_go_of_output()
        status, said = FAILED, said or f"standard output: {error.strerror}"
    if said:
        print(f"kstore: {said}", file=sys.stderr)
    return status


def run(arguments: Sequence[str] | None) -> tuple[int, str]:
    """The exit status, and the line that says what went wrong."""
    try:
        parser = build_parser()
        complete_if_asked(parser)
        options = parser.parse_args(arguments)
        return options.run(options), ""
    except CommandError as error:
        return error.status, str(error)
    except UnicodeEncodeError as error:
        if error.encoding.lower().replace("_", "-") != "utf-8":
            return FAILED, f"standard output cannot show {error.object!r} in {error.encoding}"
        return USAGE, f"{error.object!r} is no text that UTF-8 can hold"
    except KeyboardInterrupt:
        return INTERRUPTED, ""
    except BrokenPipeError:
        return 0, ""
    except OSError as error:
        # Files are told of by who opens them: what has no name is where we write to.
        return FAILED, f"{error.filename or 'standard output'}: {error.strerror or error}"


def let_go_of_output() -> None:
    """What is buffered must not be flushed once more at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
