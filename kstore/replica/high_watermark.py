"""Where the committed part of a log ends: plain arithmetic over what the in-sync replicas hold."""

from collections.abc import Iterable


def high_watermark(in_sync_end_offsets: Iterable[int]) -> int:
    """The offset below which every in-sync replica holds the log. At least the leader is in sync, so never
    empty."""
    return min(in_sync_end_offsets)


def effective_min_isr(min_insync_replicas: int, replication_factor: int) -> int:
    """More in-sync replicas than there are replicas cannot be asked for (Partition.scala, effectiveMinIsr)."""
    return min(min_insync_replicas, replication_factor)
