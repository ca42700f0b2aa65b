"""Kafka and kstore compact the same log, of ours and of Kafka's: equal batches and records stay."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.protocol.producer import ProduceRequest

from kstore._native.batch import iter_batches
from kstore._native.builder import BatchBuilder
from kstore.log.checkpoint_file import read_offsets
from kstore.log.config import LogConfig
from kstore.log.manager import LogManager
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from tests.fix_kafka import StartKafka
from tests.fix_kstore import StartKstore
from tests.judge.java import wait_until
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer
from tests.judge.tools import KafkaTools
from tests.judge.topics import create_topic
from tests.judge.wire_client import WireClient, batch, message
from tests.log.build import append, marker

pytestmark = pytest.mark.kafka

TABLE = TopicPartition("table", 0)
CONFIGS = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.0",
    "segment.bytes": "5000",
    "index.interval.bytes": "500",
    "retention.ms": "-1",
}
SMALL = LogConfig(
    cleanup_policy=("compact",),
    min_cleanable_dirty_ratio=0.0,
    segment_bytes=5000,
    index_interval_bytes=500,
    retention_ms=-1,
)
NEVER = {"log.cleaner.backoff.ms": "100000000"}
OFTEN = {"log.cleaner.backoff.ms": "100", "log.cleaner.dedupe.buffer.size": "4000000"}
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def left_in(directory: Path) -> Iterator[tuple[object, ...]]:
    """The batches of a partition, header by header, with their records."""
    for path in sorted(directory.glob("*.log")):
        for each in iter_batches(path.read_bytes()):
            each.ensure_valid()
            yield (
                each.base_offset,
                each.last_offset,
                each.count,
                each.attributes,
                each.max_timestamp,
                each.partition_leader_epoch,
                (each.producer_id, each.producer_epoch, each.base_sequence),
                [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in each.records()],
            )


def segments_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.log"))


def aborted_in(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.glob("*.txnindex")) if path.stat().st_size]


def write_everything(log: PartitionLog, now_ms: int) -> None:
    """Records of all codecs and kinds, tombstones, producers, transactions over segments, all over a few keys."""
    for number in range(90):
        builder = BatchBuilder(compression=number % 5)
        for index in range(1 + number % 6):
            key = b"key-%d" % ((number * 7 + index * 3) % 23)
            value = None if (number + index) % 11 == 0 else b"%d-%d" % (number, index) * (number % 7)
            builder.append(now_ms + number, key, value, (("header", b"x"),) if index % 2 else ())
        append(log, builder.build(), leader_epoch=number // 40, now_ms=now_ms + number)
        for producer_id in (1000 + number % 3,):
            builder = BatchBuilder(producer_id=producer_id, producer_epoch=0, base_sequence=2 * (number // 3))
            builder.append(now_ms + number, b"idempotent-%d" % (number % 4), b"a")
            builder.append(now_ms + number, b"idempotent-%d" % ((number + 1) % 4), b"b")
            append(log, builder.build(), leader_epoch=number // 40, now_ms=now_ms + number)
        producer_id, sequence = 2000 + number % 2, number // 2
        builder = BatchBuilder(
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=sequence,
            is_transactional=True,
            compression=number % 5,
        )
        builder.append(now_ms + number, b"txn-%d" % (number % 5), b"%d" % number)
        append(log, builder.build(), leader_epoch=number // 40, now_ms=now_ms + number)
        if number % 10 >= 8:
            commit = number % 20 < 10
            ended = marker(producer_id, commit=commit, timestamp=now_ms + number)
            append(log, ended, leader_epoch=number // 40, now_ms=now_ms + number, origin="coordinator")
    for producer_id in (2000, 2001):
        ended = marker(producer_id, commit=True, timestamp=now_ms + 100)
        append(log, ended, leader_epoch=2, now_ms=now_ms + 100, origin="coordinator")
    log.maybe_increment_high_watermark(log.log_end_offset)
    log.roll(now_ms=now_ms + 100)


def checkpoint(directory: Path) -> int:
    path = directory / "cleaner-offset-checkpoint"
    return read_offsets(str(path)).get(TABLE, -1) if path.exists() else -1


def compact_offline(directory: Path, config: LogConfig, now_ms: int) -> int:
    """Compacts with the engine alone; the offset up to which the log is clean."""
    manager = LogManager([str(directory)], config)
    manager.load_all(now_ms)
    log = manager.get(TABLE)
    assert log is not None
    log.maybe_increment_high_watermark(log.log_end_offset)
    manager.run_due(now_ms)
    assert manager.cleaner.stats is not None, manager.cleaner.uncleanable
    manager.close(now_ms)
    return log.first_dirty_offset


def wait_until_clean(broker: KafkaBroker | KstoreServer, offset: int) -> None:
    wait_until(
        lambda: checkpoint(broker.log_directory) >= offset, timeout=60, what=f"{broker.name} has cleaned up to {offset}"
    )


@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_kafka_and_kstore_leave_the_same_of_a_log_of_kstore(
    start_kstore: StartKstore, start_kafka: StartKafka, tools_39: KafkaTools, tmp_path: Path, version: str
) -> None:
    server = start_kstore(overrides=NEVER)
    # Kafka 4.3 knows no segments this small, though it serves those that are there.
    configs = dict(CONFIGS) if version == "3.9.1" else CONFIGS | {"segment.bytes": "1048576"}
    with WireClient(server.port) as client:
        create_topic(client, "table", 1, configs)
    server.stop()
    ours = server.log_directory
    now_ms = int(time.time() * 1000) - 60_000
    manager = LogManager([str(ours)], SMALL)
    manager.load_all(now_ms)
    log = manager.get(TABLE)
    assert log is not None
    write_everything(log, now_ms)
    end = log.segments.active.base_offset
    assert len(log.segments) > 3
    manager.close(now_ms)
    before = list(left_in(ours / "table-0"))
    theirs = tmp_path / "theirs"
    shutil.copytree(ours, theirs)

    kafka = start_kafka(version, theirs, overrides=OFTEN)
    wait_until_clean(kafka, end)
    kafka.stop()
    config = SMALL._replace(segment_bytes=int(configs["segment.bytes"]))
    assert compact_offline(ours, config, int(time.time() * 1000)) == end
    found, expected = list(left_in(ours / "table-0")), list(left_in(theirs / "table-0"))
    assert found == expected
    assert len(found) < len(before)
    assert segments_in(ours / "table-0") == segments_in(theirs / "table-0")
    assert aborted_in(ours / "table-0") == aborted_in(theirs / "table-0")
    assert_sound_but_for_holes(tools_39, ours / "table-0")

    # Kafka serves what we left, and goes on compacting it.
    kafka = start_kafka(version, ours, overrides=OFTEN)
    with WireClient(kafka.port) as client:
        for number in range(200):
            produce(client, batch([(now_ms, b"key-%d" % (number % 23), bytes(int(configs["segment.bytes"]) // 50))]))
    wait_until_clean(kafka, end + 40)
    kafka.stop()
    values = {r[2]: r[0] for each in left_in(ours / "table-0") for r in each[-1]}  # type: ignore[attr-defined]
    assert {key for key in values if key and key.startswith(b"key-")} == {b"key-%d" % n for n in range(23)}


def produce(client: WireClient, records: bytes) -> None:
    data = {"name": "table", "partition_data": [{"index": 0, "records": records}]}
    request = message(ProduceRequest, transactional_id=None, acks=-1, timeout_ms=30_000, topic_data=[data])
    answer = client.ask(request, 7)["responses"][0]["partition_responses"][0]
    assert answer["error_code"] == 0, answer


def assert_sound_but_for_holes(tools: KafkaTools, directory: Path) -> None:
    """Kafka's tool counts holes in the offsets as a complaint of the log; there is no other."""
    files = sorted(p for p in directory.iterdir() if p.suffix in (".index", ".timeindex"))
    for arguments in ([], ["--index-sanity-check"]):
        printed = tools.dump_log(*files, deep=False, arguments=arguments)
        assert "Mismatches" not in printed, printed
        assert "passed sanity check" in printed or not arguments, printed
    printed = tools.dump_log(*sorted(directory.glob("*.log")), *sorted(directory.glob("*.txnindex")))
    assert "isvalid: false" not in printed
    complaints = [line for line in printed.splitlines() if "Exception" in line or "corrupt" in line.lower()]
    assert not complaints


@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_kafka_and_kstore_leave_the_same_of_a_log_of_kafka(
    start_kstore: StartKstore, start_kafka: StartKafka, tmp_path: Path, version: str
) -> None:
    kafka = start_kafka(version, overrides=NEVER)
    configs = CONFIGS | {"segment.bytes": "1048576"}
    with WireClient(kafka.port) as client:
        create_topic(client, "table", 1, configs)
        now_ms = int(time.time() * 1000)
        for number in range(120):
            items = [
                (now_ms + number, b"key-%d" % ((number * 5 + index) % 37), None if index == 4 else b"%d" % number * 300)
                for index in range(1 + number % 6)
            ]
            produce(client, batch(items, codec=CODECS[number % 5]))
            items = [(now_ms, b"idempotent-%d" % (number % 5), bytes(30_000))]
            produce(client, batch(items, producer_id=9, producer_epoch=0, base_sequence=number))
    kafka.stop()
    theirs = kafka.log_directory
    assert len(segments_in(theirs / "table-0")) > 2
    ours = tmp_path / "ours"
    shutil.copytree(theirs, ours)

    end = int(segments_in(theirs / "table-0")[-1].partition(".")[0])
    kafka = start_kafka(version, theirs, overrides=OFTEN)
    wait_until_clean(kafka, end)
    kafka.stop()
    server = start_kstore(ours, overrides=OFTEN)
    wait_until_clean(server, end)
    server.stop()
    found, expected = list(left_in(ours / "table-0")), list(left_in(theirs / "table-0"))
    assert found == expected
    assert segments_in(ours / "table-0") == segments_in(theirs / "table-0")
    kept = [r for each in found for r in each[-1] if r[0] < end]  # type: ignore[attr-defined]
    assert len(kept) == len({r[2] for r in kept}) < 60
