"""What the batches of a partition say of its producers: sequences, open transactions, and what snapshots must say.

An idempotent producer's batches follow each other in sequence, so a sequence that comes again is a batch that is in the
log twice (KIP-98). An aborted transaction whose records are in the log stands in the transaction index of the segment
that holds its marker, or its records would be read as committed (TransactionIndex.java).
"""

from typing import NamedTuple

from kstore._native.batch import RecordBatch
from kstore._native.record import ABORT_MARKER, COMMIT_MARKER
from kstore.cli.logs.findings import Findings
from kstore.log.producer_entry import MAX_SEQUENCE, ProducerEntry

# Beyond this many the longest known are forgotten, so that memory stays bounded.
MAX_PRODUCERS = 500_000


class LastBatch(NamedTuple):
    epoch: int
    last_sequence: int
    last_offset: int


class Aborted(NamedTuple):
    """A transaction that was aborted, as the batches tell; `first_offset` is that of its first batch in the log."""

    producer_id: int
    first_offset: int
    last_offset: int


class ProducersCheck:
    """The producers of one partition, batch by batch; `aborted` fills up with what was aborted."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._last: dict[int, LastBatch] = {}
        self._open: dict[int, int] = {}
        self.aborted: list[Aborted] = []
        self.abort_markers: set[tuple[int, int]] = set()
        # Batches are missing since the beginning or some damage: what follows may be a rest.
        self.has_gaps = False

    def batch(self, file: str, position: int, batch: RecordBatch) -> None:
        """A whole batch with a producer id, in the order of the log. Raises KafkaError for a damaged marker."""
        if batch.is_control:
            self._marker(batch)
            return
        producer_id, offset = batch.producer_id, batch.base_offset
        if batch.is_transactional:
            self._open.setdefault(producer_id, offset)
        if batch.base_sequence < 0:
            return
        last = self._last.pop(producer_id, None)
        if last is not None and last.epoch == batch.producer_epoch:
            self._sequence(file, position, batch, last)
        if len(self._last) >= MAX_PRODUCERS:
            del self._last[next(iter(self._last))]
        self._last[producer_id] = LastBatch(batch.producer_epoch, batch.last_sequence, batch.last_offset)

    def _sequence(self, file: str, position: int, batch: RecordBatch, last: LastBatch) -> None:
        expected = 0 if last.last_sequence == MAX_SEQUENCE else last.last_sequence + 1
        behind = expected - batch.base_sequence
        if not 0 < behind <= MAX_SEQUENCE // 2:
            return
        what = (
            f"producer {batch.producer_id} epoch {batch.producer_epoch}: sequence {batch.base_sequence} at offset"
            f" {batch.base_offset} comes behind {last.last_sequence} at offset {last.last_offset}"
        )
        if batch.base_sequence == 0:
            # A producer whose state had expired begins again, before KIP-360 in the same epoch.
            self._findings.note(file, "sequence", f"{what}: it began anew, or the batch is here twice", position)
        else:
            self._findings.damaged(file, "duplicate", f"{what}: the batch is in the log twice", position)

    def _marker(self, batch: RecordBatch) -> None:
        marker = batch.control_record()
        if marker is None or marker[0] not in (ABORT_MARKER, COMMIT_MARKER):
            return
        first_offset = self._open.pop(batch.producer_id, None)
        if marker[0] == ABORT_MARKER:
            self.abort_markers.add((batch.producer_id, batch.base_offset))
            if first_offset is not None:
                self.aborted.append(Aborted(batch.producer_id, first_offset, batch.base_offset))

    def end_of_segment(self) -> None:
        self.aborted.clear()
        self.abort_markers.clear()

    def check_snapshot(self, file: str, offset: int, entries: list[ProducerEntry], *, is_compacted: bool) -> None:
        """Whether a snapshot, taken at the offset that was reached now, says what the batches before it do."""
        for entry in entries:
            last = self._last.get(entry.producer_id)
            if last is None or not entry.batches or entry.epoch != last.epoch:
                continue
            said = LastBatch(entry.epoch, entry.last_sequence, entry.last_offset)
            lags = said.last_offset < last.last_offset
            if said != last and (lags or not (is_compacted or self.has_gaps)):
                self._findings.damaged(
                    file,
                    "snapshot",
                    f"producer {entry.producer_id} ended with sequence {said.last_sequence} at offset"
                    f" {said.last_offset} in the snapshot, with {last.last_sequence} at {last.last_offset} in the log;"
                    " delete the file while no broker runs",
                )
