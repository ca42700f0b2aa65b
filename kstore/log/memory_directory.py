"""A partition's directory that lives in memory and knows what a crash would leave of it.

A file's bytes survive up to where they were synced; a name survives when the directory was synced since (a rename
makes a new name). It can also be a disk that is full or broken.
"""

import errno
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from kstore._native.batch import RecordBatch, iter_batches
from kstore.errors import CorruptRecordError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class MemoryFile:
    __slots__ = ("data", "durable", "modified_ms")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = b""
        self.modified_ms = 0

    def sync(self) -> None:
        # Appending is what files mostly see: copy what is new.
        if len(self.data) >= len(self.durable) and self.data.startswith(self.durable):
            self.durable += self.data[len(self.durable) :]
        else:
            self.durable = bytes(self.data)


class MemoryDirectory:
    """`room` is how many bytes all files may hold; None is no limit. `fault` is asked before every operation, with its
    kind ("read", "write", "sync", "rename", "delete") and the file's name; an errno that it returns is raised. `syncs`
    lists what was synced: names, "." for the directory and ".." for its own name. All is at hand: no read waits."""

    def __init__(self, path: str = "/memory/topic-0") -> None:
        self.path = path
        self.files: dict[str, MemoryFile] = {}
        self._durable_names: dict[str, MemoryFile] = {}
        self.room: int | None = None
        self.fault: Callable[[str, str], int | None] | None = None
        self.syncs: list[str] = []

    def crash(self) -> None:
        """Forgets what was not synced; the disk that comes back is whole."""
        self.files = dict(self._durable_names)
        for file in self.files.values():
            file.data = bytearray(file.durable)
        self.room = self.fault = None

    def sync_all(self) -> None:
        """Makes everything durable that is there, as time does."""
        for file in self.files.values():
            file.sync()
        self._durable_names = dict(self.files)

    def ask(self, kind: str, name: str) -> None:
        """Raises what the fault wants to be raised."""
        code = None if self.fault is None else self.fault(kind, name)
        if code is not None:
            raise OSError(code, f"{kind} failed", f"{self.path}/{name}")

    def sync_data(self, file: MemoryFile, name: str) -> None:
        self.ask("sync", name)
        self.syncs.append(name)
        file.sync()

    def write_at(self, file: MemoryFile, name: str, position: int, content: bytes) -> None:
        """All of it or nothing."""
        self.ask("write", name)
        more = position + len(content) - len(file.data)
        if self.room is not None and more > 0 and sum(len(f.data) for f in self.files.values()) + more > self.room:
            raise OSError(errno.ENOSPC, "no space left", f"{self.path}/{name}")
        file.data[position:] = content

    def read_all(self, file: MemoryFile, name: str) -> bytes:
        self.ask("read", name)
        return bytes(file.data)

    # --- the directory ---

    @property
    def parent(self) -> str:
        return self.path.rpartition("/")[0]

    def create(self) -> bool:
        return True

    def names(self) -> list[str]:
        self.ask("read", ".")
        return sorted(self.files)

    def _file(self, name: str) -> MemoryFile:
        try:
            return self.files[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file", f"{self.path}/{name}") from None

    def size_of(self, name: str) -> int:
        return len(self._file(name).data)

    def modified_ms(self, name: str, *, wait: bool = True) -> int:
        return self._file(name).modified_ms

    def set_modified_ms(self, name: str, modified_ms: int) -> None:
        self.ask("write", name)
        self._file(name).modified_ms = modified_ms

    def read_file(self, name: str) -> bytes | None:
        file = self.files.get(name)
        return None if file is None else self.read_all(file, name)

    def replace_file(self, name: str, content: bytes, *, sync: bool = True) -> None:
        file = MemoryFile()
        self.write_at(file, name, 0, content)
        if sync:
            self.sync_data(file, name)
        self.ask("rename", name)
        self.files[name] = file
        if sync:
            self.sync()

    def write_file(self, name: str, content: bytes) -> None:
        file = self.files.setdefault(name, MemoryFile())
        try:
            self.write_at(file, name, 0, content)
        except OSError:
            del self.files[name]
            raise

    def append_file(self, name: str, content: bytes, position: int) -> None:
        self.write_at(self.files.setdefault(name, MemoryFile()), name, position, content)

    def truncate_file(self, name: str, size: int) -> None:
        del self._file(name).data[size:]

    def sync_file(self, name: str) -> None:
        file = self.files.get(name)
        if file is not None:
            self.sync_data(file, name)

    def delete(self, name: str) -> bool:
        self.ask("delete", name)
        return self.files.pop(name, None) is not None

    def rename(self, name: str, new_name: str) -> bool:
        self.ask("rename", name)
        file = self.files.pop(name, None)
        if file is None:
            return False
        self.files[new_name] = file
        return True

    def sync(self) -> None:
        self.ask("sync", ".")
        self.syncs.append(".")
        self._durable_names = dict(self.files)

    def check_descriptors(self, count: int) -> None:
        """Memory needs none."""

    def sync_parent(self) -> None:
        self.ask("sync", "..")
        self.syncs.append("..")

    def open_records(
        self, name: str, *, writable: bool = True, create: bool = False, preallocate: int = 0
    ) -> "MemoryRecords":
        if create and name not in self.files:
            self.ask("write", name)
            self.files[name] = MemoryFile()
        return MemoryRecords(self, name, self._file(name))

    def open_offset_index(self, name: str, base_offset: int, max_bytes: int, *, writable: bool) -> "MemoryOffsetIndex":
        return MemoryOffsetIndex(self, name, base_offset, max_bytes, writable)

    def open_time_index(self, name: str, base_offset: int, max_bytes: int, *, writable: bool) -> "MemoryTimeIndex":
        return MemoryTimeIndex(self, name, base_offset, max_bytes, writable)

    def rename_self(self, new_name: str) -> None:
        self.path = f"{self.parent}/{new_name}"

    def delete_self(self) -> None:
        self.files.clear()
        self._durable_names.clear()


class MemoryHeader(NamedTuple):
    position: int
    size_in_bytes: int
    base_offset: int
    last_offset: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    partition_leader_epoch: int
    attributes: int


def header_of(batch: RecordBatch) -> MemoryHeader:
    return MemoryHeader(
        batch.position,
        batch.size_in_bytes,
        batch.base_offset,
        batch.last_offset,
        batch.max_timestamp,
        batch.producer_id,
        batch.producer_epoch,
        batch.base_sequence,
        batch.partition_leader_epoch,
        batch.attributes,
    )


class MemoryCheck:
    """Hands out the headers of good batches; stops at the first that is not one."""

    def __init__(self, data: bytes, start_position: int) -> None:
        self._data = data
        self.valid_bytes = start_position
        self.error: CorruptRecordError | None = None

    def __iter__(self) -> Iterator[MemoryHeader]:
        try:
            for batch in iter_batches(self._data, self.valid_bytes):
                batch.ensure_valid()
                self.valid_bytes = batch.position + batch.size_in_bytes
                yield header_of(batch)
        except CorruptRecordError as error:
            self.error = error


class MemoryRecords:
    """As FileRecords, over a MemoryFile."""

    def __init__(self, directory: MemoryDirectory, name: str, file: MemoryFile) -> None:
        self._directory = directory
        self._name = name
        self._file = file

    @property
    def size_in_bytes(self) -> int:
        return len(self._file.data)

    def append(self, buffer: "Buffer", position: int = 0, size: int = -1) -> int:
        end = None if size < 0 else position + size
        start = len(self._file.data)
        self._directory.write_at(self._file, self._name, start, bytes(memoryview(buffer)[position:end]))
        return start

    def slice(self, position: int, size: int) -> bytes:
        return self._directory.read_all(self._file, self._name)[position : position + size]

    def batch_headers(
        self, start_position: int = 0, end_position: int = -1, *, wait: bool = True
    ) -> Iterator[MemoryHeader]:
        data = self._directory.read_all(self._file, self._name)
        limit = len(data) if end_position < 0 else end_position
        for batch in iter_batches(data, start_position, limit, allow_partial_tail=True):
            yield header_of(batch)

    def search_for_offset(
        self, target: int, start_position: int = 0, *, wait: bool = True
    ) -> tuple[int, int, int, int] | None:
        for header in self.batch_headers(start_position):
            if header.last_offset >= target:
                return header.base_offset, header.last_offset, header.position, header.size_in_bytes
        return None

    def search_for_timestamp(
        self, timestamp: int, start_position: int = 0, start_offset: int = 0, *, wait: bool = True
    ) -> tuple[int, int, int | None] | None:
        for header in self.batch_headers(start_position):
            if header.max_timestamp < timestamp or header.last_offset < start_offset:
                continue
            batch = self.read_batch(header.position)
            for record in batch.records() if batch is not None else ():
                if record.timestamp >= timestamp and record.offset >= start_offset:
                    epoch = header.partition_leader_epoch
                    return record.timestamp, record.offset, None if epoch < 0 else epoch
        return None

    def read_batch(self, position: int) -> RecordBatch | None:
        return next(
            iter_batches(self._directory.read_all(self._file, self._name), position, allow_partial_tail=True), None
        )

    def check(self, start_position: int = 0) -> MemoryCheck:
        return MemoryCheck(self._directory.read_all(self._file, self._name), start_position)

    def truncate_to(self, size: int) -> int:
        removed = len(self._file.data) - size
        del self._file.data[size:]
        return removed

    def trim(self) -> None:
        """Nothing is preallocated."""

    def flush(self) -> None:
        self._directory.sync_data(self._file, self._name)

    def release(self) -> None:
        """There is no descriptor."""

    def close(self) -> None:
        """There is no descriptor."""


class MemoryIndex:
    """Entries in a list; `flush` makes them the content of the file, so that a crash knows what it lost.

    The key is what is searched for: an offset in one index, a timestamp in the other.
    """

    ENTRY_SIZE = 8
    OFFSET_FIELD = 0

    def __init__(self, directory: MemoryDirectory, name: str, base_offset: int, max_bytes: int, writable: bool) -> None:
        self._directory = directory
        self._name = name
        self.base_offset = base_offset
        self.max_bytes = max_bytes
        if writable and name not in directory.files:
            directory.ask("write", name)
            directory.files[name] = MemoryFile()
        content = directory.read_file(name) or b""
        width = 16
        self._entries = [
            (int.from_bytes(content[i : i + 8], "big", signed=True), int.from_bytes(content[i + 8 : i + 16], "big"))
            for i in range(0, len(content) - width + 1, width)
        ]

    @property
    def entries(self) -> int:
        return len(self._entries)

    @property
    def is_full(self) -> bool:
        return len(self._entries) >= self.max_bytes // self.ENTRY_SIZE

    def entry(self, n: int) -> tuple[int, int]:
        return self._entries[n]

    def truncate_to(self, offset: int) -> None:
        kept = bisect_left(self._entries, offset, key=lambda entry: entry[self.OFFSET_FIELD])
        del self._entries[kept:]
        self.flush(sync=False)

    def release_descriptor(self) -> None:
        """There is none."""

    def reset(self) -> None:
        self._entries.clear()
        self.flush(sync=False)

    def flush(self, sync: bool = True) -> None:
        content = b"".join(
            key.to_bytes(8, "big", signed=True) + value.to_bytes(8, "big") for key, value in self._entries
        )
        file = self._directory.files.get(self._name)
        if file is not None and file.data != content:
            self._directory.write_at(file, self._name, 0, content)
        if file is not None and sync:
            self._directory.sync_data(file, self._name)

    def close(self) -> None:
        self.flush(sync=False)

    def _floor(self, target: int) -> tuple[int, int] | None:
        n = bisect_right(self._entries, target, key=lambda entry: entry[0])
        return self._entries[n - 1] if n else None


class MemoryOffsetIndex(MemoryIndex):
    def append(self, offset: int, position: int) -> int:
        self._entries.append((offset, position))
        return 0

    def lookup(self, target: int, wait: bool = True) -> tuple[int, int]:
        return self._floor(target) or (self.base_offset, 0)

    def fetch_upper_bound(self, position: int, fetch_size: int, *, wait: bool = True) -> tuple[int, int] | None:
        n = bisect_left(self._entries, position + fetch_size, key=lambda entry: entry[1])
        return self._entries[n] if n < len(self._entries) else None

    def sanity_check(self, log_size: int | None = None, *, wait: bool = True) -> None:
        """It cannot be damaged."""


class MemoryTimeIndex(MemoryIndex):
    ENTRY_SIZE = 12
    OFFSET_FIELD = 1

    @property
    def is_full(self) -> bool:
        return len(self._entries) >= self.max_bytes // self.ENTRY_SIZE - 1

    @property
    def last_entry(self) -> tuple[int, int]:
        return self._entries[-1] if self._entries else (-1, self.base_offset)

    def maybe_append(self, timestamp: int, offset: int, skip_full_check: bool = False) -> bool:
        if timestamp <= self.last_entry[0]:
            return False
        self._entries.append((timestamp, offset))
        return True

    def lookup(self, target: int, wait: bool = True) -> tuple[int, int]:
        return self._floor(target) or (-1, self.base_offset)

    def sanity_check(self, *, wait: bool = True) -> None:
        """It cannot be damaged."""
