"""The sparse indexes of a segment: offset -> position and timestamp -> offset (OffsetIndex.java,
TimeIndex.java).

    offset index, 8 bytes an entry:  | offset - base offset i32 | position i32 |
    time index,  12 bytes an entry:  | timestamp i64 | offset - base offset i32 |

Entries rise strictly in every field. The last few thousand are kept in memory and written behind by plain
writes (no mmap: on a full disk a sparse mapping kills the process); older ones are read when asked for. An
append never fails for want of disk space: what could not be written is tried again, and flush() and close()
tell. The file is opened, and read, when first needed. Zeros at the end, which Kafka's preallocation leaves
after a crash, are no entries and are cut by the next write.

Calls with `wait=False` do not wait for the disk: they raise NotCachedError where they would.
"""

from typing import final

from kstore._native.index_file import Index

@final
class OffsetIndex(Index):
    def append(self, offset: int, position: int) -> int:
        """ValueError when the index is full, the offset not above the last one, or out of the segment's
        range."""

    def lookup(self, target: int, wait: bool = True) -> tuple[int, int]:
        """(offset, position) of the last entry with offset <= target, or (base offset, 0)."""

    def fetch_upper_bound(self, position: int, fetch_size: int, *, wait: bool = True) -> tuple[int, int] | None:
        """The first entry at or behind `position + fetch_size`."""

    def sanity_check(self, log_size: int | None = None, *, wait: bool = True) -> None:
        """CorruptIndexError when the last entry or the file's size cannot be."""

@final
class TimeIndex(Index):
    @property
    def last_entry(self) -> tuple[int, int]:
        """(timestamp, offset); (-1, base offset) when there is none."""

    def maybe_append(self, timestamp: int, offset: int, skip_full_check: bool = False) -> bool:
        """Appends unless the timestamp is that of the last entry. ValueError when the index is full, or when
        timestamp or offset lie below the last entry."""

    def lookup(self, target: int, wait: bool = True) -> tuple[int, int]:
        """(timestamp, offset) of the last entry with timestamp <= target, or (-1, base offset)."""

    def sanity_check(self, *, wait: bool = True) -> None:
        """CorruptIndexError when the last entry or the file's size cannot be."""
