"""Which part of a log can be cleaned (cases of LogCleanerManagerTest)."""

from collections.abc import Sequence

import pytest

from kstore.log.cleaner.cleanable import Cleanable, LogFacts, SegmentFacts, cleanable
from kstore.log.config import LONG_MAX

NOW = 1_000_000


def facts(
    *,
    segments: Sequence[SegmentFacts] | None = None,
    start: int = 0,
    end: int = 35,
    stable: int = 35,
    durable: int = 35,
    dirty: int = -1,
) -> LogFacts:
    """Three segments of 100 bytes and ten offsets, and the active one."""
    if segments is None:
        segments = [SegmentFacts(base, 100, NOW, NOW) for base in (0, 10, 20, 30)]
    return LogFacts(segments, start, end, stable, durable, dirty)


def part(of: LogFacts, *, min_lag_ms: int = 0, max_lag_ms: int = LONG_MAX, now_ms: int = NOW) -> Cleanable:
    return cleanable(of, min_lag_ms=min_lag_ms, max_lag_ms=max_lag_ms, now_ms=now_ms)


def test_a_new_log_is_dirty_up_to_its_active_segment() -> None:
    assert part(facts()) == Cleanable(0, 30, 0, 300, False)
    assert part(facts()).ratio == 1.0


def test_a_log_is_clean_below_its_checkpoint() -> None:
    found = part(facts(dirty=20))
    assert found == Cleanable(20, 30, 200, 100, False)
    assert found.ratio == pytest.approx(1 / 3)
    assert not found.wants_cleaning(0.5)
    assert found.wants_cleaning(0.3)


def test_a_checkpoint_within_a_segment_counts_it_as_both() -> None:
    assert part(facts(dirty=15)) == Cleanable(15, 30, 200, 200, False)


def test_nothing_is_dirty_behind_the_last_sealed_segment() -> None:
    found = part(facts(dirty=30))
    assert found == Cleanable(30, 30, 300, 0, False)
    assert not found.wants_cleaning(0.0)


@pytest.mark.parametrize("dirty", [5, 36])
def test_a_checkpoint_outside_the_log_is_taken_for_its_start(dirty: int) -> None:
    assert part(facts(start=10, dirty=dirty)).first_dirty_offset == 10


@pytest.mark.parametrize(("stable", "end_offset"), [(35, 30), (30, 30), (29, 20), (20, 20), (15, 10), (5, 0), (0, 0)])
def test_nothing_is_cleaned_above_the_last_stable_offset(stable: int, end_offset: int) -> None:
    assert part(facts(stable=stable)).end_offset == end_offset
    assert part(facts(durable=stable)).end_offset == end_offset


def test_an_open_transaction_in_the_dirty_segment_leaves_nothing_to_clean() -> None:
    found = part(facts(dirty=20, stable=25))
    assert (found.end_offset, found.dirty_bytes) == (20, 0)
    assert part(facts(dirty=25, stable=25)).dirty_bytes == 0


def test_records_younger_than_the_lag_are_left() -> None:
    times = [NOW - 500, NOW - 400, NOW - 100, NOW - 300]
    segments = [SegmentFacts(10 * n, 100, time, time) for n, time in enumerate(times)]
    assert part(facts(segments=segments), min_lag_ms=200).end_offset == 20
    assert part(facts(segments=segments), min_lag_ms=100).end_offset == 30
    assert part(facts(segments=segments), min_lag_ms=401).end_offset == 10
    # What has been cleaned once is not asked again.
    assert part(facts(segments=segments, dirty=10), min_lag_ms=450).end_offset == 10


def test_records_older_than_the_lag_are_overdue_whatever_the_ratio() -> None:
    segments = [SegmentFacts(10 * n, 100, NOW, NOW - 300 + 100 * n) for n in range(4)]
    found = part(facts(segments=segments, dirty=20), max_lag_ms=50)
    assert found.is_overdue
    assert found.wants_cleaning(1.0)
    assert not part(facts(segments=segments, dirty=20), max_lag_ms=100).is_overdue
    assert not part(facts(segments=segments, dirty=30), max_lag_ms=1).is_overdue


def test_segments_without_a_time_are_never_overdue() -> None:
    segments = [SegmentFacts(10 * n, 100, -1, -1) for n in range(4)]
    assert not part(facts(segments=segments), max_lag_ms=1).is_overdue


def test_a_log_of_one_segment_has_nothing_to_clean() -> None:
    found = part(facts(segments=[SegmentFacts(7, 100, NOW, NOW)], start=7, end=9, stable=9, durable=9))
    assert found == Cleanable(7, 7, 0, 0, False)
    assert found.ratio == 0.0
