"""Where in a partition: the words that name an offset, and what they are of a running broker's partitions.

beginning, end        the first offset, and the one after the last record
120                   an offset
-10                   the tenth from the end
2024-05-01T12:00Z     the first record of that time or later; without a zone it is UTC
"""

import argparse
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kstore.cli.connection import Connection
from kstore.cli.errors import CommandError

BEGINNING = "beginning"
END = "end"
NAMES = {"beginning": BEGINNING, "earliest": BEGINNING, "end": END, "latest": END}


class Place(NamedTuple):
    """What was asked for: `kind` is BEGINNING, END, "offset" or "time" (milliseconds)."""

    kind: str
    number: int = 0


def parse_place(text: str) -> Place:
    """The type of an argument such as `--from`."""
    if text in NAMES:
        return Place(NAMES[text])
    try:
        return Place("offset", int(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither beginning, end, an offset, nor a time such as 2024-05-01T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Place("time", round(moment.timestamp() * 1000))


class Bounds(NamedTuple):
    """`leader_epoch` is the one that the leader of the partition leads in, where it tells."""

    first_offset: int
    end_offset: int
    leader_epoch: int | None = None

    def within(self, offset: int) -> int:
        return min(max(offset, self.first_offset), self.end_offset)


def list_offsets(connection: Connection, admin: Any, asked: dict[tuple[str, int], Any]) -> dict[tuple[str, int], Any]:
    """(topic, partition) -> what ListOffsets says to the spec that was asked of it. Raises CommandError."""
    kafka = connection.kafka
    if not asked:
        return {}
    request = {kafka.TopicPartition(topic, partition): spec for (topic, partition), spec in asked.items()}
    with connection.errors():
        futures = admin.list_offsets(request, request_timeout=connection.timeout)
        return {(key.topic, key.partition): future.result() for key, future in futures.items()}


def bounds(connection: Connection, admin: Any, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Bounds]:
    """First and end offset and leader epoch of each partition."""
    spec = connection.kafka.admin.OffsetSpec
    partitions = list(partitions)
    first = list_offsets(connection, admin, dict.fromkeys(partitions, spec.earliest()))
    end = list_offsets(connection, admin, dict.fromkeys(partitions, spec.latest()))
    return {key: Bounds(first[key].offset, end[key].offset, end[key].leader_epoch) for key in partitions}


def resolve(
    connection: Connection, admin: Any, place: Place, partitions: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """The offset that `place` is in each partition, within what the partition has."""
    known = bounds(connection, admin, partitions)
    if place.kind == BEGINNING:
        return {key: bound.first_offset for key, bound in known.items()}
    if place.kind == END:
        return {key: bound.end_offset for key, bound in known.items()}
    if place.kind == "time":
        spec = connection.kafka.admin.OffsetSpec.for_timestamp(place.number)
        found = list_offsets(connection, admin, dict.fromkeys(known, spec))
        # Nothing is that late: the end.
        return {key: found[key].offset if found[key].offset >= 0 else bound.end_offset for key, bound in known.items()}
    return {
        key: min(
            max(place.number + (bound.end_offset if place.number < 0 else 0), bound.first_offset), bound.end_offset
        )
        for key, bound in known.items()
    }


def partitions_of(connection: Connection, client: Any, topic: str) -> list[tuple[str, int]]:
    """All partitions of a topic. Raises CommandError where there is no such topic."""
    found = connection.metadata(client, topic).topics[topic]
    return [(topic, partition) for partition in sorted(found.partitions)]


def parse_topic(text: str) -> tuple[str, list[int]]:
    """`orders`, or `orders:0,3` for some of its partitions. Raises CommandError."""
    topic, colon, numbers = text.partition(":")
    try:
        return topic, [int(number) for number in numbers.split(",")] if colon else []
    except ValueError:
        raise CommandError(f"{text}: give TOPIC or TOPIC:PARTITION,PARTITION") from None


def chosen_partitions(connection: Connection, client: Any, topic: str, numbers: list[int]) -> list[tuple[str, int]]:
    """The partitions of `topic` with these numbers, or all. Raises CommandError for those that are not there."""
    known = partitions_of(connection, client, topic)
    for number in numbers:
        if (topic, number) not in known:
            raise CommandError(f"{topic} has no partition {number}; it has 0 to {len(known) - 1}")
    return [(topic, number) for number in numbers] if numbers else known
