"""`kstore topics`: the topics of a running broker."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from kstore.cli.arguments import Commands, add_command, add_group, add_json, add_topic, integer
from kstore.cli.connection import Connection, add_connection, key_values
from kstore.cli.elect import add_elect
from kstore.cli.errors import FAILED, CommandError, UsageError
from kstore.cli.offsets import bounds
from kstore.cli.output import Column, heading, print_json, print_table
from kstore.cli.reassign import add_reassign

LIST_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("PARTITIONS", "partitions", right=True),
    Column("REPLICAS", "replicas", right=True),
)
PARTITION_COLUMNS = (
    Column("PARTITION", "partition", right=True),
    Column("LEADER", "leader", right=True),
    Column("EPOCH", "leader_epoch", right=True),
    Column("REPLICAS", "replicas"),
    Column("ISR", "isr"),
    Column("FIRST OFFSET", "first_offset", right=True),
    Column("END OFFSET", "end_offset", right=True),
)

CREATE_EXAMPLES = """
kstore topics create orders --partitions 6
kstore topics create events audit --config retention.ms=86400000 --config compression.type=zstd
kstore topics create orders --if-not-exists
"""
ALTER_EXAMPLES = """
kstore topics alter orders --partitions 12
kstore topics alter orders --config retention.ms=3600000 --delete-config compression.type
"""


def add_commands(commands: Commands) -> None:
    group = add_group(
        commands, "topics", "list, describe, create, alter and delete topics; elect leaders, move replicas"
    )
    listing = add_command(
        group,
        "list",
        run_list,
        summary="the topics, with their partitions and replicas",
        examples="kstore topics list\nkstore topics list --internal --json -b broker:9092",
    )
    listing.add_argument("--internal", action="store_true", help="those of Kafka's own too, such as __consumer_offsets")
    add_json(listing)
    describe = add_command(
        group,
        "describe",
        run_describe,
        summary="partitions with their leaders and offsets, and what is configured",
        examples="kstore topics describe orders\nkstore topics describe orders --json | jq '.partitions[].end_offset'",
    )
    add_topic(describe, nargs="+")
    add_json(describe)
    add_changes(group)
    for parser in group.choices.values():
        add_connection(parser)
    add_elect(group)
    add_reassign(group)


def add_changes(group: Commands) -> None:
    create = add_command(group, "create", run_create, summary="create topics", examples=CREATE_EXAMPLES)
    create.add_argument("topics", nargs="+", metavar="TOPIC")
    create.add_argument("--partitions", type=integer(1, 2**31 - 1), metavar="N", help="else what the broker has set")
    create.add_argument("--replicas", type=integer(1, 2**15 - 1), metavar="N", help="else what the broker has set")
    create.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help="of the topic; repeatable")
    create.add_argument("--if-not-exists", action="store_true", help="a topic that is there already is no error")
    add_json(create)
    alter = add_command(
        group, "alter", run_alter, summary="add partitions, change the configuration", examples=ALTER_EXAMPLES
    )
    add_topic(alter)
    alter.add_argument("--partitions", type=integer(1, 2**31 - 1), metavar="N", help="how many there shall be")
    alter.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help="set; repeatable")
    alter.add_argument("--delete-config", action="append", default=[], metavar="KEY", help="back to the default")
    add_json(alter)
    delete = add_command(
        group,
        "delete",
        run_delete,
        summary="delete topics with all their records",
        examples="kstore topics delete orders\nkstore topics delete orders events --if-exists",
    )
    add_topic(delete, nargs="+")
    delete.add_argument("--if-exists", action="store_true", help="a topic that is not there is no error")
    add_json(delete)


# --- list, describe ---


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


def run_describe(options: argparse.Namespace) -> int:
    connection = Connection(options)
    admin = connection.admin()
    for number, name in enumerate(options.topics):
        topic = connection.metadata(admin, name).topics[name]
        configs = configured(connection, admin, name)
        led = [(name, index) for index, partition in sorted(topic.partitions.items()) if partition.leader >= 0]
        offsets = bounds(connection, admin, led)
        partitions = []
        for index, partition in sorted(topic.partitions.items()):
            known = offsets.get((name, index))
            partitions.append(
                {
                    "partition": index,
                    "leader": partition.leader,
                    "leader_epoch": known and known.leader_epoch,
                    "replicas": list(partition.replicas),
                    "isr": list(partition.isrs),
                    "first_offset": known and known.first_offset,
                    "end_offset": known and known.end_offset,
                }
            )
        if options.json:
            row = {"topic": name, "internal": is_internal(name), "configs": configs, "partitions": partitions}
            print_json(row)
            continue
        if number:
            print()
        print(heading(name, sys.stdout))
        for key, value in configs.items():
            print(f"{key}={value}")
        print_table(PARTITION_COLUMNS, partitions)
    return 0


def configured(connection: Connection, admin: Any, topic: str) -> dict[str, str]:
    """What is configured for the topic itself, not inherited."""
    kinds = connection.kafka.admin
    resource = kinds.ConfigResource(kinds.ConfigResource.Type.TOPIC, topic)
    with connection.errors(topic):
        future = admin.describe_configs([resource], request_timeout=connection.timeout)[resource]
        entries = future.result()
    own = kinds.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {name: entry.value for name, entry in sorted(entries.items()) if entry.source == own}


# --- create, alter, delete ---


def run_create(options: argparse.Namespace) -> int:
    connection = Connection(options)
    configs = key_values(options.config, "--config")
    topics = [
        connection.kafka.admin.NewTopic(name, options.partitions or -1, options.replicas or -1, config=configs)
        for name in options.topics
    ]
    admin = reached(connection)
    with connection.errors():
        futures = admin.create_topics(topics, request_timeout=connection.timeout, operation_timeout=connection.timeout)
    exists = connection.kafka.KafkaError.TOPIC_ALREADY_EXISTS if options.if_not_exists else None
    return tell_each(connection, futures, "created", tolerated=exists, was="exists", as_json=options.json)


def run_delete(options: argparse.Namespace) -> int:
    connection = Connection(options)
    admin = reached(connection)
    with connection.errors():
        futures = admin.delete_topics(
            options.topics, request_timeout=connection.timeout, operation_timeout=connection.timeout
        )
    missing = connection.kafka.KafkaError.UNKNOWN_TOPIC_OR_PART if options.if_exists else None
    return tell_each(connection, futures, "deleted", tolerated=missing, was="missing", as_json=options.json)


def reached(connection: Connection) -> Any:
    """A client that has reached the broker: a request to one that is not there would wait for the whole timeout."""
    admin = connection.admin()
    connection.metadata(admin)
    return admin


def tell_each(
    connection: Connection, futures: dict[str, Any], done: str, *, tolerated: int | None, was: str, as_json: bool
) -> int:
    """Says of each topic what became of it; the exit status is 1 when one was refused."""
    status = 0
    for topic, future in futures.items():
        result = done
        try:
            future.result()
        except connection.kafka.KafkaException as error:
            if tolerated is None or error.args[0].code() != tolerated:
                # The other topics' fate is told too.
                status = FAILED
                print(f"kstore: {topic}: {connection.topic_error(error.args[0])}", file=sys.stderr)
                continue
            result = was
        if as_json:
            print_json({"topic": topic, "result": result})
        else:
            print(f"{result} {topic}")
    return status


def run_alter(options: argparse.Namespace) -> int:
    configs = key_values(options.config, "--config")
    if not configs and not options.delete_config and options.partitions is None:
        raise UsageError("nothing to alter: give --partitions, --config or --delete-config")
    connection = Connection(options)
    admin = connection.admin()
    connection.metadata(admin, options.topic)
    if options.partitions is not None:
        new = connection.kafka.admin.NewPartitions(options.topic, options.partitions)
        wait(connection, options.topic, lambda: admin.create_partitions([new], request_timeout=connection.timeout))
    if configs or options.delete_config:
        alter_configs(connection, admin, options.topic, configs, options.delete_config)
    if options.json:
        print_json({"topic": options.topic, "result": "altered"})
    else:
        print(f"altered {options.topic}")
    return 0


def alter_configs(connection: Connection, admin: Any, topic: str, values: dict[str, str], removed: list[str]) -> None:
    kinds = connection.kafka.admin
    operations = kinds.AlterConfigOpType
    entries = [kinds.ConfigEntry(key, value, incremental_operation=operations.SET) for key, value in values.items()] + [
        kinds.ConfigEntry(key, None, incremental_operation=operations.DELETE) for key in removed
    ]
    resource = kinds.ConfigResource(kinds.ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    wait(connection, topic, lambda: admin.incremental_alter_configs([resource], request_timeout=connection.timeout))


def wait(connection: Connection, topic: str, request: Callable[[], dict[Any, Any]]) -> None:
    """Sends a request about one topic and waits for its end. Raises CommandError."""
    try:
        for future in request().values():
            future.result()
    except connection.kafka.KafkaException as error:
        raise CommandError(f"{topic}: {connection.topic_error(error.args[0])}") from None
