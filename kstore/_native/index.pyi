"""The sparse indexes of a segment: offset -> position and timestamp -> offset (OffsetIndex.java,
TimeIndex.java).

    offset index, 8 bytes an entry:  | offset - base offset i32 | position i32 |
    time index,  12 bytes an entry:  | timestamp i64 | offset - base offset i32 |

Entries rise strictly in every field. The last few thousand are kept in memory and written behind by plain
writes (no mmap: on a full disk a sparse mapping kills the process); older ones are read when asked for. An
append never fails for want of disk space: what could not be written is tried again, and flush() and close()
tell. The file is opened, and read, when first needed. Zeros at the end, which Kafka's preallocation leaves
after a crash, are no entries and are cut by the next write.
"""

import os
from typing import final

class Index:
    def __init__(self, path: str | os.PathLike[str], base_offset: int, max_bytes: int, writable: bool = True) -> None:
        """With `writable` a missing file is made."""

    @property
    def path(self) -> str: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def writable(self) -> bool: ...
    @property
    def entries(self) -> int: ...
    @property
    def max_entries(self) -> int: ...
    @property
    def size_in_bytes(self) -> int: ...
    @property
    def last_offset(self) -> int:
        """Of the last entry; the base offset when there is none."""

    @property
    def is_full(self) -> bool: ...
    def entry(self, n: int) -> tuple[int, int]: ...
    def truncate_to(self, offset: int) -> None:
        """Drops the entries whose offset is >= `offset`, from the file too."""

    def truncate(self) -> None:
        """Drops all entries."""

    def reset(self) -> None:
        """Empties the index without looking at what the file holds, to be built anew; reopens a closed
        one."""

    def resize(self, max_bytes: int) -> None: ...
    def flush(self, sync: bool = True) -> None:
        """Writes what waits; with `sync` also fdatasync. OSError."""

    def release(self) -> None:
        """flush(sync=False), then lets descriptor and memory go until they are needed again."""

    def close(self) -> None: ...
    def rename(self, path: str | os.PathLike[str]) -> None: ...
    def delete(self) -> bool:
        """Closes without writing, removes the file, and tells whether it was there."""

@final
class OffsetIndex(Index):
    def append(self, offset: int, position: int) -> int:
        """ValueError when the index is full, the offset not above the last one, or out of the segment's
        range."""

    def lookup(self, target: int) -> tuple[int, int]:
        """(offset, position) of the last entry with offset <= target, or (base offset, 0)."""

    def fetch_upper_bound(self, position: int, fetch_size: int) -> tuple[int, int] | None:
        """The first entry at or behind `position + fetch_size`."""

    def sanity_check(self, log_size: int | None = None) -> None:
        """CorruptIndexError when the last entry or the file's size cannot be."""

@final
class TimeIndex(Index):
    @property
    def last_entry(self) -> tuple[int, int]:
        """(timestamp, offset); (-1, base offset) when there is none."""

    def maybe_append(self, timestamp: int, offset: int, skip_full_check: bool = False) -> bool:
        """Appends unless the timestamp is that of the last entry. ValueError when the index is full, or when
        timestamp or offset lie below the last entry."""

    def lookup(self, target: int) -> tuple[int, int]:
        """(timestamp, offset) of the last entry with timestamp <= target, or (-1, base offset)."""

    def sanity_check(self) -> None:
        """CorruptIndexError when the last entry or the file's size cannot be."""
