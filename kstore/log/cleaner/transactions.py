"""The transactions that a walk through a log is in: which batches were aborted, and which markers are done with.

Only decided transactions are met, for nothing is compacted above the last stable offset; the transaction indexes say
which were aborted before their marker is reached. A marker can go when no batch of its transaction is left before it
(LogCleaner.CleanedTransactionMetadata).
"""

from collections.abc import Iterable

from kstore._native.batch import RecordBatch
from kstore._native.compaction import OpenTransactions
from kstore._native.record import ABORT_MARKER, COMMIT_MARKER
from kstore.log.config import LONG_MAX
from kstore.log.transaction_index import AbortedTxn


class WalkedTransactions:
    """`open` is what the inner loops know of it."""

    __slots__ = ("_aborted", "_committed", "_has_data", "_next", "kept_aborted", "open")

    def __init__(self, aborted: Iterable[AbortedTxn]) -> None:
        self._next = sorted(set(aborted), key=lambda txn: txn.first_offset, reverse=True)
        self._aborted: dict[int, AbortedTxn] = {}
        self._has_data: set[int] = set()
        self._committed: set[int] = set()
        self.open = OpenTransactions()
        # Aborted transactions of which a batch is left: a reader must go on being told of them.
        self.kept_aborted: list[AbortedTxn] = []

    def _walk_to(self, offset: int) -> None:
        while self._next and self._next[-1].first_offset <= offset:
            txn = self._next.pop()
            self._aborted.setdefault(txn.producer_id, txn)

    @property
    def _known_until(self) -> int:
        return self._next[-1].first_offset if self._next else LONG_MAX

    def is_aborted(self, batch: RecordBatch) -> bool:
        """Takes in a batch of records of a transaction; of one that is open it need not see more."""
        self._walk_to(batch.last_offset)
        producer_id = batch.producer_id
        is_aborted = producer_id in self._aborted
        (self._has_data if is_aborted else self._committed).add(producer_id)
        self.open.begin(producer_id, is_aborted, self._known_until)
        return is_aborted

    def is_free(self, marker: RecordBatch) -> bool:
        """Takes in a marker; whether nothing is left of its transaction."""
        self._walk_to(marker.last_offset)
        record = marker.control_record()
        producer_id = marker.producer_id
        self.open.end(producer_id, self._known_until)
        if record is None:
            return True  # an earlier cleaning left its header for the producer's sake
        if record[0] == ABORT_MARKER:
            txn = self._aborted.pop(producer_id, None)
            if txn is not None and producer_id in self._has_data:
                self._has_data.discard(producer_id)
                self.kept_aborted.append(txn)
                return False
            return True
        if record[0] == COMMIT_MARKER:
            if producer_id in self._committed:
                self._committed.discard(producer_id)
                return False
            return True
        return False
