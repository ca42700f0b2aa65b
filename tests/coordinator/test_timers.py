"""Deadlines of a shard: each key has one, the earliest comes first, moving one costs no place."""

import random

import pytest

from kstore.coordinator.timers import SMALL_HEAP, Key, Timers


def pop_all(timers: Timers, monotonic_ms: int) -> list[Key]:
    due = []
    while (key := timers.pop_due(monotonic_ms)) is not None:
        due.append(key)
    return due


def test_keys_come_in_the_order_of_their_deadlines() -> None:
    timers = Timers()
    timers.set(("b",), 20)
    timers.set(("a",), 10)
    timers.set(("c",), 30)
    assert timers.next_deadline_ms == 10
    assert pop_all(timers, 20) == [("a",), ("b",)]
    assert timers.next_deadline_ms == 30
    assert pop_all(timers, 29) == []


def test_a_deadline_that_is_moved_counts_only_where_it_is() -> None:
    timers = Timers()
    timers.set(("a",), 10)
    timers.set(("a",), 50)
    assert pop_all(timers, 49) == []
    timers.set(("a",), 5)
    assert timers.next_deadline_ms == 5
    assert pop_all(timers, 5) == [("a",)]
    assert pop_all(timers, 100) == []
    assert timers.next_deadline_ms is None


def test_a_cancelled_deadline_never_comes() -> None:
    timers = Timers()
    timers.set(("a",), 10)
    timers.cancel(("a",))
    timers.cancel(("unknown",))
    assert ("a",) not in timers
    assert timers.next_deadline_ms is None
    timers.set(("a",), 20)
    assert pop_all(timers, 10) == []
    assert pop_all(timers, 20) == [("a",)]


def test_what_a_due_key_leads_to_may_still_move_the_next() -> None:
    timers = Timers()
    timers.set(("a",), 10)
    timers.set(("b",), 10)
    assert timers.pop_due(10) == ("a",)
    timers.set(("b",), 20)
    assert timers.pop_due(10) is None


def test_heartbeats_do_not_fill_the_heap() -> None:
    timers = Timers()
    for now in range(10_000):
        timers.set(("session", "g", "m"), now + 100)
        if now % 7 == 0:
            timers.cancel(("join", "g"))
            timers.set(("join", "g"), now + 10)
        pop_all(timers, now)
    assert len(timers._heap) <= 4
    assert len(timers) == 2


def test_keys_that_are_cancelled_are_not_kept_until_their_time() -> None:
    """Members that joined and left stood in the heap for minutes, with ids of up to 32 KB."""
    timers = Timers()
    timers.set(("session", "g", "stays"), 300_000)
    for number in range(10_000):
        timers.set(("session", "g", str(number)), 300_000 + number)
        timers.cancel(("session", "g", str(number)))
        assert len(timers._heap) <= 2 * len(timers) + SMALL_HEAP
        assert len(timers._places) <= len(timers._heap)
    assert pop_all(timers, 400_000) == [("session", "g", "stays")]


def test_any_mix_of_moves_is_as_a_plain_dict_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kstore.coordinator.timers.SMALL_HEAP", 2)
    chance = random.Random(7)
    timers, plain, now = Timers(), dict[tuple[str, ...], int](), 0
    for _ in range(20_000):
        key = (str(chance.randrange(12)),)
        move = chance.random()
        if move < 0.5:
            deadline = now + chance.randrange(-3, 60)
            timers.set(key, deadline)
            plain[key] = deadline
        elif move < 0.6:
            timers.cancel(key)
            plain.pop(key, None)
        else:
            now += chance.randrange(5)
            due = pop_all(timers, now)
            assert sorted(due) == sorted(key for key, deadline in plain.items() if deadline <= now)
            assert [plain[key] for key in due] == sorted(plain[key] for key in due)
            for key in due:
                del plain[key]
        assert timers.next_deadline_ms == min(plain.values(), default=None)
        assert len(timers) == len(plain)
