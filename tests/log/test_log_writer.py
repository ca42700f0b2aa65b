"""Appending, as leader and as follower, and rolling. The cases are those of Kafka's UnifiedLogTest and LocalLogTest."""

import pytest

from kstore._native.checksum import crc32c
from kstore.errors import (
    CorruptRecordError,
    InvalidProducerEpochError,
    InvalidRecordError,
    InvalidTxnStateError,
    MessageTooLargeError,
    OutOfOrderSequenceError,
    RecordListTooLargeError,
    TransactionCoordinatorFencedError,
)
from kstore.log.append import COORDINATOR
from kstore.log.log_writer import UnexpectedAppendOffsetError
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, append, batch, batches_of, marker, offsets_of
from tests.log.conftest import MakeLog

SIZE = len(batch())


def follow(log: PartitionLog, *records: bytearray, leader_epoch: int = 99) -> None:
    log.append_as_follower(bytearray().join(records), leader_epoch=leader_epoch, now_ms=NOW)


# --- as leader ---


def test_append_numbers_records_and_stamps_the_epoch(make_log: MakeLog) -> None:
    log = make_log()
    first = append(log, batch(3), leader_epoch=4)
    assert (first.first_offset, first.last_offset, first.record_count) == (0, 2, 3)
    assert (first.log_append_time, first.max_timestamp, first.size_in_bytes) == (-1, NOW, len(batch(3)))
    assert append(log, batch(2), leader_epoch=4).first_offset == 3
    found = batches_of(log)
    assert offsets_of(found) == [0, 1, 2, 3, 4]
    assert {item.partition_leader_epoch for item in found} == {4}


def test_log_append_time_is_answered(make_log: MakeLog) -> None:
    log = make_log(message_timestamp_type="LogAppendTime")
    assert append(log, batch(timestamp=0), now_ms=NOW + 7).log_append_time == NOW + 7
    assert batches_of(log)[0].max_timestamp == NOW + 7


def test_null_value_is_kept(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(value=None))
    assert [record.value for record in batches_of(log)[0].records()] == [None]


def test_refused_batch_leaves_the_log_as_it_was(make_log: MakeLog) -> None:
    log = make_log(max_message_bytes=SIZE)
    append(log, batch())
    damaged = batch()
    damaged[-1] ^= 1
    for records, error in (
        (damaged, CorruptRecordError),
        (batch(base_offset=1), InvalidRecordError),
        (batch(value=b"v" * 100), MessageTooLargeError),
    ):
        with pytest.raises(error):
            append(log, records)
    assert (log.log_end_offset, log.size_in_bytes) == (1, SIZE)


def test_batch_larger_than_a_segment_is_refused(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=SIZE)
    append(log, batch())
    with pytest.raises(RecordListTooLargeError):
        append(log, batch(value=b"v" * 100))


def test_recompressed_batch_is_what_is_stored(make_log: MakeLog) -> None:
    log = make_log(compression_type="zstd")
    info = append(log, batch(5, value=b"v" * 100))
    assert info.size_in_bytes == log.size_in_bytes < 5 * 100
    assert batches_of(log)[0].compression == 4


def test_new_epoch_is_noted_where_it_begins(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(2), leader_epoch=3)
    append(log, batch(), leader_epoch=3)
    append(log, batch(), leader_epoch=5)
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(3, 0), (5, 3)]
    assert log.epoch_end_offset(3) == (3, 3)
    assert log.epoch_end_offset(5) == (5, 4)
    assert log.latest_epoch == 5


def test_epoch_is_durable_before_its_first_record(make_log: MakeLog) -> None:
    log = make_log()
    log.assign_epoch_start_offset(3, 0)
    append(log, batch(), leader_epoch=3)
    assert log.directory.read_file("leader-epoch-checkpoint") == b"0\n1\n3 0\n"
    assert not log.leader_epoch_cache.dirty


# --- idempotent producers ---


def idempotent(
    sequence: int, count: int = 1, *, epoch: int = 0, producer_id: int = 7, timestamp: int = NOW
) -> bytearray:
    return batch(count, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, timestamp=timestamp)


def test_duplicate_is_answered_with_what_is_there(make_log: MakeLog) -> None:
    log = make_log()
    append(log, idempotent(0, 2, timestamp=NOW + 1))
    append(log, idempotent(2, 2))
    again = append(log, idempotent(0, 2, timestamp=NOW + 9))
    assert (again.is_duplicate, again.first_offset, again.last_offset) == (True, 0, 1)
    assert again.log_append_time == NOW + 1  # the stored batch's timestamp, as Kafka answers
    assert log.log_end_offset == 4


def test_gap_and_old_epoch_are_refused(make_log: MakeLog) -> None:
    log = make_log()
    append(log, idempotent(0, 2))
    with pytest.raises(OutOfOrderSequenceError):
        append(log, idempotent(3))
    append(log, idempotent(0, epoch=1))
    with pytest.raises(InvalidProducerEpochError):
        append(log, idempotent(2, epoch=0))
    assert log.log_end_offset == 3


def test_first_append_may_have_any_epoch_and_sequence(make_log: MakeLog) -> None:
    log = make_log()
    append(log, idempotent(50, epoch=9))
    append(log, idempotent(51, epoch=9))


def test_producers_do_not_disturb_each_other(make_log: MakeLog) -> None:
    log = make_log()
    for sequence in range(3):
        for producer_id in (1, 2, 3):
            append(log, idempotent(sequence, producer_id=producer_id))
    assert {entry.last_sequence for entry in log.producer_state.producers.values()} == {2}


def test_duplicate_after_a_restart_is_still_known(make_log: MakeLog) -> None:
    log = make_log()
    append(log, idempotent(0, 2))
    append(log, idempotent(2, 2))
    log.flush(now_ms=NOW)
    log.close()
    log = make_log(clean_shutdown=False)
    assert append(log, idempotent(2, 2)).is_duplicate
    with pytest.raises(OutOfOrderSequenceError):
        append(log, idempotent(9))


def test_expired_producer_may_begin_anywhere(make_log: MakeLog) -> None:
    log = make_log(producer_id_expiration_ms=1000)
    append(log, idempotent(0))
    with pytest.raises(OutOfOrderSequenceError):
        append(log, idempotent(9))
    assert log.remove_expired_producers(NOW + 1000) == 1
    append(log, idempotent(9))


# --- transactions, as the coordinator and followers write them ---


def test_open_transaction_holds_the_last_stable_offset(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch())
    append(log, batch(2, producer_id=7, producer_epoch=0, base_sequence=0, transactional=True))
    append(log, batch())
    log.maybe_increment_high_watermark(4)
    assert log.last_stable_offset == 1
    append(log, marker(7), origin=COORDINATOR)
    assert log.last_stable_offset == 1
    log.maybe_increment_high_watermark(5)
    assert log.last_stable_offset == 5


def test_transactional_state_is_kept_through_markers(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(producer_id=7, producer_epoch=0, base_sequence=0, transactional=True))
    with pytest.raises(InvalidTxnStateError):
        append(log, idempotent(1))
    append(log, marker(7, commit=True, coordinator_epoch=1), origin=COORDINATOR)
    append(log, idempotent(1))
    with pytest.raises(TransactionCoordinatorFencedError):
        append(log, marker(7, coordinator_epoch=0), origin=COORDINATOR)
    with pytest.raises(InvalidProducerEpochError):
        append(log, marker(7, -1), origin=COORDINATOR)
    append(log, marker(7, producer_epoch=3, coordinator_epoch=2), origin=COORDINATOR)
    with pytest.raises(InvalidProducerEpochError):
        append(log, idempotent(2))


def test_only_aborted_transactions_are_indexed(make_log: MakeLog) -> None:
    log = make_log()
    for producer_id, commit in ((1, False), (2, True), (3, False)):
        append(log, batch(producer_id=producer_id, producer_epoch=0, base_sequence=0, transactional=True))
        append(log, marker(producer_id, commit=commit), origin=COORDINATOR)
    found = log.collect_aborted_transactions(0, 100)
    assert [(txn.producer_id, txn.first_offset, txn.last_offset) for txn in found] == [(1, 0, 1), (3, 4, 5)]


# --- as follower ---


def test_follower_takes_batches_as_they_are(make_log: MakeLog) -> None:
    log = make_log()
    first = batch(2, base_offset=0, leader_epoch=1)
    second = batch(1, base_offset=2, leader_epoch=1)
    third = batch(3, base_offset=10, leader_epoch=4)  # compaction left a gap
    info = log.append_as_follower(first + second + third, leader_epoch=4, now_ms=NOW)
    assert (info.first_offset, info.last_offset, info.last_leader_epoch) == (0, 12, 4)
    assert log.log_end_offset == 13
    assert [item.to_bytes() for item in batches_of(log)] == [first, second, third]
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(1, 0), (4, 10)]


def test_follower_leaves_a_torn_tail_out(make_log: MakeLog) -> None:
    log = make_log()
    follow(log, batch(base_offset=0), batch(base_offset=1)[:-5])
    assert log.log_end_offset == 1
    follow(log, batch(base_offset=1)[:30])
    assert log.log_end_offset == 1


def test_follower_leaves_batches_of_a_later_epoch_out(make_log: MakeLog) -> None:
    log = make_log()
    follow(
        log,
        batch(base_offset=0, leader_epoch=2),
        batch(base_offset=1, leader_epoch=3),
        batch(base_offset=2, leader_epoch=2),
        leader_epoch=2,
    )
    assert log.log_end_offset == 1
    assert log.latest_epoch == 2


def test_follower_refuses_damage_whole(make_log: MakeLog) -> None:
    log = make_log()
    damaged = batch(base_offset=1)
    damaged[-1] ^= 1
    with pytest.raises(CorruptRecordError):
        follow(log, batch(base_offset=0), damaged)
    assert log.log_end_offset == 0


def test_follower_refuses_offsets_that_do_not_rise(make_log: MakeLog) -> None:
    log = make_log()
    follow(log, batch(base_offset=5))
    with pytest.raises(UnexpectedAppendOffsetError) as caught:
        follow(log, batch(base_offset=3), batch(base_offset=7))
    assert (caught.value.first_offset, caught.value.last_offset) == (3, 3)
    with pytest.raises(CorruptRecordError, match="7 on came behind offset 8"):
        follow(log, batch(base_offset=8), batch(base_offset=7))
    assert log.log_end_offset == 6


def test_follower_reads_markers_before_it_writes_them(make_log: MakeLog) -> None:
    """What lies in the log makes the producers' state: a batch that could not be read stood in it all the same."""
    log = make_log()
    bad = marker(7, base_offset=1)
    bad[-8] = 99  # the length of its key
    bad[17:21] = crc32c(bad[21:]).to_bytes(4, "big")
    with pytest.raises(CorruptRecordError):
        follow(log, batch(base_offset=0), bad)
    assert (log.log_end_offset, log.size_in_bytes) == (0, 0)


def test_follower_notes_of_many_batches_what_it_notes_of_each(make_log: MakeLog) -> None:
    """Wherever they lie in what came: index entries, timestamps, producers and where their batches are."""
    records = [
        batch(
            1 + number % 3,
            base_offset=3 * number,
            timestamp=NOW + 1 + (7 * number) % 11,
            producer_id=5 + number % 2,
            producer_epoch=0,
            base_sequence=3 * (number // 2),
            leader_epoch=number // 4,
        )
        for number in range(12)
    ]
    one_by_one, together = make_log(index_interval_bytes=2 * SIZE), make_log(index_interval_bytes=2 * SIZE)
    for each in records:
        follow(one_by_one, each)
    for part in (records[:5], records[5:]):
        data = bytearray(13) + bytearray().join(part) + bytearray(7)
        together.append_as_follower(data, 13, len(data) - 20, leader_epoch=99, now_ms=NOW)
    assert noted(together) == noted(one_by_one)
    # Its age counts from the latest of what came first (LogSegment.append).
    assert together.segments.active.first_batch_timestamp() == max(NOW + 1 + (7 * number) % 11 for number in range(5))
    # And so it goes on.
    for log in (one_by_one, together):
        follow(log, batch(base_offset=99, timestamp=NOW + 99), batch(base_offset=100))
    assert noted(together) == noted(one_by_one)


def noted(log: PartitionLog) -> tuple[object, ...]:
    segment = log.segments.active
    index, times = segment.offset_index, segment.time_index
    producers = [
        (each.producer_id, each.epoch, each.last_offset, each.last_timestamp, tuple(each.batches))
        for each in log.producer_state.producers.values()
    ]
    return (
        [index.entry(n) for n in range(index.entries)],
        [times.entry(n) for n in range(times.entries)],
        segment.bytes_since_index_entry,
        (segment.max_timestamp, segment.max_timestamp_offset),
        producers,
        list(log.leader_epoch_cache.entries),
        log.log_end_offset,
    )


@pytest.mark.parametrize(
    ("base_offset", "delta", "error"),
    [
        (0, -1, CorruptRecordError),
        (5, -(2**31), CorruptRecordError),
        (2**63 - 1, 0, CorruptRecordError),
        (2**63 - 3, 2, CorruptRecordError),
        (2**63 - 3, 2**31 - 1, CorruptRecordError),
    ],
)
def test_follower_refuses_offsets_that_pass_their_end(
    make_log: MakeLog, base_offset: int, delta: int, error: type[Exception]
) -> None:
    log = make_log()
    records = batch(base_offset=base_offset, leader_epoch=0)
    records[23:27] = delta.to_bytes(4, "big", signed=True)
    records[17:21] = crc32c(records[21:]).to_bytes(4, "big")
    with pytest.raises(error):
        log.append_as_follower(records, leader_epoch=0, now_ms=NOW)
    assert (log.log_end_offset, log.size_in_bytes, log.latest_epoch) == (0, 0, -1)


def test_follower_refuses_what_no_segment_can_hold(make_log: MakeLog) -> None:
    log = make_log()
    records = batch(base_offset=0) + batch(base_offset=2**31)
    with pytest.raises(RecordListTooLargeError):
        log.append_as_follower(records, leader_epoch=0, now_ms=NOW)
    assert (log.log_end_offset, log.size_in_bytes) == (0, 0)


def test_followers_batch_may_be_larger_than_max_message_bytes(make_log: MakeLog) -> None:
    log = make_log(max_message_bytes=10)
    follow(log, batch(value=b"v" * 100))
    assert log.log_end_offset == 1


def test_follower_takes_sequence_gaps_and_duplicates(make_log: MakeLog) -> None:
    log = make_log()
    arguments = {"producer_id": 7, "producer_epoch": 0}
    follow(log, *(batch(base_offset=i, base_sequence=s, **arguments) for i, s in enumerate((0, 5, 5, 2))))
    assert log.log_end_offset == 4
    assert log.producer_state.producers[7].last_sequence == 2


def test_transactions_reach_the_index_through_replication(make_log: MakeLog) -> None:
    log = make_log()
    transactional = {"producer_epoch": 0, "base_sequence": 0, "transactional": True}
    follow(
        log,
        batch(2, base_offset=0, producer_id=1, **transactional),
        batch(1, base_offset=2, producer_id=2, **transactional),
        marker(1, base_offset=3),
        marker(2, base_offset=4, commit=True),
    )
    assert log.collect_aborted_transactions(0, 100) == [(1, 0, 3, 2)]
    assert log.last_stable_offset == 0
    log.update_high_watermark(5)
    assert log.last_stable_offset == 5


# --- rolling ---


def test_log_rolls_by_size(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=3 * SIZE)
    for _ in range(10):
        append(log, batch())
    assert [(segment.base_offset, segment.size) for segment in log.segments] == [
        (0, 3 * SIZE),
        (3, 3 * SIZE),
        (6, 3 * SIZE),
        (9, SIZE),
    ]


def test_log_rolls_by_the_timestamps_of_its_records(make_log: MakeLog) -> None:
    log = make_log(segment_ms=1000)
    append(log, batch(timestamp=NOW))
    append(log, batch(timestamp=NOW + 1000), now_ms=NOW + 999_999)
    assert len(log.segments) == 1
    append(log, batch(timestamp=NOW + 1001))
    assert [segment.base_offset for segment in log.segments] == [0, 2]
    append(log, batch(timestamp=NOW - 5000))  # the past rolls nothing
    assert len(log.segments) == 2


def test_log_without_timestamps_rolls_by_the_clock(make_log: MakeLog) -> None:
    log = make_log(segment_ms=1000)
    append(log, batch(timestamp=-1), now_ms=NOW)
    append(log, batch(timestamp=-1), now_ms=NOW + 1000)
    assert len(log.segments) == 1
    append(log, batch(timestamp=-1), now_ms=NOW + 1001)
    assert len(log.segments) == 2


def test_empty_segment_does_not_roll_by_time(make_log: MakeLog) -> None:
    log = make_log(segment_ms=1000)
    append(log, batch(), now_ms=NOW + 10_000)
    assert len(log.segments) == 1


def test_jitter_makes_segments_roll_earlier(make_log: MakeLog) -> None:
    log = make_log(segment_ms=1000)
    append(log, batch(timestamp=NOW))
    log.segments.active.roll_jitter_ms = 400
    log.update_config(log.config)
    append(log, batch(timestamp=NOW + 600))
    assert len(log.segments) == 1
    append(log, batch(timestamp=NOW + 601))
    assert len(log.segments) == 2


def test_log_rolls_when_an_index_is_full(make_log: MakeLog) -> None:
    log = make_log(segment_index_bytes=2 * 12, index_interval_bytes=1)
    for _ in range(20):
        append(log, batch())
    assert len(log.segments) > 3
    assert offsets_of(batches_of(log)) == list(range(20))
    assert all(segment.offset_index.entries <= 3 for segment in log.segments)


def test_log_rolls_when_relative_offsets_would_overflow(make_log: MakeLog) -> None:
    log = make_log()
    follow(log, batch(base_offset=0))
    follow(log, batch(2, base_offset=2**31 - 2))
    assert len(log.segments) == 1
    follow(log, batch(base_offset=2**31))
    assert [segment.base_offset for segment in log.segments] == [0, 2**31]
    assert log.log_end_offset == 2**31 + 1


def test_segment_begins_at_the_followers_first_offset(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=SIZE)
    follow(log, batch(base_offset=0))
    follow(log, batch(base_offset=30))
    assert [segment.base_offset for segment in log.segments] == [0, 30]


def test_empty_active_segment_is_not_rolled(make_log: MakeLog) -> None:
    log = make_log()
    before = log.segments.active
    assert log.roll(now_ms=NOW) is before
    append(log, batch())
    assert log.roll(now_ms=NOW).base_offset == 1
    assert log.roll(now_ms=NOW).base_offset == 1
    assert len(log.segments) == 2


def test_leftover_files_in_the_way_of_a_new_segment_are_replaced(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch())
    for suffix in ("log", "index", "timeindex", "txnindex"):
        log.directory.write_file(f"00000000000000000001.{suffix}", b"garbage of an earlier life")
    log.roll(now_ms=NOW)
    append(log, batch())
    assert offsets_of(batches_of(log)) == [0, 1]


def test_producer_state_is_snapshot_at_every_roll(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=2 * len(idempotent(0)))
    for sequence in range(5):
        append(log, idempotent(sequence))
    assert log.producer_state.snapshots == [2, 4]
    assert [entry.last_sequence for entry in log.producer_state.read_snapshot(4)] == [3]


def test_index_entries_come_per_batch_when_the_interval_is_exceeded(make_log: MakeLog) -> None:
    log = make_log(index_interval_bytes=2 * SIZE)
    records = [batch(base_offset=number, timestamp=NOW + number) for number in range(9)]
    follow(log, *records[:7])
    follow(log, *records[7:])
    index, times = log.segments.active.offset_index, log.segments.active.time_index
    assert [index.entry(n) for n in range(index.entries)] == [(3, 3 * SIZE), (6, 6 * SIZE)]
    assert [times.entry(n) for n in range(times.entries)] == [(NOW + 3, 3), (NOW + 6, 6)]


def test_sealed_segments_time_index_ends_with_its_largest_timestamp(make_log: MakeLog) -> None:
    log = make_log()
    for timestamp in (NOW, NOW + 9, NOW + 3):
        append(log, batch(timestamp=timestamp))
    log.roll(now_ms=NOW)
    assert log.segments.first.time_index.last_entry == (NOW + 9, 1)
