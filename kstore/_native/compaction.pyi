"""The inner loops of compaction: the map of keys, and which records of a chunk of batches stay.

Plain batches (no codec, no marker, no transaction but one that is known to be open) are taken by the chunk, without
the GIL; at any other the walk stops and the caller decides. CRCs are checked by `check_chunk` before and made by
`Compactor.finish` afterwards (ks_offset_map.h, ks_compact.h; LogCleaner.scala, SkimpyOffsetMap.java,
MemoryRecords.filterTo).
"""

from collections.abc import Iterable
from typing import Final, final

from typing_extensions import Buffer

from kstore._native.batch import RecordBatch

END: Final = 0
OTHER: Final = 1
FULL: Final = 2
ENTRY_SIZE: Final = 24

def siphash128(key: bytes, data: bytes) -> bytes:
    """SipHash-2-4 with 16 bytes of output, for a test against the ones of others."""

@final
class OpenTransactions:
    """Transactions that a walk is in, so that the caller has to look at the first batch of each only.

    What is said holds for batches that end below `known_until`, where the next aborted transaction begins. Of more than
    32 at a time the caller looks at every batch.
    """

    def __init__(self) -> None: ...
    def begin(self, producer_id: int, is_aborted: bool, known_until: int) -> None: ...
    def end(self, producer_id: int, known_until: int) -> None: ...

@final
class OffsetMap:
    """Key -> the offset of its last record. Two keys with the same hash of 128 bits are one."""

    def __init__(self, slots: int, *, load_factor: float = 0.9) -> None:
        """Takes 24 bytes a slot, touched only where keys come to lie. MemoryError where there is none."""

    @property
    def slots(self) -> int: ...
    @property
    def limit(self) -> int:
        """How many keys fit; at least one slot stays free."""

    @property
    def latest_offset(self) -> int:
        """All keys up to here are in the map; -1 before the first."""

    @latest_offset.setter
    def latest_offset(self, offset: int) -> None: ...
    def put(self, key: bytes, offset: int) -> bool:
        """False, with nothing done, when the map is full."""

    def get(self, key: bytes) -> int:
        """-1 for a key that is not there."""

    def index_chunk(
        self, data: Buffer, position: int, start_offset: int, transactions: OpenTransactions | None = None
    ) -> tuple[int, int]:
        """Takes the keys of the plain batches from `position` on, of records from `start_offset` on: (where it
        stopped, END at the last whole batch, OTHER at one that is not plain, FULL). InvalidRecordError,
        CorruptRecordError, UnsupportedForMessageFormatError."""

    def index_batch(self, batch: RecordBatch, start_offset: int, max_bytes: int) -> bool:
        """The same for one batch, which may be compressed; False when the map was full before its end."""

    def __len__(self) -> int: ...

def check_chunk(data: Buffer, position: int) -> int:
    """Checks the CRC of all batches that lie whole in `data` from `position` on; returns how many bytes they are.

    CorruptRecordError with `position` and `offset` for one that is damaged.
    """

@final
class Compactor:
    """Collects what stays of batches in one output, until `clear`."""

    def __init__(
        self,
        offset_map: OffsetMap,
        *,
        now_ms: int,
        delete_retention_ms: int,
        last_batches: Iterable[tuple[int, int, int]] = (),
        transactions: OpenTransactions | None = None,
        room: int = ...,
    ) -> None:
        """`last_batches` are (producer id, last offset or -1, epoch) of the producers that may come back."""

    @property
    def map(self) -> OffsetMap: ...
    @property
    def records_read(self) -> int: ...
    @property
    def records_kept(self) -> int: ...
    @property
    def records_without_key(self) -> int: ...
    @property
    def size(self) -> int:
        """Bytes in the output."""

    def compact_chunk(self, data: Buffer, position: int) -> tuple[int, int]:
        """Takes the plain batches from `position` on: (where it stopped, END at the last whole batch, OTHER at one
        that is not plain, FULL when the output has to be written first)."""

    def compact_batch(
        self, batch: RecordBatch, *, discard: bool = False, marker_is_free: bool = False, max_bytes: int
    ) -> bool:
        """Takes one batch of any kind; False, with nothing done, when the output has to be written first.

        With `discard` no record stays. `marker_is_free`: a marker of a transaction that has no records any more, which
        may go when its horizon has passed; without one it gets it now.
        """

    def finish(self) -> bytearray:
        """The output, whose first `size` bytes are whole batches now."""

    def index_points(
        self, position: int, since: int, interval: int, max_timestamp: int, max_timestamp_offset: int
    ) -> tuple[list[tuple[int, int, int, int]], int, int, int]:
        """The index entries of an output that is written at `position` of a segment: (last offset, position, largest
        timestamp, its offset) of each, then what the last three arguments become. `since` are the bytes since the last
        entry."""

    def clear(self) -> None: ...
