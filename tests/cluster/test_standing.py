"""The last replica in sync comes back, and leads if nobody holds more (rule 26)."""

import pytest

from kstore.cluster.image import BrokerImage, PartitionImage
from kstore.cluster.standing import (
    LogEnd,
    Standing,
    elect_longest,
    elect_longest_unclean,
    has_to_wait,
    incarnations_after,
    is_doubtful,
    standing_of,
)

# Broker 1 was alone in sync, and led in epoch 4.
LOST = PartitionImage((1, 2, 3), isr=(1,), leader=-1, leader_epoch=5, partition_epoch=7)
NOTHING = frozenset[int]()
UNKNOWN = Standing(NOTHING, NOTHING)
END = LogEnd(4, 100)


def broken(*replicas: int) -> Standing:
    return Standing(NOTHING, frozenset(replicas))


def brokers(**incarnations: str) -> dict[int, BrokerImage]:
    """`b1="a"` is broker 1 in incarnation a, registered as number 101."""
    return {
        int(name[1:]): BrokerImage(int(name[1:]), (), None, 100 + int(name[1:]), of)
        for name, of in incarnations.items()
    }


def test_who_is_not_known_is_doubted_when_it_came_a_moment_ago_and_others_are_there() -> None:
    assert is_doubtful(LOST, electable={1, 2}, came={1}, standing=UNKNOWN)
    assert not is_doubtful(LOST, electable={1, 2}, came=(), standing=UNKNOWN)
    assert not is_doubtful(LOST, electable={1}, came={1}, standing=UNKNOWN)
    assert not is_doubtful(LOST, electable={2, 3}, came={2, 3}, standing=UNKNOWN)
    # Another one in sync was there all the time.
    assert not is_doubtful(LOST._replace(isr=(1, 2)), electable={1, 2, 3}, came={1}, standing=UNKNOWN)


def test_who_has_lost_nothing_is_not_doubted() -> None:
    assert not is_doubtful(LOST, electable={1, 2}, came={1}, standing=Standing(frozenset({1}), NOTHING))
    both = LOST._replace(isr=(1, 2))
    assert not is_doubtful(both, electable={1, 2}, came={1, 2}, standing=Standing(frozenset({2}), frozenset({1})))


def test_who_may_have_lost_records_is_doubted_whoever_is_there_and_however_long_ago_it_came() -> None:
    assert is_doubtful(LOST, electable={1}, came=(), standing=broken(1))
    assert not is_doubtful(LOST, electable={2}, came=(), standing=broken(1))
    # There is nobody else that could hold more.
    assert not is_doubtful(LOST._replace(replicas=(1,)), electable={1}, came={1}, standing=broken(1))


def test_replicas_are_whole_in_the_incarnation_in_which_they_came_into_sync() -> None:
    state = LOST._replace(isr=(1, 2, 3), incarnations={1: "a", 2: "b"})
    assert standing_of(state, brokers(b1="a", b2="c", b3="d")) == Standing(frozenset({1}), frozenset({2}))
    # Kafka does not say it, and who is away neither.
    assert standing_of(state, brokers(b2="")) == UNKNOWN


def test_a_replica_stays_in_sync_as_what_it_was() -> None:
    before = LOST._replace(leader=1, isr=(1, 2), incarnations={1: "a", 2: "b"})
    after = before._replace(isr=(1, 2, 3))
    # Broker 2 has come back, and the controller has not seen it yet; broker 3 comes into sync.
    assert incarnations_after(before, after, brokers(b1="a", b2="x", b3="c")) == {1: "a", 2: "b", 3: "c"}
    elected = before._replace(leader=2, isr=(2,))
    assert incarnations_after(before, elected, brokers(b1="a", b2="x")) == {2: "x"}


def test_of_a_state_that_kafka_wrote_it_is_known_who_was_there_all_the_time() -> None:
    before = LOST._replace(leader=1, isr=(1, 2, 3), written=103)
    assert incarnations_after(before, before, brokers(b1="a", b2="b", b3="c")) == {1: "a", 2: "b"}
    assert incarnations_after(before._replace(written=-1), before, brokers(b1="a", b2="b", b3="c")) == {}


@pytest.mark.parametrize(
    ("answered", "lost", "min_in_sync", "waits"),
    [
        # Broker 3 may be the only one of two that has kept what was acknowledged.
        ((1, 2), 1, 2, True),
        ((1, 2, 3), 1, 2, False),
        ((2, 3), 1, 2, True),
        # One copy was promised, and it was this one; or no promise at all.
        ((1, 2), 1, 1, False),
        ((1, 2), 1, 0, False),
        # As many are lost as there were copies: nobody can promise anything.
        ((1, 2), 2, 2, False),
        ((1, 2), 2, 3, True),
        # Of Kafka's brokers it is not known.
        ((1, 2), 0, 2, False),
    ],
)
def test_who_may_be_the_only_holder_is_waited_for(
    answered: tuple[int, ...], lost: int, min_in_sync: int, waits: bool
) -> None:
    assert has_to_wait(LOST, dict.fromkeys(answered, END), lost=lost, min_in_sync=min_in_sync) is waits


def test_two_replicas_cannot_hold_three_copies() -> None:
    state = LOST._replace(replicas=(1, 2), isr=(1, 2))
    assert not has_to_wait(state, {1: END}, lost=2, min_in_sync=3)


@pytest.mark.parametrize(
    ("ends", "leader", "isr"),
    [
        ({1: (4, 100), 2: (4, 90), 3: (3, 200)}, 1, (1,)),
        # Equal is not more.
        ({1: (4, 100), 2: (4, 100)}, 1, (1,)),
        ({1: (4, 100), 2: (4, 120), 3: (4, 110)}, 2, (2,)),
        # An earlier epoch may end in what was never committed.
        ({1: (3, 50), 2: (2, 500), 3: (4, 40)}, 3, (3,)),
        ({1: (-1, 0), 2: (0, 10)}, 2, (2,)),
        # Who does not answer holds nothing, as far as anybody knows; who is in sync has to be compared with.
        ({2: (4, 120)}, 1, (1,)),
        ({}, 1, (1,)),
        # In epoch 5 nobody led: this does not speak of records.
        ({1: (4, 100), 2: (5, 120)}, 1, (1,)),
        # Records without epochs cannot be compared; an empty log holds less than any, wherever it begins.
        ({1: (4, 100), 2: (-2, 120)}, 1, (1,)),
        ({1: (-1, 500), 2: (0, 10)}, 2, (2,)),
    ],
)
def test_the_longest_log_leads(ends: dict[int, tuple[int, int]], leader: int, isr: tuple[int, ...]) -> None:
    told = {replica: LogEnd(*end) for replica, end in ends.items()}
    elected = elect_longest(LOST, told, electable={1, 2, 3})
    assert elected is not None
    assert (elected.leader, elected.isr, elected.leader_epoch) == (leader, isr, 6)


def test_of_several_in_sync_the_longest_leads_and_the_others_have_to_catch_up() -> None:
    both = LOST._replace(isr=(1, 2))
    elected = elect_longest(both, {1: LogEnd(4, 90), 2: LogEnd(4, 100), 3: LogEnd(4, 95)}, electable={1, 2, 3})
    assert elected is not None
    assert (elected.leader, elected.isr) == (2, (2,))


@pytest.mark.parametrize(
    ("ends", "leader"),
    [
        ({2: (4, 90), 3: (4, 100)}, 3),
        ({2: (3, 500), 3: (4, 100)}, 3),
        # Of equals the first one.
        ({2: (4, 90), 3: (4, 90)}, 2),
        ({2: (-1, 500), 3: (-1, 0)}, 2),
        # Whoever has not said what it holds may hold something.
        ({2: (-1, 0)}, 3),
        ({3: (0, 1)}, 3),
        ({2: (-1, 7), 3: (-2, 120)}, 3),
        ({}, 2),
    ],
)
def test_out_of_sync_the_longest_log_leads_too(ends: dict[int, tuple[int, int]], leader: int) -> None:
    told = {replica: LogEnd(*end) for replica, end in ends.items()}
    elected = elect_longest_unclean(LOST, told, electable={2, 3})
    assert elected is not None
    assert (elected.leader, elected.isr, elected.leader_epoch) == (leader, (leader,), 6)
    assert elected.leader_recovery_state == 1
    assert elect_longest_unclean(LOST, told, electable=set()) is None
