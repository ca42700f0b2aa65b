"""Retention: which segments go, from sizes, offsets and times alone."""

import pytest

from kstore.log.retention import SegmentFacts, deletable_segments

DAY = 86_400_000


def facts(*sizes_and_ages: tuple[int, int]) -> list[SegmentFacts]:
    """Segments of ten offsets each, with (size, timestamp)."""
    return [
        SegmentFacts(10 * number, 10 * number + 10, size, timestamp)
        for number, (size, timestamp) in enumerate(sizes_and_ages)
    ]


def count(segments: list[SegmentFacts], **overrides: int) -> int:
    arguments = {
        "high_watermark": segments[-1].end_offset,
        "log_start_offset": 0,
        "retention_bytes": -1,
        "retention_ms": -1,
        "delete_policy": True,
        "now_ms": 100,
    }
    return deletable_segments(segments, **{**arguments, **overrides}).segments  # type: ignore[arg-type]


def test_nothing_goes_without_a_reason() -> None:
    assert count(facts((100, 0), (100, 0))) == 0


@pytest.mark.parametrize(
    ("retention_bytes", "gone"), [(0, 3), (99, 2), (100, 2), (101, 1), (200, 1), (300, 0), (301, 0)]
)
def test_size_is_kept_at_or_above_the_limit(retention_bytes: int, gone: int) -> None:
    assert count(facts((100, 0), (100, 0), (100, 0)), retention_bytes=retention_bytes) == gone


@pytest.mark.parametrize(("retention_ms", "gone"), [(0, 3), (49, 2), (50, 1), (79, 1), (80, 0), (-1, 0)])
def test_segment_goes_when_its_newest_record_is_too_old(retention_ms: int, gone: int) -> None:
    assert count(facts((9, 20), (9, 50), (9, 99)), retention_ms=retention_ms) == gone


def test_young_segment_shields_older_ones_behind_it() -> None:
    assert count(facts((9, 90), (9, 0), (9, 0)), retention_ms=50) == 0


@pytest.mark.parametrize(("log_start_offset", "gone"), [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 2)])
def test_segments_below_the_log_start_go_but_never_the_active_one(log_start_offset: int, gone: int) -> None:
    segments = facts((9, 0), (9, 0), (9, 0))
    assert count(segments, log_start_offset=log_start_offset) == gone
    assert count(segments, log_start_offset=log_start_offset, delete_policy=False) == gone


def test_compacted_log_loses_nothing_to_size_or_time() -> None:
    assert count(facts((100, 0), (100, 0)), retention_bytes=0, retention_ms=0, delete_policy=False) == 0


@pytest.mark.parametrize(("high_watermark", "gone"), [(9, 0), (10, 1), (25, 2), (29, 2), (30, 3)])
def test_nothing_at_or_above_the_high_watermark_goes(high_watermark: int, gone: int) -> None:
    assert count(facts((9, 0), (9, 0), (9, 0)), retention_bytes=0, high_watermark=high_watermark) == gone
    assert count(facts((9, 0), (9, 0), (9, 0)), retention_ms=0, high_watermark=high_watermark) == gone


def test_empty_active_segment_stays() -> None:
    segments = facts((9, 0), (0, 0))
    segments[-1] = segments[-1]._replace(end_offset=10)
    assert count(segments, retention_bytes=0, high_watermark=10) == 1
    assert count(segments, retention_ms=0, high_watermark=10) == 1


def test_reasons_are_told_apart() -> None:
    verdict = deletable_segments(
        facts((100, 0), (100, 0), (100, 0), (100, 99)),
        high_watermark=40,
        log_start_offset=10,
        retention_bytes=200,
        retention_ms=50,
        delete_policy=True,
        now_ms=100,
    )
    assert verdict == (3, 1, 1, 1)
