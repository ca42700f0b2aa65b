"""Ids for idempotent producers, from blocks that are durable before their first id is given away.

An id given twice would make one producer's records vanish as another's duplicates, so what is left of a block
when the broker stops is never used (ProducerIdManager.java, ProducerIdControlManager.java).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kstore.cluster.image import ClusterImage
from kstore.protocol.messages.metadata_records import ProducerIdsRecord
from kstore.server.topics import Topics

BLOCK_SIZE = 1000


class ProducerIds:
    """`claim` gives the first id of a block that nobody else has."""

    def __init__(self, claim: Callable[[], Awaitable[int]]) -> None:
        self._claim = claim
        self._next = 0
        self._end = 0
        self._refilling = asyncio.Lock()

    def take(self) -> int | None:
        """The next id, or None if a new block is needed first."""
        if self._next == self._end:
            return None
        self._next += 1
        return self._next - 1

    async def next(self) -> int:
        """The next id, from a new block if need be."""
        async with self._refilling:
            if self._next == self._end:
                self._next = await self._claim()
                self._end = self._next + BLOCK_SIZE
            self._next += 1
            return self._next - 1


def claim_from(topics: Topics, *, broker_id: int) -> Callable[[], Awaitable[int]]:
    """Blocks out of the metadata log of a broker on its own."""

    def decide(image: ClusterImage) -> list[Any]:
        return [
            ProducerIdsRecord(
                broker_id=broker_id,
                broker_epoch=-1,
                next_producer_id=image.next_producer_id + BLOCK_SIZE,
            )
        ]

    async def claim() -> int:
        image = await topics.change(decide)
        return image.next_producer_id - BLOCK_SIZE

    return claim
