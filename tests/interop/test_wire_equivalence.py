"""The same requests to Kafka 3.9.1 and kstore get the same answers: codes, offsets, records, configurations.

Deliberate differences are listed in differences.py and nowhere else. `KSTORE_WIRE_REQUESTS` and
`KSTORE_WIRE_SEEDS` (1,2,5) ask more than `make test` does.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from kafka.protocol.admin import DescribeConfigsRequest, IncrementalAlterConfigsRequest
from kafka.protocol.consumer import FetchRequest
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest

from tests.fix_kafka import StartKafka
from tests.fix_kstore import StartKstore
from tests.interop.pair import Pair, Question, Side
from tests.interop.questions import Questioner
from tests.judge.java import wait_until
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer
from tests.judge.topics import create_topic, offset
from tests.judge.wire_client import batch, message

pytestmark = pytest.mark.kafka

REQUESTS = int(os.environ.get("KSTORE_WIRE_REQUESTS", "800"))
SEEDS = [int(seed) for seed in os.environ.get("KSTORE_WIRE_SEEDS", "1").split(",")]
# Retention and compaction change logs when they like to, so they stay away.
SETTINGS = {
    "auto.create.topics.enable": "false",
    "log.initial.task.delay.ms": "3600000",
    "log.cleaner.enable": "false",
}
SENTINEL = "sentinel"


@pytest.fixture
def pair(start_kafka: StartKafka, start_kstore: StartKstore) -> Iterator[Pair]:
    kafka = start_kafka("3.9.1", overrides=SETTINGS)
    kstore = start_kstore(overrides=SETTINGS | {"node.id": "1"})
    pair = Pair(kafka.port, kstore.port)
    for side in (pair.kafka, pair.kstore):
        create_topic(side.client, SENTINEL)
        wait_for_producer_ids(side)
    yield pair
    pair.close()


def topics_there(side: Side) -> dict[str, int]:
    """Topics with the number of their partitions that have a leader."""
    found = side.client.ask(message(MetadataRequest, topics=None), 12)["topics"]
    return {
        topic["name"]: sum(partition["error_code"] == 0 for partition in topic["partitions"])
        for topic in found
        if topic["name"] != SENTINEL
    }


def settle_topics(pair: Pair, topics: dict[str, int]) -> None:
    """Kafka's broker learns of topics after its controller answered: waits until both lead them."""
    for side in (pair.kafka, pair.kstore):
        wait_for_topics(side, topics)
        for name, partitions in topics.items():
            for partition in range(partitions):
                wait_for_leader(side, name, partition)
    pair.learn_topic_ids()


def wait_for_producer_ids(side: Side) -> None:
    """Kafka asks its controller for a block of ids when the first one is wanted."""
    request = message(InitProducerIdRequest, transactional_id=None, transaction_timeout_ms=60_000)
    wait_until(
        lambda: side.client.ask(request, 4)["error_code"] == 0, timeout=20, what=f"{side.name} gives producer ids"
    )


def wait_for_topics(side: Side, topics: dict[str, int]) -> None:
    wait_until(lambda: topics_there(side) == topics, timeout=20, what=f"{side.name} has {topics}")


def wait_for_leader(side: Side, name: str, partition: int) -> None:
    wait_until(
        lambda: offset(side.client, name, partition)["error_code"] == 0,
        timeout=20,
        what=f"{side.name} leads {name}-{partition}",
    )


def settle_configs(pair: Pair, names: Sequence[str], number: int) -> None:
    """Kafka's broker applies the metadata log in order: where a later change is seen, this one is."""
    resources = [{"resource_type": 2, "resource_name": name, "configuration_keys": None} for name in names]
    described = message(DescribeConfigsRequest, resources=resources)
    pair.ask(Question("DescribeConfigs", 4, lambda side: described, may_lag=True))
    value = str(100_000_000 + number)
    config = {"name": "retention.ms", "config_operation": 0, "value": value}
    resource = {"resource_type": 2, "resource_name": SENTINEL, "configs": [config]}
    pair.kafka.client.ask(message(IncrementalAlterConfigsRequest, resources=[resource]), 1)
    ask = {"resource_type": 2, "resource_name": SENTINEL, "configuration_keys": ["retention.ms"]}
    request = message(DescribeConfigsRequest, resources=[ask])
    wait_until(
        lambda: pair.kafka.client.ask(request, 4)["results"][0]["configs"][0]["value"] == value,
        timeout=20,
        what="Kafka applies a change of configuration",
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_seeded_requests_get_the_same_answers(pair: Pair, seed: int) -> None:
    questioner = Questioner(seed)
    answered: dict[str, int] = {}
    for question in questioner.questions(REQUESTS):
        answer = pair.ask(question)
        codes = set(error_codes(answer))
        answered[question.api] = answered.get(question.api, 0) + (0 in codes)
        if question.changes:
            questioner.apply(question, answer)
            settle_topics(pair, questioner.topics)
        if question.alters:
            settle_configs(pair, question.alters, questioner.step)
    assert min(answered.values()) > 0, f"an API that was only refused: {answered}"


def error_codes(answer: Any) -> Iterator[int]:
    if isinstance(answer, dict):
        for name, child in answer.items():
            if name == "error_code":
                yield child
            yield from error_codes(child)
    elif isinstance(answer, list):
        for child in answer:
            yield from error_codes(child)


def fetch_question(
    epoch: int,
    topics: list[tuple[str, list[int], int]],
    forgotten: list[tuple[str, list[int]]],
    **options: Any,
) -> Question:
    """A fetch within the side's session: (topic, partitions, offset) that are new, and what is left."""

    def build(side: Side) -> Any:
        named = [
            {
                "topic": name,
                "topic_id": side.topic_id(name),
                "partitions": [
                    {"partition": number, "fetch_offset": start, "partition_max_bytes": 1 << 20}
                    for number in partitions
                ],
            }
            for name, partitions, start in topics
        ]
        gone = [
            {"topic": name, "topic_id": side.topic_id(name), "partitions": partitions} for name, partitions in forgotten
        ]
        session_id = options.get("session_id", side.session_id)
        return message(
            FetchRequest,
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=1 << 20,
            session_id=session_id,
            session_epoch=epoch,
            topics=named,
            forgotten_topics_data=gone,
        )

    return Question("Fetch", options.get("version", 13), build)


def produce_question(name: str, partition: int, value: bytes) -> Question:
    data = {"index": partition, "records": batch([(1_700_000_000_000, None, value)])}
    topics = [{"name": name, "partition_data": [data]}]
    return Question("Produce", 9, lambda side: message(ProduceRequest, acks=-1, timeout_ms=10_000, topic_data=topics))


@pytest.fixture
def shared_pair(kafka_39: KafkaBroker, kstore_server: KstoreServer) -> Iterator[Pair]:
    pair = Pair(kafka_39.port, kstore_server.port)
    yield pair
    pair.close()


@pytest.mark.parametrize("version", [7, 12, 13, 17])
def test_fetch_sessions_answer_alike(shared_pair: Pair, version: int) -> None:
    """KIP-227: what is unchanged is left out, what is forgotten stays away, wrong epochs are refused."""
    pair = shared_pair
    first, second = f"in-session-{version}", f"added-later-{version}"
    for side in (pair.kafka, pair.kstore):
        create_topic(side.client, first, 3)
        create_topic(side.client, second, 1)
    pair.learn_topic_ids()

    def fetch(epoch: int, topics: Any = (), forgotten: Any = (), **options: Any) -> dict[str, Any]:
        return pair.ask(fetch_question(epoch, list(topics), list(forgotten), version=version, **options))

    fetch(0, [(first, [0, 1, 2], 0)], session_id=0)
    assert fetch(1)["responses"] == []
    pair.ask(produce_question(first, 1, b"news"))
    assert len(fetch(2)["responses"][0]["partitions"]) == 1
    fetch(3, [(first, [1], 1)])
    fetch(4, [(second, [0], 0)])
    pair.ask(produce_question(second, 0, b"more news"))
    fetch(5)
    fetch(6, [], [(second, [0]), (first, [2])])
    fetch(7)
    fetch(9)  # the wrong epoch
    fetch(7)  # and the session is where it was
    fetch(8, [(first, [0], 99)])  # out of range: an error is news as well
    fetch(9)
    fetch(5, session_id=123_456_789)  # no such session
    fetch(-1)  # ends the session
    fetch(10)


def test_unknown_version_of_api_versions_is_answered_alike(shared_pair: Pair) -> None:
    """KIP-511: error 35 in a body of version 0 that lists the range of ApiVersions itself."""
    answers = []
    for side in (shared_pair.kafka, shared_pair.kstore):
        request = message(ApiVersionsRequest, client_software_name="judge", client_software_version="1")
        request.API_VERSION = 4
        request.with_header(correlation_id=77, client_id="judge")
        frame = bytearray(request.encode(framed=True, header=True))
        frame[6:8] = (99).to_bytes(2, "big")
        side.client.send_bytes(bytes(frame))
        answers.append(side.client.receive_frame())
    assert answers[0] == answers[1]


def test_auto_created_topics_are_alike(shared_pair: Pair) -> None:
    """Metadata makes the topic that it does not find, where the request and the broker allow it."""
    pair = shared_pair

    def metadata(name: str, allow: bool) -> dict[str, Any]:
        topics = [{"name": name}]
        request = message(MetadataRequest, topics=topics, allow_auto_topic_creation=allow)
        return pair.ask(Question("Metadata", 9, lambda side: request, may_lag=True))

    metadata("not-allowed", False)
    for side in (pair.kafka, pair.kstore):
        made = message(MetadataRequest, topics=[{"name": "made"}], allow_auto_topic_creation=True)
        side.client.ask(made, 9)
        wait_for_leader(side, "made", 0)
    assert metadata("made", False)["topics"][0]["error_code"] == 0
    metadata("wrong/name", True)
