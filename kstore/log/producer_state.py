"""Producer state: for each producer id of one partition, its epoch, its last five batches and its open
transaction.

From it come duplicates (answered with the offsets they already have), refused gaps, fenced epochs, the first
unstable offset, and the entries of the transaction index. It is a function of the log: what a snapshot does
not hold is rebuilt by reading on from it (ProducerStateManager.java, ProducerAppendInfo.java, KIP-98,
KIP-360; replication rules 33-38).
"""

import logging
from bisect import bisect_right

from kstore.errors import (
    InvalidProducerEpochError,
    InvalidTxnStateError,
    OutOfOrderSequenceError,
    TransactionCoordinatorFencedError,
)
from kstore.log.producer_entry import (
    BATCHES_TO_RETAIN,
    MAX_SEQUENCE,
    BatchMetadata,
    CompletedTxn,
    OpenTxn,
    ProducerEntry,
)
from kstore.log.producer_snapshots import CorruptSnapshotError, ProducerSnapshots, SnapshotStore, encode_snapshot
from kstore.log.transaction_index import AbortedTxn
from kstore.model import NO_PRODUCER_EPOCH, NO_SEQUENCE, TopicPartition

logger = logging.getLogger(__name__)

DEFAULT_EXPIRATION_MS = 24 * 60 * 60 * 1000


class ProducerState(ProducerSnapshots):
    """`map_end_offset` is the offset up to which the log has been taken in.

    Both kinds of transactions hold the last stable offset back: open ones, and completed ones whose marker is
    not yet below the high watermark (rule 38).
    """

    __slots__ = (
        "expiration_ms",
        "map_end_offset",
        "ongoing",
        "producers",
        "snapshot_offset",
        "topic_partition",
        "unreplicated",
    )

    def __init__(
        self,
        topic_partition: TopicPartition,
        store: SnapshotStore,
        *,
        expiration_ms: int = DEFAULT_EXPIRATION_MS,
        names: list[str] | None = None,
    ) -> None:
        super().__init__(store, names)
        self.topic_partition = topic_partition
        self.expiration_ms = expiration_ms
        self.producers: dict[int, ProducerEntry] = {}
        # By first offset, in rising order: a transaction begins at the end of the log.
        self.ongoing: dict[int, OpenTxn] = {}
        self.unreplicated: dict[int, OpenTxn] = {}
        self.map_end_offset = 0
        self.snapshot_offset = 0

    # --- appends ---

    def find_duplicate(
        self, producer_id: int, epoch: int, first_sequence: int, last_sequence: int
    ) -> BatchMetadata | None:
        """The stored batch that a client's batch repeats: same epoch, same first and last sequence (rule
        33)."""
        entry = self.producers.get(producer_id)
        if entry is None or entry.epoch != epoch:
            return None
        for batch in entry.batches:
            if batch.last_sequence == last_sequence and batch.first_sequence == first_sequence:
                return batch
        return None

    def check_data(
        self,
        producer_id: int,
        epoch: int,
        first_sequence: int,
        offset: int,
        *,
        check_sequence: bool,
        transactional: bool,
    ) -> None:
        """Refuses a batch that a leader may not append. `offset` is where it would begin."""
        entry = self.producers.get(producer_id)
        if entry is None:
            # An unknown producer may start at any sequence: its state may have expired (KIP-360).
            return
        if epoch < entry.epoch:
            raise InvalidProducerEpochError(
                f"{self.topic_partition}, offset {offset}: producer {producer_id} has epoch {epoch}, but epoch"
                f" {entry.epoch} was here before"
            )
        if check_sequence:
            self._check_sequence(entry, epoch, first_sequence, offset)
        if entry.current_txn_first_offset >= 0 and not transactional:
            raise InvalidTxnStateError(
                f"{self.topic_partition}, offset {offset}: producer {producer_id} has an open transaction, and this"
                " batch is not part of it"
            )

    def _check_sequence(self, entry: ProducerEntry, epoch: int, first_sequence: int, offset: int) -> None:
        if epoch != entry.epoch:
            if first_sequence != 0 and entry.epoch != NO_PRODUCER_EPOCH:
                raise OutOfOrderSequenceError(
                    f"{self.topic_partition}, offset {offset}: producer {entry.producer_id} begins epoch {epoch}"
                    f" (after {entry.epoch}) with sequence {first_sequence}, not 0"
                )
            return
        last_sequence = entry.batches[-1].last_sequence if entry.batches else NO_SEQUENCE
        if first_sequence == last_sequence + 1 or (first_sequence == 0 and last_sequence == MAX_SEQUENCE):
            return
        if entry.epoch == NO_PRODUCER_EPOCH:
            return
        raise OutOfOrderSequenceError(
            f"{self.topic_partition}, offset {offset}: producer {entry.producer_id} sent sequence"
            f" {first_sequence} behind {last_sequence}"
        )

    def check_marker(self, producer_id: int, epoch: int, coordinator_epoch: int, offset: int) -> None:
        """Refuses the marker of a fenced producer or of a coordinator that was replaced (rule 36)."""
        entry = self.producers.get(producer_id)
        if entry is None:
            return
        if epoch < entry.epoch:
            raise InvalidProducerEpochError(
                f"{self.topic_partition}, offset {offset}: producer {producer_id} has epoch {epoch}, but epoch"
                f" {entry.epoch} was here before"
            )
        if coordinator_epoch < entry.coordinator_epoch:
            raise TransactionCoordinatorFencedError(
                f"{self.topic_partition}, offset {offset}: the marker of producer {producer_id} comes from"
                f" coordinator epoch {coordinator_epoch}, but epoch {entry.coordinator_epoch} was here before"
            )

    def append_data(
        self,
        producer_id: int,
        epoch: int,
        last_sequence: int,
        first_offset: int,
        last_offset: int,
        timestamp: int,
        *,
        transactional: bool,
        segment_base_offset: int = -1,
        position: int = -1,
    ) -> None:
        """Takes in a batch that is in the log."""
        entry = self.producers.get(producer_id)
        if entry is None:
            entry = self.producers[producer_id] = ProducerEntry(producer_id, epoch)
        elif entry.epoch != epoch:
            entry.set_epoch(epoch)
        batches = entry.batches
        if len(batches) == BATCHES_TO_RETAIN:
            del batches[0]
        batches.append(BatchMetadata(last_sequence, last_offset, last_offset - first_offset, timestamp))
        entry.last_timestamp = timestamp
        if transactional and entry.current_txn_first_offset < 0:
            entry.current_txn_first_offset = first_offset
            self.ongoing[first_offset] = OpenTxn(producer_id, first_offset, segment_base_offset, position)

    def append_marker(
        self,
        producer_id: int,
        epoch: int,
        coordinator_epoch: int,
        offset: int,
        timestamp: int,
        *,
        aborted: bool,
    ) -> CompletedTxn | None:
        """Takes in a marker that is in the log; a transaction without data completes nothing.

        The caller asks `last_stable_offset_after` and writes the index entry before `complete`.
        """
        entry = self.producers.get(producer_id)
        if entry is None:
            entry = self.producers[producer_id] = ProducerEntry(producer_id, epoch)
        completed = None
        if entry.current_txn_first_offset >= 0:
            completed = CompletedTxn(producer_id, entry.current_txn_first_offset, offset, aborted)
        entry.set_epoch(epoch)
        entry.coordinator_epoch = coordinator_epoch
        entry.current_txn_first_offset = -1
        entry.last_timestamp = timestamp
        return completed

    def last_stable_offset_after(self, completed: CompletedTxn) -> int:
        """The first offset of another open transaction, else the one after the marker (the high watermark
        apart)."""
        for txn in self.ongoing.values():
            if txn.producer_id != completed.producer_id:
                return txn.first_offset
        return completed.last_offset + 1

    def aborted_txn(self, completed: CompletedTxn) -> AbortedTxn:
        """The index entry of an aborted transaction."""
        return AbortedTxn(
            completed.producer_id,
            completed.first_offset,
            completed.last_offset,
            self.last_stable_offset_after(completed),
        )

    def complete(self, completed: CompletedTxn) -> None:
        """The transaction is decided; it still holds the last stable offset until its marker is
        replicated."""
        txn = self.ongoing.pop(completed.first_offset, None)
        if txn is None:
            raise AssertionError(f"{completed} in {self.topic_partition} completes what was not started")
        txn.last_offset = completed.last_offset
        self.unreplicated[txn.first_offset] = txn

    # --- the last stable offset ---

    def first_unstable_txn(self) -> OpenTxn | None:
        """The earliest transaction that is undecided, or decided above the high watermark."""
        if not self.ongoing and not self.unreplicated:
            return None
        first = next(iter(self.ongoing.values()), None)
        if self.unreplicated:
            decided = self.unreplicated[min(self.unreplicated)]
            if first is None or decided.first_offset < first.first_offset:
                return decided
        return first

    def on_high_watermark(self, high_watermark: int) -> None:
        if self.unreplicated:
            self._forget_replicated(high_watermark)

    def _forget_replicated(self, offset: int) -> None:
        for first_offset in [key for key, txn in self.unreplicated.items() if txn.last_offset < offset]:
            del self.unreplicated[first_offset]

    def on_log_start_offset(self, log_start_offset: int) -> None:
        self._forget_replicated(log_start_offset)
        self.map_end_offset = max(self.map_end_offset, log_start_offset)
        self.snapshot_offset = self.snapshots[-1] if self.snapshots else log_start_offset

    # --- expiry and truncation ---

    def is_empty(self) -> bool:
        return not self.producers and not self.unreplicated

    def _is_expired(self, entry: ProducerEntry, now_ms: int) -> bool:
        return entry.current_txn_first_offset < 0 and now_ms - entry.last_timestamp >= self.expiration_ms

    def remove_expired(self, now_ms: int) -> int:
        """Forgets producers that were idle too long, never one with an open transaction; returns how many."""
        expired = [entry.producer_id for entry in self.producers.values() if self._is_expired(entry, now_ms)]
        for producer_id in expired:
            del self.producers[producer_id]
        return len(expired)

    def truncate_and_reload(self, log_start_offset: int, log_end_offset: int, now_ms: int) -> None:
        """Drops the snapshots outside the log and, unless the state is just there, loads the latest of the
        others."""
        for offset in [o for o in self.snapshots if o > log_end_offset or o <= log_start_offset]:
            self.delete_snapshot(offset)
        if log_end_offset == self.map_end_offset:
            self.on_log_start_offset(log_start_offset)
            return
        self._clear()
        self._load_latest_snapshot(log_start_offset, now_ms)

    def truncate_fully_and_start_at(self, offset: int) -> None:
        self._clear()
        for snapshot in list(self.snapshots):
            self.delete_snapshot(snapshot)
        self.snapshot_offset = 0
        self.map_end_offset = offset

    def _clear(self) -> None:
        self.producers.clear()
        self.ongoing.clear()
        self.unreplicated.clear()

    # --- snapshots ---

    def take_over(self, other: "ProducerState") -> None:
        """The state of a log with the same end, which may know producers of records that are deleted: with a snapshot
        then, for a start could not read of them. Raises OSError."""
        entries = list(other.producers.values())
        is_known = encode_snapshot(list(self.producers.values())) == encode_snapshot(entries)
        self.producers = dict(other.producers)
        self.ongoing = {first: txn.elsewhere() for first, txn in other.ongoing.items()}
        self.unreplicated = {first: txn.elsewhere() for first, txn in other.unreplicated.items()}
        if not is_known:
            self.write_snapshot(self.map_end_offset, entries)
            self.snapshot_offset = self.map_end_offset

    def load_before(self, offset: int, log_start_offset: int, now_ms: int) -> None:
        """Loads the latest snapshot that is not above `offset`; later ones stay on disk."""
        self._clear()
        self._load_latest_snapshot(log_start_offset, now_ms, offset)

    def _load_latest_snapshot(self, log_start_offset: int, now_ms: int, limit: int = 2**63 - 1) -> None:
        while True:
            index = bisect_right(self.snapshots, limit)
            if not index or self.snapshots[index - 1] <= log_start_offset:
                break
            offset = self.snapshots[index - 1]
            try:
                entries = self.read_snapshot(offset)
            except CorruptSnapshotError as error:
                logger.warning("%s: snapshot at offset %d is not used: %s", self.topic_partition, offset, error)
                self.delete_snapshot(offset)
                continue
            for entry in entries:
                if not self._is_expired(entry, now_ms):
                    self.producers[entry.producer_id] = entry
            opened = [e for e in self.producers.values() if e.current_txn_first_offset >= 0]
            for entry in sorted(opened, key=lambda e: e.current_txn_first_offset):
                first_offset = entry.current_txn_first_offset
                self.ongoing[first_offset] = OpenTxn(entry.producer_id, first_offset)
            self.map_end_offset = self.snapshot_offset = offset
            return
        self.map_end_offset = self.snapshot_offset = log_start_offset

    def take_snapshot(self) -> int | None:
        """Writes the state at `map_end_offset`, unless that was done; returns the offset written."""
        offset = self.map_end_offset
        if offset <= self.snapshot_offset:
            return None
        self.write_snapshot(offset, list(self.producers.values()))
        self.snapshot_offset = offset
        return offset
