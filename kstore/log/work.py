"""Background work on logs, cut so that its slow part can run in another thread.

The owner of the logs makes the work, any thread calls `run`, and the owner calls `complete` with what came
out.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from kstore.errors import KafkaError, KafkaStorageError, KstoreError
from kstore.log.files import Directory
from kstore.log.flush import FlushJob
from kstore.log.log_dir import DeletedFiles, LogDir
from kstore.log.offset_checkpoint import Replacement
from kstore.log.partition_log import PartitionLog

logger = logging.getLogger(__name__)

# When there was no descriptor for it, the next try to remove a directory.
RETRY_MS = 10_000


class Work(Protocol):
    """`run` may be called in any thread, once, and does not raise; then `complete` on the manager's
    thread."""

    def run(self) -> None: ...

    def complete(self, now_ms: int) -> None: ...


LookUp = Callable[[], object]


def bring_in(look_up: LookUp | None) -> None:
    """Runs what came with a NotCachedError, in a thread that may wait. What is wrong with the files, or that they are
    gone, is for the owner of the log to find."""
    if look_up is not None:
        with suppress(OSError, KstoreError, ValueError):
            look_up()


class FlushWork:
    __slots__ = ("flushing", "job", "log")

    def __init__(self, flushing: set[PartitionLog], log: PartitionLog, job: FlushJob) -> None:
        self.flushing = flushing
        self.log = log
        self.job = job

    def run(self) -> None:
        self.job.run()

    def complete(self, now_ms: int) -> None:
        self.flushing.discard(self.log)
        with suppress(KafkaStorageError):  # the directory has told it
            self.log.complete_flush(self.job, now_ms=now_ms)


class PrepareWork:
    """Makes a new log durable before its first append asks for it."""

    __slots__ = ("job", "log")

    def __init__(self, log: PartitionLog, job: FlushJob) -> None:
        self.log = log
        self.job = job

    def run(self) -> None:
        self.job.run()

    def complete(self, now_ms: int) -> None:
        with suppress(KafkaStorageError):  # the directory has told it
            self.log.complete_prepare(self.job)


class RetentionWork:
    """Retention of a log whose segments' ages are on the disk only."""

    __slots__ = ("log", "look_up", "may_delete")

    def __init__(self, log: PartitionLog, look_up: LookUp | None, may_delete: Callable[[PartitionLog], bool]) -> None:
        self.log = log
        self.look_up = look_up
        self.may_delete = may_delete

    def run(self) -> None:
        bring_in(self.look_up)

    def complete(self, now_ms: int) -> None:
        if not self.may_delete(self.log):
            return
        try:
            self.log.delete_old_segments(now_ms)
        except KafkaError as error:
            logger.error("retention of %s: %s", self.log.topic_partition, error)


class UnlinkWork:
    __slots__ = ("error", "files", "log_dir")

    def __init__(self, log_dir: LogDir, files: DeletedFiles) -> None:
        self.log_dir = log_dir
        self.files = files
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            self.files.unlink()
        except OSError as error:
            self.error = error

    def complete(self, now_ms: int) -> None:
        if self.error is not None:
            self.log_dir.fail(f"deleting files of {self.files.directory.path}", self.error)


class RemoveDirectoryWork:
    """Removes the directory of a deleted partition; it waits again in `deleted` when it could not be looked into."""

    __slots__ = ("deleted", "directory", "error", "log_dir")

    def __init__(self, deleted: list[tuple[int, LogDir, Directory]], log_dir: LogDir, directory: Directory) -> None:
        self.deleted = deleted
        self.log_dir = log_dir
        self.directory = directory
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            self.directory.delete_self()
        except FileNotFoundError:
            return
        except OSError as error:
            self.error = error

    def complete(self, now_ms: int) -> None:
        if self.error is not None:
            self.log_dir.sync_error(f"deleting {self.directory.path}", self.error)
            if self.log_dir.failure is None:
                self.deleted.append((now_ms + RETRY_MS, self.log_dir, self.directory))
        else:
            logger.info("deleted %s", self.directory.path)


class CheckpointWork:
    """Replaces one checkpoint file of one directory."""

    __slots__ = ("error", "log_dir", "replacement")

    def __init__(self, log_dir: LogDir, replacement: Replacement) -> None:
        self.log_dir = log_dir
        self.replacement = replacement
        self.error: OSError | None = None

    def run(self) -> None:
        if self.log_dir.failure is not None:
            return  # it has failed since this was given out, and no fsync of it is tried again
        try:
            self.replacement.run()
        except OSError as error:
            self.error = error

    def complete(self, now_ms: int) -> None:
        if self.error is not None:
            self.log_dir.io_error(f"writing {self.replacement.checkpoint.name}", self.error)
