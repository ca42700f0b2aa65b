"""The segments of a log in their order (LogSegmentsTest)."""

from kstore.log.segments import Segments
from tests.log.build import batch
from tests.log.build_segment import segment

SIZE = len(batch())


def test_segments_are_found_by_offset() -> None:
    segments = Segments()
    made = {base: segment(base) for base in (10, 5, 20)}
    for one in made.values():
        segments.add(one)
    assert segments.base_offsets == [5, 10, 20]
    assert len(segments) == 3
    assert segments.first is made[5]
    assert segments.active is made[20]
    assert [segments.floor(offset) for offset in (4, 5, 9, 10, 99)] == [None, made[5], made[5], made[10], made[20]]
    assert [segments.higher(offset) for offset in (4, 5, 19, 20)] == [made[5], made[10], made[20], None]
    assert [segments.lower(offset) for offset in (5, 6, 20)] == [None, made[5], made[10]]
    assert segments.starting_from(12) == [made[10], made[20]]
    assert segments.starting_from(0) == [made[5], made[10], made[20]]
    assert segments.between(5, 10) == [made[5]]
    assert segments.between(7, 21) == [made[5], made[10], made[20]]
    assert segments.between(7, 7) == []
    assert segments.above(10) == [made[20]]
    replacement = segment(10)
    segments.add(replacement)
    assert segments.get(10) is replacement
    segments.remove(replacement)
    assert 10 not in segments
    assert list(segments) == [made[5], made[20]]


def test_size_of_large_segments_does_not_overflow() -> None:
    segments = Segments()
    for base in range(3):
        one = segment(base)
        one.size = 2**31 - 1
        segments.add(one)
    assert segments.size_in_bytes == 3 * (2**31 - 1)
