"""Replicas spread over brokers: even, on as many racks as there are, and moved as little as that takes."""

import random
from collections import Counter

import pytest

from kstore.cli.placement import Key, Placement, spread

NO_RACKS: dict[int, str | None] = {}


def topic_over(brokers: list[int], partitions: int, copies: int) -> dict[Key, list[int]]:
    count = len(brokers)
    return {("t", index): [brokers[(index + place) % count] for place in range(copies)] for index in range(partitions)}


def shares(placement: Placement) -> Counter[int]:
    return Counter(replica for replicas in placement.values() for replica in replicas)


def test_what_is_even_already_stays() -> None:
    current = topic_over([1, 2, 3], 12, 2)
    assert spread(current, [1, 2, 3], NO_RACKS) == current


def test_a_new_broker_gets_its_share_and_nothing_else_moves() -> None:
    current = topic_over([1, 2, 3], 12, 2)
    placement = spread(current, [1, 2, 3, 4], NO_RACKS)
    assert set(shares(placement).values()) == {6}
    moved = [set(replicas) - set(current[key]) for key, replicas in placement.items()]
    assert sum(map(len, moved)) == 6
    assert set().union(*moved) == {4}


def test_a_broker_that_is_left_out_keeps_nothing() -> None:
    placement = spread(topic_over([1, 2, 3], 9, 2), [1, 2], NO_RACKS)
    assert shares(placement) == {1: 9, 2: 9}


def test_leaders_are_evened_out_by_order_alone() -> None:
    current = {("t", index): [1, 2, 3] for index in range(9)}
    placement = spread(current, [1, 2, 3], NO_RACKS)
    assert all(set(replicas) == {1, 2, 3} for replicas in placement.values())
    assert Counter(replicas[0] for replicas in placement.values()) == {1: 3, 2: 3, 3: 3}


def test_replicas_are_on_as_many_racks_as_there_are() -> None:
    racks: dict[int, str | None] = {1: "a", 2: "a", 3: "b", 4: "b"}
    placement = spread({("t", index): [1 + index % 2] for index in range(8)}, [1, 2, 3, 4], racks, copies=2)
    assert all({racks[replica] for replica in replicas} == {"a", "b"} for replicas in placement.values())
    assert set(shares(placement).values()) == {4}


def test_more_replicas_than_brokers_are_refused() -> None:
    with pytest.raises(ValueError, match="t-0: 3 replicas do not fit on 2 brokers"):
        spread({("t", 0): [1, 2]}, [1, 2], NO_RACKS, copies=3)


@pytest.mark.parametrize("seed", range(200))
def test_any_placement_becomes_an_even_one(seed: int) -> None:
    dice = random.Random(seed)
    there = dice.sample(range(1, 12), dice.randint(1, 8))
    wanted = dice.sample(range(1, 12), dice.randint(1, 8))
    most = min(len(there), len(wanted))
    current = {("t", index): dice.sample(there, dice.randint(1, most)) for index in range(dice.randint(1, 40))}
    placement = spread(current, wanted, NO_RACKS)
    for key, replicas in placement.items():
        assert len(replicas) == len(set(replicas)) == len(current[key])
        assert set(replicas) <= set(wanted)
    counted = shares(placement)
    assert max(counted[broker] for broker in wanted) - min(counted[broker] for broker in wanted) <= 1
    assert spread(placement, wanted, NO_RACKS) == placement
