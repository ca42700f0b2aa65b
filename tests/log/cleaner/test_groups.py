"""Which segments become one (cases of LogCleanerTest, testSegmentGrouping and testSegmentGroupingFollowingLoad...)."""

from hypothesis import given
from hypothesis import strategies as st

from kstore.log.cleaner.groups import MAX_GROUP, SegmentSizes, group_segments
from kstore.log.segment import MAX_RELATIVE_OFFSET


def sizes(*each: tuple[int, int, int, int]) -> list[SegmentSizes]:
    return [SegmentSizes(*one) for one in each]


def groups(segments: list[SegmentSizes], *, most: int = 1000, index: int = 1000, end: int = 1 << 40) -> list[list[int]]:
    return group_segments(segments, segment_bytes=most, max_index_bytes=index, end_offset=end)


def test_small_neighbours_become_one() -> None:
    three = sizes((0, 300, 8, 12), (10, 300, 8, 12), (20, 300, 8, 12))
    assert groups(three, end=30) == [[0, 10, 20]]
    assert groups(three, most=899, end=30) == [[0, 10], [20]]
    assert groups(three, most=299, end=30) == [[0], [10], [20]]


def test_indexes_have_to_fit_too() -> None:
    assert groups(sizes((0, 1, 60, 0), (10, 1, 60, 0)), index=100, end=20) == [[0], [10]]
    assert groups(sizes((0, 1, 0, 60), (10, 1, 0, 60)), index=100, end=20) == [[0], [10]]


def test_offsets_stay_within_reach_of_the_first() -> None:
    far = MAX_RELATIVE_OFFSET
    assert groups(sizes((0, 1, 0, 0), (10, 1, 0, 0)), end=far + 1) == [[0, 10]]
    assert groups(sizes((0, 1, 0, 0), (10, 1, 0, 0)), end=far + 2) == [[0], [10]]
    assert groups(sizes((0, 1, 0, 0), (10, 1, 0, 0), (far + 2, 1, 0, 0)), end=far + 9) == [[0], [10, far + 2]]
    # An empty one has no offsets.
    assert groups(sizes((0, 1, 0, 0), (10, 0, 0, 0)), end=far + 2) == [[0, 10]]


def test_nothing_to_group() -> None:
    assert groups([]) == []


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 50), st.integers(0, 50)), max_size=80))
def test_every_segment_is_in_one_group_and_groups_are_within_the_limits(each: list[tuple[int, int, int]]) -> None:
    segments = [SegmentSizes(10 * n, *one) for n, one in enumerate(each)]
    found = groups(segments, most=1000, index=100, end=10 * len(segments))
    assert [base for group in found for base in group] == [segment.base_offset for segment in segments]
    by_base = {segment.base_offset: segment for segment in segments}
    for group in found:
        assert len(group) <= MAX_GROUP
        assert len(group) == 1 or sum(by_base[base].size for base in group) <= 1000
        assert len(group) == 1 or sum(by_base[base].index_size for base in group) <= 100
