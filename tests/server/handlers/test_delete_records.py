"""DeleteRecords against a live broker."""

import pytest

from kstore.protocol.messages.delete_records import DeleteRecordsRequest
from tests.fix_broker import batch

NONE, OUT_OF_RANGE, UNKNOWN_TOPIC, NOT_LEADER, TIMED_OUT, INVALID_TOPIC, POLICY_VIOLATION = 0, 1, 3, 6, 7, 17, 44
EARLIEST = -2


def delete(client, topic, offset, *, partition=0, version=2):
    wanted = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=partition, offset=offset)
    request = DeleteRecordsRequest(
        topics=[DeleteRecordsRequest.DeleteRecordsTopic(name=topic, partitions=[wanted])], timeout_ms=1000
    )
    (result,) = client.ask(request, version).topics[0].partitions
    assert result.partition_index == partition
    return result.error_code, result.low_watermark


def filled(client, topic, **configs):
    client.create_topic(topic, **configs)
    for index in range(5):
        client.produce(topic, batch(b"%d" % index))


@pytest.mark.parametrize("version", range(3))
def test_records_before_the_offset_are_gone(client, version):
    topic = f"cut.{version}"
    filled(client, topic)
    assert delete(client, topic, 3, version=version) == (NONE, 3)
    assert client.fetch(topic, 2).error_code == OUT_OF_RANGE
    assert client.values(topic, 3) == [b"3", b"4"]
    assert client.fetch(topic, 3).log_start_offset == 3


def test_minus_one_is_the_high_watermark(client):
    filled(client, "all")
    assert delete(client, "all", -1) == (NONE, 5)
    assert client.values("all", 5) == []


def test_an_offset_that_is_gone_already_moves_nothing(client):
    filled(client, "twice.cut")
    delete(client, "twice.cut", 3)
    assert delete(client, "twice.cut", 1) == (NONE, 3)


@pytest.mark.parametrize("offset", [6, 2**62, -2, -(2**63)])
def test_an_offset_that_is_no_offset_of_the_log_is_refused(client, offset):
    topic = f"range.{offset}"
    filled(client, topic)
    assert delete(client, topic, offset) == (OUT_OF_RANGE, -1)
    assert len(client.values(topic)) == 5


def test_what_is_only_compacted_is_not_deleted(client):
    filled(client, "compacted", cleanup_policy="compact")
    assert delete(client, "compacted", 3) == (POLICY_VIOLATION, -1)
    filled(client, "both", cleanup_policy="compact,delete")
    assert delete(client, "both", 3) == (NONE, 3)


def test_unknown_partitions_are_told(client):
    filled(client, "one.partition")
    assert delete(client, "one.partition", 1, partition=1) == (UNKNOWN_TOPIC, -1)
    assert delete(client, "one.partition", 1, partition=-1) == (UNKNOWN_TOPIC, -1)
    assert delete(client, "nobody", 1) == (UNKNOWN_TOPIC, -1)


def test_internal_topics_are_not_deleted_from(client):
    client.create_topic("__consumer_offsets")
    assert delete(client, "__consumer_offsets", -1) == (INVALID_TOPIC, -1)


def test_several_partitions_are_answered_each(client):
    client.create_topic("several", 3)
    client.produce("several", batch(b"a", b"b"), partition=1)
    Wanted = DeleteRecordsRequest.DeleteRecordsPartition
    request = DeleteRecordsRequest(
        topics=[
            DeleteRecordsRequest.DeleteRecordsTopic(
                name="several", partitions=[Wanted(partition_index=index, offset=1) for index in range(4)]
            )
        ]
    )
    results = client.ask(request, 2).topics[0].partitions
    codes = {result.partition_index: result.error_code for result in results}
    assert codes == {0: OUT_OF_RANGE, 1: NONE, 2: OUT_OF_RANGE, 3: UNKNOWN_TOPIC}


def test_what_was_deleted_stays_deleted_after_a_restart(start_broker):
    first = start_broker()
    filled(first.connect(), "kept.cut")
    delete(first.connect(), "kept.cut", 4)
    first.stop()
    client = start_broker().connect()
    assert client.fetch("kept.cut", 4).log_start_offset == 4
    assert client.values("kept.cut", 4) == [b"4"]


# Followers have to let go too


def with_follower(broker, topic):
    """Broker 2 follows, is alive and in sync."""

    def change(app):
        partition = app.context.replicas.get(topic, 0)
        leading = {"broker_id": 1, "epoch": 1, "replicas": (1, 2), "isr": frozenset({1, 2}), "alive": {1, 2}}
        app.context.deliver(partition.become_leader(**leading))
        follower_begins_at(app, topic, 0)

    broker.call(change)


def follower_begins_at(app, topic, start):
    partition = app.context.replicas.get(topic, 0)
    end = partition.log.log_end_offset
    told = {"log_start_offset": start, "leader_end": end, "broker_epoch": 1, "monotonic_ms": app.clock.monotonic_ms()}
    app.context.deliver(partition.fetched_by(2, end, **told))
    app.context.deliver.turn_ended()


def send_delete(client, topic, offset, timeout_ms):
    wanted = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=offset)
    topics = [DeleteRecordsRequest.DeleteRecordsTopic(name=topic, partitions=[wanted])]
    client.send(DeleteRecordsRequest(topics=topics, timeout_ms=timeout_ms), 2)


def received(client):
    (result,) = client.receive().topics[0].partitions
    return result.error_code, result.low_watermark


def test_the_answer_waits_until_the_followers_have_let_go_too(broker, client):
    """It was told when the leader had, and a follower that became leader showed the records again."""
    filled(client, "followed")
    with_follower(broker, "followed")
    send_delete(client, "followed", 3, 20_000)
    broker.wait_for(lambda app: len(app.context.deliver.deletes) == 1)
    broker.call(lambda app: follower_begins_at(app, "followed", 2))
    assert broker.call(lambda app: len(app.context.deliver.deletes)) == 1
    broker.call(lambda app: follower_begins_at(app, "followed", 4))
    assert received(client) == (NONE, 3)


def test_who_waits_hears_that_time_is_over(broker, client):
    filled(client, "slow")
    with_follower(broker, "slow")
    send_delete(client, "slow", 3, 30)
    assert received(client) == (TIMED_OUT, -1)


def test_who_waits_hears_that_another_broker_leads(broker, client):
    filled(client, "lost")
    with_follower(broker, "lost")
    send_delete(client, "lost", 3, 20_000)
    broker.wait_for(lambda app: len(app.context.deliver.deletes) == 1)

    def follow(app):
        app.context.deliver(app.context.replicas.get("lost", 0).become_follower(leader_id=2, epoch=2))

    broker.call(follow)
    assert received(client) == (NOT_LEADER, -1)
