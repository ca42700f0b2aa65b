"""One entry of `log.dirs`: where it is, and whether its disk still does what it is told.

A directory that failed stays offline until the process ends: a failed fsync may have thrown pages away, so
trying again would confirm what is lost (LogDirFailureChannel.java, KAFKA-3210). Partitions ask `failure`
before every I/O; whoever runs the broker asks it to learn the news.
"""

import errno
import logging
import os
from typing import NamedTuple

from kstore.errors import KafkaStorageError
from kstore.log.checkpoint_file import (
    CLEANER_OFFSET_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    fsync_directory,
)
from kstore.log.files import Directory
from kstore.log.offset_checkpoint import OffsetCheckpoint
from kstore.log.rarely import Rarely
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)

# In which unbroken life of its records a broker is (`incarnation`).
INCARNATION_FILE = ".kstore_incarnation"

# In the order in which they are written: a log start is believed up to the high watermark.
CHECKPOINTS = (
    RECOVERY_POINT_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    CLEANER_OFFSET_CHECKPOINT,
)

# The process, or the system, has no descriptor left.
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
# Refusals that leave the disk as good as it was: no room, or the process has run out of something.
PASSING = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, *OUT_OF_DESCRIPTORS)


class DeletedFiles(NamedTuple):
    """Renamed files that are to be unlinked at `due_ms`."""

    directory: Directory
    names: list[str]
    due_ms: int

    def unlink(self) -> None:
        """May run in any thread. Raises OSError."""
        for name in self.names:
            self.directory.delete(name)


class LogDir:
    """`made`, `rolled` and `deleted` hold what partitions leave for the background tasks: partitions whose names are
    not durable yet, partitions with a sealed segment to flush, and files to unlink when their time has come.

    Directories of partitions are counted as they are made; `names_synced` is how many of them the last fsync of this
    directory has seen. `checkpoints` are its checkpoint files by their names.
    `lacks_descriptors` asks for those that nobody needs at the moment.
    """

    __slots__ = (
        "_rarely",
        "checkpoints",
        "deleted",
        "failure",
        "has_lost_batches",
        "lacks_descriptors",
        "made",
        "names_made",
        "names_synced",
        "path",
        "rolled",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.failure: str | None = None
        # A start had to cut off batches that had been whole.
        self.has_lost_batches = False
        self.made: list[TopicPartition] = []
        self.names_made = 0
        self.names_synced = 0
        self.rolled: list[TopicPartition] = []
        self.deleted: list[DeletedFiles] = []
        self.lacks_descriptors = False
        self._rarely = Rarely(logger)
        self.checkpoints = {name: OffsetCheckpoint(path, name) for name in CHECKPOINTS}

    def note_lost_batches(self) -> None:
        """To be told before they are cut off: the incarnation ends with them (rule 26), and the next start must know it
        too where this one is killed before it has said so. Raises OSError."""
        self.has_lost_batches = True
        try:
            os.unlink(os.path.join(self.path, INCARNATION_FILE))
        except FileNotFoundError:
            return
        fsync_directory(self.path)

    def fail(self, doing: str, error: OSError) -> KafkaStorageError:
        """Takes the directory offline; returns the error for the caller to raise."""
        if self.failure is None:
            self.failure = f"{doing}: {error}"
            logger.error("log directory %s is offline: %s", self.path, self.failure)
        return KafkaStorageError(f"{self.path} failed {doing}: {error}")

    def io_error(self, doing: str, error: OSError) -> KafkaStorageError:
        """The error to raise for an operation that was undone; one that may go well later leaves us online.

        Never for an fsync: what it was to write may be gone, whatever it says.
        """
        if error.errno in PASSING:
            self.lacks_descriptors |= error.errno in OUT_OF_DESCRIPTORS
            self._rarely.log(error.errno, logging.WARNING, "%s: %s", doing, error)
            return KafkaStorageError(f"{self.path} could not go on {doing}: {error.strerror}")
        return self.fail(doing, error)

    def sync_error(self, doing: str, error: OSError) -> KafkaStorageError:
        """As `io_error`, for what is to be synced: only where it could not even be opened is nothing lost."""
        if error.errno in OUT_OF_DESCRIPTORS:
            return self.io_error(doing, error)
        return self.fail(doing, error)

    def check(self) -> None:
        """Raises KafkaStorageError when the directory is offline."""
        if self.failure is not None:
            raise KafkaStorageError(f"{self.path} has been offline since its disk failed: {self.failure}")
