"""Walking a file of batches: by headers, which reads little else, or whole, chunk by chunk (FileLogInputStream.java).

Nothing is read beyond the size that the file had when the walk began. FileRecords begins them.
"""

from collections.abc import Iterator
from typing import final

from kstore._native.batch import RecordBatch
from kstore.errors import CorruptRecordError

@final
class BatchHeader:
    """What the header of a batch in a file says, without its records."""

    @property
    def position(self) -> int: ...
    @property
    def size_in_bytes(self) -> int: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def last_offset(self) -> int: ...
    @property
    def next_offset(self) -> int: ...
    @property
    def base_timestamp(self) -> int: ...
    @property
    def max_timestamp(self) -> int: ...
    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def base_sequence(self) -> int: ...
    @property
    def partition_leader_epoch(self) -> int: ...
    @property
    def attributes(self) -> int: ...
    @property
    def count(self) -> int: ...

@final
class CheckedHeaders(Iterator[BatchHeader]):
    """The headers of the batches whose CRC is right, up to the first that is torn or wrong. A batch may be as large as
    it says: it is read in pieces of 1 MiB. Raises UnsupportedForMessageFormatError and OSError as SegmentScan does."""

    @property
    def valid_bytes(self) -> int:
        """The position behind the last good batch."""

    @property
    def error(self) -> CorruptRecordError | None:
        """Why the iteration ended before the end of the file, with `position`; None when it did not."""

    def __next__(self) -> BatchHeader: ...

@final
class SegmentScan(Iterator[RecordBatch]):
    """Ends where the good batches end; never raises for damage but for message formats 0 and 1
    (UnsupportedForMessageFormatError with `position`). OSError when the file cannot be read."""

    @property
    def valid_bytes(self) -> int:
        """The position behind the last good batch that was handed out."""

    @property
    def error(self) -> CorruptRecordError | None:
        """Why the scan ended before the end of the file, with `position`; None when it did not."""

    def __next__(self) -> RecordBatch: ...
