"""How fast replicas that are being moved may be copied (KIP-73; ReplicationQuotaManager.scala).

A quota has a rate for this broker, and counts for the partitions that their topics' configurations list: those are left
out while the rate of the last seconds is above it. A replica in sync is never held back, or it would fall out.
"""

from collections import deque

from kstore.model import TopicPartition

UNLIMITED = 2**63 - 1
ALL_REPLICAS = "*"

# replication.quota.window.num, replication.quota.window.size.seconds
WINDOWS = 11
WINDOW_MS = 1000


def is_listed(throttled: tuple[str, ...], partition: int, broker_id: int) -> bool:
    """Whether `*.replication.throttled.replicas` names the partition on this broker: `0:101`, or `*` for all."""
    return ALL_REPLICAS in throttled or f"{partition}:{broker_id}" in throttled


class ReplicationQuota:
    """`rate` is in bytes per second, and may be set at any time."""

    def __init__(self, *, rate: int = UNLIMITED, windows: int = WINDOWS, window_ms: int = WINDOW_MS) -> None:
        self.rate = rate
        self._windows = windows
        self._window_ms = window_ms
        # [start, bytes] of each window that counts still.
        self._samples: deque[list[int]] = deque()

    def record(self, size: int, monotonic_ms: int) -> None:
        if not self._samples or monotonic_ms - self._samples[-1][0] >= self._window_ms:
            self._forget(monotonic_ms)
            self._samples.append([monotonic_ms, 0])
        self._samples[-1][1] += size

    def is_exceeded(self, monotonic_ms: int) -> bool:
        return self.rate < UNLIMITED and self.measured(monotonic_ms) > self.rate

    def measured(self, monotonic_ms: int) -> float:
        """Bytes per second, over the windows that count or since the oldest of them (SimpleRate.java)."""
        self._forget(monotonic_ms)
        if not self._samples:
            return 0.0
        elapsed_ms = max(monotonic_ms - self._samples[0][0], self._window_ms)
        return 1000 * sum(size for _, size in self._samples) / elapsed_ms

    def _forget(self, monotonic_ms: int) -> None:
        oldest = monotonic_ms - self._windows * self._window_ms
        while self._samples and self._samples[0][0] < oldest:
            self._samples.popleft()


class ReplicationQuotas:
    """Of what this broker sends as a leader and of what it takes as a follower."""

    def __init__(self, broker_id: int, *, windows: int = WINDOWS, window_ms: int = WINDOW_MS) -> None:
        self.broker_id = broker_id
        self.leader = ReplicationQuota(windows=windows, window_ms=window_ms)
        self.follower = ReplicationQuota(windows=windows, window_ms=window_ms)

    def leader_throttles(self, topic_partition: TopicPartition, throttled: tuple[str, ...], monotonic_ms: int) -> bool:
        """Whether a follower that is not in sync is to wait; `throttled` is the topic's list for leaders."""
        is_ours = is_listed(throttled, topic_partition.partition, self.broker_id)
        return is_ours and self.leader.is_exceeded(monotonic_ms)

    def follower_throttles(
        self, topic_partition: TopicPartition, throttled: tuple[str, ...], monotonic_ms: int
    ) -> bool:
        is_ours = is_listed(throttled, topic_partition.partition, self.broker_id)
        return is_ours and self.follower.is_exceeded(monotonic_ms)
