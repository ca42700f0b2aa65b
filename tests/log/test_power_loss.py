"""Power losses: what a flush has confirmed is there afterwards, and all that is derived from it fits."""

import errno

import pytest

from kstore.errors import KafkaStorageError
from kstore.log.config import LogConfig
from kstore.log.memory_log import MemoryLog
from tests.log.build import NOW, TP, append, batch, fill, marker

SIZE = len(batch())


def test_aborted_transactions_below_the_recovery_point_survive() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    fill(log, 1)
    log.flush(now_ms=NOW)
    append(log, batch(producer_id=7, producer_epoch=0, base_sequence=0, transactional=True))
    append(log, marker(7), origin="coordinator")
    log.flush(now_ms=NOW)
    again = log.crash(now_ms=NOW)
    assert again.recovery_point == 3
    assert [txn.first_offset for txn in again.collect_aborted_transactions(0, 3)] == [1]


@pytest.mark.parametrize("flushed_again", [False, True])
def test_indexes_of_a_segment_that_was_sealed_where_a_flush_had_ended_survive(flushed_again: bool) -> None:
    config = LogConfig(segment_bytes=4 * SIZE, index_interval_bytes=1)
    log = MemoryLog.create(TP, config, now_ms=NOW)
    for number in range(4):
        append(log, batch(timestamp=NOW + number))
    log.flush(now_ms=NOW)
    append(log, batch(timestamp=NOW))  # the roll seals what is durable but for its indexes
    assert [s.base_offset for s in log.segments] == [0, 4]
    if flushed_again:
        log.flush(now_ms=NOW)
    again = log.crash(now_ms=NOW)
    first = again.segments.first
    assert first.load_max_timestamp() == NOW + 3
    assert first.time_index.last_entry == (NOW + 3, 3)
    assert first.offset_index.entries == 3
    found = again.offset_for_timestamp(NOW + 3)
    assert found is not None
    assert found.offset == 3


def test_time_index_that_lost_more_than_the_offset_index_is_made_up_for() -> None:
    config = LogConfig(index_interval_bytes=1)
    log = MemoryLog.create(TP, config, now_ms=NOW)
    for number in range(6):
        append(log, batch(timestamp=NOW + number))
    append(log, batch(timestamp=NOW - 1))
    log.flush(now_ms=NOW)
    for name in ("00000000000000000000.index", "00000000000000000000.timeindex"):
        file = log.memory.files[name]
        file.durable = bytes(file.data if name.endswith(".index") else file.data[:32])
    again = log.crash(now_ms=NOW)
    assert again.segments.first.load_max_timestamp() == NOW + 5


def test_snapshot_of_the_flush_before_goes_when_the_next_is_durable() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    append(log, batch(producer_id=7, producer_epoch=0, base_sequence=0))
    log.flush(now_ms=NOW)
    append(log, batch(producer_id=7, producer_epoch=0, base_sequence=1))
    job = log.begin_flush()
    assert job is not None
    assert log.producer_state.snapshots == [1, 2]
    job.run()
    log.complete_flush(job, now_ms=NOW)
    assert [name for name in log.memory.names() if name.endswith(".snapshot")] == ["00000000000000000002.snapshot"]


def test_epoch_that_found_no_room_is_durable_before_the_next_append() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    append(log, batch(), leader_epoch=1)
    log.memory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    with pytest.raises(KafkaStorageError):
        append(log, batch(), leader_epoch=2)
    log.memory.fault = None
    append(log, batch(), leader_epoch=2)
    assert log.memory.read_file("leader-epoch-checkpoint") == b"0\n2\n1 0\n2 1\n"
