"""What clients were promised, and what they saw."""

from typing import Any

from kstore._native.batch import iter_batches
from kstore.model import TopicPartition
from tests.sim.invariants import Judge, Violation


def values(data: bytes) -> dict[int, bytes]:
    """Offset -> value of all records in whole batches."""
    found: dict[int, bytes] = {}
    for batch in iter_batches(data, allow_partial_tail=True):
        for record in batch.records():
            found[record.offset] = bytes(record.value or b"")
    return found


class Ledger:
    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        # Acknowledged by all, by offset.
        self.acknowledged: dict[TopicPartition, dict[int, bytes]] = {}
        # What idempotent producers have had acknowledged, in their order.
        self.in_order: dict[tuple[str, TopicPartition], list[bytes]] = {}
        self.seen: dict[TopicPartition, dict[int, bytes]] = {}
        self.sent = 0

    def is_next(self, producer: str, key: TopicPartition, sent: list[bytes]) -> None:
        """An idempotent producer has had these acknowledged, and all that it sent before."""
        self.in_order.setdefault((producer, key), []).extend(sent)

    def was_acknowledged(self, producer: str, key: TopicPartition, base_offset: int, sent: list[bytes]) -> None:
        """By all that are in sync."""
        if not self._judge.is_committed(key, base_offset + len(sent)):
            raise Violation(
                f"{key}: offsets {base_offset} to {base_offset + len(sent) - 1} are acknowledged to {producer}, and"
                f" only what is below {self._judge.history_of(*key).end} was committed"
            )
        promised = self.acknowledged.setdefault(key, {})
        for offset, value in enumerate(sent, base_offset):
            other = promised.setdefault(offset, value)
            if other != value:
                raise Violation(f"{key}: offset {offset} was promised to {other!r} and to {value!r}")

    def was_seen(self, consumer: str, key: TopicPartition, offset: int, value: bytes) -> None:
        known = self.seen.setdefault(key, {})
        other = known.setdefault(offset, value)
        if other != value:
            raise Violation(f"{consumer} sees {value!r} at offset {offset} of {key}, and {other!r} was seen there")

    def compare(self, key: TopicPartition, log: dict[int, bytes], start: int) -> None:
        """Against what the log holds in the end, from `start` on; below it records were deleted."""
        for what, promised in (("acknowledged", self.acknowledged), ("seen", self.seen)):
            for offset, value in promised.get(key, {}).items():
                if offset >= start and log.get(offset) != value:
                    raise Violation(f"{key}: {value!r} was {what} at offset {offset}, where {log.get(offset)!r} is now")
        places: dict[bytes, list[int]] = {}
        for offset, value in sorted(log.items()):
            places.setdefault(value, []).append(offset)
        for (producer, where), sent in self.in_order.items():
            if where != key:
                continue
            last = -1
            for value in sent:
                found = places.get(value, [])
                if not found and start > 0 and last < 0:
                    continue  # deleted, and so was all before it
                if len(found) != 1:
                    raise Violation(f"{key}: {value!r} of {producer}, which is idempotent, lies at {found}")
                if found[0] <= last:
                    raise Violation(f"{key}: {value!r} of {producer} lies at {found[0]}, behind what came after it")
                last = found[0]

    def counts(self) -> dict[str, Any]:
        return {
            "acknowledged": sum(len(each) for each in self.acknowledged.values()),
            "seen": sum(len(each) for each in self.seen.values()),
        }
