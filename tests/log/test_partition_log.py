"""The log of one partition: offsets, rolling, reading, bounds."""

from pathlib import Path

import pytest

from kstore.errors import InvalidRecordError, OffsetOutOfRangeError, OutOfOrderSequenceError
from kstore.log.config import LogConfig
from kstore.log.partition_log import HIGH_WATERMARK
from tests.log.build import append, batch, batches_of, crash, fill, offsets_of, open_log


def test_append_numbers_records_and_stamps_the_epoch(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0")
    assert append(log, batch(3), leader_epoch=4).first_offset == 0
    info = append(log, batch(2), leader_epoch=4)
    assert (info.first_offset, info.last_offset) == (3, 4)
    found = batches_of(log)
    assert offsets_of(found) == [0, 1, 2, 3, 4]
    assert {item.partition_leader_epoch for item in found} == {4}


def test_log_that_was_closed_is_found_again(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0", LogConfig(segment_bytes=500))
    fill(log, 50)
    job = log.begin_close()
    assert job is not None
    job.run()
    log.complete_flush(job, now_ms=0)
    log.close()
    log = open_log(tmp_path / "topic-0", LogConfig(segment_bytes=500))
    assert log.log_end_offset == 50
    assert not log.recovered_from_crash
    assert offsets_of(batches_of(log)) == list(range(50))


def test_log_that_was_killed_is_recovered(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0", LogConfig(segment_bytes=500))
    fill(log, 50)
    crash(log)
    log = open_log(tmp_path / "topic-0", LogConfig(segment_bytes=500), clean_shutdown=False)
    assert log.recovered_from_crash
    assert offsets_of(batches_of(log)) == list(range(50))
    assert append(log, batch()).first_offset == 50


def test_reader_sees_nothing_above_its_bound(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0")
    for _ in range(5):
        append(log, batch(2))
    log.maybe_increment_high_watermark(6)
    data = log.read(2, max_bytes=1 << 20, upper_bound=HIGH_WATERMARK)
    assert data.records != b""
    assert data.records.size == 2 * len(batch(2))
    assert log.read(6, max_bytes=1 << 20, upper_bound=HIGH_WATERMARK).records == b""
    with pytest.raises(OffsetOutOfRangeError):
        log.read(11, max_bytes=1 << 20)


def test_duplicate_is_answered_with_its_first_offset(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0")
    append(log, batch(2, producer_id=7, producer_epoch=0, base_sequence=0))
    append(log, batch(2, producer_id=7, producer_epoch=0, base_sequence=2))
    again = append(log, batch(2, producer_id=7, producer_epoch=0, base_sequence=0))
    assert (again.is_duplicate, again.first_offset, again.last_offset) == (True, 0, 1)
    assert log.log_end_offset == 4
    with pytest.raises(OutOfOrderSequenceError):
        append(log, batch(2, producer_id=7, producer_epoch=0, base_sequence=6))


def test_batch_that_does_not_begin_at_zero_is_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0")
    with pytest.raises(InvalidRecordError):
        append(log, batch(base_offset=7))
