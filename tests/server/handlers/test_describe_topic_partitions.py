"""DescribeTopicPartitions against a live broker."""

import pytest

from kstore.model import ZERO_UUID
from kstore.protocol.messages.describe_topic_partitions import DescribeTopicPartitionsRequest

NONE, UNKNOWN_TOPIC, INVALID_TOPIC, INVALID_REQUEST = 0, 3, 17, 42
Topic = DescribeTopicPartitionsRequest.TopicRequest
ALL = {"a": 2, "b": 3, "c": 1}


@pytest.fixture(scope="module")
def ids(broker):
    with broker.connect() as client:
        # Made in another order than that of their names.
        return {name: client.create_topic(name, ALL[name]) for name in ("b", "c", "a")}


def describe(client, *names, limit=2000, cursor=None):
    if cursor is not None:
        topic, index = cursor
        cursor = DescribeTopicPartitionsRequest.Cursor(topic_name=topic, partition_index=index)
    request = DescribeTopicPartitionsRequest(
        topics=[Topic(name=name) for name in names], response_partition_limit=limit, cursor=cursor
    )
    return client.ask(request, 0)


def page(answer):
    return [(topic.name, [part.partition_index for part in topic.partitions]) for topic in answer.topics]


def next_of(answer):
    cursor = answer.next_cursor
    return None if cursor is None else (cursor.topic_name, cursor.partition_index)


def test_all_topics_are_told_in_the_order_of_their_names(client, ids):
    answer = describe(client)
    assert page(answer) == [("a", [0, 1]), ("b", [0, 1, 2]), ("c", [0])]
    assert next_of(answer) is None
    assert {topic.name: topic.topic_id for topic in answer.topics} == ids


def test_partitions_are_told_with_leader_and_replicas(broker, client, ids):
    own = broker.app.context.node_id
    part = describe(client, "a").topics[0].partitions[0]
    assert (part.error_code, part.leader_id, part.leader_epoch) == (NONE, own, 0)
    assert (part.replica_nodes, part.isr_nodes, part.offline_replicas) == ([own], [own], [])
    assert (part.eligible_leader_replicas, part.last_known_elr) == ([], [])


def test_topics_that_are_asked_for_are_sorted_and_told_once(client, ids):
    assert page(describe(client, "c", "a", "c")) == [("a", [0, 1]), ("c", [0])]


@pytest.mark.parametrize("limit", range(1, 8))
def test_pages_follow_each_other_without_gap_or_overlap(client, ids, limit):
    told, cursor = [], None
    for _ in range(10):
        answer = describe(client, limit=limit, cursor=cursor)
        partitions = [(name, index) for name, indexes in page(answer) for index in indexes]
        assert len(partitions) <= limit
        told += partitions
        cursor = next_of(answer)
        if cursor is None:
            break
    assert told == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]


def test_a_page_that_ends_with_a_topic_points_at_the_next(client, ids):
    assert next_of(describe(client, limit=2)) == ("b", 0)


@pytest.mark.parametrize("limit", [0, -1, -(2**31)])
def test_a_page_has_at_least_one_partition(client, ids, limit):
    answer = describe(client, limit=limit)
    assert (page(answer), next_of(answer)) == ([("a", [0])], ("a", 1))


def test_the_broker_has_a_limit_of_its_own(start_broker):
    client = start_broker(overrides={"max.request.partition.size.limit": "2"}).connect()
    client.create_topic("wide", 5)
    answer = describe(client, limit=2**31 - 1)
    assert (page(answer), next_of(answer)) == ([("wide", [0, 1])], ("wide", 2))


def test_unknown_topics_are_told_to_who_asks_for_them(client, ids):
    answer = describe(client, "nobody", "a/b", "a")
    codes = {topic.name: topic.error_code for topic in answer.topics}
    assert codes == {"a": NONE, "a/b": INVALID_TOPIC, "nobody": UNKNOWN_TOPIC}
    assert [topic.topic_id for topic in answer.topics if topic.error_code] == [ZERO_UUID, ZERO_UUID]


def test_a_topic_that_has_gone_meanwhile_is_passed_over(client, ids):
    # The cursor's topic need not be there any more, if all topics are asked for.
    assert page(describe(client, cursor=("aa", 1))) == [("b", [0, 1, 2]), ("c", [0])]


def test_a_cursor_beyond_the_topic_goes_on_with_the_next(client, ids):
    answer = describe(client, cursor=("b", 77))
    assert page(answer) == [("b", []), ("c", [0])]


@pytest.mark.parametrize("cursor", [("b", -1), ("zzz", 0), ("bb", 0)])
def test_a_cursor_that_points_nowhere_is_refused(client, ids, cursor):
    answer = describe(client, "a", "b", cursor=cursor)
    assert {topic.error_code for topic in answer.topics} == {INVALID_REQUEST}
    assert next_of(answer) is None
