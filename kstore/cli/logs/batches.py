"""Walking a file of batches with whatever is damaged in it: what is whole is found on both sides of the damage.

A batch whose CRC is wrong is handed out like any other, the caller asks; wherever bytes are no batch, the walk goes on
at the next one that is whole. Memory is bounded: a length above `LARGE_BATCH` is not believed before the CRC of that
many bytes has been seen to match.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from kstore._native.batch import HEADER_SIZE, LOG_OVERHEAD, RecordBatch, iter_batches
from kstore._native.checksum import crc32c
from kstore._native.records import FileRecords
from kstore.errors import CorruptRecordError, UnsupportedForMessageFormatError

CHUNK = 1024 * 1024
LARGE_BATCH = 64 * 1024 * 1024
MAGIC_POSITION = 16
CRC_POSITION = 17
CRC_END = 21
MESSAGE_CRC_END = 16
SMALLEST_MESSAGE = 14 + LOG_OVERHEAD

HEAD = struct.Struct(">qiib")  # base offset, length of what follows, leader epoch (or CRC), magic
CRC = struct.Struct(">I")


ZEROS = "zeros to the end of the file"


class Damage(NamedTuple):
    """Bytes from a position on that are no batch."""

    size: int
    reason: str
    is_tail: bool  # no whole batch lies behind


class OldMessage(NamedTuple):
    """A message of format 0 or 1, or a compressed wrapper of several, which nothing here reads further."""

    offset: int  # of the last message inside
    size: int
    magic: int
    crc_valid: bool


Found = RecordBatch | Damage | OldMessage


def walk(records: FileRecords, start: int = 0) -> Iterator[tuple[int, Found]]:
    """(position, what lies there) from `start` to the end of the file. Raises OSError."""
    position, end = start, records.size_in_bytes
    while position < end:
        last: RecordBatch | None = None
        last_position = position
        for last_position, last in small_batches(records, position):
            yield last_position, last
            position = last_position + last.size_in_bytes
        if position >= end:
            return
        found = look_at(records, position)
        if not isinstance(found, str):
            yield position, found
            position += found.size if isinstance(found, OldMessage) else found.size_in_bytes
            continue
        # Where a length leads nowhere, it is perhaps the length that is wrong: then good batches lie within it.
        lies = last is not None and not last.is_crc_valid()
        following = find_batch(records, last_position + 1 if lies else position + 1)
        if following < 0:
            yield position, Damage(end - position, found, True)
            return
        yield position, Damage(max(0, following - position), found, False)
        position = following


def small_batches(records: FileRecords, position: int) -> Iterator[tuple[int, RecordBatch]]:
    """The batches from `position` on, up to what is none or larger than a chunk."""
    end = records.size_in_bytes
    while position < end:
        start = position
        chunk = records.read(start, min(CHUNK, end - start))
        try:
            for batch in iter_batches(chunk, allow_partial_tail=True):
                position = start + batch.position
                yield position, batch
                position += batch.size_in_bytes
        except (CorruptRecordError, UnsupportedForMessageFormatError):
            return
        if position == start:
            return


def look_at(records: FileRecords, position: int) -> RecordBatch | OldMessage | str:
    """What lies at a position where no small batch is; a text says why it is nothing."""
    remaining = records.size_in_bytes - position
    head = records.read(position, HEAD.size)
    if len(head) < HEAD.size:
        return f"the file ends {count_bytes(remaining)} into a batch"
    offset, length, _, magic = HEAD.unpack(head)
    size = length + LOG_OVERHEAD
    if magic in (0, 1) and size >= SMALLEST_MESSAGE:
        if size > remaining:
            return f"the file ends {count_bytes(remaining)} into a message of {count_bytes(size)}"
        return read_old_message(records, position, offset, size, magic)
    if is_zero(records, position):
        return ZEROS
    if magic != 2 or size < HEADER_SIZE:
        return f"no batch begins here (its length would be {length}, its magic {magic})"
    if size > remaining:
        return f"the file ends {count_bytes(remaining)} into a batch of {count_bytes(size)}"
    if size > LARGE_BATCH and not is_large_batch(records, position, size):
        return f"a batch of {count_bytes(size)} whose CRC is wrong"
    try:
        return RecordBatch(records.read(position, size))
    except CorruptRecordError as error:
        return str(error)


def count_bytes(size: int) -> str:
    return "1 byte" if size == 1 else f"{size} bytes"


def read_old_message(records: FileRecords, position: int, offset: int, size: int, magic: int) -> OldMessage:
    """A message of format 0 or 1: | offset i64 | size i32 | crc u32 | magic i8 | ... (LegacyRecord.java)."""
    if size > LARGE_BATCH:
        return OldMessage(offset, size, magic, False)
    data = records.read(position, size)
    (crc,) = CRC.unpack_from(data, LOG_OVERHEAD)
    return OldMessage(offset, size, magic, zlib.crc32(data[MESSAGE_CRC_END:]) == crc)


def is_large_batch(records: FileRecords, position: int, size: int) -> bool:
    """Whether the CRC of a batch matches, read chunk by chunk."""
    (expected,) = CRC.unpack(records.read(position + CRC_POSITION, CRC.size))
    crc: int = 0
    at, end = position + CRC_END, position + size
    while at < end:
        chunk = records.read(at, min(CHUNK, end - at))
        if not chunk:
            return False
        crc = crc32c(chunk, crc)
        at += len(chunk)
    return bool(crc == expected)


def is_zero(records: FileRecords, position: int) -> bool:
    """Whether only zeros follow: a preallocated file, or pages that a power loss never wrote."""
    end = records.size_in_bytes
    while position < end:
        chunk = records.read(position, min(CHUNK, end - position))
        if not chunk or chunk.count(0) != len(chunk):
            return False
        position += len(chunk)
    return True


def find_batch(records: FileRecords, position: int) -> int:
    """The position of the next whole batch with a valid CRC from `position` on, or -1."""
    end = records.size_in_bytes
    while position + HEADER_SIZE <= end:
        chunk = records.read(position, min(CHUNK + HEAD.size, end - position))
        at = chunk.find(2, MAGIC_POSITION)
        while at >= 0:
            start = position + at - MAGIC_POSITION
            offset, length, _, _ = HEAD.unpack_from(chunk, at - MAGIC_POSITION)
            size = length + LOG_OVERHEAD
            # Both are plausible by chance once in some billion places.
            if offset >= 0 and HEADER_SIZE <= size <= end - start and is_large_batch(records, start, size):
                return start
            at = chunk.find(2, at + 1)
        position += CHUNK
    return -1
