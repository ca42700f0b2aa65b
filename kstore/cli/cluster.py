"""`kstore cluster`: the brokers of a cluster, and which partitions lack a leader or replicas.

The exit status says how it stands: 0 in order, 3 partitions are short of replicas, 4 partitions refuse producers with
acks=all or everybody; 1 nobody could be asked.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kstore.cli.arguments import Commands, add_command, add_group, add_json
from kstore.cli.connection import Connection, add_connection
from kstore.cli.output import Column, count_text, heading, print_json, print_table
from kstore.cli.registrations import broker_epochs

UNDER_REPLICATED, UNAVAILABLE = 3, 4
POLL_S = 0.2

BROKER_COLUMNS = (
    Column("BROKER", "broker", right=True),
    Column("ADDRESS", "address"),
    Column("RACK", "rack"),
    Column("CONTROLS", "controls"),
    Column("LEADS", "leads", right=True),
    Column("PREFERRED", "preferred", right=True),
    Column("REPLICAS", "replicas", right=True),
    Column("OUT OF SYNC", "out_of_sync", right=True),
)
EPOCH_COLUMN = Column("EPOCH", "epoch", right=True)
PARTITION_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("PARTITION", "partition", right=True),
    Column("STATE", "state"),
    Column("LEADER", "leader", right=True),
    Column("REPLICAS", "replicas"),
    Column("ISR", "isr"),
    Column("MIN ISR", "min_isr", right=True),
)

OFFLINE, UNDER_MIN_ISR, SHORT = "offline", "under min ISR", "under-replicated"

EXAMPLES = """
kstore cluster status
kstore cluster status --wait 120 && echo the next broker may be restarted
kstore cluster status --zookeeper 127.0.0.1:2181/kafka
kstore cluster status --json | jq '.partitions[] | select(.state == "offline")'
"""


def add_commands(commands: Commands) -> None:
    group = add_group(commands, "cluster", "the brokers of a cluster and how it stands")
    status = add_command(
        group,
        "status",
        run_status,
        summary="brokers, controller, partitions without a leader or short of replicas",
        description=(
            "Exit status: 0 every partition has a leader and all its replicas are in sync; 3 some are under-replicated;"
            "\n4 some are offline or under min.insync.replicas; 1 no broker answers."
        ),
        examples=EXAMPLES,
    )
    status.add_argument("--wait", type=float, default=0, metavar="S", help="until all is in sync, so long at most")
    status.add_argument(
        "--zookeeper", metavar="HOST:PORT[/PATH]", help="show broker epochs too, which only ZooKeeper tells"
    )
    add_json(status)
    add_connection(status)


class Partition(NamedTuple):
    """What the cluster says of one partition; `leader` is None for one that has none."""

    topic: str
    number: int
    leader: int | None
    replicas: list[int]
    isr: list[int]

    @property
    def is_short(self) -> bool:
        return self.leader is None or len(self.isr) < len(self.replicas)

    def state(self, min_isr: int) -> str | None:
        """None for one that is in order. More in-sync replicas than there are replicas cannot be asked for."""
        if self.leader is None:
            return OFFLINE
        if len(self.isr) < min(min_isr, len(self.replicas)):
            return UNDER_MIN_ISR
        return SHORT if self.is_short else None


class Status(NamedTuple):
    cluster_id: str
    controller: int | None
    brokers: list[dict[str, Any]]
    partition_count: int
    # Partitions that are not in order, as rows.
    failing: list[dict[str, Any]]
    not_preferred: int

    def failing_as(self, state: str) -> int:
        return sum(row["state"] == state for row in self.failing)

    @property
    def exit_status(self) -> int:
        if not self.failing:
            return 0
        return UNAVAILABLE if any(row["state"] != SHORT for row in self.failing) else UNDER_REPLICATED


def run_status(options: argparse.Namespace) -> int:
    connection = Connection(options)
    admin = connection.admin()
    deadline = time.monotonic() + options.wait
    while True:
        status = look(connection, admin)
        if status.exit_status == 0 or time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    epochs = None if options.zookeeper is None else broker_epochs(options.zookeeper, options.timeout)
    if epochs is not None:
        for row in status.brokers:
            row["epoch"] = epochs.get(row["broker"])
    if options.json:
        print_json(as_json(status))
    else:
        print_status(status, with_epochs=epochs is not None)
    return status.exit_status


def look(connection: Connection, admin: Any) -> Status:
    metadata = connection.metadata(admin)
    with connection.errors():
        described = admin.describe_cluster(request_timeout=connection.timeout).result()
    partitions = [
        Partition(name, index, found.leader if found.leader >= 0 else None, list(found.replicas), list(found.isrs))
        for name, topic in sorted(metadata.topics.items())
        for index, found in sorted(topic.partitions.items())
    ]
    # Only of a topic that lacks replicas it matters how many it needs.
    min_isr = min_isr_of(connection, admin, sorted({partition.topic for partition in partitions if partition.is_short}))
    nodes = {node.id: (f"{node.host}:{node.port}", node.rack) for node in described.nodes}
    controller = metadata.controller_id if metadata.controller_id in nodes else None
    return Status(
        described.cluster_id,
        controller,
        broker_rows(nodes, controller, partitions),
        len(partitions),
        [row for row in (row_of(partition, min_isr) for partition in partitions) if row["state"] is not None],
        sum(bool(each.replicas) and each.leader not in (None, each.replicas[0]) for each in partitions),
    )


def min_isr_of(connection: Connection, admin: Any, topics: Sequence[str]) -> dict[str, int]:
    if not topics:
        return {}
    kinds = connection.kafka.admin
    resources = {kinds.ConfigResource(kinds.ConfigResource.Type.TOPIC, topic): topic for topic in topics}
    futures = admin.describe_configs(list(resources), request_timeout=connection.timeout)
    found = {}
    for resource, future in futures.items():
        topic = resources[resource]
        try:
            found[topic] = int(future.result()["min.insync.replicas"].value)
        except connection.kafka.KafkaException as error:
            # One that was deleted in between is gone from the next look.
            if error.args[0].code() != connection.kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
                with connection.errors(topic):
                    raise
    return found


def row_of(partition: Partition, min_isr: Mapping[str, int]) -> dict[str, Any]:
    needed = min_isr.get(partition.topic, 1)
    return {
        "topic": partition.topic,
        "partition": partition.number,
        "state": partition.state(needed),
        "leader": partition.leader,
        "replicas": partition.replicas,
        "isr": partition.isr,
        "min_isr": needed,
    }


def broker_rows(
    nodes: Mapping[int, tuple[str, str | None]], controller: int | None, partitions: Sequence[Partition]
) -> list[dict[str, Any]]:
    """A row for each broker that is there, and for each that is not and holds replicas."""
    rows: dict[int, dict[str, Any]] = {
        broker: {
            "broker": broker,
            "address": nodes[broker][0] if broker in nodes else None,
            "rack": nodes[broker][1] if broker in nodes else None,
            "alive": broker in nodes,
            "controls": broker == controller,
            "leads": 0,
            "preferred": 0,
            "replicas": 0,
            "out_of_sync": 0,
        }
        for broker in sorted(nodes.keys() | {replica for each in partitions for replica in each.replicas})
    }
    for partition in partitions:
        for place, replica in enumerate(partition.replicas):
            row = rows[replica]
            row["replicas"] += 1
            row["preferred"] += place == 0
            row["leads"] += replica == partition.leader
            row["out_of_sync"] += replica not in partition.isr
    return list(rows.values())


def summary(status: Status) -> dict[str, Any]:
    return {
        "partition_count": status.partition_count,
        "offline": status.failing_as(OFFLINE),
        "under_min_isr": status.failing_as(UNDER_MIN_ISR),
        "under_replicated": sum(row["leader"] is not None for row in status.failing),
        "not_preferred": status.not_preferred,
    }


def as_json(status: Status) -> dict[str, Any]:
    return {
        "cluster_id": status.cluster_id,
        "controller": status.controller,
        "brokers": status.brokers,
        **summary(status),
        "partitions": status.failing,
    }


def print_status(status: Status, *, with_epochs: bool) -> None:
    controller = "no controller" if status.controller is None else f"broker {status.controller} controls"
    print(f"{heading(f'cluster {status.cluster_id}', sys.stdout)}: {controller}")
    rows = [
        row | {"address": row["address"] or "not there", "controls": "yes" if row["controls"] else None}
        for row in status.brokers
    ]
    print_table((*BROKER_COLUMNS, EPOCH_COLUMN) if with_epochs else BROKER_COLUMNS, rows)
    found = summary(status)
    state = (
        f"{found['offline']} offline, {found['under_min_isr']} under min.insync.replicas,"
        f" {found['under_replicated']} under-replicated, {found['not_preferred']} not led by the preferred replica"
    )
    print(f"{count_text(status.partition_count, 'partition')}: {state}")
    if status.failing:
        print_table(PARTITION_COLUMNS, status.failing)
