"""Reading by offset and by timestamp. The cases are those of Kafka's UnifiedLogTest and LogSegmentTest."""

import pytest

from kstore._native.batch import iter_batches
from kstore.errors import OffsetOutOfRangeError
from kstore.log.append import COORDINATOR
from kstore.log.partition_log import HIGH_WATERMARK, LOG_END, TXN_COMMITTED, FetchData, PartitionLog
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIERED_TIMESTAMP, LATEST_TIMESTAMP, MAX_TIMESTAMP
from tests.log.build import NOW, append, batch, batches_of, content, marker, offsets_of
from tests.log.conftest import MakeLog

SIZE = len(batch())
ALL = 1 << 30


def read(
    log: PartitionLog, offset: int, max_bytes: int = ALL, *, upper_bound: str = LOG_END, min_one: bool = True
) -> FetchData:
    return log.read(offset, max_bytes=max_bytes, upper_bound=upper_bound, min_one_message=min_one)


def offsets(data: FetchData) -> list[int]:
    return offsets_of(iter_batches(content(data), allow_partial_tail=True))


def follow(log: PartitionLog, *records: bytearray) -> None:
    log.append_as_follower(bytearray().join(records), leader_epoch=99, now_ms=NOW)


# --- by offset ---


def test_every_offset_is_found_in_every_segment(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=3 * len(batch(3)), index_interval_bytes=1)
    for _ in range(20):
        append(log, batch(3))
    for offset in range(60):
        data = read(log, offset)
        assert offsets(data)[0] == offset - offset % 3
        assert data.offset == offset
    assert offsets_of(batches_of(log)) == list(range(60))


def test_read_ends_with_its_segment(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=3 * SIZE)
    for _ in range(5):
        append(log, batch())
    assert offsets(read(log, 0)) == [0, 1, 2]
    assert offsets(read(log, 3)) == [3, 4]


def test_offset_in_a_gap_is_answered_with_what_follows(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=2 * SIZE, index_interval_bytes=1)
    for offset in (0, 10, 20, 30, 40):
        follow(log, batch(base_offset=offset))
    for offset, first in ((0, 0), (1, 10), (10, 10), (11, 20), (29, 30), (31, 40)):
        assert offsets(read(log, offset))[0] == first


def test_max_bytes_tears_the_last_batch(make_log: MakeLog) -> None:
    log = make_log()
    for _ in range(4):
        append(log, batch())
    data = read(log, 1, 2 * SIZE + 7)
    assert len(content(data)) == 2 * SIZE + 7
    assert offsets(data) == [1, 2]
    assert not data.first_entry_incomplete


@pytest.mark.parametrize("max_bytes", [0, 1, SIZE - 1])
def test_first_batch_comes_whole_where_one_message_is_wanted(make_log: MakeLog, max_bytes: int) -> None:
    log = make_log()
    append(log, batch())
    append(log, batch())
    data = read(log, 0, max_bytes)
    assert len(content(data)) == SIZE
    assert not data.first_entry_incomplete
    torn = read(log, 0, max_bytes, min_one=False)
    assert len(content(torn)) == max_bytes
    assert torn.first_entry_incomplete or max_bytes == 0


def test_read_out_of_range_is_refused(make_log: MakeLog) -> None:
    log = make_log()
    for _ in range(3):
        append(log, batch())
    log.maybe_increment_high_watermark(3)
    log.maybe_increment_log_start_offset(1)
    assert content(read(log, 3)) == b""
    for offset in (0, 4, -1):
        with pytest.raises(OffsetOutOfRangeError):
            read(log, offset)


def test_empty_log_is_read_at_its_end_only(make_log: MakeLog) -> None:
    log = make_log()
    assert content(read(log, 0)) == b""
    with pytest.raises(OffsetOutOfRangeError):
        read(log, 1)


def test_position_of_a_read_is_told(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=3 * SIZE)
    for _ in range(5):
        append(log, batch())
    data = read(log, 4)
    assert (data.segment_base_offset, data.position) == (3, SIZE)


# --- bounds ---


def test_nothing_above_the_high_watermark_is_read(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=3 * SIZE)
    for _ in range(7):
        append(log, batch())
    for high_watermark in range(1, 8):
        log.maybe_increment_high_watermark(high_watermark)
        seen: list[int] = []
        while (offset := len(seen)) < high_watermark:
            seen += offsets(read(log, offset, upper_bound=HIGH_WATERMARK))
        assert seen == list(range(high_watermark))
        for offset in range(high_watermark, 8):
            assert content(read(log, offset, upper_bound=HIGH_WATERMARK)) == b""


def test_high_watermark_inside_a_batch_hides_the_batch(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(2))
    append(log, batch(3))
    log.maybe_increment_high_watermark(4)
    assert offsets(read(log, 0, upper_bound=HIGH_WATERMARK)) == [0, 1]
    assert content(read(log, 2, upper_bound=HIGH_WATERMARK)) == b""


def test_high_watermark_at_the_end_follows_a_roll(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch())
    log.maybe_increment_high_watermark(1)
    log.roll(now_ms=NOW)
    data = read(log, 1, upper_bound=HIGH_WATERMARK)
    assert (data.segment_base_offset, data.position) == (1, 0)
    append(log, batch())
    log.maybe_increment_high_watermark(2)
    assert offsets(read(log, 1, upper_bound=HIGH_WATERMARK)) == [1]


def test_min_one_message_does_not_pass_the_bound(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch())
    append(log, batch(50))
    log.maybe_increment_high_watermark(1)
    assert len(content(read(log, 0, 0, upper_bound=HIGH_WATERMARK))) == SIZE


def transactional(producer_id: int, sequence: int = 0, count: int = 1) -> bytearray:
    return batch(count, producer_id=producer_id, producer_epoch=0, base_sequence=sequence, transactional=True)


def test_nothing_above_the_last_stable_offset_is_read(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=4 * SIZE)
    append(log, batch())
    append(log, transactional(1))
    append(log, batch())
    append(log, transactional(2))
    append(log, batch())
    log.maybe_increment_high_watermark(5)
    data = read(log, 0, upper_bound=TXN_COMMITTED)
    assert offsets(data) == [0]
    assert data.aborted_transactions == []
    assert content(read(log, 1, upper_bound=TXN_COMMITTED)) == b""
    append(log, marker(1), origin=COORDINATOR)
    log.maybe_increment_high_watermark(6)
    assert log.last_stable_offset == 3
    data = read(log, 0, upper_bound=TXN_COMMITTED)
    assert offsets(data) == [0, 1, 2]
    assert data.aborted_transactions == [(1, 1, 5, 3)]
    append(log, marker(2, commit=True), origin=COORDINATOR)
    log.maybe_increment_high_watermark(7)
    assert log.last_stable_offset == 7
    assert read(log, 6, upper_bound=TXN_COMMITTED).aborted_transactions == []


def test_aborted_transactions_are_asked_for_at_read_committed_only(make_log: MakeLog) -> None:
    log = make_log()
    append(log, transactional(1))
    append(log, marker(1), origin=COORDINATOR)
    log.maybe_increment_high_watermark(2)
    assert read(log, 0, upper_bound=LOG_END).aborted_transactions is None
    assert read(log, 0, upper_bound=HIGH_WATERMARK).aborted_transactions is None
    assert read(log, 0, upper_bound=TXN_COMMITTED).aborted_transactions == [(1, 0, 1, 2)]


def test_aborted_transaction_that_spans_segments_is_told_in_each(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=3 * len(transactional(1)))
    for sequence in range(10):
        append(log, transactional(1, sequence))
    append(log, marker(1), origin=COORDINATOR)
    log.maybe_increment_high_watermark(11)
    assert len(log.segments) == 4
    for segment in log.segments:
        data = read(log, segment.base_offset, upper_bound=TXN_COMMITTED)
        assert data.aborted_transactions == [(1, 0, 10, 11)]


def test_aborted_transactions_far_from_the_fetch_are_not_told(make_log: MakeLog) -> None:
    log = make_log(index_interval_bytes=1)
    for producer_id in range(1, 6):
        append(log, transactional(producer_id))
        append(log, marker(producer_id), origin=COORDINATOR)
    log.maybe_increment_high_watermark(10)
    data = read(log, 2, len(transactional(1)) + 1, upper_bound=TXN_COMMITTED)
    told = [txn.producer_id for txn in data.aborted_transactions or []]
    assert 1 not in told
    assert 2 in told
    assert 5 not in told


# --- by timestamp ---


def test_first_record_that_is_not_older_is_found(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=4 * SIZE, index_interval_bytes=1)
    for number in range(20):
        append(log, batch(timestamp=NOW + 10 * number), leader_epoch=3)
    for number in range(20):
        for timestamp in (NOW + 10 * number, NOW + 10 * number - 9):
            found = log.offset_for_timestamp(timestamp)
            assert found is not None
            assert (found.offset, found.timestamp, found.leader_epoch) == (number, NOW + 10 * number, 3)
    assert log.offset_for_timestamp(NOW + 191) is None
    first = log.offset_for_timestamp(0)
    assert first is not None
    assert first.offset == 0


def test_record_inside_a_batch_is_found(make_log: MakeLog) -> None:
    from kstore._native.builder import BatchBuilder

    log = make_log()
    builder = BatchBuilder()
    for timestamp in (NOW, NOW + 5, NOW + 3, NOW + 9):
        builder.append(timestamp, b"k", b"v")
    append(log, builder.build())
    found = log.offset_for_timestamp(NOW + 4)
    assert found is not None
    assert (found.offset, found.timestamp) == (1, NOW + 5)


def test_timestamps_out_of_order_are_searched_in_offset_order(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=2 * SIZE)
    for timestamp in (NOW, NOW + 50, NOW + 10, NOW + 20, NOW + 60):
        append(log, batch(timestamp=timestamp))
    found = log.offset_for_timestamp(NOW + 15)
    assert found is not None
    assert found.offset == 1


def test_search_begins_at_the_log_start(make_log: MakeLog) -> None:
    log = make_log()
    for number in range(5):
        append(log, batch(timestamp=NOW + number))
    log.maybe_increment_high_watermark(5)
    log.maybe_increment_log_start_offset(3)
    found = log.offset_for_timestamp(NOW)
    assert found is not None
    assert found.offset == 3


def test_earliest_and_latest(make_log: MakeLog) -> None:
    log = make_log()
    earliest = log.offset_for_timestamp(EARLIEST_TIMESTAMP)
    assert earliest is not None
    assert (earliest.offset, earliest.timestamp, earliest.leader_epoch) == (0, -1, -1)
    for epoch in (2, 2, 4):
        append(log, batch(), leader_epoch=epoch)
    log.maybe_increment_high_watermark(3)
    log.maybe_increment_log_start_offset(1)
    earliest = log.offset_for_timestamp(EARLIEST_TIMESTAMP)
    latest = log.offset_for_timestamp(LATEST_TIMESTAMP)
    assert earliest is not None
    assert latest is not None
    assert (earliest.offset, earliest.leader_epoch) == (1, 2)
    assert (latest.offset, latest.timestamp, latest.leader_epoch) == (3, -1, 4)


def test_offset_of_the_largest_timestamp(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=2 * SIZE)
    assert log.offset_for_timestamp(MAX_TIMESTAMP) is None
    for timestamp in (NOW, NOW + 9, NOW + 30, NOW + 2, NOW + 30, NOW + 1):
        append(log, batch(timestamp=timestamp))
    found = log.offset_for_timestamp(MAX_TIMESTAMP)
    assert found is not None
    assert (found.offset, found.timestamp) == (2, NOW + 30)


def test_records_without_timestamps_have_no_largest(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(timestamp=-1))
    assert log.offset_for_timestamp(MAX_TIMESTAMP) is None


def test_there_are_no_tiers(make_log: MakeLog) -> None:
    found = make_log().offset_for_timestamp(LATEST_TIERED_TIMESTAMP)
    assert found is not None
    assert found.offset == -1


# --- at the tail ---


@pytest.mark.parametrize("bound", [LOG_END, HIGH_WATERMARK, TXN_COMMITTED])
def test_reader_that_follows_the_tail_sees_every_batch_once(make_log: MakeLog, bound: str) -> None:
    log = make_log(segment_bytes=4 * SIZE)
    seen: list[int] = []
    for number in range(30):
        for _ in range(number % 3):
            append(log, batch(1 + number % 2))
        if number % 7 != 3:
            log.maybe_increment_high_watermark(log.log_end_offset)
        if number % 5 == 4:
            log.roll(now_ms=NOW)
        for _ in range(1 + number % 2):
            seen += offsets(read(log, len(seen), (number % 4) * SIZE, upper_bound=bound))
    while len(seen) < log.high_watermark:
        seen += offsets(read(log, len(seen), upper_bound=bound))
    assert seen == list(range(len(seen)))
    assert len(seen) >= log.high_watermark


def test_reader_at_the_tail_of_a_log_that_was_cut(make_log: MakeLog) -> None:
    log = make_log()
    for _ in range(5):
        append(log, batch())
    assert content(read(log, 5)) == b""
    log.truncate_to(3, now_ms=NOW)
    for _ in range(4):
        append(log, batch(3))
    assert offsets(read(log, 5))[0] == 3
    assert offsets(read(log, 6))[0] == 6


def test_tail_is_told_apart_by_bound(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch())
    append(log, batch())
    log.maybe_increment_high_watermark(1)
    assert offsets(read(log, 0, upper_bound=LOG_END)) == [0, 1]
    assert content(read(log, 2, upper_bound=HIGH_WATERMARK)) == b""
    append(log, batch())
    assert content(read(log, 2, upper_bound=HIGH_WATERMARK)) == b""
    assert offsets(read(log, 2, upper_bound=LOG_END)) == [2]
    log.maybe_increment_high_watermark(3)
    assert offsets(read(log, 1, upper_bound=HIGH_WATERMARK)) == [1, 2]
