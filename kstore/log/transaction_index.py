"""Transaction index: the aborted transactions whose marker lies in one segment.

A reader at read_committed is told which transactions of the range it got were aborted. The file exists only
where there is one; entries rise in last offset, which is the marker's (TransactionIndex.java,
AbortedTxn.java).

    version i16 = 0 | producer id i64 | first offset i64 | last offset i64 | last stable offset i64
"""

from struct import Struct
from typing import NamedTuple, Protocol

from kstore.errors import CorruptIndexError

ENTRY = Struct(">hqqqq")
VERSION = 0


class AbortedTxn(NamedTuple):
    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class TxnIndexStore(Protocol):
    """What keeps the index's file."""

    def read_file(self, name: str) -> bytes | None: ...

    def append_file(self, name: str, content: bytes, position: int) -> None: ...

    def truncate_file(self, name: str, size: int) -> None: ...

    def delete(self, name: str) -> bool: ...


class TransactionIndex:
    """Entries are read from the file when first asked for.

    An entry that the disk had no room for stays in memory and is written by the next append or flush: the log
    already holds its marker, and readers must be told.
    """

    __slots__ = ("_entries", "_store", "_torn_bytes", "_written", "base_offset", "name")

    def __init__(self, store: TxnIndexStore, name: str, base_offset: int, *, exists: bool) -> None:
        self._store = store
        self.name = name
        self.base_offset = base_offset
        self._entries: list[AbortedTxn] | None = None if exists else []
        self._written = 0
        self._torn_bytes = 0

    def copy(self) -> "TransactionIndex":
        """For another thread: later entries of this one are not in it."""
        copy = TransactionIndex(self._store, self.name, self.base_offset, exists=True)
        if self._entries is not None:
            copy._entries = list(self._entries)
            copy._written = self._written
        return copy

    def entries(self) -> list[AbortedTxn]:
        if self._entries is None:
            content = self._store.read_file(self.name) or b""
            self._torn_bytes = len(content) % ENTRY.size
            entries = []
            for version, *fields in ENTRY.iter_unpack(content[: len(content) - self._torn_bytes]):
                if version != VERSION:
                    raise CorruptIndexError(f"transaction index {self.name} has an entry of version {version}")
                entries.append(AbortedTxn(*fields))
            self._entries = entries
            self._written = len(entries)
        return self._entries

    def append(self, txn: AbortedTxn) -> None:
        entries = self.entries()
        if entries and entries[-1].last_offset >= txn.last_offset:
            raise ValueError(f"aborted transaction {txn} is not after {entries[-1]} in {self.name}")
        entries.append(txn)
        self.flush()

    def flush(self) -> None:
        """Hands what is in memory only to the operating system."""
        entries = self._entries
        if entries is None or self._written == len(entries):
            return
        content = b"".join(ENTRY.pack(VERSION, *txn) for txn in entries[self._written :])
        self._store.append_file(self.name, content, self._written * ENTRY.size)
        self._written = len(entries)

    def collect(self, fetch_offset: int, upper_bound_offset: int) -> tuple[list[AbortedTxn], bool]:
        """The aborted transactions that overlap [fetch_offset, upper_bound_offset), and whether later
        segments can add none."""
        found = []
        for txn in self.entries():
            if txn.last_offset >= fetch_offset and txn.first_offset < upper_bound_offset:
                found.append(txn)
            if txn.last_stable_offset >= upper_bound_offset:
                return found, True
        return found, False

    def truncate_to(self, offset: int) -> None:
        """Forgets the transactions whose marker is at `offset` or later."""
        entries = self.entries()
        kept = [txn for txn in entries if txn.last_offset < offset]
        if len(kept) < len(entries):
            self._entries = kept
            if len(kept) < self._written:
                self._store.truncate_file(self.name, len(kept) * ENTRY.size)
                self._written = len(kept)

    def reset(self) -> None:
        self._store.delete(self.name)
        self._entries = []
        self._written = self._torn_bytes = 0

    def sanity_check(self) -> None:
        """Raises CorruptIndexError."""
        previous = self.base_offset - 1
        for txn in self.entries():
            # Zeros that a power loss left are an entry too, but for a record before its marker.
            if (
                txn.last_offset <= previous
                or not 0 <= txn.first_offset < txn.last_offset
                or txn.last_stable_offset > txn.last_offset + 1
            ):
                raise CorruptIndexError(f"{txn} in {self.name} does not follow offset {previous}")
            previous = txn.last_offset
        if self._torn_bytes:
            # Without its entry the records of a transaction would be read as committed.
            raise CorruptIndexError(f"the last entry of {self.name} is torn: {self._torn_bytes} bytes")

    @property
    def exists(self) -> bool:
        return self._entries is None or self._written > 0
