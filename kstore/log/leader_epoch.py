"""Leader-epoch cache: which epoch began at which offset, for one partition.

Entries rise in both epoch and start offset. A follower asks its leader where an epoch ended and cuts its own
log there (KIP-101, KIP-279; LeaderEpochFileCache.java; replication rules 4-9).

    0            version of leader-epoch-checkpoint
    2            number of entries
    0 0          epoch, start offset
    3 1042
"""

import logging
from typing import NamedTuple, Protocol

from kstore.log.checkpoint_file import (
    INT_MAX,
    LEADER_EPOCH_CHECKPOINT,
    LONG_MAX,
    format_entries,
    parse_entries,
    parse_numbers,
)

UNDEFINED_EPOCH = -1
UNDEFINED_EPOCH_OFFSET = -1

logger = logging.getLogger(__name__)


class EpochEntry(NamedTuple):
    epoch: int
    start_offset: int


class EpochEndOffset(NamedTuple):
    """Where `epoch` ended; both are -1 where that is not known."""

    epoch: int
    end_offset: int


UNDEFINED = EpochEndOffset(UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET)


class EpochStore(Protocol):
    """What keeps the cache's file."""

    def read_file(self, name: str) -> bytes | None: ...

    def replace_file(self, name: str, content: bytes, *, sync: bool = True) -> None: ...


class LeaderEpochCache:
    """`latest_epoch` is -1 while no epoch is known.

    Changes are in memory until `flush`, which must come before the first record of a new epoch is written, so that the
    file never lacks an epoch that has records. Cutting may be written late: stale entries are cut again when the log is
    loaded (rule 9).
    """

    __slots__ = ("_store", "dirty", "entries", "latest_epoch")

    def __init__(self, store: EpochStore) -> None:
        self._store = store
        self.entries: list[EpochEntry] = []
        self.latest_epoch = UNDEFINED_EPOCH
        self.dirty = False

    def load(self) -> None:
        """Reads the file. Raises CorruptCheckpointError, OSError."""
        content = self._store.read_file(LEADER_EPOCH_CHECKPOINT)
        for line in parse_entries(content or b"", LEADER_EPOCH_CHECKPOINT):
            epoch, start_offset = parse_numbers(line, (INT_MAX, LONG_MAX), LEADER_EPOCH_CHECKPOINT)
            self._insert(epoch, start_offset)

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Notes that `epoch` begins at `start_offset`; True if that was news."""
        if not self._insert(epoch, start_offset):
            return False
        self.dirty = True
        return True

    def take_over(self, entries: list[EpochEntry]) -> bool:
        """Notes the epochs of another log with the same records; True if that was news."""
        if self.entries == entries:
            return False
        self._set(list(entries))
        self.dirty = True
        return True

    def flush(self, *, sync: bool = True) -> None:
        """Makes the file say what memory does. Raises OSError."""
        if self.dirty:
            lines = (f"{epoch} {start_offset}" for epoch, start_offset in self.entries)
            self._store.replace_file(LEADER_EPOCH_CHECKPOINT, format_entries(lines), sync=sync)
            self.dirty = False

    def _insert(self, epoch: int, start_offset: int) -> bool:
        if epoch < 0 or start_offset < 0:
            raise ValueError(f"invalid leader epoch {epoch} at offset {start_offset}")
        entries = self.entries
        if entries and entries[-1].epoch == epoch and entries[-1].start_offset <= start_offset:
            return False
        # An entry that is not below the new one belongs to a history that did not last (rule 6).
        kept = len(entries)
        while kept and (entries[kept - 1].epoch >= epoch or entries[kept - 1].start_offset >= start_offset):
            kept -= 1
        removed = entries[kept:]
        if len(removed) > 1 or (removed and removed[0].start_offset != start_offset):
            logger.warning("epoch %d at offset %d displaces conflicting epochs %s", epoch, start_offset, removed)
        self._set([*entries[:kept], EpochEntry(epoch, start_offset)])
        return True

    def _set(self, entries: list[EpochEntry]) -> None:
        self.entries = entries
        self.latest_epoch = entries[-1].epoch if entries else UNDEFINED_EPOCH

    def truncate_from_end(self, end_offset: int) -> None:
        """Forgets the epochs that begin at `end_offset` or later."""
        kept = [entry for entry in self.entries if entry.start_offset < end_offset]
        if end_offset >= 0 and len(kept) < len(self.entries):
            self._set(kept)
            self.dirty = True

    def truncate_from_start(self, start_offset: int) -> None:
        """Forgets the epochs that ended by `start_offset`; the one that holds it now begins there."""
        kept = [entry for entry in self.entries if entry.start_offset > start_offset]
        removed = self.entries[: len(self.entries) - len(kept)]
        if not removed:
            return
        if len(removed) == 1 and removed[0].start_offset == start_offset:
            return
        self._set([EpochEntry(removed[-1].epoch, start_offset), *kept])
        self.dirty = True

    def clear(self) -> None:
        if self.entries:
            self._set([])
            self.dirty = True

    def end_offset_for(self, epoch: int, log_end_offset: int) -> EpochEndOffset:
        """The largest epoch not above `epoch`, and where it ended.

        Below the first known epoch: (`epoch`, start of the first), for what came before is gone from the log
        and a follower must begin at our start. Above the latest: undefined.
        """
        if epoch == UNDEFINED_EPOCH:
            return UNDEFINED
        if epoch == self.latest_epoch:
            return EpochEndOffset(epoch, log_end_offset)
        floor = UNDEFINED_EPOCH
        for entry in self.entries:
            if entry.epoch > epoch:
                return EpochEndOffset(epoch if floor == UNDEFINED_EPOCH else floor, entry.start_offset)
            floor = entry.epoch
        return UNDEFINED

    def epoch_for_offset(self, offset: int) -> int:
        """The epoch in which the record at `offset` was written, or -1."""
        found = UNDEFINED_EPOCH
        for entry in self.entries:
            if entry.start_offset > offset:
                break
            found = entry.epoch
        return found

    def earliest_entry(self) -> EpochEntry | None:
        return self.entries[0] if self.entries else None

    def latest_entry(self) -> EpochEntry | None:
        return self.entries[-1] if self.entries else None

    def previous_epoch(self, epoch: int) -> int:
        """The largest known epoch below `epoch`, or -1."""
        return max((entry.epoch for entry in self.entries if entry.epoch < epoch), default=UNDEFINED_EPOCH)
