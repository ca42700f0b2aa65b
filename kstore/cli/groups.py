"""`kstore groups`: consumer groups of a running broker, their members and how far they have come."""

import argparse
import sys
from typing import Any, NamedTuple

from kstore.cli.arguments import Commands, add_command, add_group, add_json
from kstore.cli.completion import complete_groups
from kstore.cli.connection import Connection, add_connection
from kstore.cli.errors import FAILED, CommandError, UsageError
from kstore.cli.offsets import bounds, chosen_partitions, parse_place, parse_topic, resolve
from kstore.cli.output import Column, count_text, heading, print_json, print_table

LIST_COLUMNS = (Column("GROUP", "group"), Column("STATE", "state"), Column("TYPE", "type"))
OFFSET_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("PARTITION", "partition", right=True),
    Column("COMMITTED", "committed", right=True),
    Column("END OFFSET", "end_offset", right=True),
    Column("LAG", "lag", right=True),
    Column("MEMBER", "member"),
    Column("HOST", "host"),
)
MEMBER_COLUMNS = (
    Column("MEMBER", "member"),
    Column("INSTANCE", "instance"),
    Column("CLIENT", "client"),
    Column("HOST", "host"),
    Column("PARTITIONS", "partitions"),
)
PLAN_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("PARTITION", "partition", right=True),
    Column("COMMITTED", "committed", right=True),
    Column("NEW", "new", right=True),
)

RESET_EXAMPLES = """
kstore groups reset-offsets billing --topic orders --to beginning             shows what would change
kstore groups reset-offsets billing --topic orders --to beginning --execute   does it
kstore groups reset-offsets billing --topic orders:0,3 --to 2024-05-01T12:00Z --execute
kstore groups reset-offsets billing --all-topics --by -100 --execute          read the last hundred again
"""


def add_commands(commands: Commands) -> None:
    group = add_group(commands, "groups", "list, describe and delete consumer groups, reset their offsets")
    examples = "kstore groups list\nkstore groups list --json"
    listing = add_command(group, "list", run_list, summary="the groups and their states", examples=examples)
    add_json(listing)
    describe = add_command(
        group,
        "describe",
        run_describe,
        summary="committed offsets with their lag, or the members",
        examples="kstore groups describe billing\nkstore groups describe billing --members\n"
        "kstore groups describe billing --json | jq '[.offsets[].lag] | add'",
    )
    add_groups(describe)
    describe.add_argument("--members", action="store_true", help="the members instead of the offsets")
    add_json(describe)
    reset = add_command(
        group,
        "reset-offsets",
        run_reset,
        summary="move the committed offsets of a group that has no members",
        description=(
            "Shows to which offsets a group would be moved, and with --execute moves it there. The group must have no"
            "\nmembers meanwhile. A group that does not exist is made."
        ),
        examples=RESET_EXAMPLES,
    )
    reset.add_argument("group", metavar="GROUP").completer = complete_groups  # type: ignore[attr-defined]
    reset.add_argument("--topic", action="append", default=[], metavar="TOPIC[:PARTITIONS]", help="repeatable")
    reset.add_argument("--all-topics", action="store_true", help="all that the group has committed offsets of")
    reset.add_argument("--to", type=parse_place, metavar="WHERE", help="beginning, end, an offset, -N, or a time")
    reset.add_argument("--by", type=int, metavar="N", help="so many records on (-N: back) from what is committed")
    reset.add_argument("--execute", action="store_true", help="do it; else it is only shown")
    add_json(reset)
    summary = "delete groups that have no members"
    delete = add_command(group, "delete", run_delete, summary=summary, examples="kstore groups delete billing")
    add_groups(delete)
    add_json(delete)
    for parser in group.choices.values():
        add_connection(parser)


def add_groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("groups", metavar="GROUP", nargs="+").completer = complete_groups  # type: ignore[attr-defined]


def reach(options: argparse.Namespace) -> tuple[Connection, Any]:
    """A client that has reached the broker, so that one that is not there is told at once."""
    connection = Connection(options)
    admin = connection.admin()
    connection.metadata(admin)
    return connection, admin


def state_name(state: Any) -> str:
    """`STABLE`, `PREPARING_REBALANCING` as Kafka's own tools write them: Stable, PreparingRebalancing."""
    name = getattr(state, "name", None) or str(state)
    return "".join(word.capitalize() for word in name.split("_"))


# --- list, describe ---


def run_list(options: argparse.Namespace) -> int:
    connection, admin = reach(options)
    with connection.errors():
        found = admin.list_consumer_groups(request_timeout=connection.timeout).result()
    if found.errors:
        raise CommandError(connection.explain(found.errors[0].args[0]))
    rows = [
        {"group": group.group_id, "state": state_name(group.state), "type": state_name(group.type)}
        for group in sorted(found.valid, key=lambda group: group.group_id)
    ]
    print_table(LIST_COLUMNS, rows, as_json=options.json)
    return 0


def run_describe(options: argparse.Namespace) -> int:
    connection, admin = reach(options)
    for number, name in enumerate(options.groups):
        group = describe(connection, admin, name)
        members = [member_row(member) for member in group.members]
        offsets = [] if options.members and not options.json else offset_rows(connection, admin, name, group)
        state = state_name(group.state)
        if state == "Dead" and not offsets:
            raise CommandError(f"{name}: there is no such group; `kstore groups list` shows those that there are")
        if options.json:
            assignor = group.partition_assignor or None
            row = {"group": name, "state": state, "assignor": assignor, "members": members, "offsets": offsets}
            print_json(row)
            continue
        if number:
            print()
        counted = count_text(len(members), "member")
        print(f"{heading(name, sys.stdout)}: {state}, {counted}")
        if options.members:
            print_table(MEMBER_COLUMNS, members)
        else:
            print_table(OFFSET_COLUMNS, offsets)
    return 0


def describe(connection: Connection, admin: Any, name: str) -> Any:
    with connection.errors(name):
        return admin.describe_consumer_groups([name], request_timeout=connection.timeout)[name].result()


def member_row(member: Any) -> dict[str, Any]:
    assigned = member.assignment.topic_partitions if member.assignment else []
    return {
        "member": member.member_id,
        "instance": member.group_instance_id,
        "client": member.client_id,
        "host": member.host,
        "partitions": sorted(f"{found.topic}-{found.partition}" for found in assigned),
    }


def committed_offsets(connection: Connection, admin: Any, group: str) -> dict[tuple[str, int], int]:
    request = [connection.kafka.ConsumerGroupTopicPartitions(group)]
    with connection.errors(group):
        futures = admin.list_consumer_group_offsets(request, request_timeout=connection.timeout)
        found = futures[group].result().topic_partitions
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


def offset_rows(connection: Connection, admin: Any, name: str, group: Any) -> list[dict[str, Any]]:
    """A row for each partition that has a committed offset or a member."""
    committed = committed_offsets(connection, admin, name)
    owners = {
        (found.topic, found.partition): member
        for member in group.members
        for found in (member.assignment.topic_partitions if member.assignment else [])
    }
    partitions = sorted(committed.keys() | owners.keys())
    known = connection.metadata(admin).topics
    there = [(topic, number) for topic, number in partitions if topic in known and number in known[topic].partitions]
    ends = bounds(connection, admin, there)
    rows = []
    for key in partitions:
        offset, end, owner = committed.get(key), ends.get(key), owners.get(key)
        rows.append(
            {
                "topic": key[0],
                "partition": key[1],
                "committed": offset,
                "end_offset": end and end.end_offset,
                "lag": None if end is None or offset is None else max(0, end.end_offset - offset),
                "member": owner and owner.member_id,
                "host": owner and owner.host,
            }
        )
    return rows


# --- reset-offsets ---


class Move(NamedTuple):
    topic: str
    partition: int
    committed: int | None
    new: int


def run_reset(options: argparse.Namespace) -> int:
    if (options.to is None) == (options.by is None):
        raise UsageError("give either --to or --by")
    if bool(options.topic) == options.all_topics:
        raise UsageError("give either --topic or --all-topics")
    connection, admin = reach(options)
    committed = committed_offsets(connection, admin, options.group)
    partitions = sorted(committed)
    if options.topic:
        partitions = [
            found for text in options.topic for found in chosen_partitions(connection, admin, *parse_topic(text))
        ]
    if not partitions:
        raise CommandError(f"{options.group} has committed no offsets; name a topic with --topic")
    moves = plan(connection, admin, options, partitions, committed)
    if options.execute:
        execute(connection, admin, options.group, moves)
    rows = [move._asdict() | {"executed": options.execute} for move in moves]
    print_table(PLAN_COLUMNS, rows, as_json=options.json)
    if not options.execute and not options.json:
        print("nothing was changed: add --execute to do so", file=sys.stderr)
    return 0


def plan(
    connection: Connection,
    admin: Any,
    options: argparse.Namespace,
    partitions: list[tuple[str, int]],
    committed: dict[tuple[str, int], int],
) -> list[Move]:
    if options.to is not None:
        new = resolve(connection, admin, options.to, partitions)
    else:
        known = bounds(connection, admin, partitions)
        new = {key: bound.within(committed.get(key, bound.first_offset) + options.by) for key, bound in known.items()}
    return [Move(*key, committed.get(key), new[key]) for key in partitions]


def execute(connection: Connection, admin: Any, group: str, moves: list[Move]) -> None:
    kafka = connection.kafka
    members = describe(connection, admin, group).members
    if members:
        has = count_text(len(members), "member")
        raise CommandError(f"{group} has {has}: stop them, offsets are moved only of an empty group")
    offsets = [kafka.TopicPartition(move.topic, move.partition, move.new) for move in moves]
    request = [kafka.ConsumerGroupTopicPartitions(group, offsets)]
    with connection.errors(group):
        futures = admin.alter_consumer_group_offsets(request, request_timeout=connection.timeout)
        for found in futures[group].result().topic_partitions:
            if found.error is not None:
                raise CommandError(f"{group}: {found.topic}-{found.partition}: {found.error.str()}")


# --- delete ---


def run_delete(options: argparse.Namespace) -> int:
    connection, admin = reach(options)
    status = 0
    for group, future in admin.delete_consumer_groups(options.groups, request_timeout=connection.timeout).items():
        try:
            future.result()
        except connection.kafka.KafkaException as error:
            status = FAILED
            print(f"kstore: {group}: {group_error(connection, error.args[0])}", file=sys.stderr)
            continue
        if options.json:
            print_json({"group": group, "result": "deleted"})
        else:
            print(f"deleted {group}")
    return status


def group_error(connection: Connection, error: Any) -> str:
    if error.code() == connection.kafka.KafkaError.NON_EMPTY_GROUP:
        return "has members: stop them first"
    if error.code() == connection.kafka.KafkaError.GROUP_ID_NOT_FOUND:
        return "there is no such group; `kstore groups list` shows those that there are"
    return connection.explain(error)
