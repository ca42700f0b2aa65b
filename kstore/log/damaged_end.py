"""The end of a log that had been durable and holds whole batches no more.

Nothing can be appended behind it, so the log is cut there. But no crash explains it: the disk, or a hand, has changed
what was there, and whole batches may lie behind the damage. So before the cut all of it is copied to
`<base offset>.<position>.log.damaged` beside the segment, which Kafka and kstore pass over, `kstore log verify` names
and `kstore log dump` reads.
"""

import logging

from kstore.log.directory import DAMAGED_SUFFIX, LOG_SUFFIX, file_name
from kstore.log.files import Directory
from kstore.log.segment import Segment

logger = logging.getLogger(__name__)

UNFINISHED = ".part"


def keep_damaged_end(directory: Directory, segment: Segment, position: int) -> bool:
    """Copies what lies in the segment from `position` on, durably; false where nothing had been written there.

    Raises OSError; the segment is as it was then.
    """
    if segment.holds_only_zeros(position):
        return False
    name = _free_name(directory, segment.base_offset, position)
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
    logger.error(
        "%s: the %d bytes behind position %d of segment %d, which were durable, are cut off; they are kept in %s",
        directory.path,
        segment.size - position,
        position,
        segment.base_offset,
        name,
    )
    return True


def _free_name(directory: Directory, base_offset: int, position: int) -> str:
    """What was kept before at the same position stays."""
    names = set(directory.names())
    name = file_name(base_offset, f".{position}{LOG_SUFFIX}{DAMAGED_SUFFIX}")
    again = 1
    while name in names:
        again += 1
        name = file_name(base_offset, f".{position}-{again}{LOG_SUFFIX}{DAMAGED_SUFFIX}")
    return name
