"""`kstore topics`: the topics of a running broker."""

import argparse

from kstore.cli.arguments import Commands, add_command, add_group, add_json
from kstore.cli.connection import Connection, add_connection
from kstore.cli.output import Column, print_table

LIST_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("PARTITIONS", "partitions", right=True),
    Column("REPLICAS", "replicas", right=True),
)


def add_commands(commands: Commands) -> None:
    group = add_group(commands, "topics", "list, describe, create, alter and delete topics")
    listing = add_command(
        group,
        "list",
        run_list,
        summary="the topics, with their partitions and replicas",
        examples="kstore topics list\nkstore topics list --internal --json -b broker:9092",
    )
    listing.add_argument("--internal", action="store_true", help="those of Kafka's own too, such as __consumer_offsets")
    add_json(listing)
    add_connection(listing)


def is_internal(topic: str) -> bool:
    return topic.startswith("__")


def run_list(options: argparse.Namespace) -> int:
    connection = Connection(options)
    found = connection.metadata(connection.admin())
    rows = [
        {
            "topic": name,
            "partitions": len(topic.partitions),
            "replicas": max((len(partition.replicas) for partition in topic.partitions.values()), default=0),
            "internal": is_internal(name),
        }
        for name, topic in sorted(found.topics.items())
        if options.internal or not is_internal(name)
    ]
    print_table(LIST_COLUMNS, rows, as_json=options.json)
    return 0
