"""The broker that the clients talk to: a real kstore-server process, shared by the session.

`KSTORE_INTEROP=kafka-3.9.1` points the same tests at a real Kafka, to see whether they are right about clients.
"""

import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer
from tests.judge.topics import create_topic
from tests.judge.wire_client import WireClient

Broker = KafkaBroker | KstoreServer
NewTopic = Callable[..., str]
NewGroup = Callable[[], str]


SUBJECT = os.environ.get("KSTORE_INTEROP", "")


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    name = {"kafka-3.9.1": "kafka_39", "kafka-4.3.0": "kafka_43"}.get(SUBJECT, "kstore_server")
    found: Broker = request.getfixturevalue(name)
    return found


def broker_apart(directory: Path, overrides: Mapping[str, str]) -> Broker:
    """One of the same kind as `broker`, not yet started, for tests that need settings of their own."""
    if SUBJECT:
        return KafkaBroker(SUBJECT.removeprefix("kafka-"), directory, overrides=overrides)
    return KstoreServer(directory, overrides={"node.id": "1", "group.initial.rebalance.delay.ms": "0", **overrides})


@pytest.fixture
def bootstrap(broker: Broker) -> str:
    return broker.bootstrap


@pytest.fixture
def new_topic(broker: Broker) -> NewTopic:
    """Makes a topic of a name of its own: `new_topic(partitions=1, **configs)`, a dot in a key as two underscores."""

    def make(partitions: int = 1, **configs: str) -> str:
        name = f"topic-{uuid.uuid4().hex[:12]}"
        with WireClient(broker.port) as client:
            create_topic(client, name, partitions, {key.replace("__", "."): value for key, value in configs.items()})
        return name

    return make


@pytest.fixture
def new_group() -> NewGroup:
    """Gives names of groups that nobody else has."""
    return lambda: f"group-{uuid.uuid4().hex[:12]}"
