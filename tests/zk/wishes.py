"""What administrators ask of a cluster in the tests: by request, as raw messages, and by znode."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kazoo.client import KazooClient

from kstore.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from kstore.protocol.messages.describe_configs import DescribeConfigsRequest
from kstore.protocol.messages.elect_leaders import ElectLeadersRequest
from kstore.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from kstore.protocol.messages.list_partition_reassignments import ListPartitionReassignmentsRequest
from tests.fix_broker import Client
from tests.judge.kafka import ZooKeeper

TOPIC, BROKER = 2, 4
SET = 0


@contextmanager
def znodes(zookeeper: ZooKeeper) -> Iterator[KazooClient]:
    client = KazooClient(zookeeper.connect)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def json_at(client: KazooClient, path: str) -> Any:
    return json.loads(client.get(path)[0])


def write(client: KazooClient, path: str, value: Any) -> None:
    client.create(path, json.dumps(value).encode(), makepath=True)


def elect(port: int, kind: int, topic: str | None, *partitions: int) -> Any:
    """The answer; of all partitions where `topic` is None."""
    wanted = None
    if topic is not None:
        wanted = [ElectLeadersRequest.TopicPartitions(topic=topic, partitions=list(partitions))]
    with Client(port) as client:
        return client.ask(ElectLeadersRequest(election_type=kind, topic_partitions=wanted), 2)


def elected(answer: Any) -> dict[tuple[str, int], int]:
    """(topic, partition) -> error code."""
    return {
        (topic.topic, part.partition_id): part.error_code
        for topic in answer.replica_election_results
        for part in topic.partition_result
    }


def reassign(port: int, topic: str, targets: Mapping[int, Sequence[int] | None]) -> Any:
    request = AlterPartitionReassignmentsRequest
    partitions = [
        request.ReassignablePartition(partition_index=index, replicas=None if to is None else list(to))
        for index, to in targets.items()
    ]
    with Client(port) as client:
        return client.ask(request(topics=[request.ReassignableTopic(name=topic, partitions=partitions)]), 0)


def reassigned(answer: Any) -> dict[int, int]:
    """Partition -> error code, of one topic."""
    assert answer.error_code == 0, answer
    return {part.partition_index: part.error_code for topic in answer.responses for part in topic.partitions}


def reassignments(port: int) -> dict[tuple[str, int], tuple[list[int], list[int], list[int]]]:
    """(topic, partition) -> replicas, those that are added, those that go."""
    with Client(port) as client:
        answer = client.ask(ListPartitionReassignmentsRequest(topics=None), 0)
    assert answer.error_code == 0, answer
    return {
        (topic.name, part.partition_index): (part.replicas, part.adding_replicas, part.removing_replicas)
        for topic in answer.topics
        for part in topic.partitions
    }


def set_configs(port: int, name: str, *, kind: int = TOPIC, **configs: str) -> int:
    """The error code."""
    request = IncrementalAlterConfigsRequest
    entries = [
        request.AlterableConfig(name=key.replace("_", "."), config_operation=SET, value=value)
        for key, value in configs.items()
    ]
    resource = request.AlterConfigsResource(resource_type=kind, resource_name=name, configs=entries)
    with Client(port) as client:
        (answer,) = client.ask(request(resources=[resource]), 1).responses
    return int(answer.error_code)


def configs_of(port: int, name: str, *names: str, kind: int = TOPIC) -> dict[str, str]:
    request = DescribeConfigsRequest
    wanted = [key.replace("_", ".") for key in names]
    resource = request.DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=wanted)
    with Client(port) as client:
        (answer,) = client.ask(request(resources=[resource]), 4).results
    assert answer.error_code == 0, answer
    return {entry.name: entry.value for entry in answer.configs}
