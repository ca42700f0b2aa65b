"""Splitting a segment whose offsets do not fit its indexes.

Kafka before 1.1 could write such segments by compaction (KAFKA-6264). The batches go to new files, each from its own
first offset on: `.cleaned` while they are written, `.swap` when all are (renamed from the last to the first, so that a
`.cleaned` below a `.swap` tells of an unfinished split), then the old segment is renamed away and the new ones take its
place. Their indexes are built when the log is loaded, as any that are missing (LocalLog.splitOverflowedSegment,
replaceSegments).
"""

import logging
from contextlib import suppress

from kstore.errors import CorruptRecordError
from kstore.log.directory import CLEANED_SUFFIX, DELETED_SUFFIX, LOG_SUFFIX, SWAP_SUFFIX, file_name
from kstore.log.files import Directory, RecordsFile
from kstore.log.segment import MAX_RELATIVE_OFFSET, Segment

logger = logging.getLogger(__name__)


def split_segment(directory: Directory, segment: Segment) -> list[int]:
    """Replaces a segment by several with the same batches; returns their base offsets. Raises OSError."""
    base_offsets = _write_parts(directory, segment)
    logger.info("%s: splitting segment %d into %s", directory.path, segment.base_offset, base_offsets)
    for base_offset in reversed(base_offsets):
        name = file_name(base_offset, LOG_SUFFIX)
        directory.rename(name + CLEANED_SUFFIX, name + SWAP_SUFFIX)
    directory.sync()
    for name in segment.file_names():
        directory.rename(name, name + DELETED_SUFFIX)
    segment.drop_handles()
    for base_offset in base_offsets:
        name = file_name(base_offset, LOG_SUFFIX)
        directory.rename(name + SWAP_SUFFIX, name)
    directory.sync()
    return base_offsets


def _write_parts(directory: Directory, segment: Segment) -> list[int]:
    base_offsets: list[int] = []
    parts: list[RecordsFile] = []
    position = 0
    with suppress(CorruptRecordError):
        for header in segment.records.batch_headers(0, segment.size):
            if not parts or header.last_offset - base_offsets[-1] > MAX_RELATIVE_OFFSET:
                name = file_name(header.base_offset, LOG_SUFFIX) + CLEANED_SUFFIX
                directory.delete(name)
                parts.append(directory.open_records(name, create=True))
                base_offsets.append(header.base_offset)
            segment.copy_to(parts[-1], position, header.size_in_bytes)
            position += header.size_in_bytes
    # What is no batch stays at the end, for recovery or a reader to find.
    segment.copy_to(parts[-1], position, segment.size - position)
    for part in parts:
        part.flush()
    return base_offsets
