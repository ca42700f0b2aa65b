"""The segments of one log, in the order of their base offsets (LogSegments.java)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from kstore.log.segment import Segment


class Segments:
    """Never empty once its log is loaded; `active` is the last one, the only one that is appended to."""

    __slots__ = ("_bases", "_segments")

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._segments: list[Segment] = []

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __contains__(self, base_offset: int) -> bool:
        return self.get(base_offset) is not None

    @property
    def base_offsets(self) -> list[int]:
        return list(self._bases)

    @property
    def first(self) -> Segment:
        return self._segments[0]

    @property
    def active(self) -> Segment:
        return self._segments[-1]

    @property
    def size_in_bytes(self) -> int:
        return sum(segment.size for segment in self._segments)

    def add(self, segment: Segment) -> None:
        """Adds a segment; one with the same base offset is replaced."""
        index = bisect_left(self._bases, segment.base_offset)
        if index < len(self._bases) and self._bases[index] == segment.base_offset:
            self._segments[index] = segment
            return
        self._bases.insert(index, segment.base_offset)
        self._segments.insert(index, segment)

    def remove(self, segment: Segment) -> None:
        index = self._segments.index(segment)
        del self._bases[index]
        del self._segments[index]

    def get(self, base_offset: int) -> Segment | None:
        index = bisect_left(self._bases, base_offset)
        if index < len(self._bases) and self._bases[index] == base_offset:
            return self._segments[index]
        return None

    def floor(self, offset: int) -> Segment | None:
        """The segment with the largest base offset that is not above `offset`."""
        index = bisect_right(self._bases, offset)
        return self._segments[index - 1] if index else None

    def higher(self, base_offset: int) -> Segment | None:
        """The next segment after `base_offset`."""
        index = bisect_right(self._bases, base_offset)
        return self._segments[index] if index < len(self._bases) else None

    def lower(self, base_offset: int) -> Segment | None:
        index = bisect_left(self._bases, base_offset)
        return self._segments[index - 1] if index else None

    def starting_from(self, offset: int) -> list[Segment]:
        """The segment that holds `offset` and all after it."""
        return self._segments[max(bisect_right(self._bases, offset) - 1, 0) :]

    def between(self, start_offset: int, end_offset: int) -> list[Segment]:
        """The segments that may hold offsets in [start_offset, end_offset)."""
        if start_offset >= end_offset:
            return []
        first = max(bisect_right(self._bases, start_offset) - 1, 0)
        return self._segments[first : bisect_left(self._bases, end_offset)]

    def above(self, offset: int) -> list[Segment]:
        """The segments whose base offset is above `offset`."""
        return self._segments[bisect_right(self._bases, offset) :]
