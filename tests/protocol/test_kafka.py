"""Kafka's own classes read what we write, find our values under Kafka's names, and write the same bytes."""

import base64
import json
import random
import re
import subprocess
from typing import Any

import pytest

from kstore.protocol import messages
from kstore.protocol.messages.control_records import CONTROL_RECORD_TYPES
from kstore.protocol.messages.group_records import (
    GroupMetadataKey,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
)
from kstore.protocol.messages.metadata_records import RECORD_TYPES
from kstore.protocol.schema import Message, within
from tests.judge import home
from tests.judge.java import java_command
from tests.protocol.values import fields_of, random_message, versions_of

SEEDS = 10
APIS = {key: messages.schema(key) for key in messages.declared_api_keys()}
GROUP_RECORDS = [OffsetCommitKey, OffsetCommitValue, GroupMetadataKey, GroupMetadataValue]
RECORDS = [*RECORD_TYPES.values(), *CONTROL_RECORD_TYPES.values(), *GROUP_RECORDS]

# What 3.9 does not know yet, and from which version on 4.3 knows what 3.9 knows from the beginning.
NOT_IN_39 = {
    "RegisterBrokerRecord": 4,
    "BrokerRegistrationChangeRecord": 3,
    "ClearElrRecord": 0,
    # 3.9 has version 4 without the topic's id.
    "OffsetCommitValue": 4,
}
OLDEST_IN_43 = {
    "ListOffsets": 1,
    "OffsetCommit": 2,
    "OffsetFetch": 1,
    "CreateTopics": 2,
    "DeleteTopics": 1,
    "OffsetForLeaderEpoch": 2,
    "DescribeConfigs": 1,
    "AlterReplicaLogDirs": 1,
    "DescribeLogDirs": 1,
    "AlterPartition": 2,
    # What only brokers with ZooKeeper said to each other.
    "LeaderAndIsr": 99,
    "StopReplica": 99,
    "UpdateMetadata": 99,
    "ControlledShutdown": 99,
}


def judged_by(version: str) -> list[tuple[type[Message], int]]:
    """Every message and version that this Kafka knows: all of ours, but for the exceptions named above."""
    both = list(versions_of(APIS))
    for record in RECORDS:
        both += [(record, number) for number in range(record.min_version, record.max_version + 1)]
    if version == "3.9.1":
        return [(message, number) for message, number in both if number < NOT_IN_39.get(message.__name__, 99)]
    api = re.compile("(Request|Response)$")
    return [
        (message, number) for message, number in both if number >= OLDEST_IN_43.get(api.sub("", message.__name__), 0)
    ]


def kafka_name(message: type[Message]) -> str:
    name = message.__name__
    if message in RECORD_TYPES.values():
        return f"org.apache.kafka.common.metadata.{name}"
    if message in GROUP_RECORDS:
        return f"org.apache.kafka.coordinator.group.generated.{name}"
    is_api = name.endswith(("Request", "Response"))
    return f"org.apache.kafka.common.message.{name}{'Data' if is_api else ''}"


def kafka_version(kafka: str, message: type[Message], version: int) -> int:
    """The version of a group record's key is its type; 4.3 has it beside the message, whose version is 0."""
    return 0 if kafka == "4.3.0" and message in (OffsetCommitKey, GroupMetadataKey) else version


def camel(name: str) -> str:
    first, *rest = name.replace("kraft", "k_raft").split("_")
    return first + "".join(word.capitalize() for word in rest)


def assert_same(message: type[Message], ours: Any, theirs: Any, version: int, struct: str, where: str) -> None:
    """`theirs` is JSON; it leaves out tagged fields at their defaults, and of records it gives the size."""
    _ = message._layout
    seen = set()
    for field in fields_of(message, version, struct):
        value, name = getattr(ours, field.name), camel(field.name)
        place = f"{where}.{field.name}"
        if field.type == "records" and value is not None:
            name, value = f"{name}SizeInBytes", len(value)
        if name not in theirs:
            assert within(version, field.tagged), place
            assert value == getattr(fresh(message, struct), field.name), place
            continue
        seen.add(name)
        if value is None or theirs[name] is None:
            assert value is theirs[name], place
        elif field.is_struct and field.is_array:
            assert len(value) == len(theirs[name]), place
            for one, other in zip(value, theirs[name], strict=True):
                assert_same(message, one, other, version, field.type, place)
        elif field.is_struct:
            assert_same(message, value, theirs[name], version, field.type, place)
        else:
            assert as_json(value) == theirs[name], place
    assert set(theirs) == seen, where


def fresh(message: type[Message], struct: str) -> Any:
    return getattr(message, struct)() if struct else message()


def as_json(value: Any) -> Any:
    if isinstance(value, list):
        return [as_json(element) for element in value]
    if isinstance(value, bytes) and len(value) == 16:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


@pytest.mark.kafka
@pytest.mark.parametrize("kafka", home.VERSIONS)
def test_kafka_reads_and_writes_the_same_bytes(kafka: str) -> None:
    cases = [
        (
            message,
            version,
            random_message(message, version, random.Random(f"{message.__name__}{version}{seed}")),
        )
        for message, version in judged_by(kafka)
        for seed in range(SEEDS)
    ]
    questions = [
        f"{kafka_name(message)} {kafka_version(kafka, message, version)} {ours.encode(version).hex()}"
        for message, version, ours in cases
    ]
    source = home.REPOSITORY / "tests" / "protocol" / "MessageJudge.java"
    ran = subprocess.run(
        [*java_command(kafka, heap="512m"), str(source)],
        input="\n".join(questions) + "\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    answers = ran.stdout.split("\n")[:-1]
    assert len(answers) == len(cases)
    for (message, version, ours), question, answer in zip(cases, questions, answers, strict=True):
        where = f"{message.__name__} v{version}"
        left, written, as_text = answer.split(" ", 2)
        assert left == "0", where
        assert written == question.rsplit(" ", 1)[1], where
        assert_same(message, ours, json.loads(as_text), version, "", where)


def test_kafka_judges_every_message_and_version() -> None:
    ours = set(versions_of(APIS))
    for record in RECORDS:
        ours |= {(record, version) for version in range(record.min_version, record.max_version + 1)}
    assert set(judged_by("3.9.1")) | set(judged_by("4.3.0")) == ours
    assert len(judged_by("3.9.1")) >= 258
    assert len(judged_by("4.3.0")) >= 245
