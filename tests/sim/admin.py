"""Makes and deletes topics, as an administrator would: asks until the controller has said yes."""

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.model import TopicPartition
from kstore.protocol.messages.delete_records import DeleteRecordsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from tests.sim.clients import Client

if TYPE_CHECKING:
    from tests.sim.world import World

CREATE_VERSION, DELETE_VERSION, DELETE_RECORDS_VERSION = 5, 5, 2
TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC = 36, 3


class Admin(Client):
    def __init__(self, world: "World", choose: random.Random) -> None:
        super().__init__(world, "admin", choose)
        self._wishes: asyncio.Queue[Any] = asyncio.Queue()

    def make(self, name: str, partitions: int, replicas: int, configs: Mapping[str, str]) -> None:
        topic = CreateTopicsRequest.CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replicas,
            configs=[
                CreateTopicsRequest.CreatableTopicConfig(name=key, value=value) for key, value in configs.items()
            ],
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
        answer = await self.ask(leader[0], DeleteRecordsRequest(topics=[topic], timeout_ms=3000), DELETE_RECORDS_VERSION)
        code = None if answer is None else answer.topics[0].partitions[0].error_code
        self.world.trace(f"records of {key} below {before} are deleted: {code}")

    async def run(self) -> None:
        while True:
            name, request, version = await self._wishes.get()
            if isinstance(name, TopicPartition):
                await self._delete_records(name, request)
                continue
            for _ in range(200):
                answer = await self.ask(self.choose.choice(self.world.broker_names), request, version)
                codes = [] if answer is None else [each.error_code for each in getattr(answer, "topics", None) or answer.responses]
                if codes and codes[0] in (0, TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC):
                    self.world.trace(f"{type(request).__name__} {name}: {codes[0]}")
                    break
                await self.back_off()
