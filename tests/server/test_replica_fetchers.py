"""The table of who is fetched from whom."""

from types import SimpleNamespace
from typing import Any

from kstore.model import TopicPartition
from kstore.server.replica_fetchers import ReplicaFetchers


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

    context: Any = SimpleNamespace(
        replicas=SimpleNamespace(partitions={key: Replica(key) for key in keys}),
        config=SimpleNamespace(**{f"replica_fetch_{name}": 1 for name in limits}),
        node_id=1,
        start_task=start,
    )
    member: Any = SimpleNamespace()
    fetchers = ReplicaFetchers(context, member)
    for key in keys:
        fetchers.add(key, 2)
    for key in keys:
        fetchers._fetching[2].fetcher.remove(key)
    for key in keys:
        fetchers.remove(key)
    assert stopped == [True]
    fetchers.add(keys[0], 2)
    assert list(fetchers._fetching) == [2]
