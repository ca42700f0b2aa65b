"""Rates of replicas that are moved."""

from kstore.model import TopicPartition
from kstore.replica.throttle import UNLIMITED, ReplicationQuota, ReplicationQuotas, is_listed

START = 5_000


def test_a_rate_is_of_the_windows_that_count() -> None:
    quota = ReplicationQuota(rate=1000, windows=3, window_ms=1000)
    assert not quota.is_exceeded(START)
    quota.record(1000, START)
    assert quota.measured(START) == 1000
    assert not quota.is_exceeded(START)
    quota.record(1, START + 10)
    assert quota.is_exceeded(START + 10)
    # Spread over the time since the oldest window.
    assert quota.measured(START + 2000) == 500.5
    quota.record(100, START + 2500)
    assert quota.measured(START + 3001) == 100 * 1000 / 1000
    assert quota.measured(START + 10_000) == 0


def test_without_a_rate_nothing_is_too_much() -> None:
    quota = ReplicationQuota()
    quota.record(UNLIMITED, START)
    assert not quota.is_exceeded(START)


def test_only_listed_replicas_of_this_broker_are_held_back() -> None:
    assert is_listed(("*",), 5, 1)
    assert is_listed(("5:1", "6:2"), 5, 1)
    assert not is_listed(("5:1", "6:2"), 6, 1)
    assert not is_listed((), 5, 1)
    quotas = ReplicationQuotas(1)
    quotas.leader.rate = quotas.follower.rate = 10
    quotas.leader.record(1000, START)
    key = TopicPartition("orders", 5)
    assert quotas.leader_throttles(key, ("5:1",), START)
    assert not quotas.leader_throttles(key, ("5:2",), START)
    assert not quotas.follower_throttles(key, ("5:1",), START)
