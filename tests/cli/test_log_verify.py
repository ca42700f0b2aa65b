"""`kstore log verify` finds nothing in what Kafka and kstore left, and finds each kind of damage that is done to it."""

import json
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from kstore._native.builder import control_batch
from kstore._native.checksum import crc32c
from kstore._native.index import OffsetIndex, TimeIndex
from kstore._native.records import FileRecords
from kstore.log.append import COORDINATOR
from kstore.log.checkpoint_file import HIGH_WATERMARK_CHECKPOINT, RECOVERY_POINT_CHECKPOINT
from kstore.log.config import LogConfig
from kstore.log.manager import LogManager
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from tests.cli.run import Kstore, Ran
from tests.fix_kafka import StartKafka
from tests.fix_kstore import StartKstore
from tests.golden.golden import GOLDEN, KRAFT
from tests.log.build import NOW, append, batch, marker, open_log
from tests.log.cleaner.compacted import COMPACT, clean, roll
from tests.log.cleaner.compacted import write as write_records

SMALL = LogConfig(segment_bytes=2000, index_interval_bytes=200)
EPOCHS = "leader-epoch-checkpoint"
TP = TopicPartition("topic", 0)


def codes(ran: Ran, severity: str = "damage") -> list[str]:
    return [row["code"] for row in ran.rows if row["type"] == "finding" and row["severity"] == severity]


def verify(kstore: Kstore, *paths: object) -> Ran:
    return kstore("log", "verify", *paths, "--json")


def write_mixed(log: PartitionLog) -> None:
    """Several segments: producers, transactions both ways, codecs, two leader epochs, timestamps out of order."""
    for number in range(12):
        epoch = number // 6
        append(log, batch(2, timestamp=NOW + (number * 7) % 10, compression=number % 5), leader_epoch=epoch)
        append(log, batch(3, producer_id=5, producer_epoch=0, base_sequence=3 * number), leader_epoch=epoch)
        for producer in (11, 12):
            data = batch(producer_id=producer, producer_epoch=0, base_sequence=number, transactional=True)
            append(log, data, leader_epoch=epoch)
            end = marker(producer, commit=(number + producer) % 2 == 0, coordinator_epoch=3)
            append(log, end, leader_epoch=epoch, origin=COORDINATOR)
    log.maybe_increment_high_watermark(log.log_end_offset)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log directory of kstore's with one partition, closed properly."""
    directory = tmp_path / "data"
    manager = LogManager([str(directory)], SMALL)
    manager.write_owner("cluster", 1)
    manager.load_all(NOW)
    log = manager.get_or_create(TP, config=SMALL, topic_id=bytes(range(16)), now_ms=NOW)
    write_mixed(log)
    manager.close(NOW)
    return directory


def partition(data: Path) -> Path:
    return data / "topic-0"


def segments(data: Path) -> list[Path]:
    return sorted(partition(data).glob("*.log"))


def headers(file: Path) -> list[Any]:
    records = FileRecords(file, writable=False)
    try:
        return list(records.batch_headers())
    finally:
        records.close()


# --- what is sound ---


@pytest.mark.parametrize("name", [*KRAFT, "kafka-3.9.1-zookeeper"])
def test_what_kafka_left_is_sound(kstore: Kstore, name: str) -> None:
    ran = verify(kstore, GOLDEN / name)
    assert ran.status == 0
    assert [row for row in ran.rows if row["type"] == "finding"] == []
    (summary,) = ran.rows_of("summary")
    manifest = json.loads((GOLDEN / f"{name}.json").read_text())
    assert summary["segments"] == sum(path.endswith(".log") for path in manifest["files"])


def test_old_formats_are_a_notice(kstore: Kstore) -> None:
    ran = verify(kstore, GOLDEN / "kafka-3.9.1-old-formats")
    assert ran.status == 0
    assert codes(ran, "notice") == ["old-format", "old-format"]
    assert kstore("log", "verify", GOLDEN / "kafka-3.9.1-old-formats", "--strict").status == 1


def test_what_kstore_left_is_sound(kstore: Kstore, data: Path) -> None:
    assert len(segments(data)) > 3
    assert list(partition(data).glob("*.txnindex"))
    ran = verify(kstore, data)
    assert (ran.status, codes(ran), codes(ran, "notice")) == (0, [], [])
    (summary,) = ran.rows_of("summary")
    assert summary["batches"] == sum(len(headers(file)) for file in segments(data))


def test_one_partition_is_checked_by_itself(kstore: Kstore, data: Path) -> None:
    assert verify(kstore, partition(data)).status == 0
    assert kstore("log", "verify", partition(data)).out.startswith("sound: 1 partition, ")


def test_the_directory_of_a_server_is_sound_running_killed_and_stopped(
    kstore: Kstore, start_kstore: StartKstore, tmp_path: Path
) -> None:
    server = start_kstore(tmp_path / "server", overrides={"log.segment.bytes": "100000"})
    fill(server.bootstrap, 3000)
    ran = verify(kstore, server.log_directory)
    assert (ran.status, codes(ran)) == (0, [])
    assert ran.rows_of("summary")[0]["records"] >= 3000
    server.kill()
    ran = verify(kstore, server.log_directory)
    assert (ran.status, codes(ran)) == (0, [])
    server.start()
    server.stop()
    ran = verify(kstore, server.log_directory)
    assert (ran.status, codes(ran), codes(ran, "notice")) == (0, [], [])


def test_what_the_cleaner_leaves_is_sound(kstore: Kstore, tmp_path: Path) -> None:
    """Also where nobody knows that the log is compacted: holes are a notice then."""
    log = open_log(tmp_path / "topic-0", COMPACT)
    for number in range(6):
        write_records(log, [(b"key-%d" % (index % 7), b"v" * (number + index)) for index in range(20)])
        write_records(log, [(b"key-%d" % number, None)])
        append(log, batch(producer_id=9, producer_epoch=0, base_sequence=number, key=b"same"))
        append(
            log, batch(producer_id=11, producer_epoch=0, base_sequence=number, transactional=True, key=b"%d" % number)
        )
        append(log, marker(11, commit=number % 2 == 0), origin=COORDINATOR)
        log.maybe_increment_high_watermark(log.log_end_offset)
        roll(log)
    clean(log)
    log.flush(now_ms=NOW)
    assert sum(header.count for file in sorted((tmp_path / "topic-0").glob("*.log")) for header in headers(file)) < 60
    ran = verify(kstore, tmp_path / "topic-0")
    assert (ran.status, codes(ran)) == (0, []), ran.out
    assert "hole" in codes(ran, "notice")


def fill(bootstrap: str, count: int, topic: str = "filled", *, keys: int = 1 << 30) -> None:
    config = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 1, "batch.size": 10_000}
    producer = Producer(config)
    delivered: list[int] = []
    for number in range(count):
        producer.produce(
            topic, b"v" * 300, str(number % keys), on_delivery=lambda _, message: delivered.append(message.offset())
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert min(delivered) >= 0


def while_filling(bootstrap: str, count: int, *, keys: int = 1 << 30) -> Iterator[None]:
    """Goes on as long as another thread writes."""
    with ThreadPoolExecutor(1) as executor:
        writing = executor.submit(fill, bootstrap, count, keys=keys)
        while not writing.done():
            yield
        writing.result()


def test_a_directory_that_is_written_to_stays_sound(kstore: Kstore, start_kstore: StartKstore, tmp_path: Path) -> None:
    server = start_kstore(tmp_path / "server", overrides={"log.segment.bytes": "200000"})
    fill(server.bootstrap, 10)
    rounds = 0
    for _ in while_filling(server.bootstrap, 40_000):
        ran = verify(kstore, server.log_directory)
        assert (ran.status, codes(ran)) == (0, []), ran.out
        assert ran.rows_of("summary")[0]["records"] > 10
        rounds += 1
    assert rounds >= 3


def test_a_log_that_is_being_compacted_stays_sound(kstore: Kstore, start_kstore: StartKstore, tmp_path: Path) -> None:
    overrides = {
        "log.cleaner.backoff.ms": "10",
        "log.segment.bytes": "50000",
        "log.cleaner.min.cleanable.ratio": "0.01",
    }
    server = start_kstore(tmp_path / "server", overrides=overrides)
    kstore("topics", "create", "filled", "--config", "cleanup.policy=compact", "-b", server.bootstrap)
    kstore("topics", "alter", "filled", "--config", "min.cleanable.dirty.ratio=0.01", "-b", server.bootstrap)
    checkpoint = server.log_directory / "cleaner-offset-checkpoint"
    cleaned = set()
    while len(cleaned) < 2:
        for _ in while_filling(server.bootstrap, 5000, keys=100):
            ran = verify(kstore, server.log_directory)
            assert (ran.status, codes(ran)) == (0, []), ran.out
            if checkpoint.exists():
                cleaned.add(checkpoint.read_text())


@pytest.mark.kafka
@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_the_directory_of_a_running_kafka_is_sound(
    kstore: Kstore, start_kafka: StartKafka, tmp_path: Path, version: str
) -> None:
    broker = start_kafka(version, tmp_path / "kafka", overrides={"log.segment.bytes": "1048576"})
    for _ in while_filling(broker.bootstrap, 20_000):
        ran = verify(kstore, broker.log_directory)
        assert (ran.status, codes(ran)) == (0, []), ran.out
    broker.kill()
    ran = verify(kstore, broker.log_directory)
    assert (ran.status, codes(ran)) == (0, []), ran.out
    broker.start()
    broker.stop()
    ran = verify(kstore, broker.log_directory)
    assert (ran.status, codes(ran)) == (0, []), ran.out


# --- every byte ---


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_every_flipped_byte_of_a_segment_is_found(kstore: Kstore, data: Path, bit: int) -> None:
    for file in (segments(data)[0], segments(data)[-1]):
        content = file.read_bytes()
        for position in range(0, len(content), 1 if len(content) < 600 else 7):
            flipped = bytearray(content)
            flipped[position] ^= bit
            file.write_bytes(flipped)
            assert verify(kstore, partition(data)).status == 1, (file, position)
        file.write_bytes(content)
    assert verify(kstore, data).status == 0


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_an_index_that_is_called_sound_leads_to_every_record(kstore: Kstore, data: Path, suffix: str) -> None:
    file = next(file for file in sorted(partition(data).glob(f"*{suffix}")) if file.stat().st_size >= 24)
    content = file.read_bytes()
    found = 0
    for position in range(len(content)):
        for bit in (0x01, 0x04, 0x80):
            flipped = bytearray(content)
            flipped[position] ^= bit
            file.write_bytes(flipped)
            ran = verify(kstore, partition(data))
            found += ran.status
            assert ran.status == 1 or leads_to_every_record(file), (position, bit)
    assert found > 2 * len(content)
    file.write_bytes(content)


def leads_to_every_record(file: Path) -> bool:
    batches = headers(file.with_suffix(".log"))
    base_offset = int(file.stem)
    if file.suffix == ".index":
        index = OffsetIndex(file, base_offset, 1 << 20, False)
        return all(
            index.lookup(offset)[1] <= header.position
            for header in batches
            for offset in range(header.base_offset, header.last_offset + 1)
        )
    times = TimeIndex(file, base_offset, 1 << 20, False)
    for target in {header.max_timestamp + delta for header in batches for delta in (-1, 0)}:
        first = next(header for header in batches if header.max_timestamp >= target)
        if times.lookup(target)[1] > first.last_offset:
            return False
    return True


@pytest.mark.parametrize("suffix", [".txnindex", ".snapshot"])
def test_every_flipped_byte_of_a_snapshot_or_transaction_index_is_found(
    kstore: Kstore, data: Path, suffix: str
) -> None:
    file = next(file for file in sorted(partition(data).glob(f"*{suffix}")) if file.stat().st_size > 10)
    content = file.read_bytes()
    # The last stable offset of an aborted transaction only ends a search early or late.
    harmless = set(range(26, 34)) if suffix == ".txnindex" else set()
    for position in range(len(content)):
        if suffix == ".txnindex" and position % 34 in harmless:
            continue
        flipped = bytearray(content)
        flipped[position] ^= 0x01
        file.write_bytes(flipped)
        assert verify(kstore, partition(data)).status == 1, position


def test_every_flipped_byte_of_the_leader_epochs_is_found(kstore: Kstore, data: Path) -> None:
    file = partition(data) / EPOCHS
    content = file.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x01
        file.write_bytes(flipped)
        if content[position : position + 1].isspace() and flipped[position : position + 1].isspace():
            continue
        assert verify(kstore, partition(data)).status == 1, (position, bytes(flipped))


# --- each kind of damage ---


def rewrite(file: Path, change: Callable[[bytearray], object]) -> None:
    content = bytearray(file.read_bytes())
    change(content)
    file.write_bytes(content)


def overwrite(file: Path, position: int, form: str, *values: int | bytes) -> None:
    rewrite(file, lambda content: struct.pack_into(form, content, position, *values))


def extend(file: Path, form: str, *values: int) -> None:
    with file.open("ab") as end:
        end.write(struct.pack(form, *values))


def write(data: Path, name: str, text: str) -> None:
    """A small file of the partition's, or of the directory's root."""
    place = partition(data) if (partition(data) / name).exists() else data
    assert (place / name).exists()
    (place / name).write_text(text)


def set_header(file: Path, number: int, offset: int, form: str, value: int) -> None:
    """Changes a field of a batch's header, and its CRC where the field is under it."""
    header = headers(file)[number]

    def change(content: bytearray) -> None:
        struct.pack_into(form, content, header.position + offset, value)
        body = content[header.position + 21 : header.position + header.size_in_bytes]
        struct.pack_into(">I", content, header.position + 17, crc32c(bytes(body)))

    rewrite(file, change)


def swap_batches(file: Path) -> None:
    first, second = headers(file)[1:3]

    def change(content: bytearray) -> None:
        start, middle, end = first.position, second.position, second.position + second.size_in_bytes
        content[start:end] = content[middle:end] + content[start:middle]

    rewrite(file, change)


def double_batch(data: Path) -> None:
    """Appends the last batch of producer 5 once more, with the next offset."""
    file = segments(data)[-1]
    source, last = [(path, header) for path in segments(data) for header in headers(path) if header.producer_id == 5][
        -1
    ]
    copied = bytearray(source.read_bytes()[last.position : last.position + last.size_in_bytes])
    struct.pack_into(">q", copied, 0, headers(file)[-1].last_offset + 1)
    with file.open("ab") as log:
        log.write(copied)


def unknown_epoch(data: Path) -> None:
    file = segments(data)[-1]
    overwrite(file, headers(file)[-1].position + 12, ">i", 9)


def late_epoch(data: Path) -> None:
    text = (partition(data) / EPOCHS).read_text()
    write(data, EPOCHS, text.replace("0\n2\n", "0\n3\n", 1) + "8 100000\n")


def drop_middle_segment(data: Path) -> None:
    for file in partition(data).glob(segments(data)[2].stem + ".*"):
        file.unlink()


def replace_text(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def copy_segment(data: Path) -> None:
    file = segments(data)[-1]
    shutil.copy(file, file.with_name(f"{int(file.stem)}.log"))


def lose_marker(data: Path) -> None:
    """Makes the last abort marker one that commits."""
    for file in reversed(segments(data)):
        for header in reversed(headers(file)):
            if header.attributes & 0x20:
                end = control_batch(
                    1,
                    base_offset=header.base_offset,
                    timestamp=NOW,
                    producer_id=header.producer_id,
                    producer_epoch=0,
                    coordinator_epoch=3,
                    partition_leader_epoch=header.partition_leader_epoch,
                )
                content = file.read_bytes()[header.position : header.position + header.size_in_bytes]
                if content != end and len(content) == len(end):
                    overwrite(file, header.position, f"{len(end)}s", bytes(end))
                    return
    raise AssertionError("no abort marker")


def empty_txn_index(data: Path) -> None:
    next(file for file in partition(data).glob("*.txnindex") if file.stat().st_size).write_bytes(b"")


def wrong_snapshot(data: Path) -> None:
    """A snapshot that is whole and says another sequence than the log."""
    file = sorted(partition(data).glob("*.snapshot"))[-1]

    def change(content: bytearray) -> None:
        struct.pack_into(">i", content, 10 + 10, 1)
        struct.pack_into(">I", content, 2, crc32c(bytes(content[6:])))

    rewrite(file, change)


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a flipped byte in a record": ("crc", lambda d: overwrite(segments(d)[1], 70, "B", 0xEE)),
    "noise in the middle": ("batch", lambda d: overwrite(segments(d)[1], 8, ">i", 7)),
    "a length that lies": ("batch", lambda d: overwrite(segments(d)[1], 8, ">i", 1 << 30)),
    "batches that changed places": ("offsets", lambda d: swap_batches(segments(d)[0])),
    "an offset below the segment": ("offsets", lambda d: overwrite(segments(d)[1], 0, ">q", 0)),
    "an offset out of reach": ("offsets", lambda d: overwrite(segments(d)[-1], 0, ">q", 1 << 40)),
    "a leader epoch that falls": ("epoch", lambda d: overwrite(segments(d)[-1], 12, ">i", 0)),
    "a leader epoch nobody noted": ("epochs", unknown_epoch),
    "a count that lies": ("records", lambda d: set_header(segments(d)[0], 0, 57, ">i", 3)),
    "a batch that is there twice": ("duplicate", double_batch),
    "a missing segment": ("hole", drop_middle_segment),
    "a segment that is there twice": ("duplicate", copy_segment),
    "a torn end": ("batch", lambda d: segments(d)[-1].write_bytes(segments(d)[-1].read_bytes()[:-5])),
    "an offset index that points between batches": ("index", lambda d: overwrite(indexes(d, ".index")[0], 4, ">i", 3)),
    "an offset index behind the segment": (
        "index",
        lambda d: extend(indexes(d, ".index")[-1], ">ii", 9999, 9999),
    ),
    "an offset index that falls": ("index", lambda d: extend(indexes(d, ".index")[0], ">ii", 1, 1)),
    "a torn offset index": ("index", lambda d: extend(indexes(d, ".index")[0], "b", 1)),
    "a time index with another time": ("timeindex", lambda d: overwrite(indexes(d, ".timeindex")[0], 0, ">q", NOW - 5)),
    "a time index that leads nowhere": ("timeindex", lambda d: overwrite(indexes(d, ".timeindex")[0], 8, ">i", 9999)),
    "a marker that is not that of the index": ("txnindex", lose_marker),
    "an aborted transaction nobody noted": ("txnindex", empty_txn_index),
    "a damaged snapshot": ("snapshot", lambda d: overwrite(sorted(partition(d).glob("*.snapshot"))[-1], 12, "B", 0xEE)),
    "a snapshot that disagrees": ("snapshot", wrong_snapshot),
    "epochs that fall": ("epochs", lambda d: write(d, EPOCHS, "0\n2\n1 0\n0 50\n")),
    "epochs that are no file of theirs": ("epochs", lambda d: write(d, EPOCHS, "0\n7\n0 0\n")),
    "epochs behind the end": ("epochs", late_epoch),
    "a topic id that is none": ("topic-id", lambda d: write(d, "partition.metadata", "version: 0\ntopic_id: x")),
    "a checkpoint behind the end": (
        "checkpoint",
        lambda d: write(d, RECOVERY_POINT_CHECKPOINT, "0\n1\ntopic 0 9999\n"),
    ),
    "a checkpoint that is none": ("checkpoint", lambda d: write(d, HIGH_WATERMARK_CHECKPOINT, "0\n3\ntopic 0\n")),
    "an owner that is none": ("owner", lambda d: replace_text(d / "meta.properties", "version=1", "version=7")),
}


def indexes(data: Path, suffix: str) -> list[Path]:
    return [file for file in sorted(partition(data).glob(f"*{suffix}")) if file.stat().st_size >= 12]


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_named(kstore: Kstore, data: Path, name: str) -> None:
    code, spoil = DAMAGE[name]
    spoil(data)
    ran = verify(kstore, data)
    assert ran.status == 1
    assert code in codes(ran), ran.out
    text = kstore("log", "verify", data).out
    assert f"DAMAGE [{code}] " in text
    assert re.search(r"^[1-9]\d* DAMAGED", text, re.MULTILINE)


def touch(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def preallocated(data: Path) -> None:
    (data / ".kafka_cleanshutdown").unlink()
    extend(segments(data)[-1], "500x")


NOTICES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a file that waits for its deletion": ("left-over", lambda d: touch(partition(d) / f"{0:020}.log.deleted")),
    "a rewrite that was not finished": ("left-over", lambda d: touch(partition(d) / f"{0:020}.log.cleaned")),
    "a rewrite that was not put in place": ("left-over", lambda d: touch(partition(d) / f"{0:020}.index.swap")),
    "an end that was cut off": ("damaged-end", lambda d: touch(partition(d) / f"{0:020}.77.log.damaged")),
    "a checkpoint that was not finished": ("left-over", lambda d: touch(d / "replication-offset-checkpoint.tmp")),
    "a file of nobody": ("unknown", lambda d: touch(partition(d) / "notes.txt")),
    "a file of nobody at the root": ("unknown", lambda d: touch(d / "core.1234")),
    "a directory of nobody": ("unknown", lambda d: (d / "lost+found").mkdir()),
    "a missing index": ("missing", lambda d: segments(d)[0].with_suffix(".index").unlink()),
    "missing epochs": ("missing", lambda d: (partition(d) / EPOCHS).unlink()),
    "an index without a segment": ("stray", lambda d: touch(partition(d) / f"{77:020}.timeindex")),
    "a partition that is being deleted": ("side-directory", lambda d: (d / f"gone-0.{'a' * 32}-delete").mkdir()),
    "a partition that was set aside": ("side-directory", lambda d: (d / f"lost-0.{'a' * 32}-stray").mkdir()),
    "no owner": ("owner", lambda d: (d / "meta.properties").unlink()),
    "a checkpoint of what is not here": (
        "checkpoint",
        lambda d: write(d, RECOVERY_POINT_CHECKPOINT, "0\n1\nother 0 5\n"),
    ),
    "zeros behind the end after a crash": ("preallocated", preallocated),
}


@pytest.mark.parametrize("name", NOTICES)
def test_what_is_harmless_is_a_notice(kstore: Kstore, data: Path, name: str) -> None:
    code, change = NOTICES[name]
    change(data)
    ran = verify(kstore, data)
    assert (ran.status, codes(ran)) == (0, []), ran.out
    assert codes(ran, "notice") == [code]
    assert kstore("log", "verify", data, "--strict", "--quiet").status == 1


def test_a_torn_end_after_a_crash_is_what_the_next_start_cuts(kstore: Kstore, data: Path) -> None:
    (data / ".kafka_cleanshutdown").unlink()
    with segments(data)[-1].open("ab") as log:
        log.write(bytes(batch(3))[:-1])
    ran = verify(kstore, data)
    assert ran.status == 1
    assert codes(ran) == ["torn"]
    assert "the next start cuts it off" in ran.out


def test_a_stray_partition_and_one_of_another_topic_are_told(kstore: Kstore, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN / "kafka-3.9.1", directory)
    shutil.copytree(directory / "plain-0", directory / "nowhere-3")
    replace_text(directory / "gzip-0" / "partition.metadata", "topic_id: ", "topic_id: 8")
    metadata = directory / "gzip-0" / "partition.metadata"
    metadata.write_text(metadata.read_text()[: len("version: 0\ntopic_id: ") + 22])
    ran = verify(kstore, directory)
    assert ran.status == 0
    strays = [row for row in ran.rows if row.get("code") == "stray"]
    assert [Path(row["file"]).name for row in strays] == ["gzip-0", "nowhere-3"]


def test_a_partition_that_the_metadata_and_a_checkpoint_know_is_missed(kstore: Kstore, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN / "kafka-3.9.1", directory)
    shutil.rmtree(directory / "plain-0")
    ran = verify(kstore, directory)
    assert ran.status == 1
    assert "plain-0, which has no directory here" in ran.out


def test_a_metadata_record_that_does_not_fit_is_found(kstore: Kstore, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN / "kafka-3.9.1", directory)
    (snapshot,) = (directory / "__cluster_metadata-0").glob("*.checkpoint")
    snapshot.unlink()
    log = next((directory / "__cluster_metadata-0").glob("*.log"))
    topics = next(header for header in headers(log) if header.base_offset == 8)
    rewrite(log, lambda content: content.__delitem__(slice(topics.position, topics.position + topics.size_in_bytes)))
    ran = verify(kstore, directory)
    assert ran.status == 1
    assert "metadata" in codes(ran)


def test_the_same_partition_in_two_directories_is_found(kstore: Kstore, data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(data, other)
    ran = verify(kstore, data, other)
    assert ran.status == 1
    assert sorted(set(codes(ran))) == ["duplicate", "owner"]


def test_directories_of_two_brokers_are_told_apart(kstore: Kstore, data: Path) -> None:
    ran = verify(kstore, data, GOLDEN / "kafka-3.9.1")
    assert codes(ran) == ["owner"]


def test_many_findings_of_a_kind_are_summed_up_for_people(kstore: Kstore, data: Path) -> None:
    rewrite(
        segments(data)[0],
        lambda c: c.__setitem__(slice(None), b"".join(bytes(batch(base_offset=5)) for _ in range(50))),
    )
    text = kstore("log", "verify", data).out
    assert text.count("[offsets]") == 11
    assert "and 39 more" in text
    assert len([code for code in codes(verify(kstore, data)) if code == "offsets"]) == 49


# --- the command ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/no/such/place"], "/no/such/place: there is no such directory"),
        (["."], ".: no log directory; give what log.dirs names"),
        ([__file__], "is a file; give its partition's directory"),
        ([], "DIR"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    kstore: Kstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = kstore("log", "verify", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_nothing_is_written(kstore: Kstore, data: Path) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        return {str(f): (f.stat().st_mtime_ns, f.read_bytes()) for f in data.rglob("*") if f.is_file()}

    before = state()
    verify(kstore, data)
    assert state() == before


def test_a_disk_that_cannot_be_read_is_not_called_damaged(
    kstore: Kstore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(5, "Input/output error", str(segments(data)[0]))

    monkeypatch.setattr("kstore.cli.logs.segment_check.walk", refuse)
    ran = kstore("log", "verify", data)
    assert ran.status == 2
    assert ran.err == f"kstore: {segments(data)[0]}: Input/output error\n"
