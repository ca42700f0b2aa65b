"""What a partition remembers of one producer: its epoch, its last five batches, its open transaction
(ProducerStateEntry.java, BatchMetadata.java, TxnMetadata.java)."""

from typing import NamedTuple

from kstore.model import NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP

BATCHES_TO_RETAIN = 5
MAX_SEQUENCE = 2**31 - 1


class BatchMetadata(NamedTuple):
    """What is remembered of a batch, so that its repetition can be answered."""

    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int

    @property
    def first_sequence(self) -> int:
        first = self.last_sequence - self.offset_delta
        return first if first >= 0 else first + MAX_SEQUENCE + 1

    @property
    def first_offset(self) -> int:
        return self.last_offset - self.offset_delta


class OpenTxn:
    """A transaction from its first record on; `last_offset` is its marker's, -1 while it is open."""

    __slots__ = ("first_offset", "last_offset", "position", "producer_id", "segment_base_offset")

    def __init__(self, producer_id: int, first_offset: int, segment_base_offset: int = -1, position: int = -1) -> None:
        self.producer_id = producer_id
        self.first_offset = first_offset
        self.segment_base_offset = segment_base_offset
        self.position = position
        self.last_offset = -1

    def elsewhere(self) -> "OpenTxn":
        """The same transaction in a log of which it is not known where it lies."""
        txn = OpenTxn(self.producer_id, self.first_offset)
        txn.last_offset = self.last_offset
        return txn


class CompletedTxn(NamedTuple):
    producer_id: int
    first_offset: int
    last_offset: int
    is_aborted: bool


class ProducerEntry:
    """One producer. `epoch` is -1 for one that was never seen; `current_txn_first_offset` is -1 outside a
    transaction."""

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "current_txn_first_offset",
        "epoch",
        "last_timestamp",
        "producer_id",
    )

    def __init__(
        self,
        producer_id: int,
        epoch: int = NO_PRODUCER_EPOCH,
        coordinator_epoch: int = -1,
        last_timestamp: int = NO_TIMESTAMP,
        current_txn_first_offset: int = -1,
    ) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.coordinator_epoch = coordinator_epoch
        self.last_timestamp = last_timestamp
        self.current_txn_first_offset = current_txn_first_offset
        self.batches: list[BatchMetadata] = []

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE

    @property
    def last_offset(self) -> int:
        return self.batches[-1].last_offset if self.batches else -1

    @property
    def last_offset_delta(self) -> int:
        return self.batches[-1].offset_delta if self.batches else 0

    def set_epoch(self, epoch: int) -> None:
        if self.epoch != epoch:
            self.batches.clear()
            self.epoch = epoch
