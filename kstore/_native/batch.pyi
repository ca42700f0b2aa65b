"""Record batches (message format v2) as views into a buffer, and the records in them.

A batch is never copied: numbering and stamping happen in the buffer that will be written. While a
RecordBatch, or an iterator over one, lives, its buffer cannot be resized (a bytearray raises BufferError).
Lengths are checked when the view is made, so no attribute reads outside the batch; the CRC and the records
are checked only when asked (DefaultRecordBatch.java, DefaultRecord.java, LogValidator.java).
"""

from collections.abc import Iterator
from typing import Final, final

from typing_extensions import Buffer

from kstore._native.record import Record

HEADER_SIZE: Final = 61
LOG_OVERHEAD: Final = 12
NONE: Final = 0
GZIP: Final = 1
SNAPPY: Final = 2
LZ4: Final = 3
ZSTD: Final = 4
COMPRESSION_NAMES: Final[tuple[str, ...]]
CREATE_TIME: Final = 0
LOG_APPEND_TIME: Final = 1
DEFAULT_MAX_BYTES: Final[int]

@final
class RecordsSummary:
    """What a walk over all records of a batch found."""

    @property
    def count(self) -> int: ...
    @property
    def min_timestamp(self) -> int:
        """With log append time, or without records: the batch's max timestamp."""

    @property
    def max_timestamp(self) -> int:
        """The largest of the records' own timestamps, whatever the header claims; else as min_timestamp."""

    @property
    def offset_of_max_timestamp(self) -> int:
        """Of the first record that has it; with log append time the last offset."""

    @property
    def has_null_key(self) -> bool: ...
    @property
    def size_in_bytes(self) -> int:
        """Of the records, decompressed."""

@final
class RecordBatch:
    """A view of the batch that begins at `position` of `buffer`; bytes from `limit` (-1: the end) on are not
    read."""

    def __init__(self, buffer: Buffer, position: int = 0, limit: int = -1) -> None:
        """Raises CorruptRecordError (with `position`) when no whole batch lies there, and
        UnsupportedForMessageFormatError (with `position`) for message formats 0 and 1."""

    @property
    def buffer(self) -> Buffer: ...
    @property
    def position(self) -> int:
        """In the buffer."""

    @property
    def file_position(self) -> int:
        """In the file it was read from, -1 when it was not."""

    @property
    def size_in_bytes(self) -> int: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def last_offset(self) -> int: ...
    @property
    def next_offset(self) -> int: ...
    @property
    def partition_leader_epoch(self) -> int: ...
    @property
    def magic(self) -> int: ...
    @property
    def crc(self) -> int: ...
    @property
    def attributes(self) -> int: ...
    @property
    def compression(self) -> int:
        """The codec's id, 0 to 7; above 4 there is no codec."""

    @property
    def timestamp_type(self) -> int: ...
    @property
    def is_transactional(self) -> bool: ...
    @property
    def is_control(self) -> bool: ...
    @property
    def has_delete_horizon(self) -> bool:
        """Then the base timestamp is the horizon (KIP-534)."""

    @property
    def last_offset_delta(self) -> int: ...
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
    def last_sequence(self) -> int:
        """Base sequence + last offset delta, wrapping to 0 after 2^31 - 1; -1 without a sequence."""

    @property
    def count(self) -> int:
        """As the header claims; 0 is legal in a compacted log."""

    def is_crc_valid(self) -> bool: ...
    def ensure_valid(self) -> int:
        """Raises CorruptRecordError with `offset` and `position` when the CRC does not match."""

    def stamp(self, base_offset: int, leader_epoch: int) -> int:
        """Writes both in place; they lie outside the CRC. TypeError when the buffer is read-only."""

    def set_timestamps(self, timestamp_type: int, max_timestamp: int) -> int:
        """Writes both in place with a new CRC; does nothing when they are there already."""

    def check_records(self, max_bytes: int, consecutive: bool = True) -> RecordsSummary:
        """Walks all records, after decompressing them to at most `max_bytes`.

        Each must be well-formed, all of them must fill the batch exactly, and offset deltas must be 0, 1, 2,
        ... up to the last offset delta; with `consecutive=False` they only rise within it (what compaction
        leaves). Raises InvalidRecordError (`record_index` tells the first bad record where one is to blame),
        CorruptRecordError for damaged or too large compressed data, UnsupportedCompressionTypeError.
        """

    def records(self, max_bytes: int = ...) -> Iterator[Record]:
        """The records as objects, decompressed piece by piece. Raises as check_records, at the bad record, but does
        not judge offset deltas; a header key that is not UTF-8 is an InvalidRecordError here."""

    def control_record(self) -> tuple[int, int] | None:
        """(type, coordinator epoch) of a control batch's first record; the epoch is -1 but for transaction
        markers. None when the batch is empty."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """The batch is its bytes, too, to be read."""

    def memoryview(self) -> memoryview: ...
    def to_bytes(self) -> bytes: ...
    def __len__(self) -> int:
        """size_in_bytes"""

def iter_batches(
    buffer: Buffer, position: int = 0, limit: int = -1, *, allow_partial_tail: bool = False
) -> Iterator[RecordBatch]:
    """The batches that lie one after the other in [position, limit). Raises as RecordBatch does; a batch that
    is cut by `limit` ends the iteration when `allow_partial_tail`, as fetch responses need it."""
