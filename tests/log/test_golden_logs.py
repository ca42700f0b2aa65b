"""Log directories that real Kafka wrote are served as Kafka serves them; what is derived is derived as Kafka does."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore._native.batch import iter_batches
from kstore._native.record import Record
from kstore.log.config import LogConfig
from kstore.log.directory import DiskDirectory
from kstore.log.manager import LogManager
from kstore.log.partition_log import HIGH_WATERMARK, TXN_COMMITTED, PartitionLog
from kstore.log.producer_entry import ProducerEntry
from kstore.log.producer_snapshots import decode_snapshot
from kstore.log.segment import Segment
from kstore.log.transaction_index import TransactionIndex
from kstore.model import TopicPartition, uuid_from_text
from tests.golden.golden import GOLDEN, KRAFT, GoldenPartition, golden
from tests.log.build import NOW, content

SERVED = (*KRAFT, "kafka-3.9.1-zookeeper")
DERIVED = (".index", ".timeindex", ".txnindex", ".snapshot")


@pytest.fixture(params=["closed", "killed", "stripped"])
def how(request: pytest.FixtureRequest) -> str:
    """Closed properly; killed, with nothing flushed; and all that can be derived from the log taken away."""
    return str(request.param)


@pytest.fixture(params=SERVED)
def loaded(request: pytest.FixtureRequest, tmp_path: Path, how: str) -> Iterator[tuple[str, LogManager]]:
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN / request.param, directory)
    (directory / ".kafka_cleanshutdown").write_bytes(b"")
    if how != "closed":
        (directory / ".kafka_cleanshutdown").unlink()
        (directory / "recovery-point-offset-checkpoint").unlink()
    if how == "stripped":
        for path in directory.rglob("*"):
            if path.suffix in DERIVED and path.parent.name != "__cluster_metadata-0":
                path.unlink()
    manager = LogManager([str(directory)], producer_id_expiration_ms=1 << 50)
    manager.load_all(NOW)
    assert manager.offline == {}
    yield str(request.param), manager
    manager.close_handles()


def config_for(topic: str) -> LogConfig:
    """As far as it matters to the indexes; see GoldenClient.java."""
    return LogConfig(index_interval_bytes=256) if topic == "segments" else LogConfig()


def partitions_of(name: str) -> Iterator[GoldenPartition]:
    for partition in golden(name).partitions.values():
        if partition.topic != "__cluster_metadata":
            yield partition


def log_of(manager: LogManager, partition: GoldenPartition) -> PartitionLog:
    log = manager.get(TopicPartition(partition.topic, partition.partition))
    assert log is not None
    log.update_high_watermark(log.log_end_offset)
    return log


def consume(log: PartitionLog, isolation: str, end: int, max_bytes: int = 3000) -> list[Record]:
    """What a consumer sees: it leaves control batches out, and at read_committed the aborted transactions."""
    records: list[Record] = []
    offset = log.log_start_offset
    while offset < end:
        data = log.read(offset, max_bytes=max_bytes, upper_bound=isolation)
        bytes_read = content(data)
        assert bytes_read, f"nothing at offset {offset} of {log}"
        starts = sorted((txn.first_offset, txn.producer_id) for txn in data.aborted_transactions or [])
        aborted: set[int] = set()
        for batch in iter_batches(bytes_read, allow_partial_tail=True):
            batch.ensure_valid()
            while starts and starts[0][0] <= batch.last_offset:
                aborted.add(starts.pop(0)[1])
            if batch.is_control:
                aborted.discard(batch.producer_id)
            elif not (batch.is_transactional and batch.producer_id in aborted):
                records += [record for record in batch.records() if record.offset >= offset]
            next_offset = batch.next_offset
        offset = next_offset
    return records


def test_offsets_and_identity_are_found(loaded: tuple[str, LogManager], how: str) -> None:
    name, manager = loaded
    for partition in partitions_of(name):
        log = log_of(manager, partition)
        assert log.log_start_offset == partition.log_start_offset, partition.topic
        assert log.log_end_offset == partition.log_end_offset, partition.topic
        assert log.last_stable_offset == partition.last_stable_offset, partition.topic
        assert log.topic_id == uuid_from_text(partition.topic_id)
        assert log.recovered_from_crash == (how != "closed")


def test_records_are_those_that_kafka_serves(loaded: tuple[str, LogManager]) -> None:
    name, manager = loaded
    for partition in partitions_of(name):
        log = log_of(manager, partition)
        found = consume(log, HIGH_WATERMARK, log.log_end_offset)
        expected = partition.records
        assert [record.offset for record in found] == [record.offset for record in expected], partition.topic
        for record, golden_record in zip(found, expected, strict=True):
            assert (record.timestamp, record.key) == (golden_record.timestamp, golden_record.key)
            assert [tuple(header) for header in record.headers] == [tuple(h) for h in golden_record.headers]
            assert golden_record.has_value(record.value)


@pytest.mark.parametrize("max_bytes", [1, 500, 1 << 20])
def test_committed_records_are_those_that_kafka_serves(loaded: tuple[str, LogManager], max_bytes: int) -> None:
    name, manager = loaded
    for partition in partitions_of(name):
        log = log_of(manager, partition)
        found = consume(log, TXN_COMMITTED, log.last_stable_offset, max_bytes)
        assert [record.offset for record in found] == partition.committed_offsets, partition.topic


def test_every_timestamp_is_found(loaded: tuple[str, LogManager]) -> None:
    name, manager = loaded
    for partition in partitions_of(name):
        log = log_of(manager, partition)
        for wanted in {record.timestamp for record in partition.records if record.timestamp >= 0}:
            found = log.offset_for_timestamp(wanted)
            first = next((r for r in partition.records if r.timestamp >= wanted), None)
            assert first is not None
            assert found is not None, (partition.topic, wanted)
            if partition.topic != "__transaction_state":
                assert (found.offset, found.timestamp) == (first.offset, first.timestamp), partition.topic


def test_leader_epochs_are_those_of_the_batches(loaded: tuple[str, LogManager]) -> None:
    name, manager = loaded
    for partition in partitions_of(name):
        log = log_of(manager, partition)
        for record in partition.records:
            assert log.leader_epoch_cache.epoch_for_offset(record.offset) == record.leader_epoch, partition.topic


def entries_of(segment: Segment) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return (
        [segment.offset_index.entry(n) for n in range(segment.offset_index.entries)],
        [segment.time_index.entry(n) for n in range(segment.time_index.entries)],
    )


def as_values(entries: list[ProducerEntry]) -> list[tuple[int, ...]]:
    return sorted(
        (
            entry.producer_id,
            entry.epoch,
            entry.last_sequence,
            entry.last_offset,
            entry.last_offset_delta,
            entry.last_timestamp,
            entry.coordinator_epoch,
            entry.current_txn_first_offset,
        )
        for entry in entries
    )


@pytest.mark.parametrize("name", SERVED)
def test_what_is_derived_from_kafkas_log_is_what_kafka_derived(name: str, tmp_path: Path) -> None:
    managers = []
    for kind in ("kafka", "derived"):
        directory = tmp_path / kind
        shutil.copytree(GOLDEN / name, directory)
        (directory / ".kafka_cleanshutdown").write_bytes(b"")
        if kind == "derived":
            (directory / ".kafka_cleanshutdown").unlink()
            (directory / "recovery-point-offset-checkpoint").unlink()
            for path in directory.rglob("*"):
                if path.suffix in DERIVED and path.parent.name != "__cluster_metadata-0":
                    path.unlink()
        manager = LogManager([str(directory)], producer_id_expiration_ms=1 << 50)
        manager.load_all(NOW, config_for)
        managers.append(manager)
    for partition in partitions_of(name):
        kafka, derived = (log_of(manager, partition) for manager in managers)
        for theirs, ours in zip(kafka.segments, derived.segments, strict=True):
            assert theirs.base_offset == ours.base_offset
            if partition.topic != "compacted":  # the cleaner's indexes come from many small appends
                (our_offsets, our_times), (their_offsets, their_times) = entries_of(ours), entries_of(theirs)
                assert our_offsets == their_offsets, (partition.topic, theirs.base_offset)
                if partition.topic == "epochs":  # closed once in between, which leaves an entry
                    their_times = their_times[-1:]
                assert our_times == their_times, (partition.topic, theirs.base_offset)
            assert ours.load_max_timestamp() == theirs.load_max_timestamp()
            assert ours.txn_index.entries() == theirs.txn_index.entries()
        for path in partition.directory.glob("*.snapshot"):
            offset = int(path.stem)
            if offset in derived.producer_state.snapshots:
                assert as_values(derived.producer_state.read_snapshot(offset)) == as_values(
                    decode_snapshot(path.read_bytes())
                ), (partition.topic, offset)
        assert derived.log_end_offset in derived.producer_state.snapshots or derived.log_end_offset == 0
    for manager in managers:
        manager.close_handles()


def test_opening_a_closed_directory_changes_no_record_and_no_index(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN / "kafka-3.9.1", directory)
    (directory / ".kafka_cleanshutdown").write_bytes(b"")
    manager = LogManager([str(directory)], producer_id_expiration_ms=1 << 50)
    manager.load_all(NOW)
    manager.close(NOW)
    for path, facts in golden("kafka-3.9.1").files.items():
        if path.endswith((".log", ".txnindex", "partition.metadata")):
            assert hashlib.sha256((directory / path).read_bytes()).hexdigest() == facts["sha256"], path


def test_old_message_formats_are_offline_with_their_place(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN / "kafka-3.9.1-old-formats", directory)
    manager = LogManager([str(directory)])
    manager.load_all(NOW)
    for magic in (0, 1):
        reason = manager.offline[TopicPartition(f"magic-{magic}", 0)]
        assert f"magic-{magic}-0/00000000000000000000.log" in reason
        assert "position 0" in reason
    manager.close_handles()


def test_txn_index_of_kafka_is_read(tmp_path: Path) -> None:
    for name in KRAFT:
        partition = golden(name).partitions["transactions", 0]
        (path,) = partition.directory.glob("*.txnindex")
        index = TransactionIndex(DiskDirectory(str(partition.directory)), path.name, int(path.stem), exists=True)
        index.sanity_check()
        assert index.entries()
