"""Which segments become one: neighbours that together are no larger than one may be (Cleaner.groupSegmentsBySize).

Otherwise segments would become smaller with each cleaning, and ever more.
"""

from collections.abc import Sequence
from typing import NamedTuple

from kstore.log.segment import MAX_RELATIVE_OFFSET

# The files of a group are renamed on the thread that owns the log: about a millisecond for so many.
MAX_GROUP = 32


class SegmentSizes(NamedTuple):
    base_offset: int
    size: int
    index_size: int
    time_index_size: int


def group_segments(
    segments: Sequence[SegmentSizes], *, segment_bytes: int, max_index_bytes: int, end_offset: int
) -> list[list[int]]:
    """Groups of base offsets. `end_offset` is where the last segment's offsets end at the latest."""
    groups: list[list[int]] = []
    limits = (segment_bytes, max_index_bytes, max_index_bytes)
    sums = (0, 0, 0)
    for number, segment in enumerate(segments):
        sizes = segment[1:]
        following = segments[number + 1].base_offset if number + 1 < len(segments) else end_offset
        together = tuple(a + b for a, b in zip(sums, sizes, strict=True))
        if (
            groups
            and len(groups[-1]) < MAX_GROUP
            and all(a <= b for a, b in zip(together, limits, strict=True))
            and (segment.size == 0 or following - 1 - groups[-1][0] <= MAX_RELATIVE_OFFSET)
        ):
            groups[-1].append(segment.base_offset)
            sums = (together[0], together[1], together[2])
        else:
            groups.append([segment.base_offset])
            sums = (sizes[0], sizes[1], sizes[2])
    return groups
