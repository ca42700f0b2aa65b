"""Reading a segment: by offset and by timestamp, and what its first and last batches tell (LogSegment.java).

An index is believed as far as its entry leads to the batch that it was made for; else both are built anew, once.
"""

import logging

from kstore._native.batch import LOG_OVERHEAD
from kstore._native.records import FileSlice
from kstore.errors import CorruptIndexError, CorruptRecordError, UnsupportedForMessageFormatError
from kstore.log.directory import LOG_SUFFIX
from kstore.log.files import RecordsFile
from kstore.log.segment_files import LONG_MAX, NOT_LOADED, SegmentFiles
from kstore.model import NO_TIMESTAMP

logger = logging.getLogger(__name__)

# What is read at a time of what need not be as long as it says.
PIECE = 256 * 1024


class SegmentReader(SegmentFiles):
    __slots__ = ()

    def translate_offset(
        self, offset: int, start_position: int = 0, *, wait: bool = True
    ) -> tuple[int, int, int, int] | None:
        """(base offset, last offset, position, size) of the first batch that reaches `offset`, or None.

        Raises CorruptRecordError where the bytes are no batch, and where the last one is not whole: who looks for what
        it held must not be led to the next segment.
        """
        try:
            entry_offset, position = self._offsets(wait).lookup(offset, wait)
            found = self.records.search_for_offset(offset, max(position, start_position), wait=wait)
            if found is None:
                self._check_end(max(position, start_position), wait)
            if (found is not None and found[0] <= offset) or self._leads_to(entry_offset, position, wait):
                return found
            reason: object = f"entry {entry_offset} does not lead to its batch at position {position}"
        except (CorruptIndexError, ValueError) as error:
            reason = error
        except (CorruptRecordError, UnsupportedForMessageFormatError) as error:
            if self._rebuilt:
                raise
            reason = error
        if self._rebuilt:
            raise self.damage(reason)
        # Either the index lies or the log is damaged; with a good index the log speaks for itself.
        self.blame_index(reason, wait=wait)
        _, position = self._offsets(wait).lookup(offset, wait)
        return self.records.search_for_offset(offset, max(position, start_position), wait=wait)

    def _check_end(self, position: int, wait: bool) -> None:
        """Raises CorruptRecordError unless the segment ends with a whole batch; one begins at `position`."""
        for header in self.records.batch_headers(position, self.size, wait=wait):
            position = header.position + header.size_in_bytes
        if position < self.size:
            raise self.torn(position)

    def _leads_to(self, last_offset: int, position: int, wait: bool = True) -> bool:
        """Whether an offset index entry points at a batch, and at none behind the one that it was made for.

        Before 3.9.1 an entry had the last offset of a whole append, and the position where that began.
        """
        if position == 0:
            return True
        for header in self.records.batch_headers(position, self.size, wait=wait):
            return header.last_offset <= last_offset
        return False

    def slice(self, position: int, size: int) -> FileSlice | bytes:
        return self.records.slice(position, size)

    def fetch_upper_bound(self, position: int, size: int, *, wait: bool = True) -> int | None:
        """An offset that a slice of `size` bytes at `position` does not reach, as far as the index tells."""
        found = self._offsets(wait).fetch_upper_bound(position, size, wait=wait)
        return None if found is None else found[0]

    def read_end(self) -> tuple[int, int]:
        """(one more than the last offset, position) of the end of the last whole batch; walks the headers
        after the last index entry."""
        entry_offset, position = self.offset_index.lookup(LONG_MAX)
        end = self._end_behind(position)
        if position > 0 and end[0] <= entry_offset:
            end = self._end_behind(0)  # the index lies, or the batch that it leads to: all of them tell
        return end

    def _end_behind(self, position: int) -> tuple[int, int]:
        next_offset = self.base_offset
        try:
            for header in self.records.batch_headers(position, self.size):
                if not next_offset <= header.base_offset <= header.last_offset <= self._last_possible_offset:
                    # An end that lies before the start would have the whole log deleted.
                    raise self.damage(f"a batch of offsets {header.base_offset} to {header.last_offset}", position)
                next_offset = header.last_offset + 1
                position = header.position + header.size_in_bytes
        except CorruptRecordError as error:
            logger.warning("segment %d of %s: %s", self.base_offset, self._directory.path, error)
        return next_offset, position

    def first_batch_timestamp(self) -> int:
        """The first batch's max timestamp, or -1 where there is no batch."""
        if self._rolling_timestamp == NOT_LOADED:
            self._rolling_timestamp = NO_TIMESTAMP
            for header in self.records.batch_headers(0, self.size):
                self._rolling_timestamp = header.max_timestamp
                break
        return self._rolling_timestamp

    def largest_timestamp(self, *, wait: bool = True) -> int:
        """What time-based retention counts from: the file's age where no batch has a timestamp."""
        timestamp = self.load_max_timestamp(wait=wait)
        if timestamp >= 0:
            return timestamp
        return self._directory.modified_ms(self._name(LOG_SUFFIX), wait=wait)

    def find_offset_by_timestamp(
        self, timestamp: int, start_offset: int, *, wait: bool = True
    ) -> tuple[int, int, int | None] | None:
        """(timestamp, offset, leader epoch) of the first record from `start_offset` on that is not older."""
        try:
            entry_timestamp, entry_offset = self._times(wait).lookup(timestamp, wait)
            is_none = entry_timestamp < 0 and entry_offset == self.base_offset
            if not (is_none or self._rebuilt or self._has_timestamp(entry_offset, entry_timestamp, wait)):
                raise CorruptIndexError(f"time index entry {entry_timestamp} is not that of offset {entry_offset}")
        except CorruptIndexError as error:
            if self._rebuilt:
                raise self.damage(error) from error
            self.blame_index(error, wait=wait)
            _, entry_offset = self._times(wait).lookup(timestamp, wait)
        found = self.translate_offset(max(entry_offset, start_offset), wait=wait)
        return (
            None if found is None else self.records.search_for_timestamp(timestamp, found[2], start_offset, wait=wait)
        )

    def _has_timestamp(self, offset: int, timestamp: int, wait: bool) -> bool:
        """Whether the batch that holds `offset` has this max timestamp."""
        found = self.translate_offset(offset, wait=wait)
        return found is not None and self._is_max_timestamp(found[2], offset, timestamp, wait)

    def _is_time_of(self, offset: int, timestamp: int) -> bool:
        """As `_has_timestamp`, but believes the offset index; true where there is no timestamp."""
        if timestamp < 0:
            return True
        found = self.records.search_for_offset(offset, self.offset_index.lookup(offset)[1])
        return found is not None and self._is_max_timestamp(found[2], offset, timestamp)

    def _is_max_timestamp(self, position: int, offset: int, timestamp: int, wait: bool = True) -> bool:
        for header in self.records.batch_headers(position, self.size, wait=wait):
            return header.base_offset <= offset and header.max_timestamp == timestamp
        return False

    def check_format(self) -> None:
        """Raises UnsupportedForMessageFormatError, with file and position, when the first batch is of an old
        format."""
        try:
            for _ in self.records.batch_headers(0, self.size):
                break
        except CorruptRecordError:
            return  # recovery or a reader will tell
        except UnsupportedForMessageFormatError:
            if self.holds_old_message(0):
                raise

    def holds_old_message(self, position: int) -> bool:
        """Whether a message of format 0 or 1 lies here, and not a length with the zeros behind it that a power loss
        left, in a batch whose first bytes end a page. Zeros can be a message, too, with the right CRC-32
        (LegacyRecord.java)."""
        import zlib

        size = int.from_bytes(self._bytes(position + 8, 4), "big", signed=True)
        position += LOG_OVERHEAD
        end = min(position + max(size, 0), self.size)
        if any(self._bytes(position + 4, min(14, end - position - 4))):
            return True
        stored = int.from_bytes(self._bytes(position, 4), "big")
        crc = 0
        for start in range(position + 4, end, PIECE):
            crc = zlib.crc32(self._bytes(start, min(PIECE, end - start)), crc)
        return crc == stored

    def copy_to(self, other: RecordsFile, position: int, size: int) -> None:
        """Appends `size` bytes from `position` on to another file, whatever they are. Raises OSError."""
        end = position + size
        for start in range(position, end, PIECE):
            other.append(self._bytes(start, min(PIECE, end - start)))

    def holds_only_zeros(self, position: int) -> bool:
        """Whether nothing has been written from `position` on, as in a file that was preallocated."""
        return not any(
            self._bytes(start, min(PIECE, self.size - start)).strip(b"\0")
            for start in range(position, self.size, PIECE)
        )

    def _bytes(self, position: int, size: int) -> bytes:
        piece = self.records.slice(position, size)
        return piece if isinstance(piece, bytes) else piece.read()
