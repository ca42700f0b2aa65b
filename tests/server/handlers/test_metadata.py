"""Metadata against a live broker."""

import os

import pytest

from kstore.model import ZERO_UUID
from kstore.protocol.messages.metadata import MetadataRequest
from kstore.protocol.messages.metadata_records import TopicRecord
from kstore.server.topics import Topics
from tests.fix_broker import batch

NONE, UNKNOWN_TOPIC, INVALID_TOPIC, UNKNOWN_TOPIC_ID = 0, 3, 17, 100
VERSIONS = range(13)
Topic = MetadataRequest.MetadataRequestTopic


def ask(client, *names, version=12, create=False, **options):
    options = {"allow_auto_topic_creation": create, **options} if version >= 4 else options
    return client.ask(MetadataRequest(topics=[Topic(name=name) for name in names], **options), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_is_described_in_every_version(broker, client, version):
    name = f"described.{version}"
    topic_id = client.create_topic(name, 2)
    answer = ask(client, name, version=version)
    own = broker.app.context.node_id
    (told,) = answer.brokers
    assert (told.node_id, told.host, told.port) == (own, "127.0.0.1", broker.port)
    (topic,) = answer.topics
    assert (topic.error_code, topic.name, topic.is_internal) == (NONE, name, False)
    assert [part.partition_index for part in topic.partitions] == [0, 1]
    for part in topic.partitions:
        assert (part.error_code, part.leader_id) == (NONE, own)
        assert (part.replica_nodes, part.isr_nodes, part.offline_replicas) == ([own], [own], [])
    if version >= 2:
        assert answer.cluster_id == broker.app.context.cluster_id
    if version >= 7:
        assert {part.leader_epoch for part in topic.partitions} == {0}
    if version >= 10:
        assert topic.topic_id == topic_id


@pytest.mark.parametrize("version", VERSIONS)
def test_all_topics_are_told_to_who_asks_for_all(start_broker, version):
    client = start_broker().connect()
    for name in ("b", "a"):
        client.create_topic(name)
    everything = MetadataRequest(topics=[] if version == 0 else None)
    assert {topic.name for topic in client.ask(everything, version).topics} == {"a", "b"}
    if version > 0:
        assert client.ask(MetadataRequest(topics=[]), version).topics == []


def test_the_metadata_log_is_no_topic(client):
    names = {topic.name for topic in client.ask(MetadataRequest(topics=None), 12).topics}
    assert "__cluster_metadata" not in names


def test_topics_are_found_by_id(client):
    topic_id = client.create_topic("by.id")
    unknown = bytes(range(16))
    wanted = [Topic(topic_id=topic_id, name=None), Topic(topic_id=unknown, name=None)]
    found, missing = client.ask(MetadataRequest(topics=wanted), 12).topics
    assert (found.error_code, found.name, found.topic_id, len(found.partitions)) == (NONE, "by.id", topic_id, 1)
    assert (missing.error_code, missing.name, missing.topic_id) == (UNKNOWN_TOPIC_ID, None, unknown)


@pytest.mark.parametrize("version", [10, 11])
def test_versions_10_and_11_cannot_ask_by_id(broker, version):
    with broker.connect() as client:
        wanted = [Topic(topic_id=bytes(range(16)), name=None)]
        client.send(MetadataRequest(topics=wanted), version)
        assert client.is_closed_by_the_broker()


def test_internal_topics_say_so(client):
    client.create_topic("__consumer_offsets")
    assert ask(client, "__consumer_offsets").topics[0].is_internal


@pytest.mark.parametrize("version", VERSIONS)
def test_unknown_and_impossible_names_are_told(start_broker, version):
    client = start_broker(overrides={"auto.create.topics.enable": "false"}).connect()
    answer = ask(client, "nobody", "not/legal", "..", version=version, create=True)
    codes = {topic.name: topic.error_code for topic in answer.topics}
    assert codes == {"nobody": UNKNOWN_TOPIC, "not/legal": INVALID_TOPIC, "..": INVALID_TOPIC}
    assert all(topic.partitions == [] and topic.topic_id == ZERO_UUID for topic in answer.topics)


# Creation by asking


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_is_made_for_who_asks_for_it(start_broker, version):
    broker = start_broker(overrides={"num.partitions": "3"})
    client = broker.connect()
    (topic,) = ask(client, "wanted", version=version, create=True).topics
    assert (topic.error_code, len(topic.partitions)) == (NONE, 3)
    assert client.produce("wanted", batch(b"x"), partition=2).error_code == NONE


def test_a_topic_is_not_made_without_the_askers_leave(broker, client):
    assert ask(client, "not.wanted").topics[0].error_code == UNKNOWN_TOPIC
    assert not [name for name in os.listdir(broker.config.log_dirs[0]) if name.startswith("not.wanted")]


def test_a_topic_is_not_made_without_the_brokers_leave(start_broker):
    client = start_broker(overrides={"auto.create.topics.enable": "false"}).connect()
    assert ask(client, "nobody", create=True).topics[0].error_code == UNKNOWN_TOPIC


def test_several_topics_are_made_at_once_and_impossible_ones_left_out(broker, client):
    client.create_topic("there.already")
    names = [*(f"many.{index}" for index in range(20)), "a/b", "", "..", "there_already", "__cluster_metadata"]
    answer = ask(client, *names, *names, create=True)
    codes = {topic.name: topic.error_code for topic in answer.topics}
    assert {name for name, code in codes.items() if code == NONE} == {f"many.{index}" for index in range(20)}
    assert [codes[name] for name in ("a/b", "", "..")] == [INVALID_TOPIC] * 3
    # A name that only collides could be legal: it stays unknown.
    assert codes["there_already"] != NONE
    assert codes["__cluster_metadata"] != NONE


def test_asking_for_all_topics_makes_none(client):
    before = len(client.ask(MetadataRequest(topics=None), 12).topics)
    client.ask(MetadataRequest(topics=None, allow_auto_topic_creation=True), 12)
    assert len(client.ask(MetadataRequest(topics=None), 12).topics) == before


def test_an_unknown_id_makes_no_topic(client):
    wanted = [Topic(topic_id=bytes(range(16)), name=None)]
    answer = client.ask(MetadataRequest(topics=wanted, allow_auto_topic_creation=True), 12)
    assert answer.topics[0].error_code == UNKNOWN_TOPIC_ID


# The rest


def test_operations_are_told_to_who_asks(client):
    client.create_topic("operations")
    asked = ask(client, "operations", version=8, include_topic_authorized_operations=True)
    assert asked.topics[0].topic_authorized_operations == 0b110111111000
    assert asked.cluster_authorized_operations == -(2**31)
    asked = ask(client, "operations", version=10, include_cluster_authorized_operations=True)
    assert asked.cluster_authorized_operations > 0


def test_each_listener_is_told_its_own_address(tmp_path, start_broker):
    overrides = {
        "listeners": "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0",
        "advertised.listeners": "INSIDE://inner:1,OUTSIDE://outer:2",
        "listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
        "inter.broker.listener.name": "INSIDE",
    }
    broker = start_broker(overrides=overrides)
    from tests.fix_broker import Client

    told = []
    for endpoint in broker.app.listeners.endpoints:
        with Client(endpoint.port) as client:
            (each,) = client.ask(MetadataRequest(topics=[]), 12).brokers
            told.append((endpoint.listener, each.host, each.port))
    assert told == [("INSIDE", "inner", 1), ("OUTSIDE", "outer", 2)]


def test_a_partition_on_a_failed_disk_has_no_leader(start_broker, tmp_path):
    directories = [str(tmp_path / name) for name in ("a", "b")]
    broker = start_broker(",".join(directories))
    client = broker.connect()
    client.create_topic("half", 2)
    own = broker.app.context.node_id

    def fail(app):
        app.logs.dirs[1].fail("testing", OSError(5, "Input/output error"))
        for path, partitions in app.logs.take_failed_dirs().items():
            app.context.deliver(app.context.replicas.take_offline(partitions, path))

    broker.call(fail)
    parts = ask(client, "half").topics[0].partitions
    assert sorted((part.error_code, part.leader_id, part.offline_replicas) for part in parts) == [
        (NONE, own, []),
        (5, -1, [own]),
    ]
    codes = sorted(client.produce("half", batch(b"x"), partition=index).error_code for index in range(2))
    assert codes == [NONE, 56]


def test_a_topic_that_is_asked_for_often_is_described_once(client):
    topic_id = client.create_topic("often")
    assert len(ask(client, *["often"] * 1000, "rarely", "rarely").topics) == 2
    by_id = [Topic(name=None, topic_id=topic_id)] * 1000
    assert len(client.ask(MetadataRequest(topics=by_id), 12).topics) == 1


def test_internal_topics_are_not_made_because_somebody_asks(client):
    (topic,) = ask(client, "__transaction_state", create=True).topics
    assert (topic.error_code, topic.partitions) == (3, [])


def test_of_very_many_topics_only_as_many_are_made_as_one_change_may_hold(start_broker, monkeypatch):
    client = start_broker(overrides={"num.partitions": "4000"}).connect()
    decided = []

    async def only_decide(topics, decide):
        decided.append([record.name for record in decide(topics.image) if isinstance(record, TopicRecord)])

    monkeypatch.setattr(Topics, "change", only_decide)
    names = [f"t{index}" for index in range(50_000)]
    assert len(ask(client, *names, create=True).topics) == len(names)
    assert decided == [["t0", "t1"]]
