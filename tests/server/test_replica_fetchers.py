"""The table of who is fetched from whom."""

from types import SimpleNamespace
from typing import Any

from kstore.model import TopicPartition
from kstore.server.replica_fetchers import FetcherKey, ReplicaFetchers, fetcher_number


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
