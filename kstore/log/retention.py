"""Which segments a log no longer has to keep: pure arithmetic over their sizes, offsets and times.

Only whole segments go, oldest first, and none that reaches beyond the high watermark, so that the log start
offset never passes it. The active segment may go too; the log then begins a new one
(UnifiedLog.deleteOldSegments).
"""

from collections.abc import Sequence
from typing import NamedTuple


class SegmentFacts(NamedTuple):
    """`end_offset` is the next segment's base offset, or the log end offset; `largest_timestamp` falls back
    on the file's modification time."""

    base_offset: int
    end_offset: int
    size: int
    largest_timestamp: int


class Verdict(NamedTuple):
    """The first `segments` of them go; each of the others is how many went for that reason."""

    segments: int
    by_log_start: int
    by_size: int
    by_time: int


def deletable_segments(
    segments: Sequence[SegmentFacts],
    *,
    high_watermark: int,
    log_start_offset: int,
    retention_bytes: int,
    retention_ms: int,
    delete_policy: bool,
    now_ms: int,
) -> Verdict:
    last = len(segments) - 1

    def may_go(index: int) -> bool:
        segment = segments[index]
        return high_watermark >= segment.end_offset and not (index == last and segment.size == 0)

    by_log_start = 0
    while by_log_start < last and may_go(by_log_start) and segments[by_log_start].end_offset <= log_start_offset:
        by_log_start += 1
    count = by_log_start
    if not delete_policy:
        return Verdict(count, by_log_start, 0, 0)

    if retention_bytes >= 0:
        excess = sum(segment.size for segment in segments[count:]) - retention_bytes
        while count <= last and may_go(count) and excess - segments[count].size >= 0:
            excess -= segments[count].size
            count += 1
    by_size = count - by_log_start

    if retention_ms >= 0:
        while count <= last and may_go(count) and now_ms - segments[count].largest_timestamp > retention_ms:
            count += 1
    return Verdict(count, by_log_start, by_size, count - by_log_start - by_size)
