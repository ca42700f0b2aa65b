"""CreatePartitions against a live broker."""

import pytest

from kstore.cluster.topic_names import GROUPS_TOPIC
from kstore.protocol.messages.create_partitions import CreatePartitionsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from tests.fix_broker import batch
from tests.server.handlers.members import Member

NONE, UNKNOWN_TOPIC, INVALID_PARTITIONS, INVALID_ASSIGNMENT = 0, 3, 37, 39
INVALID_REQUEST, POLICY_VIOLATION = 42, 44


def wish(name, count, assignments=None):
    if assignments is not None:
        assignments = [
            CreatePartitionsRequest.CreatePartitionsAssignment(broker_ids=brokers) for brokers in assignments
        ]
    return CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=count, assignments=assignments)


def grow(client, *topics, version=3, **options):
    answer = client.ask(CreatePartitionsRequest(topics=list(topics), **options), version)
    return {result.name: result for result in answer.results}


def partitions_of(client, name):
    topics = client.ask(MetadataRequest(topics=None), 12).topics
    return next(len(topic.partitions) for topic in topics if topic.name == name)


@pytest.mark.parametrize("version", range(4))
def test_a_topic_grows_in_every_version(client, version):
    name = f"grows.{version}"
    client.create_topic(name, 1)
    result = grow(client, wish(name, 3), version=version)[name]
    assert (result.error_code, result.error_message) == (NONE, None)
    assert partitions_of(client, name) == 3
    client.produce(name, batch(b"there"), partition=2)
    assert client.values(name, partition=2) == [b"there"]


def test_the_topic_of_offsets_does_not_grow(client):
    """Half of the groups would be looked for in partitions that hold nothing of them."""
    member = Member(client, "g")
    member.find()
    client.create_topic("orders", 1)
    assert member.commit({("orders", 0): 3}) == {("orders", 0): NONE}
    result = grow(client, wish(GROUPS_TOPIC, 100))[GROUPS_TOPIC]
    assert result.error_code == INVALID_REQUEST
    assert GROUPS_TOPIC in result.error_message
    assert member.fetch(("orders", 0))[1] == {("orders", 0): (3, "at 3", NONE)}


def test_each_topic_of_a_request_has_its_own_outcome(client):
    client.create_topic("ok", 1)
    client.create_topic("same", 2)
    client.create_topic("less", 2)
    results = grow(
        client, wish("ok", 2), wish("same", 2), wish("less", 1), wish("nobody", 2), wish("two", 2), wish("two", 3)
    )
    assert {name: result.error_code for name, result in results.items()} == {
        "ok": NONE,
        "same": INVALID_PARTITIONS,
        "less": INVALID_PARTITIONS,
        "nobody": UNKNOWN_TOPIC,
        "two": INVALID_REQUEST,
    }
    assert all(result.error_message for result in results.values() if result.error_code)
    assert [partitions_of(client, name) for name in ("ok", "same", "less")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("assignments", "code"),
    [
        ([[1], [1]], NONE),
        ([[1]], INVALID_ASSIGNMENT),
        ([[1], [5]], INVALID_ASSIGNMENT),
        ([[1], []], INVALID_ASSIGNMENT),
    ],
)
def test_new_partitions_may_be_assigned(client, assignments, code):
    name = f"assigned.{len(str(assignments))}.{code}"
    client.create_topic(name, 1)
    assert grow(client, wish(name, 3, assignments))[name].error_code == code
    assert partitions_of(client, name) == (3 if code == NONE else 1)


def test_validating_makes_nothing(client):
    client.create_topic("asks", 1)
    results = grow(client, wish("asks", 4), wish("nobody", 2), validate_only=True)
    assert (results["asks"].error_code, results["nobody"].error_code) == (NONE, UNKNOWN_TOPIC)
    assert partitions_of(client, "asks") == 1


def test_growth_beyond_all_reason_is_refused(client):
    client.create_topic("greedy", 1)
    assert grow(client, wish("greedy", 2**31 - 1))["greedy"].error_code == POLICY_VIOLATION
    assert partitions_of(client, "greedy") == 1


def test_old_partitions_keep_what_they_hold_and_their_configuration(client):
    client.create_topic("keeps", 1, max_message_bytes="300")
    client.produce("keeps", batch(b"old"))
    grow(client, wish("keeps", 2))
    assert client.values("keeps") == [b"old"]
    # The new partition has the topic's configuration too.
    assert client.produce("keeps", batch(b"x" * 400), partition=1).error_code == 10
