"""Where a log ends is found by few questions, however many epochs it lags behind."""

import asyncio
from typing import Any

import pytest

from kstore.cluster.standing import NO_EPOCHS, NO_RECORDS, Doubt, LogEnd
from kstore.errors import NONE, OffsetOutOfRangeError
from kstore.model import EARLIEST_TIMESTAMP, TopicPartition
from kstore.protocol.messages.fetch import FetchRequest, FetchResponse
from kstore.protocol.messages.list_offsets import ListOffsetsResponse
from kstore.server.log_ends import _ask

KEY = TopicPartition("orders", 0)
ID = bytes(15) + b"\x07"


class Replica:
    """A broker with one log: `epochs` are those in it, and the offsets at which they end."""

    def __init__(self, epochs: dict[int, int], *, start: int = 0, end: int = 0) -> None:
        self.epochs = epochs
        self.start, self.end = start, max([end, *epochs.values()])
        self.asked = 0

    async def ask(self, request: Any, version: int, *, timeout_ms: int) -> Any:
        self.asked += 1
        if isinstance(request, FetchRequest):
            return self.fetched(request)
        ((topic),) = request.topics
        ((part),) = topic.partitions
        offset = self.start if part.timestamp == EARLIEST_TIMESTAMP else self.end
        answer = ListOffsetsResponse.ListOffsetsPartitionResponse(partition_index=0, error_code=NONE, offset=offset)
        return ListOffsetsResponse(
            topics=[ListOffsetsResponse.ListOffsetsTopicResponse(name=topic.name, partitions=[answer])]
        )

    def fetched(self, request: Any) -> Any:
        ((topic),) = request.topics
        ((part),) = topic.partitions
        answer = FetchResponse.PartitionData(partition_index=part.partition)
        known = [epoch for epoch in self.epochs if epoch <= part.last_fetched_epoch]
        if not self.epochs or part.last_fetched_epoch > max(self.epochs):
            answer.error_code = OffsetOutOfRangeError.code
        else:
            epoch = max(known) if known else part.last_fetched_epoch
            answer.diverging_epoch = FetchResponse.EpochEndOffset(epoch=epoch, end_offset=self.epochs.get(epoch, 0))
        return FetchResponse(
            responses=[FetchResponse.FetchableTopicResponse(topic_id=topic.topic_id, partitions=[answer])]
        )


def end_of(replica: Replica, leader_epoch: int) -> LogEnd | None:
    found: dict[TopicPartition, LogEnd] = {}
    wanted = {KEY: Doubt(ID, leader_epoch, frozenset({1}))}
    asyncio.run(_ask(replica, wanted, found.__setitem__, timeout_ms=1000))  # type: ignore[arg-type]
    return found.get(KEY)


@pytest.mark.parametrize("behind", [1, 2, 3, 40, 999, 1000])
def test_the_latest_epoch_is_found_however_far_behind_it_is(behind: int) -> None:
    latest = 1000 - behind
    replica = Replica({0: 5, latest // 2: 20, latest: 70})
    assert end_of(replica, 1000) == LogEnd(latest, 70)
    assert replica.asked <= 2 + 2 * behind.bit_length()


def test_a_log_in_one_of_the_newest_epochs_takes_two_or_three_questions() -> None:
    replica = Replica({3: 10, 9: 30})
    assert end_of(replica, 10) == LogEnd(9, 30)
    assert replica.asked == 2


def test_an_empty_log_holds_nothing_wherever_it_begins() -> None:
    assert end_of(Replica({}), 5) == LogEnd(NO_RECORDS, 0)
    assert end_of(Replica({}, start=500, end=500), 5) == LogEnd(NO_RECORDS, 500)


def test_records_without_epochs_are_said_to_be_such() -> None:
    assert end_of(Replica({}, start=3, end=500), 5) == LogEnd(NO_EPOCHS, 500)
