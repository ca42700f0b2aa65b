"""The directory of one partition: what its files are called, and how they come and go.

    00000000000000000000.log        record batches; the name is the first offset that may be inside
    00000000000000000000.index      offset -> position
    00000000000000000000.timeindex  timestamp -> offset
    00000000000000000000.txnindex   aborted transactions, only where there are some
    00000000000000001042.snapshot   producer state before offset 1042
    leader-epoch-checkpoint, partition.metadata

`.deleted` waits for its deletion, `.cleaned` is a rewrite that was not finished, `.swap` one that was
(LocalLog.scala, LogFileUtils.java); `.damaged` was cut off and is kept (`damaged_end`). All that the log does to
files goes through this class, so that `MemoryDirectory` can stand in.
"""

import os
import uuid

from kstore._native.file import modified_ns
from kstore._native.index import OffsetIndex, TimeIndex
from kstore._native.records import FileRecords
from kstore.log.checkpoint_file import fsync_directory, read_file, replace_file
from kstore.model import TopicPartition, uuid_from_text

LOG_SUFFIX = ".log"
OFFSET_INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
TXN_INDEX_SUFFIX = ".txnindex"
SNAPSHOT_SUFFIX = ".snapshot"
DELETED_SUFFIX = ".deleted"
CLEANED_SUFFIX = ".cleaned"
SWAP_SUFFIX = ".swap"
DAMAGED_SUFFIX = ".damaged"
SEGMENT_SUFFIXES = (LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX)
INDEX_SUFFIXES = (OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX)

DELETE_DIR_SUFFIX = "-delete"
FUTURE_DIR_SUFFIX = "-future"
STRAY_DIR_SUFFIX = "-stray"

PARTITION_METADATA = "partition.metadata"
MAX_NAME = 255


def file_name(offset: int, suffix: str) -> str:
    return f"{offset:020d}{suffix}"


def offset_of(name: str) -> int:
    """The offset that a file is named after, or -1."""
    digits, dot, _ = name.partition(".")
    return int(digits) if dot and digits.isdecimal() and digits.isascii() else -1


class DiskDirectory:
    """Raises OSError as the system does; the caller knows what it means."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def parent(self) -> str:
        return os.path.dirname(self.path)

    def names(self) -> list[str]:
        """The names of the plain files inside, sorted."""
        with os.scandir(self.path) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())

    def size_of(self, name: str) -> int:
        return os.stat(os.path.join(self.path, name)).st_size

    def modified_ms(self, name: str, *, wait: bool = True) -> int:
        path = os.path.join(self.path, name)
        return (os.stat(path).st_mtime_ns if wait else modified_ns(path)) // 1_000_000

    def set_modified_ms(self, name: str, modified_ms: int) -> None:
        os.utime(os.path.join(self.path, name), ns=(modified_ms * 1_000_000, modified_ms * 1_000_000))

    def read_file(self, name: str) -> bytes | None:
        return read_file(os.path.join(self.path, name))

    def replace_file(self, name: str, content: bytes, *, sync: bool = True) -> None:
        replace_file(os.path.join(self.path, name), content, sync=sync)

    def write_file(self, name: str, content: bytes) -> None:
        """Writes a file without fsync; what could not be written whole is removed."""
        path = os.path.join(self.path, name)
        try:
            with open(path, "wb") as file:
                file.write(content)
        except OSError:
            self.delete(name)
            raise

    def append_file(self, name: str, content: bytes, position: int) -> None:
        """Writes `content` at `position`, which is where the file ends; a part that was written is cut off
        again."""
        descriptor = os.open(os.path.join(self.path, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            written = 0
            try:
                while written < len(content):
                    written += os.pwrite(descriptor, content[written:], position + written)
            except OSError:
                os.ftruncate(descriptor, position)
                raise
        finally:
            os.close(descriptor)

    def truncate_file(self, name: str, size: int) -> None:
        os.truncate(os.path.join(self.path, name), size)

    def sync_file(self, name: str) -> None:
        """fsyncs a file; one that is gone meanwhile needs none."""
        try:
            descriptor = os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def delete(self, name: str) -> bool:
        try:
            os.unlink(os.path.join(self.path, name))
        except FileNotFoundError:
            return False
        return True

    def rename(self, name: str, new_name: str) -> bool:
        try:
            os.rename(os.path.join(self.path, name), os.path.join(self.path, new_name))
        except FileNotFoundError:
            return False
        return True

    def sync(self) -> None:
        """Makes the names inside durable; a directory that is gone meanwhile needs none."""
        try:
            fsync_directory(self.path)
        except FileNotFoundError:
            return

    def create(self) -> bool:
        """Makes the directory; False if it is there."""
        try:
            os.mkdir(self.path)
        except FileExistsError:
            return False
        return True

    def sync_parent(self) -> None:
        """Makes the directory's own name durable."""
        fsync_directory(self.parent)

    def open_records(
        self, name: str, *, writable: bool = True, create: bool = False, preallocate: int = 0
    ) -> FileRecords:
        return FileRecords(os.path.join(self.path, name), writable=writable, create=create, preallocate=preallocate)

    def open_offset_index(self, name: str, base_offset: int, max_bytes: int, *, writable: bool) -> OffsetIndex:
        return OffsetIndex(os.path.join(self.path, name), base_offset, max_bytes, writable)

    def open_time_index(self, name: str, base_offset: int, max_bytes: int, *, writable: bool) -> TimeIndex:
        return TimeIndex(os.path.join(self.path, name), base_offset, max_bytes, writable)

    def check_descriptors(self, count: int) -> None:
        """Raises OSError where so many files cannot be opened: before what must not be left half done."""
        descriptors: list[int] = []
        try:
            for _ in range(count):
                descriptors.append(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def rename_self(self, new_name: str) -> None:
        """Gives the directory another name beside its old one.

        Not durably: whose partition is gone has that in the metadata, and an old name that comes back after
        a power failure is set aside at the next start.
        """
        new_path = os.path.join(self.parent, new_name)
        os.rename(self.path, new_path)
        self.path = new_path

    def delete_self(self) -> None:
        """Removes the directory and all that is left inside."""
        import shutil

        shutil.rmtree(self.path)


def partition_dir_name(topic_partition: TopicPartition) -> str:
    return f"{topic_partition.topic}-{topic_partition.partition}"


def delete_dir_name(topic_partition: TopicPartition, suffix: str = DELETE_DIR_SUFFIX) -> str:
    """`topic-partition.<unique>-delete`, the topic shortened where the whole would pass 255 characters."""
    tail = f"-{topic_partition.partition}.{uuid.uuid4().hex}{suffix}"
    return topic_partition.topic[: MAX_NAME - len(tail)] + tail


def parse_partition_dir_name(name: str) -> TopicPartition | None:
    """The partition that a directory is named after, with or without a suffix, or None if it is none of
    ours."""
    for suffix in (DELETE_DIR_SUFFIX, FUTURE_DIR_SUFFIX, STRAY_DIR_SUFFIX):
        if name.endswith(suffix):
            name, dot, _ = name[: -len(suffix)].rpartition(".")
            if not dot:
                return None
    topic, dash, partition = name.rpartition("-")
    if not dash or not topic or not partition.isdecimal() or not partition.isascii():
        return None
    return TopicPartition(topic, int(partition))


def format_partition_metadata(topic_id: str) -> bytes:
    # No newline at the end: so does Kafka write it (PartitionMetadataFile.java).
    return f"version: 0\ntopic_id: {topic_id}".encode()


def parse_partition_metadata(content: bytes) -> bytes | None:
    """The topic id, or None where the file does not hold one."""
    try:
        version, topic_id = content.decode().splitlines()
        if version != "version: 0" or not topic_id.startswith("topic_id: "):
            return None
        return uuid_from_text(topic_id.removeprefix("topic_id: "))
    except ValueError:
        return None
