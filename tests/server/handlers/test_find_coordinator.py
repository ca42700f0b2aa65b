"""FindCoordinator: the first group makes `__consumer_offsets` as Kafka has it; every group has a coordinator then."""

import pytest

from kstore.cluster.topic_names import GROUPS_TOPIC
from kstore.coordinator.group.records import partition_for
from kstore.protocol.messages.find_coordinator import FindCoordinatorRequest
from kstore.protocol.messages.metadata import MetadataRequest

NONE, NO_COORDINATOR, INVALID_REQUEST, NO_TRANSACTION = 0, 15, 42, 53
GROUP, TRANSACTION = 0, 1


def find(client, *keys, version=6, key_type=GROUP):
    if version < 4:
        return client.ask(FindCoordinatorRequest(key=keys[0], key_type=key_type), version)
    return client.ask(FindCoordinatorRequest(coordinator_keys=list(keys), key_type=key_type), version).coordinators


@pytest.mark.parametrize("version", range(7))
def test_a_group_is_coordinated_by_the_broker(broker, client, version):
    if version < 4:
        answer = find(client, "g", version=version)
        assert (answer.error_code, answer.error_message) == (NONE, "NONE" if version else "")
        assert (answer.host, answer.port) == ("127.0.0.1", broker.port)
    else:
        answers = find(client, "a", "b", version=version)
        assert [(each.key, each.error_code, each.error_message) for each in answers] == [("a", 0, ""), ("b", 0, "")]
        assert {(each.host, each.port) for each in answers} == {("127.0.0.1", broker.port)}


@pytest.mark.parametrize("version", range(1, 7))
@pytest.mark.parametrize(
    ("key_type", "code"), [(TRANSACTION, NO_TRANSACTION), (2, INVALID_REQUEST), (9, INVALID_REQUEST)]
)
def test_transactions_and_shares_have_no_coordinator(client, version, key_type, code):
    if version < 4:
        answer = find(client, "k", version=version, key_type=key_type)
        assert (answer.error_code, answer.node_id, answer.host, answer.port) == (code, -1, "", -1)
    else:
        answers = find(client, "a", "b", version=version, key_type=key_type)
        assert [(each.key, each.error_code, each.node_id) for each in answers] == [("a", code, -1), ("b", code, -1)]


def test_nobody_asked_for_nobody_answered(client):
    assert find(client) == []


def test_the_first_group_makes_the_topic_as_kafka_has_it(start_broker):
    broker = start_broker(overrides={"offsets.topic.num.partitions": "7", "offsets.topic.segment.bytes": "2000000"})
    assert not broker.call(lambda app: app.context.topics.image.topics)
    (answer,) = find(broker.connect(), "g")
    assert answer.error_code == NONE
    topic, config = broker.call(
        lambda app: (app.context.topics.image.topics[GROUPS_TOPIC], app.context.topics.image.topic_config(GROUPS_TOPIC))
    )
    assert list(topic.partitions) == list(range(7))
    assert config == {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "2000000"}
    (told,) = broker.connect().ask(MetadataRequest(topics=None), 12).topics
    assert (told.name, told.is_internal) == (GROUPS_TOPIC, True)


def test_many_who_ask_at_once_make_it_once(start_broker):
    broker = start_broker()
    clients = [broker.connect() for _ in range(10)]
    for number, client in enumerate(clients):
        client.send(FindCoordinatorRequest(coordinator_keys=[f"g{number}"]), 4)
    assert {client.receive().coordinators[0].error_code for client in clients} == {NONE}


def test_asking_for_the_topic_by_name_makes_it_too(start_broker):
    broker = start_broker(overrides={"offsets.topic.num.partitions": "3"})
    wanted = [MetadataRequest.MetadataRequestTopic(name=name) for name in (GROUPS_TOPIC, "__transaction_state")]
    offsets, transactions = broker.connect().ask(MetadataRequest(topics=wanted), 12).topics
    assert (offsets.error_code, len(offsets.partitions), offsets.is_internal) == (NONE, 3, True)
    assert transactions.error_code == 3


def test_more_replicas_than_brokers_are_refused_when_somebody_wants_them(start_broker):
    broker = start_broker(overrides={"offsets.topic.replication.factor": "3"})
    (answer,) = find(broker.connect(), "g")
    assert (answer.error_code, answer.node_id) == (NO_COORDINATOR, -1)
    assert "3 replicas need as many brokers" in answer.error_message


def test_a_partition_that_is_offline_coordinates_nothing(start_broker):
    broker = start_broker(overrides={"offsets.topic.num.partitions": "2"})
    client = broker.connect()
    groups = {partition_for(f"g{number}", 2): f"g{number}" for number in range(10)}
    find(client, "g")
    key = broker.call(lambda app: app.context.replicas.get(GROUPS_TOPIC, 0).topic_partition)
    broker.call(lambda app: app.context.deliver(app.context.replicas.take_offline([key], "for the test")))
    codes = [each.error_code for each in find(client, groups[0], groups[1])]
    assert codes == [NO_COORDINATOR, NONE]
