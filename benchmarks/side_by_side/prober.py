"""A producer that wants one thing: the next acknowledgement (acks=all), with a back-off of 10 ms.

As Kafka's own producer it asks each leader once for all partitions that wait, and for metadata whenever a leader is not
there or is none any more; unlike a client for users it does nothing else, so that what is measured is the cluster.
"""

import threading
import time
from typing import Any

from benchmarks.side_by_side.cluster import Cluster
from kstore.cli.errors import CommandError
from kstore.cli.wire import METADATA_VERSION, Link
from kstore.protocol.messages.metadata import MetadataRequest
from kstore.protocol.messages.produce import ProduceRequest
from tests.judge.wire_client import batch

BACK_OFF_S = 0.010
PRODUCE_VERSION = 9
TIMEOUT_S = 30.0
GONE = (OSError, CommandError)


class Prober:
    """`away` is a broker that is not asked any more."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._addresses = {number: ("127.0.0.1", broker.port) for number, broker in cluster.brokers.items()}
        self._topic = topic
        self._links: dict[int, Link] = {}
        self._leaders: dict[int, int] = {}
        self._records = batch([(int(time.time() * 1000), None, b"x" * 100)])
        self.away: int | None = None

    def first_acks(self, partitions: list[int]) -> dict[int, float]:
        """When each partition acknowledged a record for the first time from now on."""
        waiting, acks = set(partitions), dict[int, float]()
        deadline = time.monotonic() + TIMEOUT_S
        while waiting and time.monotonic() < deadline:
            self._look()
            by_leader: dict[int, list[int]] = {}
            for partition in sorted(waiting):
                by_leader.setdefault(self._leaders.get(partition, -1), []).append(partition)
            for leader, asked in by_leader.items():
                done = self._produce(leader, asked)
                acks.update(dict.fromkeys(done, time.monotonic()))
                waiting.difference_update(done)
            if waiting:
                time.sleep(BACK_OFF_S)
        if waiting:
            raise RuntimeError(
                f"partitions {sorted(waiting)[:5]} of {self._topic} acknowledge nothing for {TIMEOUT_S:g} s"
            )
        return acks

    def next_ack(self, partition: int) -> float:
        """When the next record is acknowledged, sent to the leader that is known as long as it is one."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            if self._produce(self._leaders.get(partition, -1), [partition]):
                return time.monotonic()
            time.sleep(BACK_OFF_S)
            self._look()
        raise RuntimeError(f"{self._topic}-{partition} acknowledges nothing for {TIMEOUT_S:g} s")

    def _look(self) -> None:
        """Metadata, of the first broker that answers."""
        wanted = [MetadataRequest.MetadataRequestTopic(name=self._topic)]
        request = MetadataRequest(topics=wanted, allow_auto_topic_creation=False)
        for number in self._addresses:
            if number == self.away:
                continue
            try:
                (topic,) = self._link(number).ask(request, METADATA_VERSION).topics
            except GONE:
                self._forget(number)
                continue
            self._leaders = {each.partition_index: each.leader_id for each in topic.partitions}
            return

    def _produce(self, leader: int, partitions: list[int]) -> list[int]:
        """Those that acknowledged."""
        if leader < 0 or leader == self.away:
            return []
        data = [ProduceRequest.PartitionProduceData(index=index, records=self._records) for index in partitions]
        topics = [ProduceRequest.TopicProduceData(name=self._topic, partition_data=data)]
        request = ProduceRequest(acks=-1, timeout_ms=int(TIMEOUT_S * 1000), topic_data=topics)
        try:
            answer: Any = self._link(leader).ask(request, PRODUCE_VERSION)
        except GONE:
            self._forget(leader)
            return []
        return [each.index for topic in answer.responses for each in topic.partition_responses if each.error_code == 0]

    def _link(self, number: int) -> Link:
        if number not in self._links:
            self._links[number] = Link(self._addresses[number], TIMEOUT_S)
        return self._links[number]

    def _forget(self, number: int) -> None:
        link = self._links.pop(number, None)
        if link is not None:
            link.close()

    def close(self) -> None:
        for number in list(self._links):
            self._forget(number)


class Steady(threading.Thread):
    """Writes one record after the other to a partition; `acks` are the times of all acknowledgements."""

    def __init__(self, cluster: Cluster, topic: str, partition: int) -> None:
        super().__init__(daemon=True)
        self._prober = Prober(cluster, topic)
        self._partition = partition
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self.acks: list[float] = []

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                self.acks.append(self._prober.next_ack(self._partition))
        except RuntimeError as error:
            self._failure = error
        finally:
            self._prober.close()

    def wait_for_acks(self, count: int) -> None:
        """Until there are so many more."""
        wanted = len(self.acks) + count
        while len(self.acks) < wanted:
            if not self.is_alive():
                raise self._failure or RuntimeError("it has ended")
            time.sleep(BACK_OFF_S)

    def forget(self) -> None:
        """All acknowledgements but the last."""
        del self.acks[:-1]

    def longest_gap(self) -> float:
        """Ends it; the longest time between two acknowledgements."""
        self._ended.set()
        self.join()
        if self._failure is not None:
            raise self._failure
        return max(after - before for before, after in zip(self.acks, self.acks[1:], strict=False))
