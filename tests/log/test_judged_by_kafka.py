"""DumpLogSegments of Kafka 3.9.1 and 4.3.0 reads every kind of file that the log writes, without a complaint."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kstore._native.builder import BatchBuilder
from kstore.log.append import COORDINATOR
from kstore.log.config import LogConfig
from kstore.log.manager import LogManager
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from tests.judge.tools import KafkaTools
from tests.log.build import NOW, append, batch, crash, marker, open_log

pytestmark = pytest.mark.kafka

SMALL = LogConfig(segment_bytes=4000, index_interval_bytes=300)


@pytest.fixture(params=["3.9.1", "4.3.0"])
def tools(request: pytest.FixtureRequest) -> KafkaTools:
    found = request.getfixturevalue("tools_39" if request.param == "3.9.1" else "tools_43")
    assert isinstance(found, KafkaTools)
    return found


def mixed(log: PartitionLog) -> None:
    """All codecs, headers, null keys and values, timestamps out of order, producers, leader epochs."""
    for number in range(60):
        builder = BatchBuilder(compression=number % 5)
        for index in range(1 + number % 7):
            builder.append(
                NOW + (number * 37) % 100,
                None if index % 3 == 0 else b"key-%d" % index,
                None if index % 4 == 3 else b"value" * (number % 9),
                (("header", b"value"), ("empty", b""), ("null", None)) if index % 2 else (),
            )
        append(log, builder.build(), leader_epoch=number // 20)
        append(log, batch(2, producer_id=number % 3, producer_epoch=0, base_sequence=2 * (number // 3)))
    log.maybe_increment_high_watermark(log.log_end_offset)


def transactions(log: PartitionLog) -> None:
    for number in range(20):
        append(log, batch(producer_id=11, producer_epoch=0, base_sequence=number, transactional=True))
        append(log, batch(producer_id=12, producer_epoch=0, base_sequence=number, transactional=True))
        append(log, marker(11, commit=number % 2 == 0, coordinator_epoch=3), origin=COORDINATOR)
        append(log, marker(12, commit=number % 3 == 0, coordinator_epoch=3), origin=COORDINATOR)
    append(log, batch(producer_id=11, producer_epoch=0, base_sequence=20, transactional=True))
    log.maybe_increment_high_watermark(log.log_end_offset)


def close(log: PartitionLog) -> None:
    job = log.begin_close()
    assert job is not None
    job.run()
    log.complete_flush(job, now_ms=NOW)
    log.close()


@pytest.mark.parametrize("write", [mixed, transactions])
def test_closed_log(tmp_path: Path, tools: KafkaTools, write: Callable[[PartitionLog], None]) -> None:
    log = open_log(tmp_path / "topic-0", SMALL, topic_id=bytes(range(16)))
    write(log)
    assert len(log.segments) > 1
    close(log)
    printed = tools.assert_partition_is_sound(tmp_path / "topic-0")
    assert printed.count("baseOffset:") >= 40


def test_log_that_is_open(tmp_path: Path, tools: KafkaTools) -> None:
    log = open_log(tmp_path / "topic-0", SMALL)
    mixed(log)
    log.flush(now_ms=NOW)
    tools.assert_partition_is_sound(tmp_path / "topic-0")


def test_recovered_log(tmp_path: Path, tools: KafkaTools) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory, SMALL)
    mixed(log)
    transactions(log)
    crash(log)
    for path in directory.glob("*.*index"):
        path.unlink()
    last = sorted(directory.glob("*.log"))[-1]
    last.write_bytes(last.read_bytes()[:-5])
    log = open_log(directory, SMALL, clean_shutdown=False)
    log.flush(now_ms=NOW)
    close(log)
    tools.assert_partition_is_sound(directory)


def test_cut_log(tmp_path: Path, tools: KafkaTools) -> None:
    log = open_log(tmp_path / "topic-0", SMALL)
    mixed(log)
    log.truncate_to(batches_end(log, 100), now_ms=NOW)
    mixed_more = batch(5)
    append(log, mixed_more, leader_epoch=7)
    close(log)
    tools.assert_partition_is_sound(tmp_path / "topic-0")


def batches_end(log: PartitionLog, near: int) -> int:
    """A batch boundary at or above `near`."""
    where = log.segments.starting_from(near)[0].translate_offset(near)
    assert where is not None
    return where[1] + 1


def test_log_append_time_and_recompression(tmp_path: Path, tools: KafkaTools) -> None:
    for codec in ("uncompressed", "gzip", "snappy", "lz4", "zstd"):
        config = SMALL._replace(compression_type=codec, message_timestamp_type="LogAppendTime")
        log = open_log(tmp_path / f"{codec}-0", config)
        for number in range(40):
            append(log, batch(1 + number % 4, value=b"v" * 50, compression=number % 5), now_ms=NOW + number)
        close(log)
        printed = tools.assert_partition_is_sound(tmp_path / f"{codec}-0")
        assert f"compresscodec: {'none' if codec == 'uncompressed' else codec}" in printed


def test_followers_log_with_holes(tmp_path: Path, tools: KafkaTools) -> None:
    log = open_log(tmp_path / "topic-0", SMALL)
    for number in range(100):
        log.append_as_follower(batch(2, base_offset=5 * number, leader_epoch=3), leader_epoch=3, now_ms=NOW)
    close(log)
    # Kafka's tool counts holes as a complaint of the log ("Non-consecutive"); the rest must be sound.
    printed = tools.dump_log(*sorted((tmp_path / "topic-0").glob("*.*index")), deep=False)
    assert "Mismatches" not in printed
    printed = tools.dump_log(*sorted((tmp_path / "topic-0").glob("*.snapshot")))
    assert "corrupt" not in printed.lower()


def test_everything_that_a_manager_leaves(tmp_path: Path, tools: KafkaTools) -> None:
    manager = LogManager([str(tmp_path)])
    manager.load_all(NOW)
    manager.run_due(NOW)
    for partition in range(3):
        log = manager.get_or_create(TopicPartition("topic", partition), config=SMALL, topic_id=bytes(16), now_ms=NOW)
        mixed(log)
    manager.run_due(NOW + 60_000)
    manager.close(NOW)
    for partition in range(3):
        tools.assert_partition_is_sound(tmp_path / f"topic-{partition}")
