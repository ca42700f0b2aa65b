"""The table of who is fetched from whom."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kstore.clock import ManualClock
from kstore.errors import BrokerUnreachableError
from kstore.log.config import LogConfig
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from kstore.replica.partition import Partition
from kstore.replica.throttle import ReplicationQuotas
from kstore.server.replica_fetchers import FetcherKey, FetchTask, ReplicaFetchers, fetcher_number


class Replica:
    def __init__(self, topic_partition: TopicPartition) -> None:
        self.topic_partition = topic_partition
        self.leader_epoch = 0
        self.log = SimpleNamespace(log_end_offset=0)


def test_partitions_that_were_given_up_are_taken_out_like_others() -> None:
    """Two that their leader had fenced: the second one was looked for in a table without that leader, and whatever else
    came with that news was lost."""
    keys = [TopicPartition("orders", number) for number in range(3)]
    limits = ("max_bytes", "response_max_bytes", "min_bytes", "wait_max_ms", "backoff_ms")
    stopped: list[bool] = []

    def start(work: Any) -> Any:
        work.close()
        return SimpleNamespace(cancel=lambda: stopped.append(True))

    config = {f"replica_fetch_{name}": 1 for name in limits} | {"num_replica_fetchers": 1}
    context: Any = SimpleNamespace(
        replicas=SimpleNamespace(partitions={key: Replica(key) for key in keys}, quotas=None),
        config=SimpleNamespace(**config),
        node_id=1,
        start_task=start,
    )
    member: Any = SimpleNamespace()
    fetchers = ReplicaFetchers(context, member)
    for key in keys:
        fetchers.add(key, 2)
    for key in keys:
        fetchers._fetching[FetcherKey(2, 0)].fetcher.remove(key)
    for key in keys:
        fetchers.remove(key)
    assert stopped == [True]
    fetchers.add(keys[0], 2)
    assert list(fetchers._fetching) == [FetcherKey(2, 0)]


def test_partitions_are_spread_over_fetchers_as_kafka_spreads_them() -> None:
    # Utils.abs(31 * topic.hashCode + partition) % fetchers, in 32 bits.
    assert [fetcher_number(TopicPartition("orders", number), 4) for number in range(5)] == [1, 0, 3, 2, 1]
    assert fetcher_number(TopicPartition("orders", 3), 1) == 0


def test_other_fetchers_take_over_when_their_number_changes() -> None:
    keys = [TopicPartition("orders", number) for number in range(8)]
    limits = ("max_bytes", "response_max_bytes", "min_bytes", "wait_max_ms", "backoff_ms")
    config = SimpleNamespace(**{f"replica_fetch_{name}": 1 for name in limits}, num_replica_fetchers=1)

    def start(work: Any) -> Any:
        work.close()
        return SimpleNamespace(cancel=lambda: None)

    context: Any = SimpleNamespace(
        replicas=SimpleNamespace(partitions={key: Replica(key) for key in keys}, quotas=None),
        config=config,
        node_id=1,
        start_task=start,
    )
    member: Any = SimpleNamespace()
    fetchers = ReplicaFetchers(context, member)
    for key in keys:
        fetchers.add(key, 2)
    assert len(fetchers._fetching) == 1
    config.num_replica_fetchers, config.replica_fetch_max_bytes = 4, 77
    fetchers.match_config()
    assert sorted(fetchers._fetching) == [FetcherKey(2, number) for number in range(4)]
    assert sorted(key for fetcher in fetchers for key in fetcher.positions) == keys
    fetchers.match_config()
    assert {fetcher.limits.max_bytes for fetcher in fetchers} == {77}


# Times that last, when the clock is set

BACKOFF_MS = 1000


class Fetching(FetchTask):
    """A task that is taken turn by turn, and whose leader cannot be reached."""

    def __init__(self, partition: Partition) -> None:
        self.clock = ManualClock()
        self.asked = 0
        limits = ("max_bytes", "response_max_bytes", "min_bytes", "wait_max_ms")
        context: Any = SimpleNamespace(
            clock=self.clock,
            config=SimpleNamespace(
                **{f"replica_fetch_{name}": 1 for name in limits},
                replica_fetch_backoff_ms=BACKOFF_MS,
                follower_replication_throttled_rate=10,
            ),
            node_id=1,
            replicas=SimpleNamespace(partitions={partition.topic_partition: partition}, quotas=ReplicationQuotas(1)),
            start_task=lambda work: work.close(),
        )
        member: Any = SimpleNamespace(broker_epoch=5)
        super().__init__(context, member, FetcherKey(2, 0))
        self.quota = context.replicas.quotas.follower
        self.fetcher.add(partition)

    async def _ask(self, request: Any) -> Any:
        self.asked += 1
        raise BrokerUnreachableError("nobody is there")

    async def _pause(self, delay_ms: int) -> None: ...

    def turn(self) -> bool:
        """Whether the leader was asked."""
        before = self.asked
        asyncio.run(self._turn())
        return self.asked > before


@pytest.fixture
def fetching(tmp_path: Path) -> Iterator[Fetching]:
    directory = tmp_path / "orders-0"
    directory.mkdir()
    log = PartitionLog.open(str(directory), TopicPartition("orders", 0), LogConfig(), now_ms=0, topic_id=bytes(16))
    partition = Partition(log)
    partition.become_follower(leader_id=2, epoch=0)
    yield Fetching(partition)
    log.close()


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_is_set_makes_a_back_off_no_longer_and_no_shorter(fetching: Fetching, step_ms: int) -> None:
    assert fetching.turn()
    fetching.clock.step_wall(step_ms)
    fetching.clock.advance(BACKOFF_MS - 1)
    assert not fetching.turn()
    fetching.clock.advance(1)
    assert fetching.turn()


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_is_set_makes_a_throttle_no_tighter_and_no_looser(fetching: Fetching, step_ms: int) -> None:
    (partition,) = fetching._context.replicas.partitions.values()
    partition.log.update_config(LogConfig(follower_replication_throttled_replicas=("*",)))
    fetching.quota.record(10_000, fetching.clock.monotonic_ms())
    fetching.clock.step_wall(step_ms)
    assert not fetching.turn()
    fetching.clock.advance(seconds=12)
    assert fetching.turn()
