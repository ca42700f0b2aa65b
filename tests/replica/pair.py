"""Replicas of one partition as plain objects: fetches carried by hand, step by step."""

from pathlib import Path
from typing import Any

from kstore._native.builder import BatchBuilder
from kstore.log.config import LogConfig
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from kstore.protocol.messages.fetch import FetchResponse
from kstore.replica.effects import LowWatermarkMoved
from kstore.replica.fetcher import Fetcher, FetchLimits
from kstore.replica.partition import Partition

KEY = TopicPartition("orders", 0)
ID = bytes(15) + b"\x07"
NOW = 1_700_000_000_000
START = 5_000  # by the monotonic clock
LAG = 30_000


class Broker:
    """One replica of orders-0."""

    def __init__(self, directory: Path, number: int) -> None:
        self.number = number
        self.directory = directory / str(number) / "orders-0"
        self.directory.mkdir(parents=True)
        self.fetcher = Fetcher(0, lambda _key: self.partition, broker_id=number, limits=FetchLimits())
        self.open()

    def open(self, *, clean_shutdown: bool = True) -> None:
        log = PartitionLog.open(
            str(self.directory), KEY, LogConfig(), clean_shutdown=clean_shutdown, now_ms=NOW, topic_id=ID
        )
        self.partition = Partition(log)

    @property
    def log(self) -> PartitionLog:
        return self.partition.log

    def restart(self, high_watermark: int) -> None:
        """With the high watermark that was last written down."""
        self.log.close()
        self.open()
        self.log.update_high_watermark(high_watermark)

    def lead(
        self, epoch: int, *, isr: tuple[int, ...], replicas=(1, 2), partition_epoch: int = 0, monotonic_ms: int = START
    ):
        return self.partition.become_leader(
            broker_id=self.number,
            epoch=epoch,
            replicas=replicas,
            isr=frozenset(isr),
            partition_epoch=partition_epoch,
            alive={1, 2, 3},
            lag_time_max_ms=LAG,
            monotonic_ms=monotonic_ms,
        )

    def follow(self, leader: "Broker", epoch: int) -> tuple:
        effects = self.partition.become_follower(leader_id=leader.number, epoch=epoch)
        self.fetcher.positions.clear()
        self.fetcher.add(self.partition)
        return effects

    def append(self, *values: bytes, acks: int = 1) -> tuple:
        batch = BatchBuilder()
        for value in values:
            batch.append(NOW, None, value)
        data = batch.build()
        return self.partition.append_as_leader(data, 0, len(data), required_acks=acks, now_ms=NOW)[1]

    def fetch(self, leader: "Broker", *, monotonic_ms: int = START, broker_epoch: int = 50) -> tuple:
        """One fetch and its answer; gives the leader's effects, but for those that tell where the follower begins."""
        request = self.fetcher.fetch_request(broker_epoch=broker_epoch, monotonic_ms=monotonic_ms)
        assert request is not None
        (asked,) = request.topics[0].partitions
        partition, effects = leader.partition, ()
        data = FetchResponse.PartitionData(partition_index=0)
        data.high_watermark, data.log_start_offset = leader.log.high_watermark, leader.log.log_start_offset
        partition.leader_for(asked.current_leader_epoch).check_replica(self.number, broker_epoch)
        diverging = partition.diverging_epoch(
            asked.fetch_offset, asked.last_fetched_epoch, current_leader_epoch=asked.current_leader_epoch
        )
        if diverging is not None:
            data.diverging_epoch.epoch, data.diverging_epoch.end_offset = diverging
        else:
            effects = partition.fetched_by(
                self.number,
                asked.fetch_offset,
                log_start_offset=asked.log_start_offset,
                leader_end=leader.log.log_end_offset,
                broker_epoch=broker_epoch,
                monotonic_ms=monotonic_ms,
            )
            found = partition.read(
                asked.fetch_offset,
                max_bytes=1 << 20,
                isolation_level=0,
                min_one_message=True,
                current_leader_epoch=asked.current_leader_epoch,
                replica_id=self.number,
            )
            data.records = found.records if isinstance(found.records, bytes) else found.records.read()
        self.answer(data, monotonic_ms)
        return tuple(effect for effect in effects if type(effect) is not LowWatermarkMoved)

    def answer(self, data: Any, monotonic_ms: int = START) -> tuple:
        topic = FetchResponse.FetchableTopicResponse(topic_id=ID, partitions=[data])
        return self.fetcher.fetched(FetchResponse(responses=[topic]), now_ms=NOW, monotonic_ms=monotonic_ms)

    def content(self) -> bytes:
        return b"".join(file.read_bytes() for file in sorted(self.directory.glob("*.log")))
