"""Whether a segment's indexes lead to where they say, checked in step with the batches of the segment.

An entry of the offset index names the position where a batch begins and the last offset of what was appended there
together, which may be several batches (LogSegment.append); compaction may name an offset within the last of them. An
entry of the time index names an offset whose batch is the first with that very max timestamp or a larger one. Both
rise. An index that breaks this makes a reader miss records; deleting it is enough, the next start builds it anew.
"""

import os
from collections.abc import Iterator

from kstore._native.batch import RecordBatch
from kstore.cli.logs.findings import Findings
from kstore.cli.logs.small_files import OFFSET_ENTRY, TIME_ENTRY, index_entries
from kstore.errors import CorruptRecordError

REBUILD = "delete the file while no broker runs, the next start builds it anew"


class IndexCheck:
    """One index of a segment. The base class reads the entries, which rise, one ahead."""

    entry = OFFSET_ENTRY
    code = "index"

    def __init__(self, path: str, label: str, base_offset: int, findings: Findings) -> None:
        self.label = label
        self.findings = findings
        self.base_offset = base_offset
        # What a broker adds while the segment is read would lead behind what is read of it.
        size = os.stat(path).st_size
        self._entries: Iterator[tuple[int, ...]] = index_entries(path, self.entry, size)
        self._previous: tuple[int, ...] | None = None
        self.pending: tuple[int, int] | None = None
        self.advance()

    def advance(self) -> None:
        """Makes the next entry that can be right `pending`."""
        self.pending = None
        try:
            for fields in self._entries:
                if self._previous is not None and not all(map(int.__gt__, fields, self._previous)):
                    self.damaged(f"entry {self.describe(fields)} does not rise above {self.describe(self._previous)}")
                    continue
                self._previous = fields
                self.pending = fields[0], fields[1]
                self.findings.checked["index entries"] += 1
                return
        except CorruptRecordError as error:
            self.damaged(str(error))

    def describe(self, fields: tuple[int, ...]) -> str:
        raise NotImplementedError

    def damaged(self, message: str) -> None:
        self.findings.damaged(self.label, self.code, f"{message}; {REBUILD}")

    def batch(self, position: int, batch: RecordBatch) -> None:
        """A whole batch, in the order of the file."""
        raise NotImplementedError

    def skip(self, position: int, end: int) -> None:
        """Damage in the segment: entries that lead into it are not to blame."""
        raise NotImplementedError

    def end(self, end_offset: int, end_position: int) -> None:
        """No batches follow."""
        while self.pending is not None:
            self.damaged(
                f"entry {self.describe(self.pending)} leads behind the segment, which ends at offset {end_offset},"
                f" position {end_position}"
            )
            self.advance()
        self.findings.end_of_file(self.label)


class OffsetIndexCheck(IndexCheck):
    # The entry whose position was right and whose offset has not come yet.
    _open: tuple[int, int] | None = None

    def describe(self, fields: tuple[int, ...]) -> str:
        return f"offset {self.base_offset + fields[0]} -> position {fields[1]}"

    def batch(self, position: int, batch: RecordBatch) -> None:
        while self.pending is not None and self.pending[1] <= position:
            self._close("is of another offset than what lies there")
            if self.pending[1] < position:
                self.damaged(f"entry {self.describe(self.pending)} leads to no batch")
            else:
                self._open = self.pending
            self.advance()
        if self._open is not None and self.base_offset + self._open[0] <= batch.last_offset:
            if self.base_offset + self._open[0] < batch.base_offset:
                self._close(f"leads to a batch that begins at offset {batch.base_offset}")
            self._open = None

    def _close(self, problem: str) -> None:
        if self._open is not None:
            self.damaged(f"entry {self.describe(self._open)} {problem}")
            self._open = None

    def end(self, end_offset: int, end_position: int) -> None:
        self._close(f"names an offset behind the segment, which ends at offset {end_offset}")
        super().end(end_offset, end_position)

    def skip(self, position: int, end: int) -> None:
        self._open = None
        while self.pending is not None and position <= self.pending[1] < end:
            self.advance()


class TimeIndexCheck(IndexCheck):
    entry = TIME_ENTRY
    code = "timeindex"

    def __init__(self, path: str, label: str, base_offset: int, findings: Findings) -> None:
        self._largest = -1
        self._end_offset = base_offset
        self._skipping = False
        super().__init__(path, label, base_offset, findings)

    def describe(self, fields: tuple[int, ...]) -> str:
        return f"timestamp {fields[0]} -> offset {self.base_offset + fields[1]}"

    def batch(self, position: int, batch: RecordBatch) -> None:
        max_timestamp = batch.max_timestamp
        while self.pending is not None:
            timestamp, offset = self.pending[0], self.base_offset + self.pending[1]
            if offset > batch.last_offset:
                break
            if not self._skipping or offset >= batch.base_offset:
                self._judge(timestamp, offset, batch)
            self.advance()
        self._largest = max(self._largest, max_timestamp)
        self._end_offset = batch.next_offset
        self._skipping = False

    def _judge(self, timestamp: int, offset: int, batch: RecordBatch) -> None:
        entry = f"entry {self.describe((timestamp, offset - self.base_offset))}"
        if offset < batch.base_offset:
            self.damaged(f"{entry} leads to no batch")
        elif timestamp != batch.max_timestamp:
            self.damaged(f"{entry} leads to a batch whose max timestamp is {batch.max_timestamp}")
        elif timestamp <= self._largest:
            self.damaged(f"{entry} stands behind a batch with the timestamp {self._largest}")

    def skip(self, position: int, end: int) -> None:
        # Which offsets the damage held, the next batch tells.
        self._skipping = True

    def end(self, end_offset: int, end_position: int) -> None:
        if self._skipping:
            self.pending = None
        super().end(end_offset, end_position)
