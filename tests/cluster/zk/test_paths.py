"""Znodes as Kafka 3.9 writes and reads them."""

import json

import pytest

from kstore.cluster.image import BrokerEndpoint, PartitionImage
from kstore.cluster.zk import paths
from kstore.errors import CorruptMetadataError
from kstore.model import TopicPartition


def test_a_registration_is_read_as_it_was_written() -> None:
    endpoints = [BrokerEndpoint("PLAINTEXT", "::1", 9092), BrokerEndpoint("OUT", "h", 9093)]
    data = paths.broker_json(endpoints, rack="r1", now_ms=5)
    found = json.loads(data)
    assert found["endpoints"] == ["PLAINTEXT://[::1]:9092", "OUT://h:9093"]
    assert (found["host"], found["port"], found["version"], found["timestamp"]) == ("::1", 9092, 5, "5")
    broker = paths.parse_broker(3, data, epoch=17)
    assert (broker.endpoints, broker.rack, broker.epoch) == (tuple(endpoints), "r1", 17)
    assert "rack" not in json.loads(paths.broker_json(endpoints, rack=None, now_ms=5))


REGISTRATION = {
    "version": 5,
    "endpoints": ["PLAINTEXT://h:9092", "OUT://h:9093"],
    "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT", "OUT": "SASL_SSL"},
    "rack": "r1",
}


@pytest.mark.parametrize(
    "change",
    [
        {"listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT", "OUT": "QUIC"}},
        {"listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"}},
        {"listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT", "OUT": 3}},
        {"listener_security_protocol_map": ["PLAINTEXT"]},
        {"endpoints": None},
        {"endpoints": [9092]},
        {"endpoints": ["PLAINTEXT://h"]},
        {"endpoints": ["PLAINTEXT://h:0"]},
        {"endpoints": ["PLAINTEXT://h:65536"]},
        {"endpoints": ["PLAINTEXT://h:-1"]},
        {"endpoints": ["PLAINTEXT://h:9_092"]},
        {"endpoints": ["PLAINTEXT://h:\u0669"]},
        {"endpoints": ["PLAINTEXT://\ud800:9092"]},
        {"rack": 1},
        {"version": "5"},
    ],
)
def test_a_registration_that_nobody_could_be_told_of_names_the_znode(change: dict[str, object]) -> None:
    """It ended each term of office: all brokers are told of all."""
    assert paths.parse_broker(3, json.dumps(REGISTRATION).encode(), epoch=1).endpoints[1].protocol == "SASL_SSL"
    with pytest.raises(CorruptMetadataError, match="/brokers/ids/3"):
        paths.parse_broker(3, json.dumps(REGISTRATION | change).encode(), epoch=1)
    with pytest.raises(CorruptMetadataError, match="/brokers/ids/2147483648"):
        paths.parse_broker(2**31, json.dumps(REGISTRATION).encode(), epoch=1)


def test_kafkas_znodes_are_understood() -> None:
    assert paths.parse_controller(b'{"version":2,"brokerid":3,"timestamp":"1","kraftControllerEpoch":-1}') == 3
    assert paths.parse_controller(b'{"version":1,"brokerid":3,"timestamp":"1"}') == 3
    topic = paths.parse_topic(
        "t",
        b'{"removing_replicas":{},"partitions":{"10":[1],"2":[2,1]},"topic_id":"AAAAAAAAAAAAAAAAAAAABw",'
        b'"adding_replicas":{},"version":3}',
    )
    assert (topic.topic_id, topic.partitions) == (bytes(15) + b"\x07", {2: (2, 1), 10: (1,)})
    assert paths.parse_topic("t", paths.topic_json(topic)) == topic


def test_a_state_is_read_as_it_was_written_and_its_version_is_the_partition_epoch() -> None:
    state = PartitionImage((1, 2), isr=(2, 1), leader=2, leader_epoch=4, partition_epoch=9, controller_epoch=3)
    data = paths.state_json(state)
    assert json.loads(data) == {"controller_epoch": 3, "leader": 2, "version": 1, "leader_epoch": 4, "isr": [2, 1]}
    assert paths.parse_state("p", data, version=9, replicas=(1, 2)) == state


@pytest.mark.parametrize("data", [b"", b"x", b"[]", b'{"version":1}'])
def test_damage_names_the_znode(data: bytes) -> None:
    with pytest.raises(CorruptMetadataError, match="/brokers/topics/t/partitions/0/state"):
        paths.parse_state(paths.state("t", 0), data, version=0, replicas=(1,))
    with pytest.raises(CorruptMetadataError, match="/brokers/ids/1"):
        paths.parse_broker(1, data, epoch=1)
    with pytest.raises(CorruptMetadataError, match="/brokers/topics/t"):
        paths.parse_topic("t", data)


def test_a_cluster_that_is_being_migrated_is_not_taken_over() -> None:
    with pytest.raises(CorruptMetadataError, match="KRaft"):
        paths.parse_controller(b'{"version":2,"brokerid":3,"timestamp":"1","kraftControllerEpoch":4}')


def test_wishes_and_news_are_read_as_kafka_writes_them() -> None:
    data = b'{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[2,3]}]}'
    assert paths.parse_reassignment(data) == {TopicPartition("t", 1): (2, 3)}
    assert json.loads(paths.reassignment_json({TopicPartition("t", 1): (2, 3)})) == json.loads(data)
    for path in (paths.PREFERRED_ELECTION, paths.ISR_CHANGES):
        assert paths.parse_partitions(path, data) == [TopicPartition("t", 1)]
    assert paths.parse_log_dir_event("e", b'{"version":1,"broker":3,"event":1}') == 3


@pytest.mark.parametrize("data", [b"", b"[]", b'{"partitions":[{"topic":"t"}]}', b'{"partitions":1}'])
def test_damaged_wishes_name_the_znode(data: bytes) -> None:
    with pytest.raises(CorruptMetadataError, match="/admin/reassign_partitions"):
        paths.parse_reassignment(data)
    with pytest.raises(CorruptMetadataError, match="/admin/preferred_replica_election"):
        paths.parse_partitions(paths.PREFERRED_ELECTION, data)
    with pytest.raises(CorruptMetadataError, match="log_dir_event_0"):
        paths.parse_log_dir_event("/log_dir_event_notification/log_dir_event_0", data)


def test_replicas_on_their_way_stand_in_the_topics_znode() -> None:
    topic = paths.TopicAssignment(bytes(15) + b"\x07", {0: (3, 2, 1), 1: (1,)}, adding={0: (3,)}, removing={0: (1,)})
    found = json.loads(paths.topic_json(topic))
    assert (found["adding_replicas"], found["removing_replicas"]) == ({"0": [3]}, {"0": [1]})
    assert paths.parse_topic("t", paths.topic_json(topic)) == topic


STATE = {"controller_epoch": 3, "leader": 2, "version": 1, "leader_epoch": 4, "isr": [2, 1]}


@pytest.mark.parametrize(
    "change",
    [
        {"isr": "21"},
        {"isr": ["1"]},
        {"isr": [-1]},
        {"isr": None},
        {"leader": "2"},
        {"leader": 1.5},
        {"leader": -2},
        {"leader_epoch": 2**31 - 1},
        {"leader_epoch": float("inf")},
        {"controller_epoch": True},
        {"leader_recovery_state": 7},
    ],
)
def test_a_state_that_could_not_be_told_to_anybody_is_damaged(change: dict[str, object]) -> None:
    """What did not fit was found when it was to be sent, and all that was to be told with it was lost."""
    data = json.dumps(STATE | change).encode()
    with pytest.raises(CorruptMetadataError, match="/brokers/topics/t/partitions/0/state"):
        paths.parse_state(paths.state("t", 0), data, version=0, replicas=(1, 2))


@pytest.mark.parametrize(
    "partitions",
    [{}, {"0": []}, {"0": [1, 1]}, {"0": ["1"]}, {"0": "12"}, {"0": [2**31]}, {"-1": [1]}, {"x": [1]}, [[1]]],
)
def test_an_assignment_has_partitions_and_replicas_none_of_them_twice(partitions: object) -> None:
    """A topic without any could neither grow nor be deleted: nobody was there to answer."""
    data = json.dumps({"version": 3, "partitions": partitions}).encode()
    with pytest.raises(CorruptMetadataError, match="/brokers/topics/t"):
        paths.parse_topic("t", data)


def test_numbers_that_are_none_are_damage_wherever_they_stand() -> None:
    for controller in (b'{"brokerid":true}', b'{"brokerid":1,"kraftControllerEpoch":"4"}', b'{"brokerid":-1}'):
        with pytest.raises(CorruptMetadataError, match="/controller"):
            paths.parse_controller(controller)
    for epoch in (b"", b"x", b"-1", b"2147483647"):
        with pytest.raises(CorruptMetadataError, match="/controller_epoch"):
            paths.parse_controller_epoch(epoch, 0)
    for end in (b"null", b"1e999", b'"-1000"', b'"9223372036854775807"', b"[]"):
        with pytest.raises(CorruptMetadataError, match="/latest_producer_id_block"):
            paths.parse_producer_ids_end(b'{"block_end":%s}' % end)
    with pytest.raises(CorruptMetadataError, match="/isr_change"):
        paths.parse_partitions("/isr_change", b'{"partitions":[{"topic":"t","partition":Infinity}]}')
    with pytest.raises(CorruptMetadataError, match="/brokers/topics/t"):
        paths.parse_topic("t", b"[" * 100_000)


@pytest.mark.parametrize("name", ["a b", "x" * 250, "a\\b"])
def test_a_name_that_no_topic_can_have_is_damage(name: str) -> None:
    """A name that is too long failed each log directory in which it was to be made."""
    with pytest.raises(CorruptMetadataError, match="/brokers/topics/"):
        paths.parse_topic(name, b'{"version":3,"partitions":{"0":[1]}}')
