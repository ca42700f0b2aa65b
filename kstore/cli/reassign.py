"""`kstore topics reassign`: other replicas for partitions, by what a reassignment shows of itself (KIP-455)."""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kstore.cli.arguments import Commands, add_command, add_json, integer
from kstore.cli.connection import add_connection
from kstore.cli.elect import named_partitions
from kstore.cli.errors import FAILED, CommandError, UsageError
from kstore.cli.output import Column, count_text, print_table
from kstore.cli.placement import Key, Placement, spread
from kstore.cli.wire import Wire, reason

VERSION = 0
NO_REASSIGNMENT = 85
POLL_S = 0.2

PLAN_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("PARTITION", "partition", right=True),
    Column("REPLICAS", "replicas"),
    Column("NEW", "new"),
)
UNDER_WAY_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("PARTITION", "partition", right=True),
    Column("REPLICAS", "replicas"),
    Column("ADDING", "adding"),
    Column("REMOVING", "removing"),
    Column("ISR", "isr"),
)

EXAMPLES = """
kstore topics reassign orders events --brokers 1,2,3,4              shows how they would be spread over four brokers
kstore topics reassign orders events --brokers 1,2,3,4 --execute    does it
kstore topics reassign orders --brokers 1,2,3 --copies 3 --execute    with another number of replicas
kstore topics reassign orders:0,3 --replicas 3,1 --execute --wait 600
kstore topics reassign --list
kstore topics reassign orders --cancel
"""


def add_reassign(group: Commands) -> None:
    reassign = add_command(
        group,
        "reassign",
        run_reassign,
        summary="move partitions to other brokers, show what is being moved, take it back",
        description=(
            "Shows which replicas partitions would have, and with --execute has them moved. New replicas are filled"
            "\nfirst; the old ones go when all new ones are in sync."
        ),
        examples=EXAMPLES,
    )
    reassign.add_argument("topics", nargs="*", metavar="TOPIC[:PARTITIONS]")
    how = reassign.add_mutually_exclusive_group(required=True)
    how.add_argument("--brokers", type=broker_ids, metavar="ID,ID", help="spread evenly over these, moving little")
    how.add_argument("--replicas", type=broker_ids, metavar="ID,ID", help="exactly these, the preferred leader first")
    how.add_argument("--file", metavar="FILE", help="as in Kafka's reassignment JSON files; - for standard input")
    how.add_argument("--list", action="store_true", help="what is being moved")
    how.add_argument("--cancel", action="store_true", help="stay with the old replicas: of TOPICs, or of all")
    reassign.add_argument("--copies", type=integer(1, 2**15 - 1), metavar="N", help="with --brokers: replicas of each")
    reassign.add_argument("--execute", action="store_true", help="do it; else it is only shown")
    reassign.add_argument("--wait", type=float, metavar="S", help="with --execute: until all is moved, so long at most")
    add_json(reassign)
    add_connection(reassign, client_options=False)


def broker_ids(text: str) -> list[int]:
    ids = [int(word) for word in text.split(",")]
    if any(one < 0 for one in ids) or len(set(ids)) != len(ids):
        raise argparse.ArgumentTypeError(f"{text} are not broker ids, each once")
    return ids


def run_reassign(options: argparse.Namespace) -> int:
    check(options)
    with Wire(options.bootstrap_server, options.timeout) as wire:
        if options.list:
            rows = under_way(wire, selected(wire, options.topics))
            print_table(UNDER_WAY_COLUMNS, rows, as_json=options.json)
            return 0
        if options.cancel:
            return cancel(wire, options)
        current, target = plan(wire, options)
        rows = [
            {"topic": key[0], "partition": key[1], "replicas": current[key], "new": new, "executed": options.execute}
            for key, new in sorted(target.items())
            if list(current[key]) != new
        ]
        status = 0
        if options.execute and rows:
            status = alter(wire, {(row["topic"], row["partition"]): row["new"] for row in rows})
        print_table(PLAN_COLUMNS, rows, as_json=options.json)
        if not options.execute and not options.json:
            print("nothing was changed: add --execute to do so", file=sys.stderr)
        if options.wait is not None and status == 0:
            wait(wire, [(row["topic"], row["partition"]) for row in rows], options.wait)
        return status


def check(options: argparse.Namespace) -> None:
    """Raises UsageError for options that do not go together."""
    plans = options.brokers or options.replicas
    if plans and not options.topics:
        raise UsageError("name the topics that are to be moved")
    if options.file and options.topics:
        raise UsageError("--file says which partitions are to be moved: name no topics")
    if options.copies is not None and not options.brokers:
        raise UsageError("--copies goes with --brokers")
    if (options.list or options.cancel) and options.execute:
        raise UsageError("--execute goes with --brokers, --replicas or --file")
    if options.wait is not None and not options.execute:
        raise UsageError("--wait goes with --execute")


# --- what is wanted ---


def plan(wire: Wire, options: argparse.Namespace) -> tuple[Mapping[Key, Sequence[int]], Placement]:
    """Replicas now and replicas as they shall be. Raises CommandError, UsageError."""
    wanted = read_file(options.file) if options.file else None
    words = options.topics if wanted is None else [f"{topic}:{number}" for topic, number in wanted]
    current = {
        (topic, number): list(partition.replica_nodes)
        for topic, partitions in named_partitions(wire, words).items()
        for number, partition in partitions.items()
    }
    if wanted is not None:
        return current, wanted
    if options.replicas:
        return current, {key: list(options.replicas) for key in current}
    alive = {broker.node_id: broker.rack for broker in wire.metadata([]).brokers}
    for broker in options.brokers:
        if broker not in alive:
            raise CommandError(f"broker {broker} is not there; there are {', '.join(map(str, sorted(alive)))}")
    try:
        return current, spread(current, options.brokers, alive, copies=options.copies)
    except ValueError as error:
        raise CommandError(str(error)) from None


def read_file(name: str) -> Placement:
    """What `kafka-reassign-partitions.sh --reassignment-json-file` reads. Raises UsageError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
        found = json.loads(text)
        placement = {
            (str(each["topic"]), int(each["partition"])): [int(replica) for replica in each["replicas"]]
            for each in found["partitions"]
        }
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{name}: no reassignment as Kafka's tool writes it: {error!r}") from None
    if not placement:
        raise UsageError(f"{name}: names no partition")
    return placement


# --- asking for it ---


def alter(wire: Wire, target: Mapping[Key, Sequence[int] | None], *, tolerated: int = 0) -> int:
    """Asks for other replicas, or with None for none other; tells what is refused. Gives the exit status."""
    from kstore.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest as Request

    topics: dict[str, list[Any]] = {}
    for (topic, number), replicas in sorted(target.items()):
        part = Request.ReassignablePartition(
            partition_index=number, replicas=None if replicas is None else list(replicas)
        )
        topics.setdefault(topic, []).append(part)
    request = Request(
        timeout_ms=wire.timeout_ms,
        topics=[Request.ReassignableTopic(name=name, partitions=parts) for name, parts in topics.items()],
    )
    answer = wire.ask_controller(request, VERSION, codes=lambda answer: [answer.error_code])
    if answer.error_code:
        raise CommandError(reason(answer.error_code, answer.error_message))
    status = 0
    for topic in answer.responses:
        for each in topic.partitions:
            if each.error_code not in (0, tolerated):
                status = FAILED
                said = reason(each.error_code, each.error_message)
                print(f"kstore: {topic.name}-{each.partition_index}: {said}", file=sys.stderr)
    return status


def cancel(wire: Wire, options: argparse.Namespace) -> int:
    rows = under_way(wire, selected(wire, options.topics))
    if rows:
        # One that has come to its end in between needs no cancelling.
        moving: dict[Key, None] = {(row["topic"], row["partition"]): None for row in rows}
        status = alter(wire, moving, tolerated=NO_REASSIGNMENT)
    else:
        status = 0
    print_table(UNDER_WAY_COLUMNS, rows, as_json=options.json)
    return status


# --- what is under way ---


def selected(wire: Wire, words: list[str]) -> list[Key] | None:
    """The partitions that are named; None for all."""
    if not words:
        return None
    return [(topic, number) for topic, found in named_partitions(wire, words).items() for number in found]


def under_way(wire: Wire, keys: Sequence[Key] | None) -> list[dict[str, Any]]:
    from kstore.protocol.messages.list_partition_reassignments import ListPartitionReassignmentsRequest as Request

    topics: dict[str, list[int]] = {}
    for topic, number in keys or ():
        topics.setdefault(topic, []).append(number)
    wanted = [
        Request.ListPartitionReassignmentsTopics(name=name, partition_indexes=parts) for name, parts in topics.items()
    ]
    request = Request(timeout_ms=wire.timeout_ms, topics=None if keys is None else wanted)
    answer = wire.ask_controller(request, VERSION, codes=lambda answer: [answer.error_code])
    if answer.error_code:
        raise CommandError(reason(answer.error_code, answer.error_message))
    names = [topic.name for topic in answer.topics]
    in_sync = {
        (topic.name, each.partition_index): list(each.isr_nodes)
        for topic in (wire.metadata(names).topics if names else [])
        for each in topic.partitions
    }
    rows = [
        {
            "topic": topic.name,
            "partition": each.partition_index,
            "replicas": list(each.replicas),
            "adding": list(each.adding_replicas),
            "removing": list(each.removing_replicas),
            "isr": in_sync.get((topic.name, each.partition_index)),
        }
        for topic in answer.topics
        for each in topic.partitions
    ]
    return sorted(rows, key=lambda row: (row["topic"], row["partition"]))


def wait(wire: Wire, keys: Sequence[Key], seconds: float) -> None:
    """Returns when nothing of it is under way any more. Raises CommandError when that takes too long."""
    deadline = time.monotonic() + seconds
    shown = ""
    while keys:
        rows = under_way(wire, keys)
        done = len(keys) - len(rows)
        line = f"{done} of {count_text(len(keys), 'partition')} moved"
        if line != shown and sys.stderr.isatty():
            print(f"\r{line}", end="" if rows else "\n", file=sys.stderr, flush=True)
            shown = line
        if not rows:
            return
        if time.monotonic() > deadline:
            raise CommandError(
                f"{count_text(len(rows), 'partition')} still being moved after {seconds:g} s; look with --list"
            )
        time.sleep(POLL_S)
