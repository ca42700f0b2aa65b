"""Completion of `kstore` in shells: `kstore completion bash|zsh|fish` prints what the shell has to read.

argcomplete asks the command itself what may follow, so what a shell knows is never behind what the command can do;
topics and groups come from the broker, which gets a second to answer.
"""

import argparse
import os
from typing import Any

COMPLETION_TIMEOUT = 1.0


def complete_if_asked(parser: argparse.ArgumentParser) -> None:
    """Where a shell has started us to complete a line, does that and ends the process."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete

    argcomplete.autocomplete(parser)


def complete_topics(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    connection, admin = ask(parsed_args)
    return [topic for topic in connection.metadata(admin).topics if topic.startswith(prefix)]


def complete_groups(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    connection, admin = ask(parsed_args)
    connection.metadata(admin)
    found = admin.list_consumer_groups(request_timeout=COMPLETION_TIMEOUT).result()
    return [group.group_id for group in found.valid if group.group_id.startswith(prefix)]


def ask(parsed_args: argparse.Namespace) -> tuple[Any, Any]:
    from kstore.cli.connection import Connection

    parsed_args.timeout = COMPLETION_TIMEOUT
    connection = Connection(parsed_args)
    return connection, connection.admin()
