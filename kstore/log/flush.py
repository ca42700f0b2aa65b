"""Making a log durable up to an offset, cut in three so that the slow part can run in another thread.

    job = log.begin_flush(now_ms)      on the thread that owns the log: decides what, hands buffered entries
    to the system job.run()                          in any thread: fsyncs log.complete_flush(job)
    on the owner's thread again: the recovery point advances

What lies below the recovery point is never checked again on a start, so it advances only after the fsync, and
the files of a sealed segment are durable with their indexes and their names. The offset and time index of the
active segment are not synced: a start after a crash looks at them again. Its transaction index is, for only what lies
behind the recovery point is made anew (LocalLog.flush, UnifiedLog.flush).
"""

import errno
from collections.abc import Sequence
from threading import Lock

from kstore.log.checkpoint_file import LEADER_EPOCH_CHECKPOINT
from kstore.log.directory import PARTITION_METADATA
from kstore.log.files import Directory, RecordsFile
from kstore.log.log_dir import LogDir
from kstore.log.segment import Segment

# What a new log has besides its segment.
NAMED_FILES = (PARTITION_METADATA, LEADER_EPOCH_CHECKPOINT)


class FlushJob:
    """`error` tells afterwards what the disk said; such a job is never tried again, unless a file could not even be
    opened. `sealed` and `snapshots` are what it was to be the first to sync.

    The kernel tells of a lost page once: a second fsync of the same file says all is well. So jobs of one log run one
    after the other, and none when the directory has failed.
    """

    __slots__ = (
        "directory",
        "error",
        "lock",
        "log_dir",
        "name_number",
        "names",
        "obsolete_snapshot",
        "offset",
        "records",
        "sealed",
        "snapshots",
        "sync_directory",
        "truncations",
    )

    def __init__(
        self,
        directory: Directory,
        log_dir: LogDir,
        lock: Lock,
        offset: int,
        records: list[RecordsFile],
        names: list[str],
        *,
        sync_directory: bool,
        truncations: int,
        obsolete_snapshot: int = -1,
        name_number: int = 0,
        sealed: Sequence[Segment] = (),
        snapshots: Sequence[int] = (),
    ) -> None:
        self.directory = directory
        self.log_dir = log_dir
        self.lock = lock
        self.offset = offset
        self.records = records
        self.names = names
        self.sync_directory = sync_directory
        self.truncations = truncations
        self.obsolete_snapshot = obsolete_snapshot
        self.name_number = name_number
        self.sealed = sealed
        self.snapshots = snapshots
        self.error: OSError | None = None

    def run(self) -> None:
        with self.lock:
            if self.log_dir.failure is not None:
                self.error = OSError(errno.EIO, self.log_dir.failure)
                return
            try:
                for records in self.records:
                    try:
                        records.flush()
                    except FileNotFoundError:
                        # Closed, and deleted or renamed since: that it has gone is what must last.
                        self.sync_directory = True
                for name in self.names:
                    self.directory.sync_file(name)
                if self.sync_directory:
                    self.directory.sync()
                sync_name(self.directory, self.log_dir, self.name_number)
            except OSError as error:
                self.error = error
                self.log_dir.sync_error(f"flushing {self.directory.path}", error)


def sync_name(directory: Directory, log_dir: LogDir, number: int) -> None:
    """Makes the name of the partition's directory, the `number`th that was made, durable. Raises OSError.

    One fsync serves all names that were made before it.
    """
    if number > log_dir.names_synced:
        made = log_dir.names_made
        directory.sync_parent()
        log_dir.names_synced = max(log_dir.names_synced, made)
