"""`kstore topics elect`: the preferred replicas lead again, or whichever is left does (KIP-183, KIP-460)."""

import argparse
import sys
from typing import Any

from kstore.cli.arguments import Commands, add_command, add_json
from kstore.cli.connection import add_connection
from kstore.cli.errors import FAILED, CommandError, UsageError
from kstore.cli.offsets import parse_topic
from kstore.cli.output import print_json
from kstore.cli.wire import Wire, reason

ELECT_VERSION = 2
KINDS = {"preferred": 0, "unclean": 1}
NOT_NEEDED = 84

EXAMPLES = """
kstore topics elect preferred                    every partition that another replica than its preferred one leads
kstore topics elect preferred orders events:0,3
kstore topics elect unclean orders:4             a replica that is not in sync, where no other is left: RECORDS ARE LOST
"""


def add_elect(group: Commands) -> None:
    elect = add_command(
        group,
        "elect",
        run_elect,
        summary="have leaders elected: the preferred replicas, or any that is left",
        description=(
            "preferred: the first of a partition's replicas leads again, if it is alive and in sync.\n"
            "unclean: a partition without a leader is led by a replica that is alive though not in sync. What only the"
            "\nothers have is lost."
        ),
        examples=EXAMPLES,
    )
    elect.add_argument("kind", choices=tuple(KINDS))
    elect.add_argument("topics", nargs="*", metavar="TOPIC[:PARTITIONS]", help="all, if none is given (preferred only)")
    add_json(elect)
    add_connection(elect, client_options=False)


def named_partitions(wire: Wire, words: list[str]) -> dict[str, dict[int, Any]]:
    """The partitions that `TOPIC` or `TOPIC:0,3` words name: topic -> index -> what is known of it. CommandError."""
    asked: dict[str, set[int]] = {}
    for topic, numbers in map(parse_topic, words):
        asked.setdefault(topic, set()).update(numbers or [-1])
    found: dict[str, dict[int, Any]] = {}
    for topic in wire.metadata(list(asked)).topics:
        known = {each.partition_index: each for each in topic.partitions}
        numbers = sorted(known) if -1 in asked[topic.name] else sorted(asked[topic.name])
        for number in numbers:
            if number not in known:
                raise CommandError(f"{topic.name} has no partition {number}; it has 0 to {len(known) - 1}")
        found[topic.name] = {number: known[number] for number in numbers}
    return found


def run_elect(options: argparse.Namespace) -> int:
    from kstore.protocol.messages.elect_leaders import ElectLeadersRequest

    if options.kind == "unclean" and not options.topics:
        raise UsageError("an unclean election loses records: name the partitions that it is for")
    with Wire(options.bootstrap_server, options.timeout) as wire:
        wanted = None
        if options.topics:
            wanted = [
                ElectLeadersRequest.TopicPartitions(topic=topic, partitions=list(partitions))
                for topic, partitions in named_partitions(wire, options.topics).items()
            ]
        request = ElectLeadersRequest(
            election_type=KINDS[options.kind], topic_partitions=wanted, timeout_ms=wire.timeout_ms
        )
        answer = wire.ask_controller(request, ELECT_VERSION, codes=codes_of)
    if answer.error_code:
        raise CommandError(reason(answer.error_code, None))
    return tell(answer, as_json=options.json)


def codes_of(answer: Any) -> list[int]:
    results = [each.error_code for topic in answer.replica_election_results for each in topic.partition_result]
    return [answer.error_code, *results]


def tell(answer: Any, *, as_json: bool) -> int:
    status = 0
    results = sorted(
        (topic.topic, each.partition_id, each.error_code, each.error_message)
        for topic in answer.replica_election_results
        for each in topic.partition_result
    )
    for topic, partition, code, message in results:
        if code not in (0, NOT_NEEDED):
            status = FAILED
            print(f"kstore: {topic}-{partition}: {reason(code, message)}", file=sys.stderr)
            continue
        result = "not needed" if code else "elected"
        if as_json:
            print_json({"topic": topic, "partition": partition, "result": result})
        else:
            print(f"{result} {topic}-{partition}")
    if not results and not as_json:
        print("nothing to do: every partition is led by its preferred replica")
    return status
