"""Which part of a log can be cleaned, how much it needs it, and which log is next: pure arithmetic
(LogCleanerManager.cleanableOffsets, maxCompactionDelay, grabFilthiestCompactedLog)."""

from collections.abc import Sequence
from typing import NamedTuple

from kstore.log.config import LONG_MAX


class SegmentFacts(NamedTuple):
    """The timestamps count only where the log has a compaction lag: the largest of all records, and the first batch's,
    not above 0 where it has none."""

    base_offset: int
    size: int
    largest_timestamp: int
    first_timestamp: int


class LogFacts(NamedTuple):
    """`segments` are all, the active one last; `first_dirty_offset` is -1 for a log that was never cleaned;
    `durable_offset` is where the last fsync ended."""

    segments: Sequence[SegmentFacts]
    log_start_offset: int
    log_end_offset: int
    last_stable_offset: int
    durable_offset: int
    first_dirty_offset: int


class Cleanable(NamedTuple):
    """The dirty part that can be cleaned is [first_dirty_offset, end_offset). `is_overdue`: max.compaction.lag.ms has
    passed."""

    first_dirty_offset: int
    end_offset: int
    clean_bytes: int
    dirty_bytes: int
    is_overdue: bool

    @property
    def ratio(self) -> float:
        total = self.clean_bytes + self.dirty_bytes
        return self.dirty_bytes / total if total else 0.0

    def wants_cleaning(self, min_ratio: float) -> bool:
        return self.dirty_bytes > 0 and (self.is_overdue or self.ratio > min_ratio)


def first_dirty_offset(facts: LogFacts) -> int:
    """What the checkpoint says, unless the log begins later or ends before: then its start."""
    if facts.log_start_offset <= facts.first_dirty_offset <= facts.log_end_offset:
        return facts.first_dirty_offset
    return facts.log_start_offset


def cleanable(facts: LogFacts, *, min_lag_ms: int, max_lag_ms: int, now_ms: int) -> Cleanable:
    dirty_offset = first_dirty_offset(facts)
    *sealed, active = facts.segments
    ends = [segment.base_offset for segment in facts.segments[1:]]
    dirty = [segment for segment, end in zip(sealed, ends, strict=True) if end > dirty_offset]

    limit = min(facts.last_stable_offset, active.base_offset, facts.durable_offset)
    if min_lag_ms > 0:
        young = (each.base_offset for each in dirty if each.largest_timestamp > now_ms - min_lag_ms)
        limit = min(limit, next(young, limit))
    limit = max(limit, dirty_offset)
    # Whole segments only: none that reaches beyond the limit.
    whole = [end for segment, end in zip(sealed, ends, strict=True) if end <= limit]
    end_offset = whole[-1] if whole else facts.segments[0].base_offset

    first_times = [each.first_timestamp for each in dirty if each.first_timestamp > 0]
    overdue = max_lag_ms < LONG_MAX and bool(first_times) and min(first_times) < now_ms - max_lag_ms
    return Cleanable(
        dirty_offset,
        end_offset,
        sum(each.size for each in facts.segments if each.base_offset < dirty_offset),
        sum(each.size for each in dirty if each.base_offset < end_offset),
        overdue,
    )
