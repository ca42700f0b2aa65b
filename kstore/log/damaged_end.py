"""What is cut off a log though it had been flushed, kept beside it.

Nothing can be appended behind bytes that are no batch, so a log is cut there. But where they had been flushed no crash
explains them: the disk, or a hand, has changed what was there, and whole batches may lie behind the damage. So before
the cut all of it is copied to `<base offset>.<position>.log.damaged` beside the segment, and segments behind it are
renamed to `<base offset>.log.damaged`. Kafka and kstore pass such files over, `kstore log verify` names them and
`kstore log dump` reads them.
"""

import logging
from itertools import count

from kstore.errors import KafkaStorageError
from kstore.log.directory import DAMAGED_SUFFIX, LOG_SUFFIX, file_name
from kstore.log.files import Directory
from kstore.log.log_dir import PASSING
from kstore.log.segment import Segment

logger = logging.getLogger(__name__)

UNFINISHED = ".part"


def keep_damaged_end(directory: Directory, segment: Segment, position: int) -> None:
    """Copies what lies in the segment from `position` on, durably. Raises KafkaStorageError where the disk is full,
    OSError; the segment is as it was then."""
    name = _free_name(directory, f"{file_name(segment.base_offset, '')}.{position}")
    size = segment.size - position
    try:
        _copy_end(directory, segment, position, name)
    except OSError as error:
        directory.delete(name + UNFINISHED)
        if error.errno in PASSING:
            raise KafkaStorageError(
                f"{directory.path}: the last {size} bytes of segment {segment.base_offset} are damaged, and there is no"
                f" room to keep them before they are cut off: {error}"
            ) from error
        raise
    logger.error(
        "%s: the %d bytes behind position %d of segment %d, which had been flushed, are cut off; they are kept in %s",
        directory.path,
        size,
        position,
        segment.base_offset,
        name,
    )


def _copy_end(directory: Directory, segment: Segment, position: int, name: str) -> None:
    unfinished = name + UNFINISHED
    directory.delete(unfinished)
    copy = directory.open_records(unfinished, create=True)
    try:
        segment.copy_to(copy, position, segment.size - position)
        copy.flush()
    finally:
        copy.close()
    directory.rename(unfinished, name)
    directory.sync()


def keep_segment(directory: Directory, segment: Segment) -> None:
    """Renames the records of a segment that is taken out of its log. Raises OSError."""
    name = _free_name(directory, file_name(segment.base_offset, ""))
    directory.rename(file_name(segment.base_offset, LOG_SUFFIX), name)
    logger.error("%s: segment %d, which had been flushed, is kept as %s", directory.path, segment.base_offset, name)


def _free_name(directory: Directory, stem: str) -> str:
    """What was kept before under the same name stays."""
    names = set(directory.names())
    numbered = (f"{stem}-{number}" for number in count(2))
    name = stem + LOG_SUFFIX + DAMAGED_SUFFIX
    while name in names:
        name = next(numbered) + LOG_SUFFIX + DAMAGED_SUFFIX
    return name
