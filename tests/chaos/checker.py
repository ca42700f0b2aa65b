"""What is wrong with a history: the anomalies of Jepsen's test of Kafka (jepsen/src/jepsen/tests/kafka.clj), without
those of transactions, and a few that follow from offsets being dense and known.

    lost-write            acknowledged at an offset, others read above it, and nobody ever read it
    unseen                acknowledged, and no reader has come so far
    misplaced             acknowledged at one offset, and read at another
    duplicate             of an idempotent producer, at two offsets
    inconsistent-offsets  two values at one offset
    nonmonotonic-send     of an idempotent producer: sent later, and lies earlier
    nonmonotonic-poll     a reader went backwards, from one poll to the next; int-nonmonotonic-poll: within one
    poll-skip             a reader left out an offset that has a record, from one poll to the next; int-poll-skip
    unsent                read, and sent by nobody
    hole                  a reader of everything found no record at an offset below others
    group-unseen          acknowledged, and read by no member of a group
    end-went-back         a consumer was told an end below one that it was told before
    lost-commit           a group's offset went back behind one that was certain, or is one that nobody committed
    complaint             a client was told what it must never be told
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.chaos.history import ACKED, History, Poll

START = -1


class Anomaly(NamedTuple):
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def anomalies(history: History) -> list[Anomaly]:
    return [
        *offset_anomalies(history),
        *order_anomalies(history),
        *poll_anomalies(history),
        *group_anomalies(history),
        *end_anomalies(history),
        *commit_anomalies(history),
        *(Anomaly("complaint", text) for text in history.complaints),
    ]


Place = tuple[int, int]  # partition, offset


class Log(NamedTuple):
    """What readers and acknowledgements say of all partitions together."""

    values: dict[Place, set[bytes]]
    read_places: dict[bytes, set[Place]]
    read_ends: dict[int, int]  # of each partition: the highest offset that anybody read


def log_of(history: History) -> Log:
    values: dict[Place, set[bytes]] = defaultdict(set)
    places: dict[bytes, set[Place]] = defaultdict(set)
    ends: dict[int, int] = defaultdict(lambda: START)
    for poll in history.polls:
        for partition, offset, value in poll.records:
            values[partition, offset].add(value)
            places[value].add((partition, offset))
            ends[partition] = max(ends[partition], offset)
    for send in history.acked:
        if send.offset >= 0:
            values[send.partition, send.offset].add(send.value)
    return Log(values, places, ends)


def offset_anomalies(history: History) -> Iterator[Anomaly]:
    log = log_of(history)
    for place, values in log.values.items():
        if len(values) > 1:
            yield Anomaly("inconsistent-offsets", f"{at(place)} is {sorted(map(shown, values))}")
    sent = {}
    for send in history.sends:
        sent[send.value] = send
    for value, places in log.read_places.items():
        send = sent.get(value)
        if send is None:
            yield Anomaly("unsent", f"{shown(value)} was read at {at(min(places))}")
        elif len(places) > 1 and send.producer in history.idempotent:
            yield Anomaly("duplicate", f"{shown(value)} was read at {', '.join(map(at, sorted(places)))}")
    for send in history.acked:
        places = log.read_places.get(send.value, set())
        place = (send.partition, send.offset)
        if not places:
            is_behind = send.offset <= log.read_ends[send.partition]
            yield Anomaly("lost-write" if is_behind else "unseen", f"{shown(send.value)}, acknowledged at {at(place)}")
        elif send.offset >= 0 and place not in places:
            found = ", ".join(map(at, sorted(places)))
            yield Anomaly("misplaced", f"{shown(send.value)}, acknowledged at {at(place)}, was read at {found}")


def order_anomalies(history: History) -> Iterator[Anomaly]:
    """By what was acknowledged: a client that gives up one record and takes up its order anew may well do so."""
    latest: dict[tuple[str, int], tuple[int, int]] = {}
    for send in sorted(history.acked, key=lambda send: (send.producer, send.number)):
        if send.producer not in history.idempotent or send.offset < 0:
            continue
        key = (send.producer, send.partition)
        number, offset = latest.get(key, (START, START))
        if send.offset <= offset:
            what = f"{send.producer}: number {send.number} lies at {at((send.partition, send.offset))}, and {number},"
            yield Anomaly("nonmonotonic-send", f"{what} which was sent before, at {offset}")
        latest[key] = (send.number, max(offset, send.offset))


def poll_anomalies(history: History) -> Iterator[Anomaly]:
    known: dict[int, set[int]] = defaultdict(set)
    for partition, offset in log_of(history).values:
        known[partition].add(offset)
    positions: dict[tuple[str, int], int] = {}
    for poll in history.polls:
        within: set[int] = set()
        for partition in poll.sought:
            positions.pop((poll.reader, partition), None)
        for partition, offset, _ in poll.records:
            key = (poll.reader, partition)
            prefix = "int-" if partition in within else ""
            before = positions.get(key)
            if before is not None:
                yield from step_anomalies(poll, partition, before, offset, known[partition], prefix)
            positions[key] = offset
            within.add(partition)
    for reader in sorted(history.final_readers):
        yield from hole_anomalies(history, reader)


def step_anomalies(
    poll: Poll, partition: int, before: int, offset: int, known: set[int], prefix: str
) -> Iterator[Anomaly]:
    where = f"{poll.reader} read {at((partition, offset))} after {before}"
    if offset <= before:
        yield Anomaly(f"{prefix}nonmonotonic-poll", where)
        return
    skipped = [between for between in range(before + 1, offset) if between in known]
    if skipped:
        yield Anomaly(f"{prefix}poll-skip", f"{where}; left out were {skipped[:5]} (of {len(skipped)})")


def hole_anomalies(history: History, reader: str) -> Iterator[Anomaly]:
    offsets: dict[int, set[int]] = defaultdict(set)
    for poll in history.polls:
        if poll.reader == reader:
            for partition, offset, _ in poll.records:
                offsets[partition].add(offset)
    for partition, found in offsets.items():
        holes = sorted(set(range(history.begin, max(found) + 1)) - found)
        if holes:
            yield Anomaly("hole", f"{reader} found nothing at {at((partition, holes[0]))} (and {len(holes) - 1} more)")


def group_anomalies(history: History) -> Iterator[Anomaly]:
    for group, members in history.groups.items():
        read = {record.value for poll in history.polls if poll.reader in members for record in poll.records}
        for send in history.acked:
            if send.value not in read:
                where = at((send.partition, send.offset))
                yield Anomaly("group-unseen", f"{shown(send.value)}, acknowledged at {where}, by no member of {group}")


def end_anomalies(history: History) -> Iterator[Anomaly]:
    highest: dict[int, int] = {}
    for partition, offset in history.ends:
        before = highest.get(partition, START)
        if offset < before:
            yield Anomaly("end-went-back", f"partition {partition} ended at {before}, and later at {offset}")
        highest[partition] = max(before, offset)


def commit_anomalies(history: History) -> Iterator[Anomaly]:
    """What was not certain may still be on its way, and be done after what is certain by now."""
    certain: dict[str, int] = {}
    possible: dict[str, set[int]] = defaultdict(set)
    uncertain: dict[str, set[int]] = defaultdict(set)
    for commit in history.commits:
        least = certain.get(commit.group, START)
        if not commit.is_read:
            possible[commit.group].add(commit.offset)
            if commit.outcome == ACKED:
                certain[commit.group] = commit.offset
            else:
                uncertain[commit.group].add(commit.offset)
            continue
        went_back = commit.offset < least and commit.offset not in uncertain[commit.group]
        if went_back or (commit.offset >= 0 and commit.offset not in possible[commit.group]):
            yield Anomaly("lost-commit", f"{commit.group} was at {least} for certain, and then at {commit.offset}")
        certain[commit.group] = max(least, commit.offset)


def at(place: Place) -> str:
    return f"{place[0]}@{place[1]}"


def shown(value: bytes) -> str:
    return value[:24].decode("ascii", "replace").rstrip(".")
