"""Files of record batches, and slices of them on their way to a socket.

A FileRecords knows its size: it writes there, and reads nothing beyond. Its descriptor is opened when first
needed (a thousand sealed segments cost no open at start) and lives as long as anybody uses it: a slice that
is being sent keeps it although the segment is closed, renamed or deleted. Symbolic links are refused. The GIL
is released around every call that touches the file (FileRecords.java, FileLogInputStream.java).

Calls with `wait=False` do not wait for the disk: they raise NotCachedError where they would.
"""

import os
from collections.abc import Iterator
from typing import final

from typing_extensions import Buffer

from kstore._native.batch import RecordBatch
from kstore._native.scan import BatchHeader, CheckedHeaders, SegmentScan

class FileRecords:
    def __init__(
        self, path: str | os.PathLike[str], *, writable: bool, create: bool = False, preallocate: int = 0
    ) -> None:
        """An existing file, or with `create` one that may be made. `preallocate` reserves blocks without
        making the file longer; trim() and close() give the rest back."""

    @property
    def path(self) -> str: ...
    @property
    def writable(self) -> bool: ...
    @property
    def size_in_bytes(self) -> int: ...
    def append(self, buffer: Buffer, position: int = 0, size: int = -1) -> int:
        """Writes `size` bytes of `buffer` (-1: all from `position` on) to the end and returns the position in
        the file where they begin. OSError when they could not all be written; the file is then as it was."""

    def slice(self, position: int, size: int) -> FileSlice:
        """At most `size` bytes from `position`, as many as there are now."""

    def read(self, position: int, size: int) -> bytes:
        """At most `size` bytes from `position`."""

    def search_for_offset(
        self, target: int, start_position: int = 0, *, wait: bool = True
    ) -> tuple[int, int, int, int] | None:
        """(base offset, last offset, position, size) of the first batch from `start_position` on whose last
        offset is >= target. CorruptRecordError, with `position`, where the walk meets something that is no
        batch."""

    def search_for_timestamp(
        self, timestamp: int, start_position: int = 0, start_offset: int = 0, *, wait: bool = True
    ) -> tuple[int, int, int | None] | None:
        """(timestamp, offset, leader epoch) of the first record from `start_position` and `start_offset` on
        whose timestamp is >= `timestamp`; the epoch is None when the batch has none."""

    def largest_timestamp(self, start_position: int = 0) -> tuple[int, int]:
        """(max timestamp, last offset) of the first batch that has the largest; (-1, -1) when there is
        none."""

    def read_batch(self, position: int) -> RecordBatch | None:
        """The batch that begins at `position`, in memory of its own; None at the end or at a torn tail."""

    def batch_headers(
        self, start_position: int = 0, end_position: int = -1, *, wait: bool = True
    ) -> Iterator[BatchHeader]:
        """The headers of the batches that lie in the range, read without their records. A torn tail ends the
        iteration, what is no batch raises CorruptRecordError or UnsupportedForMessageFormatError with
        `position`."""

    def scan(self, start_position: int = 0, *, check_crc: bool = True, chunk_size: int = ...) -> SegmentScan:
        """All batches, with their bytes, from a position on."""

    def check(self, start_position: int = 0, *, chunk_size: int = ...) -> CheckedHeaders:
        """All batches with the right CRC from a position on, by their headers; what is held of the file at a time is
        one chunk."""

    def truncate_to(self, size: int) -> int:
        """Cuts the file and returns how many bytes went."""

    def trim(self) -> None:
        """Gives preallocated blocks behind the last byte back."""

    def flush(self) -> None:
        """fdatasync. After an OSError the file cannot be trusted and the call must not be repeated."""

    def release(self) -> None:
        """Lets the descriptor go until it is needed again: for sealed segments."""

    def close(self) -> None: ...
    @property
    def is_closed(self) -> bool: ...
    @property
    def is_open(self) -> bool:
        """A descriptor is held."""

    def fileno(self) -> int: ...
    def rename(self, path: str | os.PathLike[str]) -> None: ...
    def delete(self) -> bool:
        """Closes, removes the file, and tells whether it was there."""

@final
class FileSlice:
    """A range of a file, to be sent."""

    @property
    def path(self) -> str: ...
    @property
    def position(self) -> int: ...
    @property
    def size(self) -> int: ...
    def read(self) -> bytes: ...
    def send_to(self, socket_fd: int, already_sent: int, most: int = -1) -> int:
        """Sends what is left after `already_sent`, or `most` of it, until the socket would block, and returns how
        many bytes went (0: none now). OSError of the socket; CorruptRecordError when the file has become shorter than
        the slice."""

    def is_cached(self) -> bool:
        """Whether sending will not wait for the disk; True where the file system cannot tell."""

    def is_warm(self, already_sent: int, most: int) -> bool:
        """`is_cached` for the next `most` bytes after `already_sent`."""

    def warm(self, already_sent: int, most: int) -> None:
        """Reads them from the disk, so that they are cached. For a thread that may wait. OSError."""

    def batch_headers(self, *, wait: bool = True) -> Iterator[BatchHeader]:
        """The headers of the batches in it; one that is cut off by its end is left out."""

    def fileno(self) -> int: ...
    def __len__(self) -> int: ...
