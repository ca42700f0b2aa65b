"""DeleteTopics against a live broker."""

import os

import pytest

from kstore.clock import ManualClock
from kstore.model import ZERO_UUID
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from tests.fix_broker import batch, fetch_request

NONE, UNKNOWN_TOPIC, INVALID_REQUEST, DELETION_DISABLED, UNKNOWN_TOPIC_ID = 0, 3, 42, 73, 100
State = DeleteTopicsRequest.DeleteTopicState


def by_name(*names):
    return DeleteTopicsRequest(topics=[State(name=name) for name in names])


def names_of(client):
    return {topic.name for topic in client.ask(MetadataRequest(topics=None), 12).topics}


@pytest.mark.parametrize("version", range(7))
def test_a_topic_goes_by_its_name_in_every_version(client, version):
    name = f"doomed.{version}"
    client.create_topic(name, 2)
    request = DeleteTopicsRequest(topic_names=[name, "no.such"]) if version < 6 else by_name(name, "no.such")
    results = {result.name: result for result in client.ask(request, version).responses}
    assert (results[name].error_code, results["no.such"].error_code) == (NONE, UNKNOWN_TOPIC)
    if version >= 5:
        assert (results[name].error_message is None, bool(results["no.such"].error_message)) == (True, True)
    assert name not in names_of(client)


def test_a_topic_goes_by_its_id(client):
    topic_id = client.create_topic("known.by.id")
    unknown = bytes(range(16))
    request = DeleteTopicsRequest(topics=[State(topic_id=topic_id), State(topic_id=unknown)])
    results = {result.topic_id: result for result in client.ask(request, 6).responses}
    assert (results[topic_id].name, results[topic_id].error_code) == ("known.by.id", NONE)
    assert (results[unknown].name, results[unknown].error_code) == (None, UNKNOWN_TOPIC_ID)
    assert "known.by.id" not in names_of(client)


def test_who_asks_in_two_ways_is_refused(client):
    topic_id = client.create_topic("two.ways")
    for topics in (
        [State(name="two.ways", topic_id=topic_id)],
        [State(name="two.ways"), State(name="two.ways")],
        [State(topic_id=topic_id), State(topic_id=topic_id)],
        [State(name="two.ways"), State(topic_id=topic_id)],
        [State()],
    ):
        results = client.ask(DeleteTopicsRequest(topics=topics), 6).responses
        assert [result.error_code for result in results] == [INVALID_REQUEST], topics
    assert "two.ways" in names_of(client)


def test_the_rest_of_a_request_is_done(client):
    client.create_topic("goes.1")
    client.create_topic("goes.2")
    request = by_name("goes.1", "not.there", "twice", "twice", "goes.2")
    results = {result.name: result.error_code for result in client.ask(request, 6).responses}
    assert results == {"goes.1": 0, "goes.2": 0, "not.there": UNKNOWN_TOPIC, "twice": INVALID_REQUEST}
    assert not {"goes.1", "goes.2"} & names_of(client)


@pytest.mark.parametrize(
    ("version", "code"), [(0, INVALID_REQUEST), (2, INVALID_REQUEST), (3, DELETION_DISABLED), (6, DELETION_DISABLED)]
)
def test_deletion_can_be_switched_off(start_broker, version, code):
    client = start_broker(overrides={"delete.topic.enable": "false"}).connect()
    topic_id = client.create_topic("kept")
    if version < 6:
        request = DeleteTopicsRequest(topic_names=["kept"])
    else:
        request = DeleteTopicsRequest(topics=[State(name="kept"), State(topic_id=topic_id)])
    assert {result.error_code for result in client.ask(request, version).responses} == {code}
    assert names_of(client) == {"kept"}


def test_a_name_is_free_again_at_once_and_begins_empty(client):
    first = client.create_topic("again")
    client.produce("again", batch(b"old"))
    client.ask(by_name("again"), 6)
    second = client.create_topic("again")
    assert first != second
    assert client.values("again") == []
    client.produce("again", batch(b"new"))
    assert client.values("again") == [b"new"]


def test_the_files_go_after_their_delay(start_broker):
    clock = ManualClock()
    broker = start_broker(overrides={"log.segment.delete.delay.ms": "5000"}, clock=clock)
    client = broker.connect()
    client.create_topic("files", 2)
    client.produce("files", batch(b"x"))
    client.ask(by_name("files"), 6)
    directory = broker.config.log_dirs[0]
    renamed = [name for name in os.listdir(directory) if name.endswith("-delete")]
    assert len(renamed) == 2
    assert not any(name in os.listdir(directory) for name in ("files-0", "files-1"))
    clock.advance(4999)
    assert broker.call(lambda app: app.logs.run_due(clock.now_ms(), clock.monotonic_ms())) is not None
    assert [name for name in os.listdir(directory) if name.endswith("-delete")]
    clock.advance(1)
    broker.call(lambda app: app.logs.run_due(clock.now_ms(), clock.monotonic_ms()))
    assert not [name for name in os.listdir(directory) if name.startswith("files")]


def test_a_fetch_that_waits_hears_of_the_deletion(broker, client):
    topic_id = client.create_topic("waited.for")
    with broker.connect() as waiting:
        waiting.send(fetch_request({(topic_id, 0): 0}, max_wait_ms=20_000, min_bytes=1), 13)
        broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
        client.ask(by_name("waited.for"), 6)
        partition = waiting.receive().responses[0].partitions[0]
    assert partition.error_code == UNKNOWN_TOPIC


def test_deleted_topics_stay_deleted_after_a_restart(start_broker):
    first = start_broker()
    client = first.connect()
    client.create_topic("gone")
    client.create_topic("stays")
    client.ask(by_name("gone"), 6)
    first.stop()
    assert names_of(start_broker().connect()) == {"stays"}


def test_no_id_is_the_zero_id(client):
    results = client.ask(DeleteTopicsRequest(topics=[State(topic_id=ZERO_UUID)]), 6).responses
    assert [result.error_code for result in results] == [INVALID_REQUEST]
