"""What cleaning does to a log (cases of LogCleanerTest, LogCleanerLagIntegrationTest and the manager's)."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kstore._native.batch import iter_batches
from kstore.errors import CorruptRecordError
from kstore.log.cleaner.cleaner import LogCleaner
from kstore.log.config import LogConfig
from kstore.log.memory_log import MemoryLog
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, TP, append, batch, batches_of, content, crash, marker, open_log
from tests.log.cleaner.compacted import (
    COMPACT,
    clean,
    cleaner_of,
    committed_records,
    items_of,
    latest,
    records_of,
    roll,
    write,
)

MakeLog = Callable[..., PartitionLog]
DAY = 24 * 60 * 60 * 1000


@pytest.fixture
def log(make_log: MakeLog) -> PartitionLog:
    """A compacted log, on disk and in memory."""
    return make_log(**COMPACT._asdict())


def fill(log: PartitionLog, rounds: int = 3, keys: int = 4) -> None:
    for number in range(rounds):
        write(log, [(b"k%d" % key, b"%d" % number) for key in range(keys)])


# --- keys ---


def test_the_last_value_of_each_key_stays(log: PartitionLog) -> None:
    fill(log)
    roll(log)
    cleaner = clean(log)
    assert items_of(log) == [(8 + key, b"k%d" % key, b"2") for key in range(4)]
    assert (log.log_start_offset, log.log_end_offset, log.first_dirty_offset) == (0, 12, 12)
    assert cleaner.stats is not None
    assert (cleaner.stats.records_read, cleaner.stats.records_kept) == (12, 4)


def test_records_that_are_not_sealed_supersede_nothing(log: PartitionLog) -> None:
    fill(log, rounds=1)
    roll(log)
    write(log, [(b"k0", b"newer")])
    clean(log)
    assert items_of(log) == [
        (0, b"k0", b"0"),
        (1, b"k1", b"0"),
        (2, b"k2", b"0"),
        (3, b"k3", b"0"),
        (4, b"k0", b"newer"),
    ]
    roll(log)
    clean(log)
    assert items_of(log) == [(1, b"k1", b"0"), (2, b"k2", b"0"), (3, b"k3", b"0"), (4, b"k0", b"newer")]


def test_batches_keep_their_place_and_their_other_records(log: PartitionLog) -> None:
    write(log, [(b"a", b"1"), (b"b", b"1"), (b"c", b"1")], together=True, compression=4)
    write(log, [(b"b", b"2"), (b"b", b"3")], together=True)
    roll(log)
    clean(log)
    assert items_of(log) == [(0, b"a", b"1"), (2, b"c", b"1"), (4, b"b", b"3")]
    assert [(each.base_offset, each.last_offset, each.compression) for each in batches_of(log)] == [
        (0, 2, 4),
        (3, 4, 0),
    ]


def test_records_without_a_key_go(make_log: MakeLog) -> None:
    """They were written before the topic was compacted."""
    log = make_log(**COMPACT._replace(cleanup_policy=("delete",))._asdict())
    write(log, [(None, b"x"), (b"k", b"y"), (None, b"z")])
    roll(log)
    log.update_config(COMPACT)
    clean(log)
    assert items_of(log) == [(1, b"k", b"y")]


def test_a_log_whose_records_all_go_is_read_on_behind_them(log: PartitionLog) -> None:
    write(log, [(b"k", b"1"), (b"k", b"2")])
    roll(log)
    write(log, [(b"k", b"3")])
    roll(log)
    clean(log)
    assert items_of(log) == [(2, b"k", b"3")]
    for offset in range(4):
        log.read(offset, max_bytes=100)


def test_the_active_segment_is_left_as_it_is(log: PartitionLog) -> None:
    fill(log)
    assert clean(log).stats is None
    assert len(items_of(log)) == 12


def test_what_no_fsync_has_confirmed_is_left(log: PartitionLog) -> None:
    fill(log)
    log.roll(now_ms=NOW)
    cleaner = cleaner_of(log, backoff_ms=0)
    assert cleaner.run_due(NOW) == 0
    log.flush(now_ms=NOW)
    assert cleaner.run_due(NOW) == 1


def test_a_clean_log_is_left_alone_until_it_is_dirty_enough(make_log: MakeLog) -> None:
    log = make_log(**COMPACT._replace(min_cleanable_dirty_ratio=0.5)._asdict())
    for number in range(8):
        write(log, [(b"k%d" % number, bytes(100))])
    roll(log)
    assert clean(log).stats is not None
    write(log, [(b"k0", bytes(100))])
    roll(log)
    assert clean(log).stats is None
    for number in range(8):
        write(log, [(b"k%d" % number, bytes(100))])
    roll(log)
    assert clean(log).stats is not None


# --- tombstones ---


def test_a_tombstone_stays_for_its_time_and_goes_then(log: PartitionLog) -> None:
    write(log, [(b"k", b"1"), (b"k", None), (b"other", b"1")])
    roll(log)
    clean(log, now_ms=NOW)
    assert items_of(log) == [(1, b"k", None), (2, b"other", b"1")]
    assert batches_of(log)[0].base_timestamp == NOW + DAY
    assert batches_of(log)[0].has_delete_horizon
    assert records_of(log)[0].timestamp == NOW

    def again(now_ms: int) -> list[tuple[int, bytes | None, bytes | None]]:
        write(log, [(b"other", b"2")])
        roll(log)
        clean(log, now_ms=now_ms)
        return items_of(log)

    assert again(NOW + DAY - 1)[0] == (1, b"k", None)
    assert batches_of(log)[0].base_timestamp == NOW + DAY  # the first cleaning counts
    assert again(NOW + DAY) == [(4, b"other", b"2")]


def test_a_tombstone_that_is_superseded_goes_at_once(log: PartitionLog) -> None:
    write(log, [(b"k", None), (b"k", b"back")])
    roll(log)
    clean(log)
    assert items_of(log) == [(1, b"k", b"back")]


def test_no_retention_means_gone_with_the_second_cleaning(make_log: MakeLog) -> None:
    log = make_log(**COMPACT._replace(delete_retention_ms=0)._asdict())
    write(log, [(b"k", None)])
    roll(log)
    clean(log)
    assert items_of(log) == [(0, b"k", None)]
    write(log, [(b"other", b"1")])
    roll(log)
    clean(log)
    assert items_of(log) == [(1, b"other", b"1")]


# --- producers and transactions ---


def test_a_producers_last_batch_stays_empty_until_it_writes_again(log: PartitionLog) -> None:
    idempotent = {"producer_id": 7, "producer_epoch": 2}
    write(log, [(b"k", b"1")], **idempotent, base_sequence=0)
    write(log, [(b"k", b"2")], **idempotent, base_sequence=1)
    write(log, [(b"k", b"3")])
    roll(log)
    clean(log)
    assert [(each.base_offset, each.count, each.last_sequence) for each in batches_of(log)] == [(1, 0, 1), (2, 1, -1)]
    write(log, [(b"j", b"1")], **idempotent, base_sequence=2)
    roll(log)
    clean(log)
    assert [(each.base_offset, each.count) for each in batches_of(log)] == [(2, 1), (3, 1)]


def test_producers_go_on_after_a_start_that_has_nothing_but_the_log(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0", COMPACT)
    for sequence in range(3):
        write(log, [(b"k", b"%d" % sequence)], producer_id=7, producer_epoch=0, base_sequence=sequence)
    write(log, [(b"k", b"last")])
    roll(log)
    clean(log)
    assert [each.count for each in batches_of(log)] == [0, 1]
    crash(log)
    for name in os.listdir(log.directory.path):
        if name.endswith(".snapshot"):
            os.unlink(os.path.join(log.directory.path, name))
    log = open_log(tmp_path / "topic-0", COMPACT, clean_shutdown=False)
    assert log.producer_state.producers[7].last_sequence == 2
    write(log, [(b"k", b"3")], producer_id=7, producer_epoch=0, base_sequence=3)


def transaction(log: PartitionLog, producer_id: int, items: list[tuple[bytes, bytes]], *, commit: bool) -> None:
    entry = log.producer_state.producers.get(producer_id)
    sequence = 0 if entry is None else entry.last_sequence + 1
    for number, item in enumerate(items):
        write(
            log,
            [item],
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=sequence + number,
            is_transactional=True,
        )
    append(log, marker(producer_id, commit=commit), origin="coordinator")
    log.maybe_increment_high_watermark(log.log_end_offset)


def test_aborted_records_go_and_supersede_nothing(log: PartitionLog) -> None:
    write(log, [(b"k", b"kept")])
    transaction(log, 1, [(b"k", b"aborted")], commit=False)
    transaction(log, 2, [(b"j", b"old"), (b"j", b"new")], commit=True)
    roll(log)
    clean(log)
    assert items_of(log) == [(0, b"k", b"kept"), (4, b"j", b"new")]
    assert latest(committed_records(log)) == {b"k": b"kept", b"j": b"new"}
    assert [each.base_offset for each in batches_of(log) if each.is_control] == [2, 5]


def test_markers_go_when_their_data_is_gone_and_their_time_has_come(log: PartitionLog) -> None:
    transaction(log, 1, [(b"k", b"1")], commit=True)
    transaction(log, 2, [(b"k", b"2")], commit=False)
    write(log, [(b"k", b"3")])
    roll(log)
    log.producer_state.remove_expired(NOW + 2 * DAY)

    def cleaned(now_ms: int) -> list[tuple[int, bool]]:
        clean(log, now_ms=now_ms)
        found = [(each.base_offset, each.has_delete_horizon) for each in batches_of(log)]
        write(log, [(b"k", b"more")])
        roll(log)
        return found

    assert cleaned(NOW) == [(1, False), (3, False), (4, False)]  # their data was there until now
    assert cleaned(NOW) == [(1, True), (3, True), (5, False)]
    assert cleaned(NOW + DAY - 1) == [(1, True), (3, True), (6, False)]
    assert cleaned(NOW + DAY) == [(7, False)]
    assert log.collect_aborted_transactions(0, log.log_end_offset) == []


def test_aborted_transaction_is_told_while_a_batch_of_it_is_left(log: PartitionLog) -> None:
    """The producer's last batch stays, though empty."""
    transaction(log, 1, [(b"k", b"1")], commit=False)
    roll(log)
    clean(log)
    assert [(each.base_offset, each.count) for each in batches_of(log)] == [(0, 0), (1, 1)]
    assert [(txn.first_offset, txn.last_offset) for txn in log.collect_aborted_transactions(0, 2)] == [(0, 1)]
    assert committed_records(log) == []


def test_transaction_that_is_open_holds_cleaning_up(log: PartitionLog) -> None:
    fill(log)
    roll(log)
    write(log, [(b"k0", b"open")], producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True)
    roll(log)
    write(log, [(b"k0", b"later")])
    roll(log)
    clean(log)
    assert log.first_dirty_offset == 12
    assert [offset for offset, _, _ in items_of(log)] == [8, 9, 10, 11, 12, 13]


def test_transaction_over_several_segments(make_log: MakeLog) -> None:
    log = make_log(**COMPACT._replace(segment_bytes=100)._asdict())
    items = [(b"a", b"1"), (b"b", b"1"), (b"c", b"1")]
    write(log, items)
    transaction(log, 1, [(key, b"aborted") for key, _ in items], commit=False)
    transaction(log, 1, [(key, b"committed") for key, _ in items], commit=True)
    roll(log)
    assert len(log.segments) > 5
    for _ in range(3):
        clean(log)
        assert latest(committed_records(log)) == {b"a": b"committed", b"b": b"committed", b"c": b"committed"}
    assert [offset for offset, _, _ in items_of(log)] == [7, 8, 9]


# --- segments ---


def test_small_segments_become_one(make_log: MakeLog) -> None:
    size = len(batch(value=b"0"))
    log = make_log(**COMPACT._replace(segment_bytes=2 * size, file_delete_delay_ms=1000)._asdict())
    for key in range(8):
        write(log, [(b"key", b"%d" % key)])
    roll(log)
    assert [s.base_offset for s in log.segments] == [0, 2, 4, 6, 8]
    clean(log)
    clean(log)
    # Each time what is left of neighbours is joined.
    write(log, [(b"other", b"1"), (b"other", b"2")])
    roll(log)
    clean(log)
    assert log.segments.first.base_offset == 0
    assert len(log.segments) <= 4
    assert items_of(log)[0] == (7, b"key", b"7")
    assert [files.names for files in log.log_dir.deleted]


def test_what_is_being_read_of_a_replaced_segment_is_read_to_its_end(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0", COMPACT)
    fill(log)
    roll(log)
    data = log.read(0, max_bytes=1 << 20)
    before = content(data)
    clean(log)
    for files in log.log_dir.deleted:
        files.unlink()
    assert content(data) == before
    assert [each.base_offset for each in iter_batches(before)] == list(range(12))
    assert len(content(log.read(0, max_bytes=1 << 20))) < len(before)


def test_offsets_and_timestamps_are_found_after_cleaning(make_log: MakeLog) -> None:
    log = make_log(**COMPACT._replace(index_interval_bytes=100)._asdict())
    for number in range(100):
        write(log, [(b"k%d" % (number % 50), bytes(20))], timestamp=NOW + number)
    roll(log)
    clean(log)
    assert [offset for offset, _, _ in items_of(log)] == list(range(50, 100))
    assert log.segments.first.offset_index.entries > 20
    for number in range(100):
        found = log.offset_for_timestamp(NOW + number)
        assert found is not None
        assert found.offset == max(50, number)
        first = next(iter_batches(content(log.read(number, max_bytes=1)), allow_partial_tail=True))
        assert first.base_offset == max(50, number)


def test_segment_keeps_the_age_of_its_file(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0", COMPACT)
    write(log, [(b"k", b"1"), (b"k", b"2")], timestamp=-1)
    roll(log)
    path = tmp_path / "topic-0" / "00000000000000000000.log"
    os.utime(path, ns=(5_000_000_000, 5_000_000_000))
    clean(log)
    assert log.segments.first.largest_timestamp() == 5000


def test_a_full_map_ends_the_cleaning_and_the_next_goes_on_there(make_log: MakeLog) -> None:
    log = make_log(**COMPACT._asdict())
    fill(log, rounds=2, keys=20)
    roll(log)
    write(log, [(b"k%d" % key, b"last") for key in range(20)])
    roll(log)
    cleaner = cleaner_of(log, dedupe_buffer_size=24 * 10, load_factor=0.9, backoff_ms=0)
    ends = []
    while (work := cleaner.take(NOW)) is not None:
        while not work.done:
            work.run()
            work.complete(NOW)
        ends.append(log.first_dirty_offset)
        assert latest(records_of(log)) == {b"k%d" % key: b"last" for key in range(20)}
    assert ends == [9, 18, 27, 36, 45, 54, 60]
    assert [offset for offset, _, _ in items_of(log)] == list(range(40, 60))


def test_batch_larger_than_the_buffer_is_cleaned(log: PartitionLog) -> None:
    write(log, [(b"a", bytes(30_000)), (b"b", bytes(30_000)), (b"a", bytes(30_000))], together=True)
    roll(log)
    clean(log, io_buffer_size=1)
    assert [(offset, key) for offset, key, _ in items_of(log)] == [(1, b"b"), (2, b"a")]


# --- compact and delete ---


def test_retention_goes_on_beside_compaction(make_log: MakeLog) -> None:
    config = COMPACT._replace(cleanup_policy=("compact", "delete"), retention_ms=1000, segment_bytes=160)
    log = make_log(**config._asdict())
    write(log, [(b"old", b"1")], timestamp=NOW - 2000)
    roll(log)
    write(log, [(b"k", b"1"), (b"k", b"2")], timestamp=NOW)
    roll(log)
    clean(log, now_ms=NOW)
    assert log.log_start_offset == 1
    assert items_of(log) == [(2, b"k", b"2")]


def test_compact_alone_keeps_what_is_old(log: PartitionLog) -> None:
    log.update_config(COMPACT._replace(retention_ms=1))
    write(log, [(b"old", b"1")], timestamp=NOW - DAY)
    roll(log)
    clean(log, now_ms=NOW)
    assert items_of(log) == [(0, b"old", b"1")]


# --- lags ---


def test_segment_ends_when_its_records_have_to_be_compacted(make_log: MakeLog) -> None:
    log = make_log(**COMPACT._replace(max_compaction_lag_ms=1000)._asdict())
    write(log, [(b"k", b"1")], timestamp=NOW)
    write(log, [(b"k", b"2")], timestamp=NOW + 1001)
    assert [s.base_offset for s in log.segments] == [0, 1]


def test_overdue_records_are_cleaned_whatever_the_ratio(make_log: MakeLog) -> None:
    log = make_log(**COMPACT._replace(max_compaction_lag_ms=1000, min_cleanable_dirty_ratio=1.0)._asdict())
    write(log, [(b"k", b"1"), (b"k", b"2")], timestamp=NOW)
    roll(log)
    assert clean(log, now_ms=NOW + 1000).stats is None
    assert clean(log, now_ms=NOW + 1001).stats is not None


def test_young_records_are_left(make_log: MakeLog) -> None:
    log = make_log(**COMPACT._replace(min_compaction_lag_ms=1000)._asdict())
    write(log, [(b"k", b"1"), (b"k", b"2")], timestamp=NOW)
    roll(log)
    assert clean(log, now_ms=NOW + 999).stats is None
    assert clean(log, now_ms=NOW + 1000).stats is not None


# --- what comes between ---


def begun(log: PartitionLog, *, events: int = 0) -> tuple[LogCleaner, object]:
    cleaner = cleaner_of(log, backoff_ms=0)
    work = cleaner.take(NOW)
    assert work is not None
    for _ in range(events):
        work.run()
        work.complete(NOW)
    return cleaner, work


def finish(work: object) -> None:
    while not work.done:  # type: ignore[attr-defined]
        work.run()  # type: ignore[attr-defined]
        work.complete(NOW)  # type: ignore[attr-defined]


@pytest.mark.parametrize("events", [0, 1, 2, 3])
def test_log_that_is_cut_meanwhile_is_not_what_it_was(log: PartitionLog, events: int) -> None:
    fill(log)
    roll(log)
    cleaner, work = begun(log, events=events)
    log.truncate_to(5, now_ms=NOW)
    finish(work)
    assert not cleaner.in_progress
    assert log.log_end_offset <= 5
    assert not [name for name in log.directory.names() if name.endswith((".cleaned", ".swap"))]
    write(log, [(b"new", b"1")])
    assert items_of(log)[-1] == (5, b"new", b"1")
    assert log.first_dirty_offset <= 0


def test_cut_between_the_work_and_its_completion(log: PartitionLog) -> None:
    fill(log)
    roll(log)
    _, work = begun(log)
    work.run()  # type: ignore[attr-defined]
    log.truncate_to(5, now_ms=NOW)
    finish(work)
    assert [offset for offset, _, _ in items_of(log)] == [0, 1, 2, 3, 4]
    assert not [name for name in log.directory.names() if name.endswith((".cleaned", ".swap"))]


@pytest.mark.parametrize("is_known", [False, True], ids=["before the owner knows", "when the owner has it in place"])
@pytest.mark.parametrize("is_dropped", [False, True], ids=["at once", "when the cleaning is dropped"])
def test_what_was_cut_does_not_come_back_with_a_cleaning(is_known: bool, is_dropped: bool) -> None:
    """A segment that was ready to be put in place was completed by the start after a crash: what had been cut was there
    again, and what was appended and flushed behind the cut was gone."""
    log = MemoryLog.create(TP, COMPACT, now_ms=NOW)
    fill(log)
    roll(log)
    _, work = begun(log)
    while not any(name.endswith(".swap") for name in log.directory.names()):
        work.run()  # type: ignore[attr-defined]
        if is_known:
            work.complete(NOW)  # type: ignore[attr-defined]
    log.truncate_to(5, now_ms=NOW)
    kept = items_of(log)
    assert not [name for name in log.directory.names() if name.endswith(".swap")]
    if is_dropped:
        if not is_known:
            work.complete(NOW)  # type: ignore[attr-defined]
        finish(work)
    for number in range(3):
        write(log, [(b"new%d" % number, b"flushed")])
    log.flush(now_ms=NOW)
    expected = items_of(log)
    assert expected[:-3] == kept
    again = log.crash(now_ms=NOW + 1)
    again.maybe_increment_high_watermark(again.log_end_offset)
    assert items_of(again) == expected
    assert again.log_end_offset == log.log_end_offset


def test_a_cut_comes_before_or_after_a_cleaning_makes_its_segment_known(log: PartitionLog) -> None:
    fill(log)
    roll(log)
    _, work = begun(log)
    entered, let_go = threading.Event(), threading.Event()

    class Gate:
        def __enter__(self) -> None:
            entered.set()
            assert let_go.wait(30)
            lock.acquire()

        def __exit__(self, *error: object) -> None:
            lock.release()

    lock = log.rewrite_lock
    log.rewrite_lock = Gate()  # type: ignore[assignment]
    cleaning = threading.Thread(target=work.run)  # type: ignore[attr-defined]
    cleaning.start()
    assert entered.wait(30)
    log.rewrite_lock = lock
    log.truncate_to(5, now_ms=NOW)
    let_go.set()
    cleaning.join()
    assert not [name for name in log.directory.names() if name.endswith(".swap")]
    work.complete(NOW)  # type: ignore[attr-defined]
    finish(work)
    assert [offset for offset, _, _ in items_of(log)] == [0, 1, 2, 3, 4]


def test_cleaning_that_is_broken_off_behind_the_exchange_does_not_harm_the_next(log: PartitionLog) -> None:
    """It left its segment under another name, and the next cleaning took the directory offline for want of the file."""
    fill(log)
    roll(log)
    _, work = begun(log)
    while not any(name.endswith(".deleted") for name in log.directory.names()):
        work.run()  # type: ignore[attr-defined]
        work.complete(NOW)  # type: ignore[attr-defined]
    log.update_config(log.config._replace(cleanup_policy=("delete",)))
    finish(work)
    log.update_config(log.config._replace(cleanup_policy=("compact",)))
    write(log, [(b"k0", b"once more")])
    roll(log)
    clean(log)
    assert log.log_dir.failure is None
    assert {key: value for _, key, value in items_of(log)}[b"k0"] == b"once more"
    assert not [name for name in log.directory.names() if name.endswith((".cleaned", ".swap"))]


def test_stop_leaves_the_log_as_it_was(log: PartitionLog) -> None:
    fill(log)
    roll(log)
    cleaner, work = begun(log)
    work.run()  # type: ignore[attr-defined]
    cleaner.stop()
    finish(work)
    assert len(items_of(log)) == 12
    assert not [name for name in log.directory.names() if name.endswith((".cleaned", ".swap"))]
    assert cleaner.take(NOW) is None


def test_appends_while_it_is_cleaned(log: PartitionLog) -> None:
    fill(log)
    roll(log)
    _, work = begun(log)
    while not work.done:  # type: ignore[attr-defined]
        work.run()  # type: ignore[attr-defined]
        write(log, [(b"k0", b"meanwhile")])
        work.complete(NOW)  # type: ignore[attr-defined]
    found = items_of(log)
    assert found[:4] == [(8 + key, b"k%d" % key, b"2") for key in range(4)]
    assert [offset for offset, _, _ in found[4:]] == list(range(12, log.log_end_offset))


def test_damaged_log_is_set_aside_with_the_reason(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0", COMPACT)
    fill(log)
    roll(log)
    path = tmp_path / "topic-0" / "00000000000000000000.log"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    cleaner = clean(log)
    assert log in cleaner.uncleanable
    assert "offset 11" in cleaner.uncleanable[log]
    assert cleaner.run_due(NOW) == 0
    assert not list((tmp_path / "topic-0").glob("*.cleaned"))
    assert path.read_bytes() == data
    with pytest.raises(CorruptRecordError):
        batches_of(log)


def test_directory_that_failed_is_not_cleaned(log: PartitionLog) -> None:
    fill(log)
    roll(log)
    log.log_dir.fail("testing", OSError(5, "broken"))
    assert cleaner_of(log).run_due(NOW) == 0


def test_dirtiest_log_is_first_and_so_many_at_once_as_there_are_threads() -> None:
    logs = []
    for number in range(3):
        log = MemoryLog.create(TP._replace(partition=number), COMPACT, now_ms=NOW)
        fill(log, rounds=1)
        roll(log)
        clean(log)
        fill(log, rounds=number + 1)
        roll(log)
        logs.append(log)
    from kstore.log.cleaner.config import CleanerConfig

    cleaner = LogCleaner({log.topic_partition: log for log in logs}, CleanerConfig(threads=2))
    first, second = cleaner.take(NOW), cleaner.take(NOW)
    assert first is not None
    assert second is not None
    assert [first.log, second.log] == [logs[2], logs[1]]
    assert cleaner.take(NOW) is None
    finish(first)
    third = cleaner.take(NOW)
    assert third is not None
    assert third.log is logs[0]


def test_nothing_to_clean_is_looked_for_after_the_backoff_only() -> None:
    log = MemoryLog.create(TP, COMPACT, now_ms=NOW)
    cleaner = cleaner_of(log, backoff_ms=1000)
    assert cleaner.take(NOW) is None
    fill(log)
    roll(log)
    assert cleaner.take(NOW + 999) is None
    assert cleaner.take(NOW + 1000) is not None


def test_cleaner_that_is_switched_off_cleans_nothing() -> None:
    log = MemoryLog.create(TP, COMPACT, now_ms=NOW)
    fill(log)
    roll(log)
    assert clean(log, enable=False).stats is None


def test_reading_and_writing_is_paused_to_keep_the_rate() -> None:
    log = MemoryLog.create(TP, COMPACT, now_ms=NOW)
    write(log, [(b"k", bytes(1000))] * 20)
    roll(log)
    cleaner = cleaner_of(log, io_max_bytes_per_second=10_000.0, io_buffer_size=8192)
    work = cleaner.take(NOW)
    assert work is not None
    clock = NOW
    while not work.done:
        work.run()
        work.complete(clock)
        clock += work.pause_ms
    # Twice 20 kB read and 1 kB written.
    assert 3500 <= clock - NOW <= 5000


def test_checkpoint_is_kept_over_a_restart_of_all_logs(tmp_path: Path) -> None:
    from kstore.log.manager import LogManager

    manager = LogManager([str(tmp_path)], COMPACT)
    manager.load_all(NOW)
    log = manager.get_or_create(TP, now_ms=NOW)
    fill(log)
    roll(log)
    manager.run_due(NOW)
    assert log.first_dirty_offset == 12
    manager.run_due(NOW + 5000)
    assert (tmp_path / "cleaner-offset-checkpoint").read_text() == "0\n1\ntopic 0 12\n"
    manager.close(NOW)

    manager = LogManager([str(tmp_path)], COMPACT)
    manager.load_all(NOW)
    again = manager.get(TP)
    assert again is not None
    assert again.first_dirty_offset == 12
    assert manager.delete(TP, now_ms=NOW)
    manager.run_due(NOW)
    manager.run_due(NOW + 5000)
    assert (tmp_path / "cleaner-offset-checkpoint").read_text() == "0\n0\n"
    manager.close(NOW)


def test_checkpoint_goes_back_with_the_log(log: PartitionLog) -> None:
    fill(log)
    roll(log)
    fill(log)
    roll(log)
    clean(log)
    assert log.first_dirty_offset == 24
    log.truncate_to(23, now_ms=NOW)
    assert log.first_dirty_offset == log.segments.active.base_offset < 23
    log.truncate_fully_and_start_at(3, now_ms=NOW)
    assert log.first_dirty_offset <= 3


def test_checkpoint_of_a_log_that_lost_its_end_is_not_believed(tmp_path: Path) -> None:
    from kstore.log.manager import LogManager

    (tmp_path / "topic-0").mkdir()
    (tmp_path / "cleaner-offset-checkpoint").write_text("0\n1\ntopic 0 12\n")
    manager = LogManager([str(tmp_path)], COMPACT)
    manager.load_all(NOW)
    log = manager.get(TP)
    assert log is not None
    assert log.first_dirty_offset == -1
    manager.close(NOW)


def test_lag_and_retention_of_the_first_cleaning_are_the_logs_own() -> None:
    assert LogConfig().max_segment_ms == LogConfig().segment_ms
    assert LogConfig(max_compaction_lag_ms=5).max_segment_ms == LogConfig().segment_ms
    assert COMPACT._replace(max_compaction_lag_ms=5).max_segment_ms == 5
