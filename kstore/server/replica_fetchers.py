"""The tasks that fetch: `num.replica.fetchers` for each broker that leads partitions which this one follows.

Kafka: ReplicaFetcherManager.scala, AbstractFetcherManager.scala.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from kstore._native.java_hash import java_hash
from kstore.client.broker_client import BrokerClient
from kstore.cluster.image import ClusterImage
from kstore.errors import BrokerUnreachableError, InvalidRequestError, KafkaStorageError
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, TopicPartition
from kstore.replica.fetcher import FETCH_VERSION, LIST_OFFSETS_VERSION, Fetcher, FetchLimits
from kstore.server.membership import Membership

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)


class FetcherKey(NamedTuple):
    leader_id: int
    number: int


def fetcher_number(topic_partition: TopicPartition, fetchers: int) -> int:
    """Which of a leader's fetchers has the partition, in Java's arithmetic (AbstractFetcherManager.getFetcherId)."""
    topic, partition = topic_partition
    mixed = (31 * java_hash(topic) + partition + 2**31) % 2**32 - 2**31
    return (0 if mixed == -(2**31) else abs(mixed)) % fetchers


class ReplicaFetchers:
    def __init__(self, context: "Context", member: Membership) -> None:
        self._context = context
        self._member = member
        self._fetching: dict[FetcherKey, FetchTask] = {}
        # Where each partition is fetched.
        self._places: dict[TopicPartition, FetcherKey] = {}
        self._count: int = context.config.num_replica_fetchers

    def __iter__(self) -> Iterator[Fetcher]:
        return (task.fetcher for task in self._fetching.values())

    def add(self, topic_partition: TopicPartition, leader_id: int) -> None:
        self.remove(topic_partition)
        partition = self._context.replicas.partitions[topic_partition]
        key = FetcherKey(leader_id, fetcher_number(topic_partition, self._count))
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = FetchTask(self._context, self._member, key)
        self._places[topic_partition] = key
        task.fetcher.add(partition)
        task.wake()

    def remove(self, topic_partition: TopicPartition) -> None:
        key = self._places.pop(topic_partition, None)
        task = None if key is None else self._fetching.get(key)
        if key is None or task is None:
            return  # the last of them: what was fenced had been given up before
        task.fetcher.remove(topic_partition)
        if not task.fetcher.positions:
            del self._fetching[key]
            task.stop()

    def match_config(self) -> None:
        """Spreads the partitions anew where `num.replica.fetchers` was changed, and takes other limits."""
        limits = fetch_limits(self._context)
        for task in self._fetching.values():
            task.fetcher.limits = limits
        if self._count != self._context.config.num_replica_fetchers:
            self._count = self._context.config.num_replica_fetchers
            for topic_partition, key in list(self._places.items()):
                if topic_partition in self._context.replicas.partitions:
                    self.add(topic_partition, key.leader_id)

    def stop(self) -> None:
        for task in self._fetching.values():
            task.stop()
        self._fetching.clear()
        self._places.clear()

    # --- for who watches ---

    @property
    def failed_partitions(self) -> int:
        return sum(len(fetcher.failed_partitions) for fetcher in self)

    @property
    def max_lag(self) -> int:
        """How many records the partition that lags most is behind its leader's high watermark."""
        return max((fetcher.max_lag for fetcher in self), default=0)

    def lags(self) -> Iterator[tuple[TopicPartition, FetcherKey, int]]:
        """Of each partition of which it is known."""
        for key, task in self._fetching.items():
            for topic_partition, position in task.fetcher.positions.items():
                if position.lag >= 0:
                    yield topic_partition, key, position.lag


def fetch_limits(context: "Context") -> FetchLimits:
    config = context.config
    return FetchLimits(
        max_bytes=config.replica_fetch_max_bytes,
        response_max_bytes=config.replica_fetch_response_max_bytes,
        min_bytes=config.replica_fetch_min_bytes,
        wait_max_ms=config.replica_fetch_wait_max_ms,
        backoff_ms=config.replica_fetch_backoff_ms,
    )


class FetchTask:
    """Asks one leader, again and again; one request at a time."""

    def __init__(self, context: "Context", member: Membership, key: FetcherKey) -> None:
        self._context = context
        self._member = member
        self._key = key
        self._client: BrokerClient | None = None
        # What was known of the cluster when the leader's endpoint was looked up.
        self._image: ClusterImage | None = None
        self._news = asyncio.Event()
        self.fetcher = Fetcher(
            key.leader_id,
            context.replicas.partitions.get,
            broker_id=context.node_id,
            limits=fetch_limits(context),
            quotas=context.replicas.quotas,
        )
        self._stopped = False
        self._is_asking = False
        self._broke_off = False
        self._said = ""
        self._task = context.start_task(self._run())

    def wake(self) -> None:
        """Something is to be fetched that was not. The request in flight does not ask for it, and may wait as long as
        a follower without news does: it is broken off, for producers would wait with it."""
        self._news.set()
        if self._is_asking and self.fetcher.has_newcomers:
            self._broke_off = True
            self._close()

    def stop(self) -> None:
        self._stopped = True
        self._task.cancel()

    async def _run(self) -> None:
        try:
            while not self._stopped:
                try:
                    await self._turn()
                except Exception:
                    # Nobody else fetches these partitions: whatever it was, they are asked for again.
                    log.exception("fetching from broker %d", self._key.leader_id)
                    self._close()
                    self.fetcher.failed(self._context.clock.monotonic_ms())
                    await self._pause(self._context.config.replica_fetch_backoff_ms)
        except asyncio.CancelledError:
            pass
        finally:
            self._close()

    async def _turn(self) -> None:
        context = self._context
        context.replicas.quotas.follower.rate = context.config.follower_replication_throttled_rate
        self._news.clear()
        monotonic_ms = context.clock.monotonic_ms()
        request = self.fetcher.fetch_request(broker_epoch=self._member.broker_epoch, monotonic_ms=monotonic_ms)
        if request is None:
            await self._pause(context.config.replica_fetch_backoff_ms)
            return
        try:
            response = await self._ask(request)
            self._said = ""
            now_ms, monotonic_ms = context.clock.now_ms(), context.clock.monotonic_ms()
            context.deliver(self.fetcher.fetched(response, now_ms=now_ms, monotonic_ms=monotonic_ms))
            context.deliver.turn_ended()
            await self._flush()
            await self._ask_bounds()
        except (BrokerUnreachableError, InvalidRequestError) as error:
            self._close()
            if self._broke_off:
                self.fetcher.given_up()
                return
            if str(error) != self._said:  # what fails again in the same way has been told
                self._said = str(error)
                log.info("fetching from broker %d: %s", self._key.leader_id, error)
            self.fetcher.failed(context.clock.monotonic_ms())
            await self._pause(context.config.replica_fetch_backoff_ms)

    async def _flush(self) -> None:
        """What `flush.messages` wants on the disk is there before the leader is told that it is held."""
        for partition in self.fetcher.take_unflushed():
            try:
                await self._context.flusher.follower_flushed(partition)
            except KafkaStorageError as error:
                log.error("%s is not fetched any more: %s", partition.topic_partition, error)
                self.fetcher.give_up(partition.topic_partition)

    async def _ask(self, request: Any) -> Any:
        """The answer. Raises BrokerUnreachableError, InvalidRequestError."""
        self._broke_off = False
        self._is_asking = True
        try:
            timeout_ms = self._context.config.replica_socket_timeout_ms
            return await self._connect().ask(request, FETCH_VERSION, timeout_ms=timeout_ms)
        finally:
            self._is_asking = False

    async def _ask_bounds(self) -> None:
        starts = self.fetcher.bounds_request(EARLIEST_TIMESTAMP)
        if starts is None:
            return
        ends = self.fetcher.bounds_request(LATEST_TIMESTAMP)
        client, timeout_ms = self._connect(), self._context.config.replica_socket_timeout_ms
        first = await client.ask(starts, LIST_OFFSETS_VERSION, timeout_ms=timeout_ms)
        last = await client.ask(ends, LIST_OFFSETS_VERSION, timeout_ms=timeout_ms)
        clock = self._context.clock
        self.fetcher.bounds_came(first, last, now_ms=clock.now_ms(), monotonic_ms=clock.monotonic_ms())

    async def _pause(self, delay_ms: int) -> None:
        """For so long, or until there is something new to fetch."""
        try:
            await asyncio.wait_for(self._news.wait(), delay_ms / 1000)
        except TimeoutError:
            return

    def _connect(self) -> BrokerClient:
        """Raises BrokerUnreachableError where the leader is not known to be alive."""
        client, image = self._client, self._member.image
        if client is not None and image is self._image:
            return client  # nothing has been heard of brokers since
        endpoint = self._member.endpoint_of(self._key.leader_id)
        self._image = image
        if client is None or (client.host, client.port) != (endpoint.host, endpoint.port):
            self._close()
            name = f"broker-{self._context.node_id}-fetcher-{self._key.number}"
            config, receive_buffer = self._context.config, -1
            if config.is_set("replica.socket.receive.buffer.bytes"):
                # Kafka's default of 64 KiB holds a follower back that has much to catch up with.
                receive_buffer = config.replica_socket_receive_buffer_bytes
            client = self._client = BrokerClient(
                endpoint.host, endpoint.port, client_id=name, receive_buffer=receive_buffer
            )
        return client

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
