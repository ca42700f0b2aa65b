"""Which replica a consumer is sent to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.replica.leader import Leader
from kstore.replica.read_replica import LEADER_SELECTOR, RACK_AWARE_SELECTOR, SELECTORS, rack_aware_replica
from tests.replica.pair import START, Broker

RACKS = {1: "a", 2: "b", 3: "b", 4: "c"}


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Leader]:
    one = Broker(tmp_path, 1)
    one.lead(0, isr=(1, 2, 3), replicas=(1, 2, 3, 4))
    one.append(b"a", b"b", b"c")
    assert one.partition.leader is not None
    yield one.partition.leader
    one.log.close()


def held(leader: Leader, replica: int, offset: int, *, start: int = 0, monotonic_ms: int = START) -> None:
    leader.fetched(
        replica, offset, log_start_offset=start, leader_end=3, broker_epoch=1, topic_id=b"", monotonic_ms=monotonic_ms
    )


def test_a_follower_in_the_consumers_rack_that_has_most(leader: Leader) -> None:
    held(leader, 2, 2)
    held(leader, 3, 3)
    assert rack_aware_replica(leader, "b", 1, RACKS) == 3
    # Of two that have the same, who has had all last.
    held(leader, 2, 3, monotonic_ms=START + 5)
    assert rack_aware_replica(leader, "b", 1, RACKS) == 2


def test_the_leader_itself_where_it_is_as_near_or_nobody_has_what_is_asked_for(leader: Leader) -> None:
    held(leader, 2, 2, start=1)
    assert rack_aware_replica(leader, "", 1, RACKS) is None
    assert rack_aware_replica(leader, "a", 1, RACKS) is None
    assert rack_aware_replica(leader, "nowhere", 1, RACKS) is None
    assert rack_aware_replica(leader, "b", 3, RACKS) is None
    assert rack_aware_replica(leader, "b", 0, RACKS) is None
    assert rack_aware_replica(leader, "b", 1, {1: "a"}) is None


def test_who_is_not_in_sync_is_not_read_from(leader: Leader) -> None:
    held(leader, 4, 1)
    assert 4 not in leader.isr
    assert rack_aware_replica(leader, "c", 1, RACKS) is None


def test_kafkas_two_selectors_are_known() -> None:
    assert dict(SELECTORS) == {RACK_AWARE_SELECTOR: rack_aware_replica, LEADER_SELECTOR: None}
