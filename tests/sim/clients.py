"""Producers and consumers that remember, over kstore's own client and codecs."""

import asyncio
import random
from typing import TYPE_CHECKING, Any

from kstore._native.builder import BatchBuilder
from kstore.client.broker_client import BrokerClient
from kstore.errors import BrokerUnreachableError, InvalidRequestError
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, TopicPartition
from kstore.protocol.messages.fetch import FetchRequest
from kstore.protocol.messages.init_producer_id import InitProducerIdRequest
from kstore.protocol.messages.list_offsets import ListOffsetsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from kstore.protocol.messages.produce import ProduceRequest
from tests.sim.broker import PORT
from tests.sim.invariants import Violation, batches
from tests.sim.ledger import values
from tests.sim.loop import Process, SimClock

if TYPE_CHECKING:
    from tests.sim.world import World

METADATA_VERSION, PRODUCE_VERSION, FETCH_VERSION, INIT_VERSION, LIST_VERSION = 9, 9, 12, 4, 7
TIMEOUT_MS = 5000
BACKOFF_S = 0.25
OFFSET_OUT_OF_RANGE, OUT_OF_ORDER = 1, 45
# What never happens to one who does no wrong: the client would tell its user.
FATAL = {
    2: "corrupt message",
    OUT_OF_ORDER: "out of order sequence",
    47: "invalid producer epoch",
    87: "invalid record",
}


class Client:
    """Knows brokers and leaders, as far as it was told."""

    def __init__(self, world: "World", name: str, choose: random.Random) -> None:
        self.world = world
        self.name = name
        self.choose = choose
        self.process = Process(name)
        world.processes.append(self.process)
        self.clock = SimClock(world.loop, self.process)
        self._clients: dict[str, BrokerClient] = {}
        self._leaders: dict[TopicPartition, tuple[int, int]] = {}
        self._silent = ""
        self.is_done = False

    def start(self) -> None:
        self.process.context.run(self.world.loop.create_task, self._run())

    async def _run(self) -> None:
        try:
            await self.run()
            self.is_done = True
        except Exception as error:
            self.world.complain(f"{self.name} ends", error)

    async def run(self) -> None:
        raise NotImplementedError

    async def ask(self, host: str, request: Any, version: int) -> Any:
        """The answer, or None."""
        client = self._clients.get(host)
        if client is None:
            client = self._clients[host] = BrokerClient(host, PORT, client_id=self.name)
        try:
            answer = await client.ask(request, version, timeout_ms=TIMEOUT_MS)
        except (BrokerUnreachableError, InvalidRequestError):
            self._silent = host
            return None
        self._silent = ""
        return answer

    def some_broker(self) -> str:
        """Not the one that has just given no answer: a client goes on to another."""
        return self.choose.choice([name for name in self.world.broker_names if name != self._silent])

    async def leader_of(self, key: TopicPartition) -> tuple[str, int] | None:
        """Host and epoch of the leader; None where nobody says one."""
        if key not in self._leaders:
            host = self.some_broker()
            request = MetadataRequest(
                topics=[MetadataRequest.MetadataRequestTopic(name=key.topic)], allow_auto_topic_creation=False
            )
            answer = await self.ask(host, request, METADATA_VERSION)
            if answer is None:
                return None
            for topic in answer.topics:
                for part in topic.partitions:
                    if part.error_code == 0 and part.leader_id >= 0:
                        found = TopicPartition(topic.name, part.partition_index)
                        self._leaders[found] = (part.leader_id, part.leader_epoch)
        known = self._leaders.get(key)
        return None if known is None else (f"b{known[0]}", known[1])

    def forget_leader(self, key: TopicPartition) -> None:
        self._leaders.pop(key, None)

    async def back_off(self) -> None:
        await asyncio.sleep(BACKOFF_S * (0.5 + self.choose.random()))


class Sent:
    """A batch on its way; `offset` is -1 until it is acknowledged."""

    __slots__ = ("offset", "sequence", "values")

    def __init__(self, values: list[bytes], sequence: int) -> None:
        self.values = values
        self.sequence = sequence
        self.offset = -1


class Producer(Client):
    """Sends to one partition, each batch until it is acknowledged; an idempotent one has up to five on their way."""

    def __init__(
        self,
        world: "World",
        name: str,
        choose: random.Random,
        key: TopicPartition,
        *,
        acks: int,
        idempotent: bool,
        batches: int | None = None,
    ) -> None:
        """`batches` says how many; otherwise there are more until all is quiet."""
        super().__init__(world, name, choose)
        self.key = key
        self._left = batches
        self.acks = acks
        self.idempotent = idempotent
        self._number = 0
        self._sequence = 0
        self._id = -1
        self._window: list[Sent] = []
        self._depth = choose.choice((1, 2, 5)) if idempotent else 1
        self._pause_s = 0.4 + 1.2 * choose.random()

    async def run(self) -> None:
        if self.idempotent:
            await self._take_id()
        while True:
            while self._has_more() and len(self._window) < self._depth:
                self._window.append(self._new_batch())
                if self.choose.random() < 0.5:
                    break
            if not self._window:
                return
            await self._send_window()
            if not self._window:
                await asyncio.sleep(self._pause_s * 2 * self.choose.random())

    def _has_more(self) -> bool:
        if self._left is None:
            return not self.world.is_quiet
        self._left -= 1
        return self._left >= 0

    async def _take_id(self) -> None:
        while self._id < 0:
            host = self.some_broker()
            request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
            answer = await self.ask(host, request, INIT_VERSION)
            if answer is not None and answer.error_code == 0:
                self._id = answer.producer_id
            else:
                await self.back_off()

    def _new_batch(self) -> Sent:
        sent = []
        for _ in range(self.choose.choice((1, 1, 1, 2, 5))):
            self._number += 1
            # Of different lengths, so that logs roll at different places.
            sent.append(f"{self.name}:{self._number}:".encode() + b"x" * self.choose.choice((4, 40, 200)))
        self.world.ledger.sent += len(sent)
        self._sequence += len(sent)
        return Sent(sent, self._sequence - len(sent))

    async def _send_window(self) -> None:
        """All that has no answer yet, in order. What comes behind a batch that was not taken is not taken either."""
        leader = await self.leader_of(self.key)
        waiting = [batch for batch in self._window if batch.offset < 0]
        if leader is None:
            codes = [-1]
        else:
            codes = await asyncio.gather(*(self._send(batch, leader[0]) for batch in waiting))
        is_next = self.idempotent and self.acks == -1 and codes[0] in FATAL and waiting[0] is self._window[0]
        if is_next and leader is not None and self.world.leads(leader[0], self.key):
            # All before it is acknowledged, so that this one is next. Only who leads no more, and does not know it, may
            # say otherwise; and a leader that has it and has started anew since, for a snapshot of producers holds the
            # last batch of each, as Kafka's does.
            first = waiting[0]
            offset = self.world.offset_of(leader[0], self.key, first.values[0])
            if offset < 0:
                raise Violation(f"{self.name} is told: {FATAL[codes[0]]} (sequence {first.sequence} of {self.key})")
            if self.world.judge.is_committed(self.key, offset + len(first.values)):
                first.offset = offset
        while self._window and self._window[0].offset >= 0:
            batch = self._window.pop(0)
            if self.idempotent and self.acks == -1:
                self.world.ledger.is_next(self.name, self.key, batch.values)
        if any(code != 0 for code in codes):
            self.forget_leader(self.key)
            await self.back_off()

    async def _send(self, sent: Sent, host: str) -> int:
        """The error code; -1 where none came."""
        if self.idempotent:
            batch = BatchBuilder(producer_id=self._id, producer_epoch=0, base_sequence=sent.sequence)
        else:
            batch = BatchBuilder()
        now_ms = self.clock.now_ms()
        for value in sent.values:
            batch.append(now_ms, None, value)
        part = ProduceRequest.PartitionProduceData(index=self.key.partition, records=bytes(batch.build()))
        request = ProduceRequest(
            acks=self.acks,
            timeout_ms=TIMEOUT_MS - 1000,
            topic_data=[ProduceRequest.TopicProduceData(name=self.key.topic, partition_data=[part])],
        )
        answer = await self.ask(host, request, PRODUCE_VERSION)
        if answer is None:
            return -1
        result = answer.responses[0].partition_responses[0]
        code: int = result.error_code
        if code == 0:
            sent.offset = result.base_offset
            self.world.trace_only("ack", self.name, sent.offset, len(sent.values))
            if self.acks == -1:
                self.world.ledger.was_acknowledged(self.name, self.key, sent.offset, sent.values)
        return code


class Consumer(Client):
    """Reads one partition from its beginning, and sometimes from there again."""

    def __init__(self, world: "World", name: str, choose: random.Random, key: TopicPartition) -> None:
        super().__init__(world, name, choose)
        self.key = key
        self.position = 0
        # The epoch of the last record that was read, which a leader is asked by whether it still has it (KIP-320).
        self._epoch = -1
        self._end = 0

    async def run(self) -> None:
        while True:
            if not await (self._poll() if self.choose.random() < 0.9 else self._ask_for_end()):
                self.forget_leader(self.key)
                await self.back_off()
            if self.choose.random() < 0.02 and not self.world.is_quiet:
                self.position, self._epoch = 0, -1
            await asyncio.sleep((0.01 if self.world.is_quiet else 1.5) * self.choose.random())

    async def _ask_for_end(self) -> bool:
        """Where the partition ends never goes back (rule 15)."""
        end = await self._list_offset(LATEST_TIMESTAMP)
        if end is None:
            return False
        if end < self._end:
            raise Violation(f"{self.name}: {self.key} ended at {self._end}, and ends at {end} now")
        self._end = end
        return True

    async def _ask_for_start(self) -> None:
        start = await self._list_offset(EARLIEST_TIMESTAMP)
        if start is not None and start > self.position:
            self.position, self._epoch = start, -1

    async def _list_offset(self, timestamp: int) -> int | None:
        leader = await self.leader_of(self.key)
        if leader is None:
            return None
        part = ListOffsetsRequest.ListOffsetsPartition(
            partition_index=self.key.partition, current_leader_epoch=leader[1], timestamp=timestamp
        )
        topic = ListOffsetsRequest.ListOffsetsTopic(name=self.key.topic, partitions=[part])
        answer = await self.ask(leader[0], ListOffsetsRequest(replica_id=-1, topics=[topic]), LIST_VERSION)
        if answer is None or answer.topics[0].partitions[0].error_code:
            return None
        found: int = answer.topics[0].partitions[0].offset
        return found

    async def _poll(self) -> bool:
        leader = await self.leader_of(self.key)
        if leader is None:
            return False
        request = FetchRequest(
            replica_id=-1,
            max_wait_ms=1000,
            min_bytes=1,
            max_bytes=1 << 20,
            topics=[
                FetchRequest.FetchTopic(
                    topic=self.key.topic,
                    partitions=[
                        FetchRequest.FetchPartition(
                            partition=self.key.partition,
                            current_leader_epoch=leader[1],
                            fetch_offset=self.position,
                            last_fetched_epoch=self._epoch,
                            partition_max_bytes=1 << 18,
                        )
                    ],
                )
            ],
        )
        answer = await self.ask(leader[0], request, FETCH_VERSION)
        if answer is None or answer.error_code or not answer.responses:
            return False
        data = answer.responses[0].partitions[0]
        if data.diverging_epoch.epoch >= 0:
            raise Violation(
                f"{self.name} has read {self.key} up to {self.position}, where {data.diverging_epoch} is said"
            )
        if data.error_code:
            if data.error_code == OFFSET_OUT_OF_RANGE:
                # Records were deleted; or a leader that is not up to date yet knows no better: it is asked again.
                self.world.trace_only("out of range", self.name, self.position)
                await self._ask_for_start()
            return False
        records = bytes(data.records or b"")
        for batch in batches(records):
            self._epoch = batch.epoch
        for offset, value in values(records).items():
            if offset >= self.position:
                if offset != self.position:
                    raise Violation(f"{self.name} asked for {self.position} of {self.key}, and {offset} came")
                self.world.ledger.was_seen(self.name, self.key, offset, value)
                self.position = offset + 1
        return True
