"""Twins: the segments of a log once more, over files of their own that are only read.

A thread looks something up in them where the log's owner must not wait for the disk. What it finds is thrown away: the
pages that it has read are what is wanted, and the owner looks again. So a twin may lag behind, find its files gone or
an index damaged; it changes nothing and judges nothing. When it is done its files are closed, whoever still holds it.

A twin of a segment is made by the thread, from a segment that its owner may be changing: of what it takes each value is
right by itself, and what two of them are together does not matter, for nothing that is found is kept.
"""

from collections.abc import Iterable, Iterator
from typing import SupportsIndex, overload

from kstore.errors import CorruptIndexError, KafkaStorageError
from kstore.log.directory import LOG_SUFFIX
from kstore.log.files import OffsetIndexFile, RecordsFile, TimeIndexFile
from kstore.log.log_dir import LogDir
from kstore.log.segment import Segment
from kstore.log.segments import Segments


class SegmentTwin(Segment):
    """The transaction index is shared: it has been in memory since the log was loaded."""

    __slots__ = ()

    def __init__(self, segment: Segment) -> None:
        super().__init__(
            segment._directory,
            segment.base_offset,
            size=segment.size,
            writable=False,
            has_txn_index=False,
            index_interval_bytes=segment.index_interval_bytes,
            max_index_bytes=segment.max_index_bytes,
            roll_jitter_ms=0,
            now_ms=segment.created_ms,
            suffix=segment.suffix,
        )
        self.txn_index = segment.txn_index
        self.max_timestamp = segment.max_timestamp
        self.max_timestamp_offset = segment.max_timestamp_offset

    @property
    def records(self) -> RecordsFile:
        records = self._records
        if records is None:
            records = self._records = self._directory.open_records(self._name(LOG_SUFFIX), writable=False)
        return records

    def blame_index(self, reason: object, *, wait: bool = True) -> None:
        self.rebuild_indexes(reason, wait=wait)

    def rebuild_indexes(self, reason: object, *, wait: bool = True) -> tuple[OffsetIndexFile, TimeIndexFile]:
        """Leaves that to the owner, and reads what it will read for it."""
        self.touch_headers(wait=True)
        raise CorruptIndexError(str(reason))


class SegmentTwins(Segments):
    """The segments that a log has now, each with a twin when it is first looked at."""

    __slots__ = ("_made",)

    def __init__(self, segments: Segments) -> None:
        self._made: list[Segment] = []
        self._bases = segments.base_offsets
        self._segments = _Twins(segments, self._made)

    def close_handles(self) -> None:
        for twin in self._made:
            twin.close_handles()


class _Twins(list[Segment]):
    __slots__ = ("_made",)

    def __init__(self, segments: Iterable[Segment], made: list[Segment]) -> None:
        super().__init__(segments)
        self._made = made

    @overload
    def __getitem__(self, index: SupportsIndex) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> list[Segment]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Segment | list[Segment]:
        if isinstance(index, slice):
            return _Twins(super().__getitem__(index), self._made)
        segment = super().__getitem__(index)
        if not isinstance(segment, SegmentTwin):
            segment = SegmentTwin(segment)
            self._made.append(segment)
            self[index] = segment
        return segment

    def __iter__(self) -> Iterator[Segment]:
        return (self[index] for index in range(len(self)))


class Onlooker(LogDir):
    """The log directory of a twin: what its disk refuses is for the owner to find and to judge. Also that of a log
    whose files are to be removed: who reads it still may find them gone, which is no fault of the disk."""

    __slots__ = ()

    def fail(self, doing: str, error: OSError) -> KafkaStorageError:
        return KafkaStorageError(f"{doing}: {error}")

    def io_error(self, doing: str, error: OSError) -> KafkaStorageError:
        return self.fail(doing, error)
