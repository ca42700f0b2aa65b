"""Where replicas go: the examples of AdminUtils.java, and what holds for every cluster."""

import random
from collections import Counter

import pytest

from kstore.cluster.assignment import Rotation, alternated, assigned, start_after
from kstore.errors import InvalidReplicationFactorError

RACKS = {0: "rack1", 1: "rack3", 2: "rack3", 3: "rack2", 4: "rack2", 5: "rack1"}


def test_brokers_alternate_between_racks() -> None:
    assert alternated(RACKS) == [0, 3, 1, 5, 4, 2]
    assert alternated({0: "a", 1: "a", 2: "a", 3: "b"}) == [0, 3, 1, 2]


def test_kafkas_example_without_racks() -> None:
    found = assigned(10, 3, racks=dict.fromkeys(range(5)), rotation=Rotation())
    assert found == [
        *[(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 0), (4, 0, 1)],
        *[(0, 2, 3), (1, 3, 4), (2, 4, 0), (3, 0, 1), (4, 1, 2)],
    ]


def test_kafkas_example_with_racks() -> None:
    found = assigned(7, 3, racks=RACKS, rotation=Rotation())
    assert found == [(0, 3, 1), (3, 1, 5), (1, 5, 4), (5, 4, 2), (4, 2, 0), (2, 0, 3), (0, 4, 2)]


def test_racks_do_not_count_where_a_broker_has_none() -> None:
    some: dict[int, str | None] = {0: "a", 1: None, 2: "a"}
    assert assigned(3, 2, racks=some, rotation=Rotation()) == [(0, 1), (1, 2), (2, 0)]


def test_more_replicas_than_brokers_are_refused() -> None:
    with pytest.raises(InvalidReplicationFactorError, match="3 replicas need as many brokers, and there are 2"):
        assigned(1, 3, racks={1: None, 2: None}, rotation=Rotation())


def test_partitions_that_are_added_go_on_where_the_topic_ends() -> None:
    racks = dict.fromkeys((1, 2, 3))
    first = assigned(2, 2, racks=racks, rotation=Rotation(1, 1))
    more = assigned(2, 2, racks=racks, rotation=start_after(first[0][0], racks), first=2)
    assert [members[0] for members in first + more] == [2, 3, 1, 2]


@pytest.mark.parametrize("seed", range(50))
def test_replicas_are_spread_over_racks_and_brokers(seed: int) -> None:
    chance = random.Random(seed)
    count, rack_count = chance.randint(1, 12), chance.randint(1, 5)
    brokers = chance.sample(range(100), count)
    racks = {broker: f"r{chance.randrange(rack_count)}" for broker in brokers}
    rotation = Rotation(chance.randrange(count), chance.randrange(count))
    factor = chance.randint(1, count)
    found = assigned(3 * count, factor, racks=racks, rotation=rotation)
    for members in found:
        assert len(set(members)) == factor
        assert len({racks[member] for member in members}) == min(factor, len(set(racks.values())))
    leaders = Counter(members[0] for members in found)
    assert set(leaders.values()) == {3}
