"""Reading what somebody else writes: nothing is locked, nothing changes, and what moves meanwhile does no harm."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import kstore
from tests.fix_broker import Client, StartBroker, batch
from tests.fix_kafka import StartKafka
from tests.golden.golden import GOLDEN, KRAFT, golden

NOW = 1_700_000_000_000


def values(log: kstore.Log | kstore.ReadonlyLog, *where: int) -> list[bytes | None]:
    return [record.value for record in log.read(*where)]


def let_go(log: kstore.Log, clock: kstore.ManualClock) -> None:
    """Lets the next retention run happen, and the files go that it lets go."""
    for _ in range(2):
        log.tend()
        clock.advance(300_001)
    log.tend()


def state_of(path: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file and directory, which reading must not change."""
    return {str(each): (each.stat().st_size, each.stat().st_mtime_ns) for each in sorted(path.rglob("*"))}


@pytest.fixture
def clock() -> kstore.ManualClock:
    return kstore.ManualClock(NOW)


@pytest.fixture
def segments(tmp_path: Path, clock: kstore.ManualClock) -> Iterator[tuple[kstore.Log, kstore.ReadonlyLog]]:
    """A log of many small segments, and the same as its readers see it."""
    with kstore.Log.open(
        tmp_path / "events",
        clock=clock,
        background=False,
        segment_bytes=1000,
        index_interval_bytes=100,
        file_delete_delay_ms=0,
    ) as log:
        for i in range(200):
            log.append(b"%d" % i, timestamp_ms=NOW + 10 * i)
        with kstore.Log.open(tmp_path / "events", readonly=True) as reader:
            yield log, reader


# --- what is read ---


def test_who_looks_for_what_a_segment_has_lost_is_not_led_to_the_next(
    segments: tuple[kstore.Log, kstore.ReadonlyLog],
) -> None:
    """A reader got the records of the next segment, and never knew that it had missed some."""
    _, reader = segments
    path = sorted(Path(reader.path).glob("*.log"))[1]
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(kstore.CorruptRecordError, match=f"{path.name}: .* no whole batch"):
        values(reader)


@pytest.mark.parametrize("name", KRAFT)
def test_directories_of_kafka_are_read_as_kafka_reads_them(name: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / name, tmp_path / "data")
    before = state_of(tmp_path)
    with kstore.LogStore.open(tmp_path / "data", readonly=True) as store:
        for partition in golden(name).partitions.values():
            if partition.topic == "__cluster_metadata":
                continue
            log = store.log(partition.topic, partition.partition)
            assert log.start_offset == partition.log_start_offset
            read = {record.offset: record for record in log.read()}
            assert set(read) >= {record.offset for record in partition.records}
            for expected in partition.records:
                found = read[expected.offset]
                assert (found.timestamp, found.key, list(found.headers)) == (
                    expected.timestamp,
                    expected.key,
                    expected.headers,
                )
                assert expected.has_value(found.value)
    assert state_of(tmp_path) == before


def test_any_range_is_read_from_any_segment(segments: tuple[kstore.Log, kstore.ReadonlyLog]) -> None:
    log, reader = segments
    assert (reader.start_offset, reader.end_offset) == (0, 200)
    for offset in range(0, 200, 7):
        assert values(reader, offset, offset + 20) == values(log, offset, offset + 20)
    assert values(reader, 200) == []
    with pytest.raises(kstore.OffsetOutOfRangeError):
        reader.read(201)


def test_times_are_looked_up_as_the_owner_does(segments: tuple[kstore.Log, kstore.ReadonlyLog]) -> None:
    log, reader = segments
    for time_ms in (0, NOW, NOW + 1, NOW + 995, NOW + 1990, NOW + 1991):
        assert reader.offset_for_timestamp(time_ms) == log.offset_for_timestamp(time_ms)
    log.delete_before(150)
    log.close()
    assert reader.start_offset == 150
    assert reader.offset_for_timestamp(0) == 150


def test_nothing_is_changed_by_reading(segments: tuple[kstore.Log, kstore.ReadonlyLog], tmp_path: Path) -> None:
    _, reader = segments
    before = state_of(tmp_path)
    values(reader)
    reader.offset_for_timestamp(NOW + 100)
    assert reader.size_in_bytes > 0
    assert state_of(tmp_path) == before


def test_damaged_and_missing_indexes_are_done_without(
    segments: tuple[kstore.Log, kstore.ReadonlyLog], tmp_path: Path
) -> None:
    log, reader = segments
    log.close()
    expected = [b"%d" % i for i in range(200)]
    for number, index in enumerate(sorted(Path(reader.path).glob("*.*index"))):
        if number % 3 == 0:
            index.unlink()
        else:
            content = index.read_bytes()
            damaged = bytes(byte ^ 0x15 for byte in content)
            index.write_bytes(damaged if number % 3 == 1 else content[: len(content) // 2])
    before = state_of(tmp_path)
    for offset in range(0, 200, 3):
        assert values(reader, offset, offset + 1) == expected[offset : offset + 1]
    for i in range(0, 200, 9):
        assert reader.offset_for_timestamp(NOW + 10 * i) == i
    assert reader.end_offset == 200
    assert state_of(tmp_path) == before


# --- what moves ---


def test_what_is_appended_meanwhile_is_there(segments: tuple[kstore.Log, kstore.ReadonlyLog]) -> None:
    log, reader = segments
    following = reader.follow()
    threading.Timer(0.01, lambda: log.append(b"new")).start()
    assert next(following).value == b"new"
    assert reader.end_offset == 201
    assert list(reader.follow(timeout_s=0.01)) == []


def test_segments_that_are_deleted_are_read_to_their_end_by_who_has_begun(
    segments: tuple[kstore.Log, kstore.ReadonlyLog], clock: kstore.ManualClock
) -> None:
    log, reader = segments
    old, late = reader.read(), reader.read(5)
    assert next(old).value == b"0"
    log.delete_before(150)
    let_go(log, clock)
    assert not Path(reader.path, f"{0:020d}.log").exists()
    assert next(old).value == b"1"
    with pytest.raises(kstore.OffsetOutOfRangeError, match=r"begins at offset \d+ now, not at 5"):
        next(late)
    assert values(reader)[-1] == b"199"


def test_a_reader_in_the_midst_of_writing_and_deleting_sees_no_gap(tmp_path: Path, clock: kstore.ManualClock) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        with kstore.Log.open(tmp_path / "events", readonly=True) as reader:
            while not done.is_set():
                try:
                    found = [(record.offset, int(record.value or b"")) for record in reader.read()]
                    assert found == [(found[0][0] + i, found[0][0] + i) for i in range(len(found))]
                except kstore.OffsetOutOfRangeError:
                    continue  # deleted meanwhile
                except BaseException as error:
                    failures.append(error)
                    return

    with kstore.Log.open(
        tmp_path / "events",
        clock=clock,
        background=False,
        segment_bytes=2000,
        index_interval_bytes=100,
        retention_bytes=10_000,
        file_delete_delay_ms=0,
    ) as log:
        log.append(b"0")
        reading = threading.Thread(target=read)
        reading.start()
        for i in range(1, 3000):
            log.append(b"%d" % i)
            if i % 100 == 0:
                let_go(log, clock)
        done.set()
        reading.join()
    assert failures == []


def test_a_log_that_is_compacted_is_read_without_a_gap_at_each_step(tmp_path: Path, clock: kstore.ManualClock) -> None:
    """Between losing its old files and getting their names a segment was not seen: its records were left out."""
    with kstore.Log.open(
        tmp_path, clock=clock, background=False, cleanup_policy="compact", segment_bytes=2000, index_interval_bytes=100
    ) as log:
        for i in range(120):
            log.append(b"%d" % i + bytes(50), key=b"%d" % i, timestamp_ms=NOW + i)
        log.flush()
        clock.advance(hours=1)
        work = log._host.logs.cleaner.take(clock.now_ms())  # type: ignore[attr-defined]
        steps = []
        with kstore.Log.open(tmp_path, readonly=True) as reader:
            while not work.done:
                work.run()
                work.complete(clock.now_ms())
                steps.append(
                    any(Path(reader.path).glob("*.log.swap")) and not Path(reader.path, f"{0:020d}.log").exists()
                )
                assert [record.offset for record in reader.read()] == list(range(120))
                for i in range(0, 120, 7):
                    assert next(reader.read(i)).offset == i
                    assert reader.offset_for_timestamp(NOW + i) == i
        assert any(steps)
        assert not steps[-1]


def test_names_that_change_while_they_are_listed_are_listed_again(
    segments: tuple[kstore.Log, kstore.ReadonlyLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that was renamed meanwhile may be in the list under no name: its records were left out."""
    _, reader = segments
    real, calls = os.listdir, []

    def torn(path: str) -> list[str]:
        calls.append(path)
        names = real(path)
        if len(calls) % 3 == 1:
            missing = sorted(name for name in names if name.endswith(".log"))[len(calls) % 2]
            names.remove(missing)
        return names

    monkeypatch.setattr(os, "listdir", torn)
    for _ in range(20):
        assert [record.offset for record in reader.read(0)] == list(range(200))
        assert reader.start_offset == 0


def test_a_batch_that_is_not_whole_yet_is_not_there_yet(segments: tuple[kstore.Log, kstore.ReadonlyLog]) -> None:
    log, reader = segments
    log.close()
    last = sorted(Path(reader.path).glob("*.log"))[-1]
    content = last.read_bytes()
    for size in range(len(content) - 70, len(content)):
        last.write_bytes(content[:size])
        assert reader.end_offset == 199
        assert values(reader, 190) == [b"%d" % i for i in range(190, 199)]
    last.write_bytes(content)
    assert reader.end_offset == 200


def test_the_zeros_of_a_preallocated_file_are_its_end(segments: tuple[kstore.Log, kstore.ReadonlyLog]) -> None:
    log, reader = segments
    log.close()
    last = sorted(Path(reader.path).glob("*.log"))[-1]
    content = last.read_bytes()
    last.write_bytes(content + bytes(100_000))
    assert reader.end_offset == 200
    assert values(reader, 150) == [b"%d" % i for i in range(150, 200)]
    assert reader.offset_for_timestamp(NOW + 1991) is None
    # The bytes of the last batch are still coming.
    last.write_bytes(content[:-3] + bytes(100_000))
    assert reader.end_offset == 199
    assert values(reader, 190) == [b"%d" % i for i in range(190, 199)]


def test_damage_that_is_no_end_is_told(segments: tuple[kstore.Log, kstore.ReadonlyLog]) -> None:
    log, reader = segments
    log.close()
    first = sorted(Path(reader.path).glob("*.log"))[0]
    content = bytearray(first.read_bytes())
    content[200] ^= 0xFF
    first.write_bytes(content)
    with pytest.raises(kstore.CorruptRecordError):
        values(reader)


# --- who ---


def test_a_store_is_read_while_a_broker_writes_it(tmp_path: Path, start_broker: StartBroker) -> None:
    broker = start_broker(tmp_path / "data")
    client = broker.connect()
    client.create_topic("orders", partitions=2)
    with kstore.LogStore.open(tmp_path / "data", readonly=True) as store:
        assert store.topics == {"orders": 2}
        assert "orders" in store
        assert list(store) == ["orders"]
        log = store.log("orders", 1)
        assert values(log) == []
        following = log.follow()
        with kstore.Log.open(log.path, readonly=True) as same:
            assert same.topic == "orders"
        assert client.produce("orders", batch(b"a", b"b"), partition=1).error_code == 0
        assert [next(following).value, next(following).value] == [b"a", b"b"]
        with pytest.raises(kstore.UnknownTopicOrPartitionError):
            store.log("orders", 2)
        assert store.log("__cluster_metadata").end_offset > 0
    with pytest.raises(kstore.ClosedError):
        log.read()
    with pytest.raises(kstore.ClosedError):
        store.topics  # noqa: B018


@pytest.mark.kafka
def test_a_store_is_read_while_kafka_writes_it(start_kafka: StartKafka) -> None:
    broker = start_kafka("3.9.1", overrides={"log.preallocate": "true", "log.segment.bytes": "1048576"})
    with Client(broker.port) as client, kstore.LogStore.open(broker.log_directory, readonly=True) as store:
        client.create_topic("orders")
        produce(client, b"a", b"b")
        log = store.log("orders")
        assert os.stat(next(Path(log.path).glob("*.log"))).st_size == 1048576
        assert values(log) == [b"a", b"b"]
        assert (log.start_offset, log.end_offset) == (0, 2)
        following = log.follow()
        produce(client, b"c")
        assert next(following).value == b"c"
        for i in range(100):
            produce(client, b"%d" % i * 10_000)
        assert values(log)[3:] == [b"%d" % i * 10_000 for i in range(100)]


def produce(client: Client, *content: bytes) -> None:
    """Until the new topic has a leader it is refused."""
    deadline = time.monotonic() + 30
    while client.produce("orders", batch(*content)).error_code:
        assert time.monotonic() < deadline


def test_a_topic_that_is_deleted_is_told(tmp_path: Path) -> None:
    with kstore.LogStore.open(tmp_path, background=False) as store:
        store.create("orders")
        with kstore.LogStore.open(tmp_path, readonly=True) as reading:
            log = reading.log("orders")
            store.delete("orders")
            assert reading.topics == {}
            with pytest.raises(kstore.UnknownTopicOrPartitionError):
                log.read()


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kstore.LogStore.open(tmp_path / "nowhere", readonly=True)
    with pytest.raises(ValueError, match="nothing to read"):
        kstore.LogStore.open(None, readonly=True)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="nothing to read"):
        kstore.Log.open(None, readonly=True)  # type: ignore[call-overload]
    with pytest.raises(kstore.ConfigError, match="holds 0 logs"):
        kstore.Log.open(tmp_path, readonly=True)


def test_a_reader_needs_no_right_to_write(segments: tuple[kstore.Log, kstore.ReadonlyLog]) -> None:
    log, reader = segments
    log.close()
    flags: set[int] = set()
    real_open = os.open

    def watch(path: str, how: int, *rest: int) -> int:
        flags.add(how & os.O_ACCMODE)
        return real_open(path, how, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", watch)
        assert len(values(reader)) == 200
        assert flags <= {os.O_RDONLY}
    assert flags


def test_a_closed_reader_wakes_who_follows(segments: tuple[kstore.Log, kstore.ReadonlyLog]) -> None:
    _, reader = segments
    threading.Timer(0.01, reader.close).start()
    with pytest.raises(kstore.ClosedError):
        next(reader.follow())
