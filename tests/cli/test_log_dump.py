"""`kstore log dump` shows what Kafka's DumpLogSegments and consumer show, goes on behind damage, and writes nothing."""

import base64
import hashlib
import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from kstore._native.builder import BatchBuilder
from kstore._native.records import FileRecords
from kstore.cli.logs import batches
from kstore.cli.logs.batches import Damage, walk
from tests.cli.run import Kstore
from tests.golden.golden import ALL, GOLDEN, KRAFT, GoldenPartition, golden
from tests.judge.tools import KafkaTools

PARTITIONS = [
    pytest.param(name, key, id=f"{name}-{key[0]}-{key[1]}") for name in ALL for key in golden(name).partitions
]


def as_kafka_prints(row: dict[str, Any]) -> dict[str, Any]:
    """A batch's row with DumpLogSegments' names."""
    horizon = row["delete_horizon_ms"]
    return {
        "baseOffset": row["base_offset"],
        "lastOffset": row["last_offset"],
        "count": row["count"],
        "baseSequence": row["base_sequence"],
        "lastSequence": row["last_sequence"],
        "producerId": row["producer_id"],
        "producerEpoch": row["producer_epoch"],
        "partitionLeaderEpoch": row["leader_epoch"],
        "isTransactional": row["transactional"],
        "isControl": row["control"],
        "deleteHorizonMs": "OptionalLong.empty" if horizon is None else f"OptionalLong[{horizon}]",
        "position": row["position"],
        row["timestamp_type"]: row["max_timestamp"],
        "size": row["size"],
        "magic": row["magic"],
        "compresscodec": row["codec"],
        "crc": row["crc"],
        "isvalid": row["crc_valid"],
        "file": Path(row["file"]).name,
    }


@pytest.mark.parametrize(("name", "key"), [param for param in PARTITIONS if "old-formats" not in param.id])
def test_batches_are_those_that_dump_log_segments_prints(kstore: Kstore, name: str, key: tuple[str, int]) -> None:
    partition = golden(name).partitions[key]
    ran = kstore("log", "dump", partition.directory, "--json", "--only", "log")
    assert ran.status == 0
    assert [as_kafka_prints(row) for row in ran.rows_of("batch")] == partition.batches


@pytest.mark.parametrize("topic", ["magic-0", "magic-1"])
def test_messages_of_old_formats_are_listed(kstore: Kstore, topic: str) -> None:
    partition = golden("kafka-3.9.1-old-formats").partitions[topic, 0]
    ran = kstore("log", "dump", partition.directory, "--json", "--only", "log")
    assert ran.status == 0
    shown = [(row["offset"], row["position"], row["size"], row["magic"]) for row in ran.rows_of("old_message")]
    printed = [(batch["offset"], batch["position"], batch["size"], batch["magic"]) for batch in partition.batches]
    assert shown == printed
    assert all(row["crc_valid"] for row in ran.rows_of("old_message"))


def value_of(row: dict[str, Any], name: str = "value") -> bytes | None:
    if f"{name}_base64" in row:
        return base64.b64decode(row[f"{name}_base64"])
    text: str | None = row[name]
    return None if text is None else text.encode()


def assert_same_records(partition: GoldenPartition, rows: list[dict[str, Any]]) -> None:
    """What a consumer read, and no more: the log may begin before the first record that is still served."""
    rows = [row for row in rows if row["offset"] >= partition.log_start_offset]
    assert [row["offset"] for row in rows] == [record.offset for record in partition.records]
    for row, record in zip(rows, partition.records, strict=True):
        assert value_of(row, "key") == record.key
        assert record.has_value(value_of(row))
        assert [(header["key"], value_of(header)) for header in row["headers"]] == record.headers
        if record.timestamp_type == 0:
            assert row["timestamp"] == record.timestamp


@pytest.mark.parametrize(("name", "key"), [param for param in PARTITIONS if "old-formats" not in param.id])
def test_records_are_those_that_a_consumer_reads(kstore: Kstore, name: str, key: tuple[str, int]) -> None:
    partition = golden(name).partitions[key]
    ran = kstore("log", "dump", partition.directory, "--json", "--records", "--raw", "--only", "log")
    control = {
        offset
        for batch in ran.rows_of("batch")
        if batch["control"]
        for offset in range(batch["base_offset"], batch["last_offset"] + 1)
    }
    assert_same_records(partition, [row for row in ran.rows_of("record") if row["offset"] not in control])


@pytest.mark.parametrize("name", KRAFT)
def test_the_metadata_log_and_its_snapshot_are_decoded(kstore: Kstore, name: str) -> None:
    ran = kstore("log", "dump", GOLDEN / name / "__cluster_metadata-0", "--json", "--records")
    assert ran.status == 0
    records = ran.rows_of("record")
    assert [row for row in records if "undecodable" in row] == []
    topics = {row["data"]["name"] for row in records if row["record"] == "TopicRecord"}
    assert {topic for topic, _ in golden(name).partitions} <= topics | {"__transaction_state"}
    kinds = {row["record"] for row in records}
    assert {"LeaderChangeMessage", "PartitionRecord", "RegisterBrokerRecord", "SnapshotHeaderRecord"} <= kinds


@pytest.mark.parametrize("name", KRAFT)
def test_transaction_markers_are_decoded(kstore: Kstore, name: str) -> None:
    ran = kstore("log", "dump", GOLDEN / name / "transactions-0", "--json", "--records", "--only", "log")
    markers = [row for row in ran.rows_of("record") if "record" in row]
    assert {row["record"] for row in markers} == {"COMMIT", "ABORT"}
    assert all(row["data"]["coordinator_epoch"] >= 0 for row in markers)


@pytest.mark.parametrize("name", KRAFT)
def test_a_whole_directory_is_shown_file_by_file(kstore: Kstore, name: str) -> None:
    ran = kstore("log", "dump", GOLDEN / name, "--json")
    assert ran.status == 0
    shown = {str(Path(row["file"]).relative_to(GOLDEN / name)): row["size"] for row in ran.rows_of("file")}
    assert shown == {path: facts["size"] for path, facts in golden(name).files.items()}
    properties = {Path(row["file"]).name: row["properties"] for row in ran.rows_of("properties")}
    assert properties["meta.properties"]["cluster.id"] == golden(name).cluster_id
    shortened = [row for row in ran.rows_of("checkpoint") if row["topic"] == "shortened"]
    assert {Path(row["file"]).name: row["offset"] for row in shortened}["log-start-offset-checkpoint"] == 25


def numbers(text: str) -> list[dict[str, int]]:
    """Lines of `name: number` pairs."""
    lines = [re.findall(r"(\w+): (-?\d+)", line) for line in text.splitlines() if not line.startswith("Dumping")]
    return [{name: int(number) for name, number in line} for line in lines if line]


NAMES = {
    "index_entry": {"offset": "offset", "position": "position"},
    "timeindex_entry": {"timestamp": "timestamp", "offset": "offset"},
    "aborted_transaction": {
        "version": "version",
        "producer_id": "producerId",
        "first_offset": "firstOffset",
        "last_offset": "lastOffset",
        "last_stable_offset": "lastStableOffset",
    },
    "producer": {
        "producer_id": "producerId",
        "producer_epoch": "producerEpoch",
        "coordinator_epoch": "coordinatorEpoch",
        "current_txn_first_offset": "currentTxnFirstOffset",
        "last_timestamp": "lastTimestamp",
        "last_sequence": "lastSequence",
        "last_offset": "lastOffset",
        "offset_delta": "offsetDelta",
    },
}


@pytest.mark.kafka
@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_indexes_and_snapshots_are_those_that_dump_log_segments_prints(
    kstore: Kstore, tools_39: KafkaTools, tools_43: KafkaTools, version: str, tmp_path: Path
) -> None:
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN / f"kafka-{version}", directory)
    tools = tools_39 if version == "3.9.1" else tools_43
    compared = set()
    for file in sorted(directory.glob("*-*/*")):
        if file.suffix not in (".index", ".timeindex", ".txnindex", ".snapshot"):
            continue
        rows = [row for row in kstore("log", "dump", file, "--json").rows if row["type"] != "file"]
        printed = numbers(tools.dump_log(file, deep=False)) if file.stat().st_size else []
        for row, line in zip(rows, printed, strict=True):
            names = NAMES[row["type"]]
            compared.add(row["type"])
            for own, kafkas in names.items():
                # Kafka leaves out what a producer without a batch does not have.
                assert row[own] == line.get(kafkas, row[own]), (file, row, line)
    assert compared == set(NAMES)


def test_offsets_choose_batches_and_records(kstore: Kstore) -> None:
    directory = GOLDEN / "kafka-3.9.1" / "segments-0"
    everything = kstore("log", "dump", directory, "--json", "--records", "--only", "log").rows_of("record")
    some = kstore("log", "dump", directory, "--json", "--records", "--offsets", "7:19").rows_of("record")
    assert some == [row for row in everything if 7 <= row["offset"] <= 19]
    one = kstore("log", "dump", directory, "--json", "--records", "--offsets", "7", "--only", "log").rows_of("record")
    assert [row["offset"] for row in one] == [7]


@pytest.mark.parametrize("name", ALL)
def test_people_are_shown_a_line_for_each_row(kstore: Kstore, name: str) -> None:
    rows = kstore("log", "dump", GOLDEN / name, "--json", "--records").rows
    text = kstore("log", "dump", GOLDEN / name, "--records").out
    titles = sum(row["type"] == "file" and row["kind"] in ("log", "checkpoint") for row in rows)
    extra = sum(len(row["properties"]) - 1 for row in rows if row["type"] == "properties")
    assert len(text.splitlines()) == len(rows) + titles + extra


def test_text_for_people_holds_no_control_characters(kstore: Kstore, tmp_path: Path) -> None:
    builder = BatchBuilder()
    builder.append(0, b"\x1b[2J", b'two\nlines "quoted"', [("h\x07", b"\xff\x00")])
    builder.append(0, None, "é".encode() * 1000)
    directory = tmp_path / "t-0"
    directory.mkdir()
    (directory / f"{0:020}.log").write_bytes(builder.build())
    out = kstore("log", "dump", directory, "--records").out
    assert r'key="\x1b[2J"  value="two\nlines \"quoted\""  headers: "h\x07"=0xff00' in out
    assert '"' + "é" * 100 + '"… (2000 bytes)' in out
    assert "é" * 1000 in kstore("log", "dump", directory, "--records", "--full").out


# --- damage ---


def batch_of(offset: int, value: bytes = b"v" * 50) -> bytes:
    builder = BatchBuilder(base_offset=offset)
    builder.append(1000 + offset, b"k", value)
    return bytes(builder.build())


def segment(tmp_path: Path, *parts: bytes) -> Path:
    directory = tmp_path / "topic-0"
    directory.mkdir(exist_ok=True)
    file = directory / f"{0:020}.log"
    file.write_bytes(b"".join(parts))
    return file


def offsets(ran_rows: list[dict[str, Any]]) -> list[int]:
    return [row["base_offset"] for row in ran_rows]


def test_a_batch_with_a_wrong_crc_is_shown_as_such_and_the_next_ones_follow(kstore: Kstore, tmp_path: Path) -> None:
    bad = bytearray(batch_of(1))
    bad[-1] ^= 1
    ran = kstore("log", "dump", segment(tmp_path, batch_of(0), bad, batch_of(2)), "--json")
    assert ran.status == 1
    assert offsets(ran.rows_of("batch")) == [0, 1, 2]
    assert [row["crc_valid"] for row in ran.rows_of("batch")] == [True, False, True]
    text = kstore("log", "dump", tmp_path / "topic-0").out
    assert text.count("CRC IS WRONG") == 1


@pytest.mark.parametrize("garbage", [b"\xa5" * 40, b"\x02" * 5000, bytes(300)], ids=["noise", "magic", "zeros"])
def test_the_dump_goes_on_behind_bytes_that_are_no_batch(kstore: Kstore, tmp_path: Path, garbage: bytes) -> None:
    first = batch_of(0)
    ran = kstore("log", "dump", segment(tmp_path, first, garbage, batch_of(1), batch_of(2)), "--json")
    assert ran.status == 1
    assert offsets(ran.rows_of("batch")) == [0, 1, 2]
    (damage,) = ran.rows_of("damage")
    assert (damage["position"], damage["size"]) == (len(first), len(garbage))


def test_batches_within_a_length_that_lies_are_found(kstore: Kstore, tmp_path: Path) -> None:
    bad = bytearray(batch_of(1))
    struct.pack_into(">i", bad, 8, len(bad) - 12 + 60)
    ran = kstore("log", "dump", segment(tmp_path, batch_of(0), bad, batch_of(2), batch_of(3)), "--json")
    assert offsets(ran.rows_of("batch")) == [0, 1, 2, 3]
    assert [row["crc_valid"] for row in ran.rows_of("batch")] == [True, False, True, True]


@pytest.mark.parametrize("kept", [1, 11, 16, 17, 60, 61, 100])
def test_a_torn_tail_is_told(kstore: Kstore, tmp_path: Path, kept: int) -> None:
    first, second = batch_of(0), batch_of(1)
    ran = kstore("log", "dump", segment(tmp_path, first, second[:kept]), "--json")
    assert ran.status == 1
    (damage,) = ran.rows_of("damage")
    assert (damage["position"], damage["size"]) == (len(first), kept)
    assert "ends" in damage["reason"]


def test_a_batch_larger_than_a_chunk_is_whole(kstore: Kstore, tmp_path: Path) -> None:
    large = batch_of(1, bytes(3 * batches.CHUNK))
    ran = kstore("log", "dump", segment(tmp_path, batch_of(0), large, batch_of(2)), "--json", "--records")
    assert ran.status == 0
    assert [row["size"] for row in ran.rows_of("batch")][1] == len(large)


def test_a_huge_length_is_not_believed_before_its_crc_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "LARGE_BATCH", 2 * batches.CHUNK)
    liar = bytearray(batch_of(1, bytes(100)))
    struct.pack_into(">i", liar, 8, 5 * batches.CHUNK)
    good_large = batch_of(3, bytes(3 * batches.CHUNK))
    file = segment(tmp_path, batch_of(0), liar, batch_of(2), good_large, bytes(5 * batches.CHUNK))
    largest = 0

    class Watched:
        def __init__(self) -> None:
            self._records = FileRecords(file, writable=False)
            self.size_in_bytes = self._records.size_in_bytes

        def read(self, position: int, size: int) -> bytes:
            nonlocal largest
            data = self._records.read(position, size)
            if found_good_large not in (position,):
                largest = max(largest, len(data))
            return data

    found_good_large = len(batch_of(0)) + len(liar) + len(batch_of(2))
    found = list(walk(Watched()))  # type: ignore[arg-type]
    kinds = [item if isinstance(item, str) else type(item).__name__ for _, item in found]
    assert kinds == ["RecordBatch", "Damage", "RecordBatch", "RecordBatch", "Damage"]
    assert largest <= batches.CHUNK + 64
    last = found[-1][1]
    assert isinstance(last, Damage)
    assert last.reason == "zeros to the end of the file"


def test_records_that_cannot_be_read_are_told_and_the_dump_goes_on(kstore: Kstore, tmp_path: Path) -> None:
    from kstore._native.checksum import crc32c

    bad = bytearray(batch_of(1))
    bad[61] = 0x7F  # the record's length
    struct.pack_into(">I", bad, 17, crc32c(bad[21:]))
    ran = kstore("log", "dump", segment(tmp_path, batch_of(0), bad, batch_of(2)), "--json", "--records")
    assert ran.status == 1
    assert [row["offset"] for row in ran.rows_of("record")] == [0, 2]
    assert len(ran.rows_of("damage")) == 1


@pytest.mark.parametrize("name", ["00000000000000000003.snapshot", "leader-epoch-checkpoint", "quorum-state"])
def test_a_damaged_small_file_is_told_and_the_others_are_shown(kstore: Kstore, tmp_path: Path, name: str) -> None:
    file = segment(tmp_path, batch_of(0))
    file.with_name(name).write_bytes(b"{\xff nonsense")
    ran = kstore("log", "dump", file.parent, "--json")
    assert ran.status == 1
    (damage,) = ran.rows_of("damage")
    assert damage["file"].endswith(name)
    assert len(ran.rows_of("batch")) == 1


def test_zeros_behind_the_entries_of_an_index_are_no_entries(kstore: Kstore, tmp_path: Path) -> None:
    index = tmp_path / f"{100:020}.index"
    index.write_bytes(struct.pack(">4i", 5, 1000, 9, 2000) + bytes(8 * 100_000))
    ran = kstore("log", "dump", index, "--json")
    assert [(row["offset"], row["position"]) for row in ran.rows_of("index_entry")] == [(105, 1000), (109, 2000)]
    index.write_bytes(index.read_bytes()[:16] + b"\x01\x02\x03")
    assert kstore("log", "dump", index).status == 1


# --- the command ---


def fingerprints(directory: Path) -> dict[str, tuple[str, int]]:
    return {
        str(file): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in directory.rglob("*")
        if file.is_file()
    }


def test_nothing_is_written(kstore: Kstore, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN / "kafka-3.9.1", directory)
    before = fingerprints(directory)
    assert kstore("log", "dump", directory, "--records").status == 0
    assert fingerprints(directory) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/no/such/place"], "/no/such/place: there is no such file or directory"),
        (["."], "no log directory"),
        ([], "PATH"),
        (["x", "--only", "logs"], "'logs' is none of log,index"),
        (["x", "--offsets", "one"], "'one' is no range of offsets such as 100:120"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    kstore: Kstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = kstore("log", "dump", *arguments)
    assert ran.status == 2
    assert ran.out == ""
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_json_is_one_document_a_line(kstore: Kstore) -> None:
    out = kstore("log", "dump", GOLDEN / "kafka-3.9.1", "--json", "--records").out
    for line in out.splitlines():
        assert isinstance(json.loads(line), dict)
