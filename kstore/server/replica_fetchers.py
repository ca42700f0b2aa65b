"""The tasks that fetch: one for each broker that leads partitions which this one follows (ReplicaFetcherManager)."""

import asyncio
import logging
from typing import TYPE_CHECKING

from kstore.client.broker_client import BrokerClient
from kstore.errors import BrokerUnreachableError, InvalidRequestError
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, TopicPartition
from kstore.replica.fetcher import FETCH_VERSION, LIST_OFFSETS_VERSION, Fetcher, FetchLimits
from kstore.server.membership import Membership

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)


class ReplicaFetchers:
    def __init__(self, context: "Context", member: Membership) -> None:
        self._context = context
        self._member = member
        self._fetching: dict[int, FetchTask] = {}
        # Which leader each partition is fetched from.
        self._leaders: dict[TopicPartition, int] = {}

    def add(self, topic_partition: TopicPartition, leader_id: int) -> None:
        self.remove(topic_partition)
        partition = self._context.replicas.partitions[topic_partition]
        task = self._fetching.get(leader_id)
        if task is None:
            task = self._fetching[leader_id] = FetchTask(self._context, self._member, leader_id)
        self._leaders[topic_partition] = leader_id
        task.fetcher.add(partition)
        task.wake()

    def remove(self, topic_partition: TopicPartition) -> None:
        leader_id = self._leaders.pop(topic_partition, None)
        if leader_id is None:
            return
        task = self._fetching.get(leader_id)
        if task is None:
            return  # the last of them: what was fenced had been given up before
        task.fetcher.remove(topic_partition)
        if not task.fetcher.positions:
            del self._fetching[leader_id]
            task.stop()

    def stop(self) -> None:
        for task in self._fetching.values():
            task.stop()
        self._fetching.clear()
        self._leaders.clear()


class FetchTask:
    """Asks one leader, again and again; one request at a time."""

    def __init__(self, context: "Context", member: Membership, leader_id: int) -> None:
        config = context.config
        self._context = context
        self._member = member
        self._leader_id = leader_id
        self._client: BrokerClient | None = None
        self._news = asyncio.Event()
        self.fetcher = Fetcher(
            leader_id,
            context.replicas.partitions.get,
            broker_id=context.node_id,
            limits=FetchLimits(
                max_bytes=config.replica_fetch_max_bytes,
                response_max_bytes=config.replica_fetch_response_max_bytes,
                min_bytes=config.replica_fetch_min_bytes,
                wait_max_ms=config.replica_fetch_wait_max_ms,
                backoff_ms=config.replica_fetch_backoff_ms,
            ),
        )
        self._stopped = False
        self._said = ""
        self._task = context.start_task(self._run())

    def wake(self) -> None:
        self._news.set()

    def stop(self) -> None:
        self._stopped = True
        self._task.cancel()

    async def _run(self) -> None:
        try:
            while not self._stopped:
                await self._turn()
        except asyncio.CancelledError:
            pass
        finally:
            self._close()

    async def _turn(self) -> None:
        clock = self._context.clock
        request = self.fetcher.fetch_request(broker_epoch=self._member.broker_epoch, now_ms=clock.now_ms())
        if request is None:
            await self._pause(self._context.config.replica_fetch_backoff_ms)
            return
        timeout_ms = self._context.config.replica_socket_timeout_ms
        try:
            client = self._connect()
            response = await client.ask(request, FETCH_VERSION, timeout_ms=timeout_ms)
            self._said = ""
            self.fetcher.fetched(response, now_ms=clock.now_ms())
            if (starts := self.fetcher.bounds_request(EARLIEST_TIMESTAMP)) is not None:
                ends = self.fetcher.bounds_request(LATEST_TIMESTAMP)
                first = await client.ask(starts, LIST_OFFSETS_VERSION, timeout_ms=timeout_ms)
                last = await client.ask(ends, LIST_OFFSETS_VERSION, timeout_ms=timeout_ms)
                self.fetcher.bounds_came(first, last, now_ms=clock.now_ms())
        except (BrokerUnreachableError, InvalidRequestError) as error:
            if str(error) != self._said:  # what fails again in the same way has been told
                self._said = str(error)
                log.info("fetching from broker %d: %s", self._leader_id, error)
            self._close()
            self.fetcher.failed(clock.now_ms())
            await self._pause(self._context.config.replica_fetch_backoff_ms)

    async def _pause(self, delay_ms: int) -> None:
        """For so long, or until there is something new to fetch."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), delay_ms / 1000)
        except TimeoutError:
            return

    def _connect(self) -> BrokerClient:
        """Raises BrokerUnreachableError where the leader is not known to be alive."""
        endpoint = self._member.endpoint_of(self._leader_id)
        client = self._client
        if client is None or (client.host, client.port) != (endpoint.host, endpoint.port):
            self._close()
            name = f"broker-{self._context.node_id}-fetcher-0"
            client = self._client = BrokerClient(endpoint.host, endpoint.port, client_id=name)
        return client

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
