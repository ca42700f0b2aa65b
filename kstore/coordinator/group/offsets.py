"""The offsets of one group: committed, being written, and of open transactions.

- A fetch is answered from what is committed, so an offset that was once told is never taken back.
- A write in flight is remembered per partition with the last one that was begun: until it is decided the offset is
  not stable, and it does not expire.
- Which of two commits is the later one their place in the log tells, not the order in which they became known:
  a transaction's offsets count from where they were written, not from its marker
  (GroupMetadata.scala, CommitRecordMetadataAndOffset).
"""

from collections.abc import Callable, Collection, Iterator

from kstore.coordinator.group.records import NO_EXPIRY, OffsetAndMetadata
from kstore.coordinator.group.results import Write

Partition = tuple[str, int]  # topic and partition


class GroupOffsets:
    __slots__ = ("committed", "pending", "transactional")

    def __init__(self) -> None:
        self.committed: dict[str, dict[int, OffsetAndMetadata]] = {}
        self.pending: dict[Partition, Write] = {}
        self.transactional: dict[int, dict[Partition, OffsetAndMetadata]] = {}  # by producer id

    def __len__(self) -> int:
        return sum(map(len, self.committed.values()))

    def __bool__(self) -> bool:
        """Are there any, committed or not?"""
        return bool(self.committed or self.pending or self.transactional)

    def get(self, topic: str, partition: int) -> OffsetAndMetadata | None:
        partitions = self.committed.get(topic)
        return None if partitions is None else partitions.get(partition)

    def is_stable(self, topic: str, partition: int) -> bool:
        """No commit of this partition is undecided (KIP-447)."""
        if not self.pending and not self.transactional:
            return True
        key = (topic, partition)
        return key not in self.pending and not any(key in offsets for offsets in self.transactional.values())

    def put(self, topic: str, partition: int, committed: OffsetAndMetadata) -> None:
        """Takes over what is in the log, unless what is known stands later there."""
        partitions = self.committed.setdefault(topic, {})
        known = partitions.get(partition)
        if known is None or known.log_offset <= committed.log_offset:
            partitions[partition] = committed

    def remove(self, topic: str, partition: int) -> bool:
        """A tombstone: whether it removed something. What is later in the log becomes known after it."""
        partitions = self.committed.get(topic)
        if partitions is None or partition not in partitions:
            return False
        del partitions[partition]
        if not partitions:
            del self.committed[topic]
        return True

    def settle(self, topic: str, partition: int, write: Write) -> None:
        """`write` is decided; a later one of the same partition may not be."""
        if self.pending.get((topic, partition)) is write:
            del self.pending[topic, partition]

    def put_transactional(self, producer_id: int, topic: str, partition: int, offset: OffsetAndMetadata) -> None:
        self.transactional.setdefault(producer_id, {})[topic, partition] = offset

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        for (topic, partition), offset in self.transactional.pop(producer_id, {}).items():
            if commit:
                self.put(topic, partition, offset)

    def drop_transactional(self, topic: str, partition: int, producer_id: int | None = None) -> None:
        """A tombstone ends also what is not decided yet: of one producer when it is part of its transaction."""
        for known_id, offsets in list(self.transactional.items()):
            if producer_id is None or producer_id == known_id:
                offsets.pop((topic, partition), None)
                if not offsets:
                    del self.transactional[known_id]

    def partitions(self) -> Iterator[Partition]:
        """All that have an offset, decided or not, each once."""
        seen = {(topic, partition) for topic, partitions in self.committed.items() for partition in partitions}
        seen.update(self.pending)
        for offsets in self.transactional.values():
            seen.update(offsets)
        yield from sorted(seen)

    def partitions_of(self, topics: Collection[str]) -> list[Partition]:
        known = self.committed.keys() | {topic for topic, _ in self.pending}
        for offsets in self.transactional.values():
            known |= {topic for topic, _ in offsets}
        if known.isdisjoint(topics):
            return []
        return [(topic, partition) for topic, partition in self.partitions() if topic in topics]

    def expired(
        self,
        *,
        wall_ms: int,
        retention_ms: int,
        base_timestamp_ms: Callable[[OffsetAndMetadata], int],
        kept_topics: Collection[str] = (),
    ) -> list[Partition]:
        """Partitions whose offset has outlived its retention (GroupMetadata.removeExpiredOffsets; KIP-211).

        One with an expiry of its own, as versions 2 to 4 of OffsetCommit could ask for, goes by that.
        """
        expired = []
        for topic, partitions in self.committed.items():
            if topic in kept_topics:
                continue
            for partition, offset in partitions.items():
                if offset.expire_timestamp_ms != NO_EXPIRY:
                    is_due = wall_ms >= offset.expire_timestamp_ms
                else:
                    is_due = wall_ms - base_timestamp_ms(offset) >= retention_ms
                if is_due and self.is_stable(topic, partition):
                    expired.append((topic, partition))
        return expired
