"""Reading one segment through: every batch, every record, and what they say of offsets, epochs and producers.

Offsets rise and lie within the segment; leader epochs do not fall (both are outside the CRC); compaction leaves holes.
The findings about the indexes come from the same pass.
"""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from kstore._native.batch import DEFAULT_MAX_BYTES, RecordBatch
from kstore._native.records import FileRecords
from kstore.cli.logs.batches import ZEROS, Damage, Found, OldMessage, count_bytes, walk
from kstore.cli.logs.files import LogFile
from kstore.cli.logs.findings import Findings
from kstore.cli.logs.index_check import IndexCheck, OffsetIndexCheck, TimeIndexCheck
from kstore.cli.logs.producers_check import ProducersCheck
from kstore.cli.output import Progress, count_text, timestamp_text
from kstore.errors import KafkaError

MAX_DELTA = 2**31 - 1
# How long a batch at the end of a log that is written to may take to become whole.
SETTLE_SECONDS = 1.0
SETTLE_STEP = 0.02


class Situation(NamedTuple):
    """What is known of the directory from outside its segments."""

    is_live: bool = False  # a broker runs on it
    is_clean: bool = False  # it was closed properly
    is_compacted: bool | None = None  # None: nobody knows
    log_start_offset: int = 0  # as the checkpoint has it


class EpochRun(NamedTuple):
    """Batches of one leader epoch that follow each other."""

    epoch: int
    first_offset: int
    last_offset: int


class LogCheck:
    """What all segments of a partition have told so far."""

    def __init__(self, findings: Findings, progress: Progress, situation: Situation) -> None:
        self.findings = findings
        self.progress = progress
        self.situation = situation
        self.producers = ProducersCheck(findings)
        self.epochs: list[EpochRun] = []
        self.first_offset = -1
        self.end_offset = -1
        self.has_holes = False

    def tell_hole(self, label: str, text: str, *, is_lost: bool = False) -> None:
        """Offsets are missing: compaction leaves such holes, and so does the loss of records, as `is_lost` suspects."""
        if self.situation.is_compacted is False:
            self.findings.damaged(label, "hole", f"{text}, and this log is not compacted")
        elif self.situation.is_compacted is None and is_lost and not self.has_holes:
            self.findings.damaged(label, "hole", f"{text}; were this log compacted, there would be smaller holes too")
        elif self.situation.is_compacted is None:
            self.findings.note(label, "hole", f"{text}, as compaction leaves it")


class SegmentCheck:
    """One segment. `next_base_offset` is where the next one begins, -1 for the last."""

    def __init__(self, log: LogCheck, file: LogFile, next_base_offset: int) -> None:
        self.log = log
        self.file = file
        self.label = file.label
        self.findings = log.findings
        self.next_base_offset = next_base_offset
        self.end_offset = file.base_offset  # behind the last good batch
        self.end_position = 0
        self._old_messages = 0
        self._holes = 0
        self._is_behind_damage = False

    @property
    def is_last(self) -> bool:
        return self.next_base_offset < 0

    def run(self, index_names: dict[str, str]) -> None:
        """Reads the segment; `index_names` are the paths of its indexes by kind. Raises OSError."""
        indexes: list[IndexCheck] = []
        for kind, check in (("index", OffsetIndexCheck), ("timeindex", TimeIndexCheck)):
            if kind in index_names:
                path = index_names[kind]
                label = self.label.removesuffix(".log") + f".{kind}"
                indexes.append(check(path, label, self.file.base_offset, self.findings))
        for position, found in self._walk():
            self.log.progress.advance(max(0, position - self.end_position), self.label)
            self.end_position = position
            if isinstance(found, RecordBatch):
                self._batch(position, found)
                for index in indexes:
                    index.batch(position, found)
                self.end_position = position + found.size_in_bytes
            elif isinstance(found, Damage):
                self._damage(position, found)
                for index in indexes:
                    index.skip(position, position + max(found.size, 1))
            else:
                self._old_message(position, found)
        if not self._old_messages:
            for index in indexes:
                index.end(self.end_offset, self.end_position)
        self._end()

    def _walk(self) -> Iterator[tuple[int, Found]]:
        """All batches. What a running broker is writing while we read is waited for."""
        position = 0
        waited = 0.0
        while True:
            records = FileRecords(self.file.path, writable=False)
            size = records.size_in_bytes
            torn: tuple[int, Damage] | None = None
            try:
                for at, found in walk(records, position):
                    if isinstance(found, Damage) and found.is_tail and self.is_last and self.log.situation.is_live:
                        torn = at, found
                        break
                    yield at, found
            finally:
                records.close()
            if torn is None:
                return
            position = torn[0]
            if os.stat(self.file.path).st_size == size:
                if waited >= SETTLE_SECONDS:
                    yield torn
                    return
                time.sleep(SETTLE_STEP)
                waited += SETTLE_STEP

    # --- what lies there ---

    def _batch(self, position: int, batch: RecordBatch) -> None:
        checked = self.findings.checked
        checked["batches"] += 1
        if not batch.is_crc_valid():
            self.findings.damaged(
                self.label,
                "crc",
                f"the CRC of the batch with offsets {batch.base_offset} to {batch.last_offset} is wrong:"
                f" {count_bytes(batch.size_in_bytes)} are damaged",
                position,
            )
            self._is_behind_damage = self.log.producers.has_gaps = True
            return
        checked["records"] += batch.count
        if self._offsets(position, batch):
            self._epoch(position, batch)
            self._records(position, batch)
            self.end_offset = self.log.end_offset = batch.next_offset
        self._is_behind_damage = False

    def _offsets(self, position: int, batch: RecordBatch) -> bool:
        """Whether the batch stands where its offsets say."""
        first, last, expected = batch.base_offset, batch.last_offset, self.end_offset
        what = f"the batch with offsets {first} to {last}"
        if last < first:
            problem = f"{what} ends before it begins"
        elif first < self.file.base_offset:
            problem = f"{what} is below the segment's first offset {self.file.base_offset}"
        elif first < expected:
            problem = f"{what} comes behind offset {expected - 1}: offsets do not rise"
        elif last - self.file.base_offset > MAX_DELTA:
            problem = f"{what} is too far from the segment's first offset {self.file.base_offset} for its indexes"
        elif 0 <= self.next_base_offset <= last:
            problem = f"{what} reaches into the next segment, which begins at {self.next_base_offset}"
        else:
            if self.log.first_offset < 0:
                self.log.first_offset = first
            if first > expected and not self._is_behind_damage and self.end_position > 0:
                self._holes += 1
            return True
        self.findings.damaged(self.label, "offsets", problem, position)
        return False

    def _epoch(self, position: int, batch: RecordBatch) -> None:
        epoch, runs = batch.partition_leader_epoch, self.log.epochs
        if epoch == -1 and not runs:
            return  # from before there were leader epochs
        if epoch < (runs[-1].epoch if runs else 0):
            before = f"the one before of {runs[-1].epoch}" if runs else "which no leader has"
            self.findings.damaged(
                self.label,
                "epoch",
                f"the batch at offset {batch.base_offset} is of leader epoch {epoch}, {before}",
                position,
            )
        elif runs and epoch == runs[-1].epoch:
            runs[-1] = EpochRun(epoch, runs[-1].first_offset, batch.last_offset)
        else:
            runs.append(EpochRun(epoch, batch.base_offset, batch.last_offset))

    def _records(self, position: int, batch: RecordBatch) -> None:
        try:
            if batch.count:
                largest = batch.check_records(DEFAULT_MAX_BYTES, False).max_timestamp
                if largest != batch.max_timestamp:
                    self.findings.note(
                        self.label,
                        "timestamp",
                        f"the batch at offset {batch.base_offset} says {timestamp_text(batch.max_timestamp)} is its"
                        f" largest timestamp, its records say {timestamp_text(largest)}",
                        position,
                    )
            if batch.producer_id >= 0:
                self.log.producers.batch(self.label, position, batch)
        except KafkaError as error:
            self.findings.damaged(self.label, "records", f"the batch at offset {batch.base_offset}: {error}", position)

    def _damage(self, position: int, damage: Damage) -> None:
        self._is_behind_damage = self.log.producers.has_gaps = True
        situation = self.log.situation
        if damage.is_tail and self.is_last and not situation.is_clean:
            if damage.reason == ZEROS:
                self.findings.note(
                    self.label,
                    "preallocated",
                    f"{count_bytes(damage.size)} of zeros behind the last batch; the next start cuts them off",
                    position,
                )
                return
            advice = "" if situation.is_live else "; the next start cuts it off"
            self.findings.damaged(
                self.label, "torn", f"torn tail, {damage.reason}: {count_bytes(damage.size)}{advice}", position
            )
            return
        where = "to the end of the segment" if damage.is_tail else "before the next batch that is whole"
        self.findings.damaged(
            self.label, "batch", f"{damage.reason}: {count_bytes(damage.size)} {where} cannot be read", position
        )

    def _old_message(self, position: int, message: OldMessage) -> None:
        self._old_messages += 1
        self.findings.checked["batches"] += 1
        if not message.crc_valid:
            text = f"the CRC of the message at offset {message.offset} is wrong"
            self.findings.damaged(self.label, "crc", text, position)
        if message.offset < self.end_offset:
            text = f"the message at offset {message.offset} comes behind offset {self.end_offset - 1}"
            self.findings.damaged(self.label, "offsets", text, position)
        self.end_offset = self.log.end_offset = max(self.end_offset, message.offset + 1)
        self.end_position = position + message.size

    def _end(self) -> None:
        if self._old_messages:
            self.findings.note(
                self.label,
                "old-format",
                f"{self._old_messages} messages of format 0 or 1: neither kstore nor Kafka 4 serves them",
            )
        if self._holes:
            self.log.has_holes = True
            self.log.tell_hole(
                self.label, f"offsets are missing at {count_text(self._holes, 'place')} inside the segment"
            )
        self.findings.end_of_file(self.label)
