"""Kafka's own Java clients, 3.9.1 and 4.3.0: what JavaClient.java does throws where the broker does not behave."""

import uuid

import pytest

from tests.interop.conftest import NewTopic
from tests.judge.tools import KafkaTools

pytestmark = pytest.mark.kafka


@pytest.fixture(params=["tools_39", "tools_43"])
def tools(request: pytest.FixtureRequest) -> KafkaTools:
    found: KafkaTools = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize(
    "settings",
    [["acks=1", "enable.idempotence=false"], ["acks=all", "enable.idempotence=false"], ["enable.idempotence=true"]],
    ids=["acks-1", "acks-all", "idempotent"],
)
def test_records_come_back_as_they_were(
    tools: KafkaTools, bootstrap: str, new_topic: NewTopic, codec: str, settings: list[str]
) -> None:
    topic = new_topic(partitions=2)
    tools.run("JavaClient", "roundtrip", bootstrap, topic, f"compression.type={codec}", *settings)


def test_acks_0_arrives(tools: KafkaTools, bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=2)
    tools.run("JavaClient", "roundtrip", bootstrap, topic, "acks=0", "enable.idempotence=false")


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_isolation_levels(tools: KafkaTools, bootstrap: str, new_topic: NewTopic, isolation: str) -> None:
    topic = new_topic(partitions=2)
    tools.run("JavaClient", "roundtrip", bootstrap, topic, f"isolation.level={isolation}")


def test_consumer_finds_offsets(tools: KafkaTools, bootstrap: str, new_topic: NewTopic) -> None:
    tools.run("JavaClient", "offsets", bootstrap, new_topic(partitions=2))


def test_consumer_at_the_end_is_woken(tools: KafkaTools, bootstrap: str, new_topic: NewTopic) -> None:
    tools.run("JavaClient", "tail", bootstrap, new_topic(partitions=2))


def test_record_that_breaks_a_rule_is_named(tools: KafkaTools, bootstrap: str, new_topic: NewTopic) -> None:
    tools.run("JavaClient", "invalid", bootstrap, new_topic(partitions=1, cleanup__policy="compact"))


def test_admin_client(tools: KafkaTools, bootstrap: str) -> None:
    tools.run("JavaClient", "admin", bootstrap, f"topic-{uuid.uuid4().hex[:12]}")
