"""Reading a partition of `__consumer_offsets` into a shard, without holding up the loop.

A thread reads and decompresses, and keeps of each key only its last record: a busy group commits the same few keys
again and again. What is left is replayed on the loop, some of it at a time. Records of transactions are all kept, for
what becomes of them is known at their end only (GroupMetadataManager.doLoadGroupsAndOffsets).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kstore._native.batch import iter_batches
from kstore.errors import CorruptRecordError
from kstore.log.partition_log import LOG_END
from kstore.replica.partition import Partition

if TYPE_CHECKING:
    from kstore.coordinator.group.shard import GroupShard

log = logging.getLogger(__name__)

# How long a replay may hold up the requests of others.
LONGEST_TURN_S = 0.005

# Types of control records (ControlRecordType.java).
ABORT, COMMIT = 0, 1


class LastRecords:
    """What a log says in the end. `take` may run in any thread, one call at a time."""

    def __init__(self) -> None:
        self.read = 0
        # Key -> (base offset of its batch, number in the log, value).
        self._last: dict[bytes | None, tuple[int, int, bytes | None]] = {}
        # (number in the log, base offset, producer id, key and value, or whether a marker commits)
        self._transactional: list[tuple[int, int, int, tuple[bytes, bytes | None] | bool]] = []
        self._open: set[int] = set()  # producers with records that no marker has followed

    def take(self, records: Any, offset: int, end_offset: int) -> int:
        """Takes the batches of a slice of the log, from `offset` on; returns where the next slice begins."""
        data = records if isinstance(records, bytes) else records.read()
        for batch in iter_batches(data, allow_partial_tail=True):
            if batch.last_offset < offset:
                continue
            if batch.base_offset >= end_offset:
                return end_offset
            if batch.is_control:
                self._take_marker(batch)
            else:
                self._take_records(batch)
            offset = batch.next_offset
        return offset

    def _take_records(self, batch: Any) -> None:
        base_offset, producer_id = batch.base_offset, batch.producer_id
        last, transactional = self._last, self._transactional
        number = self.read
        for record in batch.records():
            number += 1
            if batch.is_transactional:
                self._open.add(producer_id)
                transactional.append((number, base_offset, producer_id, (record.key, record.value)))
            else:
                last[record.key] = (number, base_offset, record.value)
        self.read = number

    def _take_marker(self, batch: Any) -> None:
        self.read += 1
        control = batch.control_record()
        if control is not None and control[0] in (ABORT, COMMIT) and batch.producer_id in self._open:
            self._open.discard(batch.producer_id)
            self._transactional.append((self.read, batch.base_offset, batch.producer_id, control[0] == COMMIT))

    def in_order(self) -> "list[tuple[int, int, int | None, Any]]":
        """(number in the log, base offset, producer id, what it says) of all that counts, in the order of the log."""
        kept: list[tuple[int, int, int | None, Any]] = [
            (number, base_offset, None, (key, value)) for key, (number, base_offset, value) in self._last.items()
        ]
        kept += self._transactional
        kept.sort(key=lambda entry: entry[0])
        return kept


async def load(shard: "GroupShard", partition: Partition, *, max_bytes: int, is_given_up: Callable[[], bool]) -> int:
    """Replays the records below the log's end, reading about `max_bytes` at once, until it is given up; returns how
    many there are. The partition may move to another log meanwhile. Raises KafkaError, OSError."""
    loop = asyncio.get_running_loop()
    last = LastRecords()
    offset, end_offset = partition.log.log_start_offset, partition.log.log_end_offset
    while offset < end_offset and not is_given_up():
        found = partition.log.read(offset, max_bytes=max_bytes, upper_bound=LOG_END, min_one_message=True)
        reached = await loop.run_in_executor(None, last.take, found.records, offset, end_offset)
        if reached == offset:
            # Compaction may have left nothing between here and the end.
            break
        offset = reached
    entries = await loop.run_in_executor(None, last.in_order)
    began = time.monotonic()
    for _, base_offset, producer_id, said in entries:
        if time.monotonic() - began > LONGEST_TURN_S:
            await asyncio.sleep(0)
            began = time.monotonic()
        if is_given_up():
            break
        try:
            _replay(shard, base_offset, producer_id, said)
        except CorruptRecordError as error:
            log.error("%r: a record of the batch at %d is passed over: %s", partition.log, base_offset, error)
    return last.read


def _replay(shard: "GroupShard", base_offset: int, producer_id: int | None, said: Any) -> None:
    if isinstance(said, bool):
        assert producer_id is not None
        shard.replay_marker(producer_id, commit=said)
        return
    key, value = said
    if key is None:
        raise CorruptRecordError("a record without a key")
    shard.replay(key, value, offset=base_offset, producer_id=producer_id)
