"""A leader and a follower as plain objects: fetches carried by hand, step by step."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.errors import NotEnoughReplicasError, NotLeaderOrFollowerError, UnknownLeaderEpochError
from kstore.log.config import LogConfig
from kstore.log.leader_epoch import EpochEndOffset
from kstore.protocol.messages.fetch import FetchResponse
from kstore.protocol.messages.list_offsets import ListOffsetsResponse
from kstore.replica.effects import (
    FollowingBegan,
    FollowingEnded,
    HighWatermarkAdvanced,
    IsrProposed,
    LeadershipEnded,
)
from kstore.replica.truncation import truncation_offset
from tests.replica.pair import ID, KEY, LAG, NOW, START, Broker


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, 1)
    yield broker
    broker.log.close()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, 2)
    yield broker
    broker.log.close()


def test_the_high_watermark_follows_what_the_follower_asks_for(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1, 2))
    assert two.follow(one, 0) == (FollowingBegan(KEY, 1, 0),)
    one.append(b"a", b"b")
    assert two.fetch(one) == ()
    assert (two.log.log_end_offset, one.log.high_watermark, two.log.high_watermark) == (2, 0, 0)
    assert two.fetch(one) == (HighWatermarkAdvanced(KEY, 2),)
    # The answer held the bound of before.
    assert two.log.high_watermark == 0
    two.fetch(one)
    assert two.log.high_watermark == 2
    assert two.content() == one.content()


def test_a_follower_with_an_old_high_watermark_keeps_its_records_and_leads_with_them(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1, 2))
    two.follow(one, 0)
    one.append(b"a")
    one.append(b"b")
    for _ in range(2):
        two.fetch(one)
    assert one.log.high_watermark == 2
    # It restarts before it hears that its second record is committed ...
    two.restart(high_watermark=1)
    two.follow(one, 1)
    # ... and keeps it: nothing is cut but by the leader's word (rule 2).
    assert two.log.log_end_offset == 2
    # The leader is gone before it can be asked. Nothing is lost.
    two.lead(2, isr=(2,))
    assert (two.log.log_end_offset, two.log.high_watermark) == (2, 2)


def test_a_tail_of_an_earlier_epoch_is_cut_where_the_histories_part(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1, 2))
    two.follow(one, 0)
    one.append(b"a")
    two.fetch(one)
    one.append(b"lost")
    two.lead(1, isr=(2,))
    two.append(b"c")
    assert one.follow(two, 1)[0] == LeadershipEnded(KEY)
    one.fetch(two)
    # Only cut: nothing else in that answer counts.
    assert (one.log.log_end_offset, one.log.latest_epoch) == (1, 0)
    one.fetch(two)
    assert one.content() == two.content()


def test_a_new_leader_waits_until_its_followers_have_fetched_in_its_epoch(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1, 2))
    two.follow(one, 0)
    one.append(b"a")
    two.fetch(one)
    two.lead(1, isr=(1, 2))
    assert two.log.high_watermark == 0
    one.follow(two, 1)
    one.fetch(two)
    assert two.log.high_watermark == 1


def test_who_is_reelected_keeps_what_it_knows(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1, 2))
    two.follow(one, 0)
    one.append(b"a")
    two.fetch(one)
    two.fetch(one)
    leader = one.partition.leader
    assert leader is not None
    one.lead(1, isr=(1, 2))
    assert one.partition.leader is not None
    assert one.partition.leader.remote_end_offsets == {2: 1}


def test_a_follower_joins_when_it_has_reached_watermark_and_epoch_start(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1,))
    one.append(b"a", b"b")
    two.follow(one, 0)
    assert two.fetch(one) == ()
    (proposed,) = two.fetch(one)
    assert proposed == IsrProposed(KEY, ID, 0, 0, ((1, -1), (2, 50)))
    # While it is asked for, the follower counts already (rule 21), and nothing else is proposed.
    one.append(b"c", acks=-1)
    assert one.log.high_watermark == 2
    two.fetch(one)
    effects = two.fetch(one)
    assert effects == (HighWatermarkAdvanced(KEY, 3),)
    one.partition.isr_agreed(frozenset({1, 2}), leader_epoch=0, partition_epoch=1)
    assert one.partition.leader is not None
    assert (one.partition.leader.isr, one.partition.leader.partition_epoch) == ({1, 2}, 1)


def test_who_lags_leaves_and_counts_until_the_controller_agrees(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1, 2))
    two.follow(one, 0)
    two.fetch(one)
    one.append(b"a")
    assert one.partition.maybe_shrink_isr(START + LAG) == ()
    (proposed,) = one.partition.maybe_shrink_isr(START + LAG + 1)
    assert proposed.isr == ((1, -1),)
    assert one.partition.maybe_shrink_isr(START + 2 * LAG) == ()
    assert one.log.high_watermark == 0
    assert one.partition.isr_agreed(frozenset({1}), leader_epoch=0, partition_epoch=1) == (
        HighWatermarkAdvanced(KEY, 1),
    )


@pytest.mark.parametrize(
    ("code", "is_pending", "again"), [(107, False, 0), (95, True, 0), (74, True, 0), (-1, True, 1)]
)
def test_what_a_refusal_makes_of_a_proposal(one: Broker, two: Broker, code: int, is_pending: bool, again: int) -> None:
    one.lead(0, isr=(1,))
    two.follow(one, 0)
    (proposed,) = two.fetch(one)
    assert len(one.partition.isr_refused(code, proposed)) == again
    leader = one.partition.leader
    assert leader is not None
    assert (leader.isr_state.proposed is not None) is is_pending
    assert leader.isr == {1}


def test_below_min_insync_replicas_nothing_more_is_committed(one: Broker, two: Broker) -> None:
    one.log.update_config(LogConfig(min_insync_replicas=2))
    one.lead(0, isr=(1,))
    with pytest.raises(NotEnoughReplicasError):
        one.append(b"a", acks=-1)
    one.append(b"a", acks=1)
    assert one.log.high_watermark == 0


def test_a_fetch_of_an_earlier_registration_and_of_no_replica_is_refused(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1,))
    two.follow(one, 0)
    two.fetch(one, broker_epoch=60)
    with pytest.raises(NotLeaderOrFollowerError):
        two.fetch(one, broker_epoch=59)
    leader = one.partition.leader
    assert leader is not None
    with pytest.raises(NotLeaderOrFollowerError):
        leader.check_replica(9, -1)
    # It names our epoch, and may know of an assignment that we do not know yet: it asks again.
    with pytest.raises(UnknownLeaderEpochError):
        leader.check_replica(9, -1, current_leader_epoch=0)


def test_an_answer_to_an_earlier_epoch_changes_nothing(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1, 2))
    one.append(b"a")
    two.follow(one, 0)
    assert two.fetcher.fetch_request(broker_epoch=1, monotonic_ms=START) is not None
    assert two.follow(one, 1)[0] == FollowingEnded(KEY)
    data = FetchResponse.PartitionData(partition_index=0, high_watermark=1, records=one.content())
    two.answer(data)
    assert two.log.log_end_offset == 0


def test_an_answer_that_comes_before_the_fetcher_has_heard_of_the_epoch_changes_nothing(
    one: Broker, two: Broker
) -> None:
    """What is on its way when another epoch begins may be of a history that did not last (rule 10)."""
    one.lead(0, isr=(1, 2))
    one.append(b"a")
    two.follow(one, 0)
    assert two.fetcher.fetch_request(broker_epoch=1, monotonic_ms=START) is not None
    two.partition.become_follower(leader_id=3, epoch=1)
    two.answer(FetchResponse.PartitionData(partition_index=0, high_watermark=1, records=one.content()))
    assert two.log.log_end_offset == 0


def test_the_high_watermark_waits_for_who_is_caught_up_and_about_to_join(one: Broker, two: Broker) -> None:
    """A watermark that ran ahead of it with every append could never be reached (rule 16)."""
    one.lead(0, isr=(1,))
    two.follow(one, 0)
    one.append(b"a")
    two.fetch(one)
    two.fetch(one)
    leader = one.partition.leader
    assert leader is not None
    leader.isr = frozenset({1})  # the controller has refused it for now
    one.append(b"b")
    assert one.log.high_watermark == 1
    # Who has lagged for too long is waited for no more.
    one.partition.maybe_shrink_isr(START + LAG + 1)
    one.append(b"c")
    assert one.log.high_watermark == 3


def test_who_has_not_reached_the_epochs_start_does_not_join(one: Broker, two: Broker) -> None:
    """The watermark of a new leader is old: to have reached it says nothing of what was committed (rule 20)."""
    one.lead(0, isr=(1, 2))
    one.append(b"a", b"b")
    # The third replica, in sync too, had acknowledged them; the new leader has yet to hear so.
    one.lead(1, isr=(1, 3), replicas=(1, 2, 3))
    two.follow(one, 1)
    assert one.log.high_watermark == 0
    assert two.fetch(one) == ()
    assert one.partition.leader is not None
    assert one.partition.leader.isr_state.proposed is None
    (proposed,) = two.fetch(one)
    assert [replica for replica, _ in proposed.isr] == [1, 2, 3]


def test_who_is_not_alive_does_not_join(one: Broker, two: Broker) -> None:
    """A fetch of a broker whose registration is gone may still be on its way (rule 20)."""
    one.lead(0, isr=(1,))
    two.follow(one, 0)
    leader = one.partition.leader
    assert leader is not None
    leader.alive = {1}
    assert two.fetch(one) == ()
    leader.alive = {1, 2}
    assert len(two.fetch(one)) == 1


@pytest.mark.parametrize(("leader_epoch", "partition_epoch"), [(0, 9), (1, 3)], ids=["leader's", "partition's"])
def test_an_agreement_of_an_earlier_epoch_counts_for_nothing(
    one: Broker, leader_epoch: int, partition_epoch: int
) -> None:
    """It may name an ISR that has shrunk since: the watermark would no longer wait for all (rule 22)."""
    one.lead(0, isr=(1, 2))
    one.append(b"a")
    one.lead(1, isr=(1, 2), partition_epoch=4)
    answer = {"leader_epoch": leader_epoch, "partition_epoch": partition_epoch}
    assert one.partition.isr_agreed(frozenset({1}), **answer) == ()
    assert one.partition.leader is not None
    assert (one.partition.leader.isr, one.log.high_watermark) == ({1, 2}, 0)


def test_a_fenced_fetcher_stops_and_one_that_is_ahead_asks_again(one: Broker, two: Broker) -> None:
    two.follow(one, 0)
    two.fetcher.fetch_request(broker_epoch=1, monotonic_ms=START)
    two.answer(FetchResponse.PartitionData(partition_index=0, error_code=75))
    assert two.fetcher.fetch_request(broker_epoch=1, monotonic_ms=START) is None
    assert two.fetcher.fetch_request(broker_epoch=1, monotonic_ms=START + 1000) is not None
    two.answer(FetchResponse.PartitionData(partition_index=0, error_code=74))
    assert two.fetcher.positions == {}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 1, (0, 1)), (5, 9, (5, 5)), (1, 9, (0, 2))],
    ids=["the leader ends earlier", "the leader begins later", "it has what comes next"],
)
def test_an_offset_out_of_range(one: Broker, two: Broker, start: int, end: int, expected: tuple[int, int]) -> None:
    two.lead(0, isr=(2,))
    two.append(b"a")
    two.append(b"b")
    two.follow(one, 1)
    two.fetcher.fetch_request(broker_epoch=1, monotonic_ms=START)
    two.answer(FetchResponse.PartitionData(partition_index=0, error_code=1))
    assert two.fetcher.fetch_request(broker_epoch=1, monotonic_ms=START) is None

    def offsets(offset: int):
        part = ListOffsetsResponse.ListOffsetsPartitionResponse(partition_index=0, offset=offset)
        topic = ListOffsetsResponse.ListOffsetsTopicResponse(name="orders", partitions=[part])
        return ListOffsetsResponse(topics=[topic])

    two.fetcher.bounds_came(offsets(start), offsets(end), now_ms=NOW, monotonic_ms=START)
    assert (two.log.log_start_offset, two.log.log_end_offset) == expected
    assert two.fetcher.positions[KEY].offset == expected[1]


@pytest.mark.parametrize(
    ("leader", "own", "expected"),
    [((3, 10), (3, 8), 8), ((3, 5), (3, 8), 5), ((3, 10), (2, 6), 6), ((3, 10), (-1, -1), 9)],
    ids=["own end", "leader's end", "an epoch that is not known here", "no epochs"],
)
def test_where_to_cut(leader: tuple[int, int], own: tuple[int, int], expected: int) -> None:
    assert truncation_offset(EpochEndOffset(*leader), EpochEndOffset(*own), 9) == expected


def test_a_follower_that_could_not_ask_for_the_bounds_asks_again(tmp_path: Path) -> None:
    """It waited for them, and nothing was fetched any more before the next epoch."""
    leader, follower = Broker(tmp_path, 1), Broker(tmp_path, 2)
    leader.lead(0, isr=(1, 2))
    follower.follow(leader, 0)
    fetcher = follower.fetcher
    assert fetcher.fetch_request(broker_epoch=1, monotonic_ms=START) is not None
    part = FetchResponse.PartitionData(partition_index=0, error_code=1, high_watermark=-1, records=b"")
    topic = FetchResponse.FetchableTopicResponse(topic_id=ID, partitions=[part])
    fetcher.fetched(FetchResponse(responses=[topic]), now_ms=NOW, monotonic_ms=START)
    assert fetcher.bounds_request(-1) is not None
    assert fetcher.fetch_request(broker_epoch=1, monotonic_ms=START) is None
    fetcher.failed(START)
    assert fetcher.bounds_request(-1) is None
    assert fetcher.fetch_request(broker_epoch=1, monotonic_ms=START) is None
    assert fetcher.fetch_request(broker_epoch=1, monotonic_ms=START + fetcher.limits.backoff_ms) is not None


def test_what_flush_messages_wants_on_the_disk_is_named_before_it_is_told_as_held(tmp_path: Path) -> None:
    leader, follower = Broker(tmp_path, 1), Broker(tmp_path, 2)
    leader.lead(0, isr=(1, 2))
    follower.follow(leader, 0)
    follower.log.update_config(LogConfig(flush_messages=2))
    leader.append(b"a")
    follower.fetch(leader)
    assert follower.fetcher.take_unflushed() == []
    leader.append(b"b")
    follower.fetch(leader)
    assert follower.fetcher.take_unflushed() == [follower.partition]
    assert follower.fetcher.take_unflushed() == []


def test_a_follower_whose_batches_below_the_leaders_log_start_are_others_begins_anew(one: Broker, two: Broker) -> None:
    """Both led, and wrote other batches at the same offsets; what the leader has of them was committed and then deleted
    up to the middle of a batch. The follower cut its log there, and was sent the batch from its beginning on, which it
    could not append: it followed no longer (found by the simulator; Kafka does so too)."""
    one.lead(0, isr=(1, 2))
    two.follow(one, 0)
    one.append(b"a")
    two.fetch(one)
    for value in (b"x", b"y", b"z", b"w"):
        one.append(value)
    two.lead(1, isr=(2,))
    two.append(b"b", b"c", b"d")
    two.log.maybe_increment_log_start_offset(3)
    one.follow(two, 1)
    for _ in range(4):
        one.fetch(two)
    assert (one.log.log_start_offset, one.log.log_end_offset) == (3, two.log.log_end_offset) == (3, 4)
    assert one.log.latest_epoch == 1


def test_what_a_damaged_follower_loses_in_its_recovery_it_fetches_again(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1, 2))
    two.follow(one, 0)
    for value in (b"first", b"second", b"third"):
        one.append(value)
        two.fetch(one)
    two.log.close()
    (file,) = two.directory.glob("*.log")
    data = bytearray(file.read_bytes())
    data[data.index(b"second")] ^= 1
    file.write_bytes(data)
    two.open(clean_shutdown=False)
    assert two.log.log_end_offset == 1
    two.follow(one, 1)
    one.lead(1, isr=(1, 2))
    for _ in range(2):
        two.fetch(one)
    assert two.content() == one.content()
    assert two.log.log_end_offset == 3


def test_what_a_damaged_leader_sends_is_not_taken(one: Broker, two: Broker) -> None:
    one.lead(0, isr=(1,))
    two.follow(one, 0)
    one.append(b"whole")
    two.fetch(one)
    one.append(b"damaged")
    (file,) = one.directory.glob("*.log")
    data = bytearray(file.read_bytes())
    data[data.index(b"damaged")] ^= 1
    file.write_bytes(data)
    two.fetch(one)
    assert two.log.log_end_offset == 1
    # It is asked for again, in case that it was damaged on its way.
    assert two.fetcher.fetch_request(broker_epoch=50, monotonic_ms=START) is None
    two.fetch(one, monotonic_ms=START + two.fetcher.limits.backoff_ms)
    assert two.log.log_end_offset == 1
