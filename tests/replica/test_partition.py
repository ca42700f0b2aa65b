"""A partition with one replica: roles, epochs, bounds and effects."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore._native.builder import BatchBuilder
from kstore.errors import (
    FencedLeaderEpochError,
    KafkaStorageError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    UnknownLeaderEpochError,
)
from kstore.log.config import LogConfig
from kstore.log.partition_log import PartitionLog
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, MAX_TIMESTAMP, TopicPartition
from kstore.replica.effects import (
    HighWatermarkAdvanced,
    LeadershipBegan,
    LeadershipEnded,
    LeadershipRenewed,
    LogStartAdvanced,
    LowWatermarkMoved,
    RecordsAppended,
)
from kstore.replica.high_watermark import effective_min_isr, high_watermark
from kstore.replica.leader import EARLIER_LEADER_MS, Leader
from kstore.replica.partition import READ_COMMITTED, READ_UNCOMMITTED, Partition

NOW = 1_700_000_000_000
ME = 1
KEY = TopicPartition("orders", 0)
ID = bytes(15) + b"\x07"


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    directory = tmp_path / "orders-0"
    directory.mkdir()
    log = PartitionLog.open(str(directory), KEY, LogConfig(), now_ms=NOW)
    yield Partition(log)
    log.close()


def lead(partition: Partition, epoch: int = 0, replicas: tuple[int, ...] = (ME,), isr: tuple[int, ...] = (ME,)):
    return partition.become_leader(broker_id=ME, epoch=epoch, replicas=replicas, isr=frozenset(isr))


def append(partition: Partition, *values: bytes, acks: int = 1, timestamp: int = NOW):
    batch = BatchBuilder()
    for number, value in enumerate(values):
        batch.append(timestamp + number, None, value)
    data = batch.build()
    return partition.append_as_leader(data, 0, len(data), required_acks=acks, now_ms=NOW)


def read(partition: Partition, offset: int, *, isolation: int = READ_UNCOMMITTED, epoch: int = -1):
    return partition.read(
        offset, max_bytes=1 << 20, isolation_level=isolation, min_one_message=True, current_leader_epoch=epoch
    )


def test_alone_in_sync_what_is_appended_is_committed_at_once(partition: Partition) -> None:
    lead(partition)
    info, effects = append(partition, b"a", b"b", acks=-1)
    assert (info.first_offset, info.last_offset) == (0, 1)
    assert effects == (HighWatermarkAdvanced(KEY, 2),)
    assert read(partition, 0).records.size > 0


def test_with_a_follower_in_sync_nothing_is_committed_before_it_has_fetched(partition: Partition) -> None:
    lead(partition, replicas=(ME, 2), isr=(ME, 2))
    _, effects = append(partition, b"a")
    assert effects == (RecordsAppended(KEY),)
    assert partition.log.high_watermark == 0
    assert read(partition, 0).records == b""
    assert partition.leader is not None
    partition.leader.remote_end_offsets[2] = 1
    assert partition.leader.advance() == (HighWatermarkAdvanced(KEY, 1),)


def test_acks_all_is_refused_below_min_insync_replicas(partition: Partition) -> None:
    partition.log.update_config(LogConfig(min_insync_replicas=2))
    lead(partition, replicas=(ME, 2), isr=(ME,))
    with pytest.raises(NotEnoughReplicasError):
        append(partition, b"a", acks=-1)
    assert partition.log.log_end_offset == 0
    append(partition, b"a", acks=1)


def test_more_in_sync_replicas_than_there_are_replicas_are_not_asked_for(partition: Partition) -> None:
    partition.log.update_config(LogConfig(min_insync_replicas=3))
    lead(partition)
    append(partition, b"a", acks=-1)
    assert partition.log.log_end_offset == 1


def test_who_does_not_lead_refuses(partition: Partition) -> None:
    with pytest.raises(NotLeaderOrFollowerError):
        append(partition, b"a")
    with pytest.raises(NotLeaderOrFollowerError):
        read(partition, 0)
    with pytest.raises(NotLeaderOrFollowerError):
        partition.delete_records(0)


@pytest.mark.parametrize(("epoch", "error"), [(4, FencedLeaderEpochError), (6, UnknownLeaderEpochError)])
def test_another_epoch_than_ours_is_told_so(partition: Partition, epoch: int, error: type[Exception]) -> None:
    lead(partition, epoch=5)
    with pytest.raises(error):
        read(partition, 0, epoch=epoch)
    with pytest.raises(error):
        partition.list_offset(LATEST_TIMESTAMP, isolation_level=0, current_leader_epoch=epoch)
    with pytest.raises(error):
        partition.epoch_end_offset(5, current_leader_epoch=epoch)
    read(partition, 0, epoch=5)


def test_who_leads_on_in_a_new_epoch_has_not_ceased_to_lead(partition: Partition) -> None:
    """Every change of the ISR by the controller raises the epoch: producers that waited were refused, and groups read
    anew, although nothing was lost."""
    assert lead(partition, epoch=1) == (LeadershipBegan(KEY, 1),)
    assert lead(partition, epoch=2) == (LeadershipRenewed(KEY, 2),)
    assert partition.leader is not None
    assert (partition.leader.epoch, partition.leader.since_epoch) == (2, 1)
    assert partition.resign() == (LeadershipEnded(KEY),)
    assert partition.resign() == ()
    assert lead(partition, epoch=5) == (LeadershipBegan(KEY, 5),)
    assert partition.leader.since_epoch == 5


def test_who_missed_an_epoch_leads_as_if_it_had_not_before(partition: Partition) -> None:
    """Another broker may have led in it and had the followers cut what they told to hold: an old word of theirs raised
    the high watermark, and acknowledged what only the leader had."""
    both = (ME, 2)
    lead(partition, epoch=5, replicas=both, isr=both)
    assert partition.leader is not None
    partition.leader.remote_end_offsets[2] = 7
    assert lead(partition, epoch=7, replicas=both, isr=both) == (LeadershipEnded(KEY), LeadershipBegan(KEY, 7))
    assert partition.leader.remote_end_offsets == {2: -1}
    assert partition.leader.since_epoch == 7


def send(partition: Partition, sequence: int, *, producer_id: int = 3000) -> None:
    batch = BatchBuilder(producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
    batch.append(NOW, None, b"x")
    data = batch.build()
    partition.append_as_leader(data, 0, len(data), required_acks=1, now_ms=NOW)


def lead_after_another(partition: Partition, epoch: int, *, monotonic_ms: int = 1000) -> Leader:
    partition.become_leader(
        broker_id=ME, epoch=epoch, replicas=(ME, 2), isr=frozenset({ME}), alive={ME, 2}, monotonic_ms=monotonic_ms
    )
    assert partition.leader is not None
    return partition.leader


def test_a_producers_first_batch_comes_first_to_a_new_leader(partition: Partition) -> None:
    """Its second was taken, the first refused when it came again from the leader before; the client then began a new
    epoch and sent all once more: twice."""
    lead_after_another(partition, 3)
    with pytest.raises(NotLeaderOrFollowerError, match="producer 3000 sent sequence 1"):
        send(partition, 1)
    with pytest.raises(KafkaStorageError, match="sequence 2 behind 1"):
        send(partition, 2)
    assert partition.log.log_end_offset == 0
    for sequence in (0, 1, 2):
        send(partition, sequence)
    assert partition.log.log_end_offset == 3


def test_a_producer_that_may_have_been_forgotten_is_not_kept_out(partition: Partition) -> None:
    """(KIP-360)"""
    leader = lead_after_another(partition, 3)
    leader.maybe_shrink(ID, 1000 + EARLIER_LEADER_MS - 1)
    with pytest.raises(NotLeaderOrFollowerError):
        send(partition, 7)
    leader = lead_after_another(partition, 4, monotonic_ms=1000 + EARLIER_LEADER_MS - 1)
    leader.maybe_shrink(ID, 1000 + EARLIER_LEADER_MS)
    send(partition, 7)


def test_what_was_refused_of_a_producer_comes_first_also_when_time_is_over(partition: Partition) -> None:
    """What was on its way behind it was taken, and it was a gap when it came again."""
    leader = lead_after_another(partition, 3)
    with pytest.raises(NotLeaderOrFollowerError):
        send(partition, 1)
    leader.maybe_shrink(ID, 1000 + EARLIER_LEADER_MS)
    with pytest.raises(KafkaStorageError):
        send(partition, 2)
    for sequence in (0, 1, 2):
        send(partition, sequence)
    assert partition.log.log_end_offset == 3


@pytest.mark.parametrize(("epoch", "replicas"), [(0, (ME, 2)), (3, (ME,))], ids=["the first", "the only one"])
def test_where_nobody_led_before_any_sequence_may_come_first(
    partition: Partition, epoch: int, replicas: tuple[int, ...]
) -> None:
    partition.become_leader(broker_id=ME, epoch=epoch, replicas=replicas, isr=frozenset({ME}), alive={ME, 2})
    send(partition, 7)


def test_an_epoch_begins_where_the_log_ended_when_it_was_elected(partition: Partition) -> None:
    lead(partition, epoch=3)
    append(partition, b"a")
    lead(partition, epoch=4)
    assert partition.epoch_end_offset(4, current_leader_epoch=4) == (4, 1)
    lead(partition, epoch=7)
    append(partition, b"b")
    # Epoch 4 wrote nothing and gives way to the one that begins at the same offset.
    assert partition.epoch_end_offset(3, current_leader_epoch=7) == (3, 1)
    assert partition.epoch_end_offset(5, current_leader_epoch=7) == (3, 1)
    assert partition.epoch_end_offset(7, current_leader_epoch=7) == (7, 2)


def test_a_reader_from_another_history_is_shown_where_it_parted(partition: Partition) -> None:
    lead(partition, epoch=3)
    append(partition, b"a", b"b")
    lead(partition, epoch=5)
    append(partition, b"c")
    assert diverging(partition, 2, 3) is None
    assert diverging(partition, 3, 3) == (3, 2)
    assert diverging(partition, 2, 4) == (3, 2)
    assert diverging(partition, 9, 4) == (3, 2)
    assert diverging(partition, 2, -1) is None


def test_a_reader_from_an_unknown_epoch_is_out_of_range(partition: Partition) -> None:
    lead(partition, epoch=3)
    append(partition, b"a", b"b")
    with pytest.raises(OffsetOutOfRangeError):
        diverging(partition, 2, 7)
    # Before the first epoch that is known everything parted.
    assert diverging(partition, 2, 2) == (2, 0)


def diverging(partition: Partition, offset: int, epoch: int) -> tuple[int, int] | None:
    return partition.diverging_epoch(offset, epoch, current_leader_epoch=-1)


def test_reading_beyond_the_ends_is_out_of_range(partition: Partition) -> None:
    lead(partition)
    append(partition, b"a")
    assert read(partition, 1).records == b""
    with pytest.raises(OffsetOutOfRangeError):
        read(partition, 2)
    with pytest.raises(OffsetOutOfRangeError):
        read(partition, -1)


def test_offsets_are_found_by_time_and_by_their_names(partition: Partition) -> None:
    lead(partition, epoch=2)
    append(partition, b"a", b"b", timestamp=NOW)
    append(partition, b"c", timestamp=NOW + 1000)

    def find(timestamp: int):
        return partition.list_offset(timestamp, isolation_level=READ_UNCOMMITTED, current_leader_epoch=-1)

    assert find(LATEST_TIMESTAMP) == (-1, 3, 2)
    assert find(EARLIEST_TIMESTAMP) == (-1, 0, 2)
    assert find(MAX_TIMESTAMP) == (NOW + 1000, 2, 2)
    assert find(NOW + 1) == (NOW + 1, 1, 2)
    assert find(NOW + 2) == (NOW + 1000, 2, 2)
    assert find(NOW + 1001) is None


def test_a_record_above_the_high_watermark_is_not_found_by_time(partition: Partition) -> None:
    lead(partition)
    append(partition, b"a")
    lead(partition, epoch=1, replicas=(ME, 2), isr=(ME, 2))
    append(partition, b"b", timestamp=NOW + 5)
    assert partition.list_offset(NOW + 5, isolation_level=READ_COMMITTED, current_leader_epoch=-1) is None


def test_a_new_leader_whose_high_watermark_is_behind_does_not_name_the_end(partition: Partition) -> None:
    lead(partition, replicas=(ME, 2), isr=(ME, 2))
    append(partition, b"a")
    lead(partition, epoch=1, replicas=(ME, 2), isr=(ME, 2))
    with pytest.raises(OffsetNotAvailableError):
        partition.list_offset(LATEST_TIMESTAMP, isolation_level=0, current_leader_epoch=-1)
    with pytest.raises(OffsetNotAvailableError):
        partition.list_offset(NOW, isolation_level=0, current_leader_epoch=-1)
    assert partition.list_offset(EARLIEST_TIMESTAMP, isolation_level=0, current_leader_epoch=-1) is not None


def test_deleted_records_are_gone_and_told_of_once(partition: Partition) -> None:
    lead(partition)
    append(partition, b"a", b"b", b"c")
    assert partition.delete_records(2) == (2, (LogStartAdvanced(KEY, 2),))
    # What is gone need not go again.
    assert partition.delete_records(1) == (1, ())
    assert partition.low_watermark == 2
    assert partition.delete_records(-1) == (3, (LogStartAdvanced(KEY, 3),))
    with pytest.raises(OffsetOutOfRangeError):
        partition.delete_records(4)
    with pytest.raises(OffsetOutOfRangeError):
        read(partition, 0)


def test_the_arithmetic() -> None:
    assert high_watermark([7, 5, 9]) == 5
    assert effective_min_isr(3, 1) == 1
    assert effective_min_isr(1, 3) == 1


def test_a_broker_on_its_own_shows_what_it_takes_whatever_a_topic_once_wanted(partition: Partition) -> None:
    """A directory of a larger cluster: min.insync.replicas says 2, and there is only one."""
    partition.log.update_config(LogConfig(min_insync_replicas=2))
    lead(partition, replicas=(ME, 2, 3))
    append(partition, b"a", acks=1)
    assert partition.log.high_watermark == 1
    with pytest.raises(NotEnoughReplicasError):
        append(partition, b"b", acks=-1)


def test_a_follower_is_told_where_the_log_ends_and_a_consumer_what_is_committed(partition: Partition) -> None:
    """An empty follower below min.insync.replicas was told the high watermark, cut its log there, and never caught up
    with what held the watermark back."""
    partition.log.update_config(LogConfig(min_insync_replicas=2))
    partition.become_leader(broker_id=ME, epoch=3, replicas=(ME, 2), isr=frozenset({ME}), alive={ME, 2})
    append(partition, b"a", b"b")
    assert partition.log.high_watermark == 0

    def latest(replica_id: int):
        return partition.list_offset(LATEST_TIMESTAMP, isolation_level=0, current_leader_epoch=3, replica_id=replica_id)

    assert latest(-1) == (-1, 0, 3)
    assert latest(2) == (-1, 2, 3)
    assert latest(-2) == (-1, 2, 3)
    with pytest.raises(UnknownLeaderEpochError):
        latest(9)
    with pytest.raises(UnknownLeaderEpochError):
        partition.epoch_end_offset(3, current_leader_epoch=3, replica_id=9)
    assert partition.epoch_end_offset(3, current_leader_epoch=3, replica_id=2) == (3, 2)


def test_a_new_leader_does_not_keep_the_end_of_its_log_from_its_followers(partition: Partition) -> None:
    lead(partition, replicas=(ME, 2), isr=(ME, 2))
    append(partition, b"a")
    lead(partition, epoch=1, replicas=(ME, 2), isr=(ME, 2))
    with pytest.raises(OffsetNotAvailableError):
        partition.list_offset(LATEST_TIMESTAMP, isolation_level=0, current_leader_epoch=1)
    assert partition.list_offset(LATEST_TIMESTAMP, isolation_level=0, current_leader_epoch=1, replica_id=2) == (
        -1,
        1,
        1,
    )


def test_a_follower_serves_consumers_up_to_its_high_watermark(partition: Partition) -> None:
    lead(partition, epoch=1)
    append(partition, b"a")
    append(partition, b"b")
    partition.become_follower(leader_id=2, epoch=2)
    partition.log.update_high_watermark(1)

    def read_here(offset: int, epoch: int = -1):
        return partition.read(
            offset,
            max_bytes=100,
            isolation_level=0,
            min_one_message=True,
            current_leader_epoch=epoch,
            leader_only=False,
        )

    assert read_here(0).records.size > 0
    assert read_here(1).records == b""
    assert read_here(2).records == b""
    with pytest.raises(OffsetOutOfRangeError):
        read_here(3)
    with pytest.raises(FencedLeaderEpochError):
        read_here(0, epoch=1)
    with pytest.raises(UnknownLeaderEpochError):
        read_here(0, epoch=3)
    with pytest.raises(NotLeaderOrFollowerError):
        read(partition, 0)


def test_the_low_watermark_is_that_of_the_replica_alive_that_begins_first(partition: Partition) -> None:
    alive = {ME, 2}
    partition.become_leader(broker_id=ME, epoch=0, replicas=(ME, 2, 3), isr=frozenset({ME}), alive=alive)
    append(partition, b"a", b"b")
    assert partition.delete_records(-1)[0] == 2
    # Broker 2 has not said yet where it begins; broker 3 is not waited for.
    assert partition.low_watermark == -1
    for start in (0, 2):
        effects = partition.fetched_by(2, 2, log_start_offset=start, leader_end=2, broker_epoch=5, monotonic_ms=0)
        assert LowWatermarkMoved(KEY) in effects
        assert partition.low_watermark == start
    assert LowWatermarkMoved(KEY) not in partition.fetched_by(
        2, 2, log_start_offset=2, leader_end=2, broker_epoch=5, monotonic_ms=0
    )
    alive.add(3)
    assert partition.low_watermark == -1


def test_what_is_missing_of_a_partition_is_told(partition: Partition) -> None:
    partition.log.update_config(LogConfig(min_insync_replicas=2))

    def told():
        return partition.is_under_replicated, partition.is_under_min_isr, partition.is_at_min_isr

    assert told() == (False, False, False)
    for isr, expected in (
        ((ME, 2, 3), (False, False, False)),
        ((ME, 2), (True, False, True)),
        ((ME,), (True, True, False)),
    ):
        partition.become_leader(broker_id=ME, epoch=0, replicas=(ME, 2, 3), isr=frozenset(isr), alive={ME, 2, 3})
        assert told() == expected
