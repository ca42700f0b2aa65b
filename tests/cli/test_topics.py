"""`kstore topics` against a kstore-server and, where marked, a real Kafka: what one shows the other shows."""

import uuid

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.cli.run import Kstore
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer


@pytest.fixture(params=["kstore", pytest.param("kafka-3.9.1", marks=pytest.mark.kafka)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    server: KstoreServer | KafkaBroker = request.getfixturevalue(
        "kstore_server" if request.param == "kstore" else "kafka_39"
    )
    return server.bootstrap


@pytest.fixture
def topic() -> str:
    return f"cli-{uuid.uuid4().hex[:12]}"


def create(bootstrap: str, topic: str, partitions: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)


def test_list_shows_topics_with_their_partitions(kstore: Kstore, bootstrap: str, topic: str) -> None:
    create(bootstrap, topic, 3)
    ran = kstore("topics", "list", "-b", bootstrap, "--json")
    assert ran.status == 0
    row = {"topic": topic, "partitions": 3, "replicas": 1, "internal": False}
    assert [found for found in ran.rows if found["topic"] == topic] == [row]
    lines = [line.split() for line in kstore("topics", "list", "-b", bootstrap).out.splitlines()]
    assert lines[0] == ["TOPIC", "PARTITIONS", "REPLICAS"]
    assert [topic, "3", "1"] in lines


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:9092"])
def test_a_broker_that_is_not_there_is_told_in_one_line_at_once(kstore: Kstore, address: str) -> None:
    ran = kstore("topics", "list", "-b", address, "--timeout", "60")
    assert ran.status == 1
    assert ran.out == ""
    assert f"no broker answers at {address} (" in ran.err
    assert "--bootstrap-server" in ran.err
    assert len(ran.err.splitlines()) == 1
