"""What a follower takes over from its leader: checked as one batch after the other would be."""

import random

import pytest

from kstore._native.batch import iter_batches
from kstore._native.replicated import ReplicatedBatches
from kstore.errors import CorruptRecordError, UnsupportedForMessageFormatError
from tests.log.build import NOW, batch

ANY_EPOCH = 2**31 - 1


def stream(seed: int) -> bytearray:
    """Batches as logs have them: gaps, epochs that rise or are not known, producers, timestamps up and down."""
    chance = random.Random(seed)
    data = bytearray()
    offset, epoch = chance.randrange(5), chance.randrange(3)
    for _ in range(chance.randrange(1, 30)):
        count = chance.randrange(1, 5)
        epoch += chance.random() < 0.2
        data += batch(
            count,
            base_offset=offset,
            leader_epoch=-1 if chance.random() < 0.1 else epoch,
            timestamp=NOW + chance.randrange(-50, 50),
            producer_id=chance.choice([-1, -1, 7]),
            value=b"v" * chance.randrange(200),
        )
        offset += count + chance.choice([0, 0, 3])
    return data


@pytest.mark.parametrize("seed", range(40))
def test_the_same_is_found_as_in_one_batch_after_the_other(seed: int) -> None:
    data = stream(seed)
    each = list(iter_batches(data))
    found = ReplicatedBatches(data, next_offset=0, max_leader_epoch=ANY_EPOCH)
    assert found.misplaced is None
    assert found.size_in_bytes == len(data)
    assert (found.first_offset, found.next_offset) == (each[0].base_offset, each[-1].next_offset)
    assert found.max_timestamp == max(item.max_timestamp for item in each)
    assert found.last_leader_epoch == each[-1].partition_leader_epoch
    assert [item.position for item in found.with_producer] == [item.position for item in each if item.producer_id >= 0]
    before = [None, *(item.partition_leader_epoch for item in each)]
    assert found.epochs == [
        (item.partition_leader_epoch, item.base_offset)
        for item, last in zip(each, before, strict=False)
        if item.partition_leader_epoch not in (-1, last)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_indexes_are_told_what_each_batch_would_tell_them(seed: int) -> None:
    data = stream(seed)
    since, interval, max_timestamp, offset_of_max = 100, 300, NOW - 10, 77
    found = ReplicatedBatches(data, next_offset=0, max_leader_epoch=ANY_EPOCH)
    told = found.index_points(5000, since, interval, max_timestamp, offset_of_max)
    points = []
    for item in iter_batches(data):
        if item.max_timestamp > max_timestamp:
            max_timestamp, offset_of_max = item.max_timestamp, item.last_offset
        if since > interval:
            points.append((item.last_offset, 5000 + item.position, max_timestamp, offset_of_max))
            since = 0
        since += item.size_in_bytes
    assert told == (points, since, max_timestamp, offset_of_max)


def test_every_bit_that_a_crc_covers_is_checked_in_every_batch() -> None:
    data = batch(base_offset=0) + batch(base_offset=1) + batch(base_offset=2)
    starts = [item.position for item in iter_batches(data)]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        for place in range(start + 17, end):
            damaged = bytearray(data)
            damaged[place] ^= 1 << place % 8
            with pytest.raises(CorruptRecordError) as caught:
                ReplicatedBatches(damaged, next_offset=0, max_leader_epoch=ANY_EPOCH)
            assert caught.value.position == start


def test_wherever_it_is_torn_the_whole_batches_before_are_taken() -> None:
    data = batch(base_offset=0) + batch(base_offset=1)
    first = len(data) // 2
    for end in range(len(data) + 1):
        found = ReplicatedBatches(bytes(data[:end]), next_offset=0, max_leader_epoch=ANY_EPOCH)
        assert found.size_in_bytes == end // first * first
        # The same within a larger buffer.
        found = ReplicatedBatches(b"before" + data, 6, 6 + end, next_offset=0, max_leader_epoch=ANY_EPOCH)
        assert (found.position, found.size_in_bytes) == (6, end // first * first)


def test_nothing_is_taken_of_nothing() -> None:
    found = ReplicatedBatches(b"", next_offset=5, max_leader_epoch=0)
    assert (found.size_in_bytes, found.first_offset, found.next_offset) == (0, -1, 5)
    assert (found.max_timestamp, found.last_leader_epoch, found.epochs, found.with_producer) == (-1, -1, [], [])
    assert found.index_points(0, 7, 4096, -1, 0) == ([], 7, -1, 0)


def test_a_length_or_a_format_that_no_batch_has_is_refused() -> None:
    short = batch()
    short[8:12] = (10).to_bytes(4, "big")
    with pytest.raises(CorruptRecordError):
        ReplicatedBatches(batch(base_offset=0) + short, next_offset=0, max_leader_epoch=ANY_EPOCH)
    old = batch()
    old[16] = 1
    with pytest.raises(UnsupportedForMessageFormatError):
        ReplicatedBatches(old, next_offset=0, max_leader_epoch=ANY_EPOCH)


def test_a_batch_of_a_later_epoch_ends_it_and_need_not_be_right() -> None:
    later = batch(base_offset=1, leader_epoch=3)
    later[-1] ^= 1
    found = ReplicatedBatches(batch(base_offset=0, leader_epoch=2) + later, next_offset=0, max_leader_epoch=2)
    assert (found.next_offset, found.misplaced) == (1, None)


def test_a_batch_that_may_not_follow_is_told() -> None:
    found = ReplicatedBatches(batch(2, base_offset=4) + batch(base_offset=5), next_offset=4, max_leader_epoch=0)
    assert found.misplaced is not None
    assert (found.misplaced.base_offset, found.next_offset) == (5, 6)


def test_limits_outside_of_the_buffer_are_refused() -> None:
    data = batch()
    for position, limit in ((-1, -1), (0, len(data) + 1), (5, 4)):
        with pytest.raises(ValueError, match="is not within a buffer"):
            ReplicatedBatches(data, position, limit, next_offset=0, max_leader_epoch=0)


def test_records_stay_where_they_are_while_it_lives() -> None:
    data = batch()
    found = ReplicatedBatches(data, next_offset=0, max_leader_epoch=0)
    with pytest.raises(BufferError):
        data.clear()
    assert found.next_offset == 1
    with pytest.raises(TypeError):
        found.__init__(b"", next_offset=0, max_leader_epoch=0)  # type: ignore[misc]
    del found
    data.clear()
