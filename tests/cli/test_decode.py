"""Records of Kafka's own topics, decoded: as Kafka's DumpLogSegments decodes them, and never a reason to stop."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from kstore._native.record import Record
from kstore.cli.logs.decode import Decoded, decode, decode_group, decode_transaction
from tests.cli.run import Kstore
from tests.cli.test_groups import member
from tests.golden.golden import GOLDEN, KRAFT
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer
from tests.judge.tools import KafkaTools


@pytest.fixture(
    params=["kstore_server", *(pytest.param(name, marks=pytest.mark.kafka) for name in ("kafka_39", "kafka_43"))]
)
def broker(request: pytest.FixtureRequest) -> KstoreServer | KafkaBroker:
    found: KstoreServer | KafkaBroker = request.getfixturevalue(request.param)
    return found


def group_records(kstore: Kstore, broker: KstoreServer | KafkaBroker, group: str) -> list[dict[str, Any]]:
    """What `__consumer_offsets` says of a group, decoded."""
    found = []
    for directory in sorted(broker.log_directory.glob("__consumer_offsets-*")):
        ran = kstore("log", "dump", directory, "--records", "--json", "--only", "log")
        assert ran.status == 0
        found += [row for row in ran.rows_of("record") if row.get("data", {}).get("key", {}).get("group") == group]
    return found


def test_commits_and_groups_are_decoded(kstore: Kstore, broker: KstoreServer | KafkaBroker, topic: str) -> None:
    kstore("topics", "create", topic, "--partitions", 2, "-b", broker.bootstrap)
    group = f"group-of-{topic}"
    with member(broker.bootstrap, group, topic) as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 1, 42, "some metadata")], asynchronous=False)
    records = group_records(kstore, broker, group)
    (commit,) = [row for row in records if row["record"] == "OffsetCommit"]
    assert commit["data"]["key"] == {"group": group, "topic": topic, "partition": 1}
    value = commit["data"]["value"]
    # confluent-kafka sends the zero at the end of its string along.
    assert (value["offset"], value["metadata"].rstrip("\0")) == (42, "some metadata")
    stable = [row["data"]["value"] for row in records if row["record"] == "GroupMetadata" and row["data"]["value"]]
    (found,) = [value["members"][0] for value in stable if value["members"]][-1:]
    assert found["client_id"] == "the-client"
    assert found["subscription"]["topics"] == [topic]
    assert found["assignment"]["assigned_partitions"] == [{"topic": topic, "partitions": [0, 1]}]


def test_a_group_that_is_deleted_is_a_tombstone(kstore: Kstore, broker: KstoreServer | KafkaBroker, topic: str) -> None:
    kstore("topics", "create", topic, "-b", broker.bootstrap)
    group = f"group-of-{topic}"
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    consumer.close()
    assert kstore("groups", "delete", group, "-b", broker.bootstrap).status == 0
    commits = [row for row in group_records(kstore, broker, group) if row["record"] == "OffsetCommit"]
    assert [row["data"]["value"] is None for row in commits] == [False, True]


@pytest.mark.kafka
@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_offsets_are_decoded_as_kafka_does(
    kstore: Kstore, request: pytest.FixtureRequest, topic: str, version: str
) -> None:
    broker: KafkaBroker = request.getfixturevalue("kafka_39" if version == "3.9.1" else "kafka_43")
    tools: KafkaTools = request.getfixturevalue("tools_39" if version == "3.9.1" else "tools_43")
    kstore("topics", "create", topic, "--partitions", 2, "-b", broker.bootstrap)
    with member(broker.bootstrap, f"group-of-{topic}", topic) as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 0, 7), TopicPartition(topic, 1, 8)], asynchronous=False)
    compared = 0
    for log in sorted(broker.log_directory.glob("__consumer_offsets-*/*.log")):
        printed = tools.dump_log(log, arguments=["--offsets-decoder"])
        kafkas = {int(found[1]): found[2] for found in re.finditer(r"\| offset: (\d+) .*? key: (.*)", printed)}
        for row in kstore("log", "dump", log, "--records", "--json").rows_of("record"):
            if row.get("record") != "OffsetCommit" or row["data"]["value"] is None:
                continue
            key, payload = (json.loads(text) for text in kafkas[row["offset"]].split(" payload: "))
            mine = row["data"]["key"], row["data"]["value"]["offset"], row["data"]["value"]["commit_timestamp"]
            assert mine == (key["data"], payload["data"]["offset"], payload["data"]["commitTimestamp"])
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", KRAFT)
def test_transaction_states_are_decoded(kstore: Kstore, name: str) -> None:
    directory = GOLDEN / name / "__transaction_state-0"
    records = kstore("log", "dump", directory, "--records", "--json").rows_of("record")
    assert {row["record"] for row in records} == {"TransactionMetadata"}
    states = {row["data"]["value"]["transaction_status"] for row in records}
    assert {"Empty", "Ongoing", "PrepareCommit", "CompleteCommit", "PrepareAbort", "CompleteAbort"} <= states


@pytest.mark.kafka
@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_transactions_are_decoded_as_kafka_does(
    kstore: Kstore, request: pytest.FixtureRequest, version: str, tmp_path: Path
) -> None:
    tools: KafkaTools = request.getfixturevalue("tools_39" if version == "3.9.1" else "tools_43")
    log = tmp_path / "00000000000000000000.log"
    directory = tmp_path / "__transaction_state-0"
    directory.mkdir()
    log = directory / log.name
    log.write_bytes((GOLDEN / f"kafka-{version}" / "__transaction_state-0" / log.name).read_bytes())
    printed = tools.dump_log(log, arguments=["--transaction-log-decoder"])
    rows = kstore("log", "dump", log, "--records", "--json").rows_of("record")
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    assert len(lines) == len(rows) > 5
    for row, line in zip(rows, lines, strict=True):
        value = row["data"]["value"]
        assert row["data"]["key"]["transactional_id"] in line
        assert value["transaction_status"] in line.replace('"', "") or '"transactionStatus":' in line
        assert re.search(rf"producerId\W+{value['producer_id']}\b", line), line


def record(key: bytes | None, value: bytes | None) -> Record:
    return Record(0, 0, key, value)


@pytest.mark.parametrize(
    ("decoder", "key", "value", "said"),
    [
        (decode_group, None, None, "the key has 0 bytes"),
        (decode_group, b"\x00\x03\x00\x01g", b"", "ConsumerGroupMetadata, which kstore does not read"),
        (decode_group, b"\x01\x00", b"", "group record type 256"),
        (decode_group, b"\x00\x02\x00\x09g", b"", "GroupMetadataKey"),
        (decode_group, b"\x00\x02\x00\x01g", b"\x00", "the value has 1 bytes"),
        (decode_group, b"\x00\x02\x00\x01g", b"\x7f\x00", "GroupMetadataValue"),
        (decode_transaction, b"\x00\x00\x00\x01t", b"\x00\x05", "TransactionLogValue"),
    ],
)
def test_a_record_that_nobody_knows_is_told_and_not_raised(
    decoder: Any, key: bytes | None, value: bytes | None, said: str
) -> None:
    told = decode(decoder, record(key, value))
    assert isinstance(told, str)
    assert said in told


def test_random_bytes_are_told_and_not_raised() -> None:
    import random

    chance = random.Random(5)
    for _ in range(5000):
        key = bytes([0, chance.randrange(4)]) + chance.randbytes(chance.randrange(20))
        value = bytes([0, chance.randrange(5)]) + chance.randbytes(chance.randrange(60))
        for decoder in (decode_group, decode_transaction):
            assert isinstance(decode(decoder, record(key, value)), Decoded | str)
