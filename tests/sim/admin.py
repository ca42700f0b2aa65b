"""Makes and deletes topics, as an administrator would: asks until the controller has said yes."""

import asyncio
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kstore.model import TopicPartition
from kstore.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.delete_records import DeleteRecordsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.elect_leaders import ElectLeadersRequest
from tests.sim.clients import Client

if TYPE_CHECKING:
    from tests.sim.world import World

CREATE_VERSION, DELETE_VERSION, DELETE_RECORDS_VERSION, REASSIGN_VERSION, ELECT_VERSION = 5, 5, 2, 0, 2
# LEADER_NOT_AVAILABLE, REQUEST_TIMED_OUT, INVALID_REPLICATION_FACTOR (too few are there), NOT_CONTROLLER
ASK_AGAIN = {5, 7, 38, 41}


class Admin(Client):
    def __init__(self, world: "World", choose: random.Random) -> None:
        super().__init__(world, "admin", choose)
        self._wishes: asyncio.Queue[Any] = asyncio.Queue()

    def make(self, name: str, partitions: int, replicas: int, configs: Mapping[str, str]) -> None:
        topic = CreateTopicsRequest.CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replicas,
            configs=[CreateTopicsRequest.CreatableTopicConfig(name=key, value=value) for key, value in configs.items()],
        )
        self._wishes.put_nowait((name, CreateTopicsRequest(topics=[topic], timeout_ms=5000), CREATE_VERSION))

    def delete(self, name: str) -> None:
        self._wishes.put_nowait((name, DeleteTopicsRequest(topic_names=[name], timeout_ms=5000), DELETE_VERSION))

    def delete_records(self, key: TopicPartition, *, keeps: int) -> None:
        self._wishes.put_nowait((key, keeps, -1))

    async def _delete_records(self, key: TopicPartition, keeps: int) -> None:
        """Once: whoever leads does it, or nobody."""
        leader = await self.leader_of(key)
        self.forget_leader(key)
        before = self.world.judge.history_of(*key).end - keeps
        if leader is None or before <= 0:
            return
        part = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=key.partition, offset=before)
        topic = DeleteRecordsRequest.DeleteRecordsTopic(name=key.topic, partitions=[part])
        answer = await self.ask(
            leader[0], DeleteRecordsRequest(topics=[topic], timeout_ms=3000), DELETE_RECORDS_VERSION
        )
        code = None if answer is None else answer.topics[0].partitions[0].error_code
        self.world.trace(f"records of {key} below {before} are deleted: {code}")

    def reassign(self, key: TopicPartition, replicas: list[int]) -> None:
        part = AlterPartitionReassignmentsRequest.ReassignablePartition(
            partition_index=key.partition, replicas=replicas
        )
        topic = AlterPartitionReassignmentsRequest.ReassignableTopic(name=key.topic, partitions=[part])
        request = AlterPartitionReassignmentsRequest(topics=[topic], timeout_ms=5000)
        self._wishes.put_nowait((key.topic, request, REASSIGN_VERSION))

    def elect_preferred(self, key: TopicPartition) -> None:
        topic = ElectLeadersRequest.TopicPartitions(topic=key.topic, partitions=[key.partition])
        request = ElectLeadersRequest(election_type=0, topic_partitions=[topic], timeout_ms=5000)
        self._wishes.put_nowait((key.topic, request, ELECT_VERSION))

    async def run(self) -> None:
        while True:
            name, request, version = await self._wishes.get()
            if isinstance(name, TopicPartition):
                await self._delete_records(name, request)
                continue
            for _ in range(200):
                answer = await self.ask(self.some_broker(), request, version)
                codes = [] if answer is None else list(error_codes(answer))
                if codes and not set(codes) & ASK_AGAIN:
                    self.world.trace(f"{type(request).__name__} {name}: {codes}")
                    break
                await self.back_off()


def error_codes(answer: Any) -> Iterator[int]:
    """Of the whole and of each topic or partition in it."""
    if getattr(answer, "error_code", 0):
        yield answer.error_code
    for name in ("topics", "responses", "replica_election_results"):
        for each in getattr(answer, name, None) or ():
            if hasattr(each, "error_code"):
                yield each.error_code
            for part in getattr(each, "partitions", None) or getattr(each, "partition_result", None) or ():
                if hasattr(part, "error_code"):
                    yield part.error_code
