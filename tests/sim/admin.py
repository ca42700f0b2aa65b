"""Makes and deletes topics, as an administrator would: asks until the controller has said yes."""

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from tests.sim.clients import Client

if TYPE_CHECKING:
    from tests.sim.world import World

CREATE_VERSION, DELETE_VERSION = 5, 5
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

    async def run(self) -> None:
        while True:
            name, request, version = await self._wishes.get()
            for _ in range(200):
                answer = await self.ask(self.choose.choice(self.world.broker_names), request, version)
                codes = [] if answer is None else [each.error_code for each in getattr(answer, "topics", None) or answer.responses]
                if codes and codes[0] in (0, TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC):
                    self.world.trace(f"{type(request).__name__} {name}: {codes[0]}")
                    break
                await self.back_off()
