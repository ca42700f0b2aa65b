"""Reads that must not wait for the disk: they say so, another thread brings the pages in, and the answer is the same.

What a thread has had read from the disk is counted by the kernel, so that none of these tests believes our own word.
"""

import gc
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from kstore._native.batch import RecordBatch, iter_batches
from kstore.errors import NotCachedError
from kstore.log.config import LogConfig
from kstore.log.directory import DiskDirectory
from kstore.log.manager import LogManager
from kstore.log.memory_log import MemoryLog
from kstore.log.partition_log import HIGH_WATERMARK, LOG_END, TXN_COMMITTED, PartitionLog
from kstore.log.work import RetentionWork, bring_in
from kstore.model import MAX_TIMESTAMP, TopicPartition
from tests.fix_cold import bytes_read_in_thread, evict, nothing_read_by_this_thread, read_one_more_page
from tests.log.build import NOW, TP, append, batch, content, fill, marker, offsets_of, open_log

Answer = TypeVar("Answer")

BATCHES = 400
# Sixteen segments of some twenty-five batches, an index entry for every second one.
CONFIG = LogConfig(segment_bytes=256 * 1024, index_interval_bytes=12 * 1024)
VALUE = os.urandom(9_000)


def filled(directory: Path) -> PartitionLog:
    """A log that was closed in order and is opened again; its files are cold."""
    log = open_log(directory, CONFIG)
    for number in range(BATCHES):
        append(log, batch(value=VALUE, timestamp=NOW + number))
    return reopened(log)


def reopened(log: PartitionLog) -> PartitionLog:
    job = log.begin_close()
    assert job is not None
    job.run()
    log.complete_flush(job, now_ms=NOW)
    log.close()
    again = open_log(log.directory.path, log.config, recovery_point=log.log_end_offset)
    again.update_high_watermark(again.log_end_offset)
    evict(again.directory.path)
    return again


def look_up_of(question: Callable[..., object]) -> Callable[[], object]:
    """What a question that would wait for the disk gives to another thread."""
    with nothing_read_by_this_thread(), pytest.raises(NotCachedError) as raised:
        question(wait=False)
    assert raised.value.look_up is not None
    return raised.value.look_up


def answered_by(question: Callable[..., object]) -> object:
    """The answer to a question whose pages are on the disk, brought in by one look-up of another thread."""
    assert bytes_read_in_thread(look_up_of(question)) > 0
    with nothing_read_by_this_thread():
        return question(wait=False)


def answered_at_last(question: Callable[..., Answer]) -> Answer:
    """The answer after at most one more look-up: where an index was built anew, its entries lead to other pages."""
    try:
        with nothing_read_by_this_thread():
            return question(wait=False)
    except NotCachedError as error:
        bring_in(error.look_up)
    with nothing_read_by_this_thread():
        return question(wait=False)


@pytest.mark.parametrize("bound", [LOG_END, HIGH_WATERMARK, TXN_COMMITTED])
@pytest.mark.parametrize("offset", [0, 1, 137, 138, 399])
def test_cold_offset_is_found_by_another_thread(cold_path: Path, offset: int, bound: str) -> None:
    log = filled(cold_path / "topic-0")

    def read(*, wait: bool) -> tuple[int, int, int]:
        data = log.read(offset, max_bytes=50_000, upper_bound=bound, wait=wait)
        return data.segment_base_offset, data.position, len(data.records)

    found = answered_by(read)
    assert found == read(wait=True)
    data = log.read(offset, max_bytes=50_000, upper_bound=bound)
    assert content(data)[:8] == offset.to_bytes(8, "big")


def test_every_segment_is_found_where_its_index_is_closed_and_cold(cold_path: Path) -> None:
    log = filled(cold_path / "topic-0")
    assert len(log.segments) > 10
    for segment in list(log.segments)[:-1]:
        offset = segment.base_offset + 3
        data = answered_by(lambda *, wait, at=offset: log.read(at, max_bytes=1, wait=wait))
        assert data.segment_base_offset == segment.base_offset  # type: ignore[attr-defined]


def test_entries_of_an_index_that_is_still_written_are_not_missed_by_the_thread(cold_path: Path) -> None:
    # Its last entries are in memory only, and so the thread would enter the log elsewhere than the owner.
    log = open_log(cold_path / "topic-0", LogConfig(index_interval_bytes=12 * 1024))
    for number in range(BATCHES):
        append(log, batch(value=VALUE, timestamp=NOW + number))
    log.update_high_watermark(log.log_end_offset)
    log.flush(now_ms=NOW)
    for offset in (3, 200, 397):
        evict(cold_path)
        answered_by(lambda *, wait, at=offset: log.read(at, max_bytes=1, wait=wait))


@pytest.mark.parametrize("number", [0, 1, 137, 250, 399])
def test_cold_timestamp_is_found_by_another_thread(cold_path: Path, number: int) -> None:
    log = filled(cold_path / "topic-0")
    found = answered_by(lambda *, wait: log.offset_for_timestamp(NOW + number, wait=wait))
    assert (found.timestamp, found.offset) == (NOW + number, number)  # type: ignore[attr-defined]


def test_timestamp_that_no_record_reaches_asks_every_segment_once(cold_path: Path) -> None:
    log = filled(cold_path / "topic-0")
    assert answered_by(lambda *, wait: log.offset_for_timestamp(NOW + BATCHES, wait=wait)) is None
    with nothing_read_by_this_thread():
        assert log.offset_for_timestamp(NOW + BATCHES, wait=False) is None


def test_largest_timestamp_is_found_by_another_thread(cold_path: Path) -> None:
    log = filled(cold_path / "topic-0")
    found = answered_by(lambda *, wait: log.offset_for_timestamp(MAX_TIMESTAMP, wait=wait))
    assert (found.timestamp, found.offset) == (NOW + BATCHES - 1, BATCHES - 1)  # type: ignore[attr-defined]


def test_age_of_a_segment_without_timestamps_is_asked_by_another_thread(cold_path: Path) -> None:
    log = open_log(cold_path / "topic-0", CONFIG)
    for _ in range(100):
        append(log, batch(value=VALUE, timestamp=-1))
    log = reopened(log)
    first = log.segments.first
    modified_ms = os.stat(cold_path / "topic-0" / "00000000000000000000.log").st_mtime_ns // 1_000_000
    with pytest.raises(NotCachedError):
        first.largest_timestamp(wait=False)
    assert bytes_read_in_thread(log.twin().segments.first.largest_timestamp) > 0
    with nothing_read_by_this_thread():
        assert first.largest_timestamp(wait=False) == modified_ms


def test_aborted_transactions_of_a_cold_range_are_told(cold_path: Path) -> None:
    log = open_log(cold_path / "topic-0", CONFIG)
    for number in range(100):
        if number % 10 == 0:
            append(
                log, batch(value=VALUE, producer_id=1, producer_epoch=0, base_sequence=number // 10, transactional=True)
            )
            append(log, marker(1), origin="coordinator")
        append(log, batch(value=VALUE))
    log = reopened(log)

    def read(*, wait: bool) -> object:
        data = log.read(5, max_bytes=150_000, upper_bound=TXN_COMMITTED, wait=wait)
        return data.aborted_transactions

    told = answered_by(read)
    assert told == read(wait=True)
    assert told, "the range holds some"


def test_reader_at_the_tail_asks_no_file(cold_path: Path) -> None:
    log = open_log(cold_path / "topic-0")
    fill(log, 10)
    assert log.read(10, max_bytes=1 << 20, upper_bound=HIGH_WATERMARK, wait=False).records == b""
    for _ in range(20):
        fill(log, 1, value=VALUE)
        evict(cold_path)
        data = log.read(log.log_end_offset - 1, max_bytes=1 << 20, upper_bound=HIGH_WATERMARK, wait=False)
        assert len(data.records) > len(VALUE)


def test_partition_that_may_give_nothing_is_not_searched(cold_path: Path) -> None:
    log = filled(cold_path / "topic-0")
    with nothing_read_by_this_thread():
        data = log.read(7, max_bytes=0, min_one_message=False, wait=False)
    assert (data.records, data.first_entry_incomplete) == (b"", False)


def damage_offset_index(path: Path) -> None:
    """Entries that rise as they should and lead elsewhere."""
    entries = len(path.read_bytes()) // 8
    path.write_bytes(
        b"".join((n + 1).to_bytes(4, "big") + (n * 13_000 + 77).to_bytes(4, "big") for n in range(entries))
    )


def damage_time_index(path: Path) -> None:
    entries = len(path.read_bytes()) // 12
    path.write_bytes(b"".join(struct.pack(">qi", NOW + n, n + 1) for n in range(entries)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: index.write_bytes(b"x" * 13),
        lambda index: index.write_bytes(index.read_bytes()[:-8] + b"\x7f" * 8),
        lambda index: index.unlink(),
        damage_offset_index,
    ],
    ids=["a size that cannot be", "a last entry that cannot be", "gone", "entries that lie"],
)
def test_index_that_the_thread_finds_damaged_is_built_anew_by_the_owner(
    cold_path: Path, damage: Callable[[Path], object]
) -> None:
    log = filled(cold_path / "topic-0")
    segment = list(log.segments)[3]
    index = cold_path / "topic-0" / f"{segment.base_offset:020d}.index"
    right = index.read_bytes()
    damage(index)
    broken = index.read_bytes() if index.exists() else None
    evict(cold_path)
    offset = segment.base_offset + 20

    def read(*, wait: bool) -> object:
        data = log.read(offset, max_bytes=1, wait=wait)
        return data.segment_base_offset, data.position

    look_up = look_up_of(read)
    bytes_read_in_thread(lambda: bring_in(look_up))
    assert (index.read_bytes() if index.exists() else None) == broken, "the thread only reads"
    found = answered_at_last(read)
    assert found == read(wait=True)
    assert content(log.read(offset, max_bytes=1))[:8] == offset.to_bytes(8, "big")
    assert index.read_bytes() == right


def test_time_index_that_the_thread_finds_lying_is_built_anew_by_the_owner(cold_path: Path) -> None:
    log = filled(cold_path / "topic-0")
    segment = list(log.segments)[3]
    index = cold_path / "topic-0" / f"{segment.base_offset:020d}.timeindex"
    right = index.read_bytes()
    damage_time_index(index)
    evict(cold_path)
    number = segment.base_offset + 20
    segment.max_timestamp = NOW + segment.base_offset + 24  # as the owner has known since it was written
    look_up = look_up_of(lambda *, wait: log.offset_for_timestamp(NOW + number, wait=wait))
    bytes_read_in_thread(lambda: bring_in(look_up))
    found = answered_at_last(lambda *, wait: log.offset_for_timestamp(NOW + number, wait=wait))
    assert found is not None
    assert found.offset == number
    assert index.read_bytes() == right


@pytest.mark.parametrize("gone", ["deleted", "cut", "closed"])
def test_look_up_in_files_that_are_gone_meanwhile_harms_nothing(cold_path: Path, gone: str) -> None:
    log = filled(cold_path / "topic-0")
    look_up = look_up_of(lambda *, wait: log.read(137, max_bytes=1, wait=wait))
    if gone == "deleted":
        shutil.rmtree(cold_path / "topic-0")
    elif gone == "cut":
        log.truncate_fully_and_start_at(0, now_ms=NOW)
    else:
        log.close()
    bring_in(look_up)
    assert log.log_dir.failure is None


def test_disk_that_fails_the_thread_is_judged_by_the_owner(cold_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = filled(cold_path / "topic-0")
    look_up = look_up_of(lambda *, wait: log.read(137, max_bytes=1, wait=wait))
    for path in (cold_path / "topic-0").iterdir():
        path.unlink()
        path.mkdir()
    bring_in(look_up)
    assert log.log_dir.failure is None
    assert caplog.records == []


def test_failed_attempts_leave_nothing_half_done(cold_path: Path) -> None:
    # Each attempt comes one page further than the one before.
    log = filled(cold_path / "topic-0")
    expected = offsets_of(batches_by_waiting(open_log_again(log), 137))
    found = None
    segment = log.segments.floor(137)
    assert segment is not None
    names = [name for name in segment.file_names() if name.endswith("index")] + [f"{segment.base_offset:020d}.log"]
    for _ in range(100):
        try:
            with nothing_read_by_this_thread():
                found = log.read(137, max_bytes=50_000, wait=False)
            break
        except NotCachedError:
            read_one_more_page(*(cold_path / "topic-0" / name for name in names))
    assert found is not None
    assert offsets_of(batches_by_waiting(log, 137)) == expected


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


QUESTIONS = [
    lambda log: log.read(137, max_bytes=1, wait=False),
    lambda log: log.read(137, max_bytes=1, upper_bound=TXN_COMMITTED, wait=False),
    lambda log: log.offset_for_timestamp(NOW + BATCHES, wait=False),
    lambda log: log.offset_for_timestamp(MAX_TIMESTAMP, wait=False),
    lambda log: log.delete_old_segments(NOW, wait=False),
]


@pytest.mark.parametrize("ask", QUESTIONS)
def test_look_up_that_is_still_held_has_no_file_open(cold_path: Path, ask: Callable[[PartitionLog], object]) -> None:
    """A request for thousands of cold partitions had the files of all of them open until its end."""
    log = filled(cold_path / "topic-0")
    with pytest.raises(NotCachedError) as raised:
        ask(log)
    look_up = raised.value.look_up
    before = open_files()
    assert bytes_read_in_thread(lambda: bring_in(look_up)) > 0
    assert open_files() == before


@pytest.mark.parametrize("ask", QUESTIONS)
def test_refused_question_leaves_no_cycle_behind(cold_path: Path, ask: Callable[[PartitionLog], object]) -> None:
    """The error was its own cause, and kept its look-up and all files of that until a collection."""
    log = filled(cold_path / "topic-0")
    gc.collect()
    gc.disable()
    try:
        with suppress(NotCachedError):
            ask(log)
            raise AssertionError("it was cached")
        assert gc.collect() == 0
    finally:
        gc.enable()


def open_log_again(log: PartitionLog) -> PartitionLog:
    return PartitionLog.open(
        DiskDirectory(log.directory.path), TP, log.config, recovery_point=log.log_end_offset, now_ms=NOW
    )


def batches_by_waiting(log: PartitionLog, offset: int) -> list[RecordBatch]:
    return list(iter_batches(content(log.read(offset, max_bytes=50_000)), allow_partial_tail=True))


def test_log_in_memory_never_sends_for_a_thread() -> None:
    log = MemoryLog.create(TP, LogConfig(segment_bytes=2_000, index_interval_bytes=100), now_ms=NOW)
    for number in range(100):
        append(log, batch(timestamp=NOW + number))
    log.update_high_watermark(log.log_end_offset)
    for offset in range(100):
        assert log.read(offset, max_bytes=1, upper_bound=TXN_COMMITTED, wait=False).offset == offset
    assert log.offset_for_timestamp(NOW + 50, wait=False) is not None
    assert log.offset_for_timestamp(MAX_TIMESTAMP, wait=False) is not None
    log.segments.first.rebuild_indexes("of a test", wait=False)


def test_retention_asks_cold_ages_in_another_thread(cold_path: Path) -> None:
    minute = 60_000
    config = CONFIG._replace(retention_ms=minute)
    tp = TopicPartition("aged", 0)
    with_data = LogManager([str(cold_path)], config)
    log = with_data.get_or_create(tp, config=config, now_ms=NOW)
    for number in range(100):
        append(log, batch(value=VALUE, timestamp=NOW + number))
    with_data.close(NOW)

    manager = LogManager([str(cold_path)], config, retention_check_ms=minute)
    manager.load_all(NOW)
    log = manager.logs[tp]
    log.update_high_watermark(log.log_end_offset)
    evict(cold_path / "aged-0")
    manager.tick(NOW, NOW)
    due = NOW + 2 * minute
    with nothing_read_by_this_thread():
        (work,) = [work for work in manager.tick(due, due) if isinstance(work, RetentionWork)]
    assert len(log.segments) > 3
    assert bytes_read_in_thread(work.run) > 0
    with nothing_read_by_this_thread():
        work.complete(due)
    assert log.log_start_offset == log.log_end_offset
    assert len(log.segments) == 1
    manager.close(due)


def test_retention_of_a_partition_that_was_deleted_meanwhile_is_forgotten(cold_path: Path) -> None:
    manager = LogManager([str(cold_path)], CONFIG)
    tp = TopicPartition("gone", 0)
    log = manager.get_or_create(tp, now_ms=NOW)
    fill(log, 3)
    work = RetentionWork(log, None, manager._may_delete)
    manager.delete(tp, now_ms=NOW)
    work.run()
    work.complete(NOW + 10**12)
    assert log.log_start_offset == 0
    manager.close(NOW)
