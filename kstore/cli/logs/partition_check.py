"""One partition's directory: its segments one after the other, and the files that must agree with them.

Everything beside the segments can be built anew from them; so of what disagrees, the text says which file to delete.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TypeVar

from kstore.cli.logs.files import (
    KRAFT_SNAPSHOT,
    LEADER_EPOCHS,
    OFFSET_INDEX,
    OTHER,
    PRODUCER_SNAPSHOT,
    SEGMENT,
    TIME_INDEX,
    TXN_INDEX,
    LogFile,
    partition_files,
)
from kstore.cli.logs.findings import Findings
from kstore.cli.logs.segment_check import SETTLE_SECONDS, SETTLE_STEP, LogCheck, SegmentCheck, Situation
from kstore.cli.logs.small_files import read_small_file, txn_index_rows
from kstore.cli.output import Progress
from kstore.errors import CorruptRecordError
from kstore.log.checkpoint_file import INT_MAX, LONG_MAX, parse_entries, parse_numbers
from kstore.log.directory import (
    CLEANED_SUFFIX,
    DAMAGED_SUFFIX,
    DELETED_SUFFIX,
    LOG_SUFFIX,
    PARTITION_METADATA,
    SWAP_SUFFIX,
    file_name,
    parse_partition_metadata,
)
from kstore.log.producer_entry import ProducerEntry
from kstore.log.producer_snapshots import decode_snapshot
from kstore.model import uuid_to_text

T = TypeVar("T")

# How often a partition is read again whose files were replaced meanwhile.
ATTEMPTS = 5

LEFT_OVERS = {
    DELETED_SUFFIX: "waits for its deletion; the next start removes it",
    CLEANED_SUFFIX: "a rewrite that was not finished; the next start removes it",
    SWAP_SUFFIX: "a finished rewrite that was not put in place; the next start does that",
}
# In the order in which a segment's own files are looked for.
INDEXES = (OFFSET_INDEX, TIME_INDEX, TXN_INDEX)


class PartitionCheck:
    """Checks the directory at `path`; afterwards `log` says where the log begins and ends."""

    def __init__(self, path: str, label: str, findings: Findings, progress: Progress, situation: Situation) -> None:
        self.path = path
        self.label = label
        self.findings = findings
        self.situation = situation
        self.log = LogCheck(findings, progress, situation)
        self.topic_id: bytes | None = None
        self.first_base_offset = -1
        self._files: dict[str, dict[int, LogFile]] = {}

    @property
    def is_live(self) -> bool:
        return self.situation.is_live

    def run(self) -> None:
        """Raises OSError when the disk cannot be read."""
        self.findings.checked["partitions"] += 1
        for file in partition_files(self.path, self.label):
            self._sort_in(file)
        segments = sorted(self._files.get(SEGMENT, {}).values(), key=lambda file: file.base_offset)
        for file, following in zip(segments, [*segments[1:], None], strict=True):
            self._existing(file, partial(self._segment, file, following))
        self._check_stray_files(segments)
        for snapshot in self._files.get(PRODUCER_SNAPSHOT, {}).values():
            self._existing(snapshot, partial(self._late_snapshot, snapshot))
        self._check_epochs()
        self._check_topic_id()

    def _existing(self, file: LogFile, check: Callable[[], None]) -> None:
        """Checks a file that a running broker may delete or rename at any time."""
        try:
            check()
        except FileNotFoundError:
            if not self.is_live:
                raise

    def _sort_in(self, file: LogFile) -> None:
        name = os.path.basename(file.path)
        if file.state == DAMAGED_SUFFIX:
            text = "was cut off the log's end, which was damaged; the log does without it until you delete it"
            self.findings.note(file.label, "damaged-end", text)
            return
        if self.is_live and (file.state or name.endswith((".tmp", ".part"))):
            return  # work that is being done
        if file.state:
            self.findings.note(file.label, "left-over", LEFT_OVERS[file.state])
            return
        if name.endswith((".tmp", ".part")):
            self.findings.note(file.label, "left-over", "was not finished; it has no meaning")
            return
        if file.kind == OTHER:
            self.findings.note(file.label, "unknown", "no file that a broker makes or knows")
            return
        known = self._files.setdefault(file.kind, {})
        if file.base_offset in known and file.base_offset >= 0 and file.kind != KRAFT_SNAPSHOT:
            if name != file_name(file.base_offset, os.path.splitext(name)[1]):
                file, known[file.base_offset] = known[file.base_offset], file
            self.findings.damaged(
                known[file.base_offset].label, "duplicate", f"means the same offset as {os.path.basename(file.path)}"
            )
        known[file.base_offset] = file

    # --- segments ---

    def _segment(self, file: LogFile, following: LogFile | None) -> None:
        log, base_offset = self.log, file.base_offset
        if self.first_base_offset < 0:
            self.first_base_offset = log.end_offset = base_offset
        elif base_offset > log.end_offset:
            self._hole(file)
        log.end_offset = max(log.end_offset, base_offset)
        snapshot = self._files.get(PRODUCER_SNAPSHOT, {}).pop(base_offset, None)
        if snapshot is not None:
            self._existing(snapshot, partial(self._snapshot, snapshot))
        self.findings.checked["segments"] += 1
        check = SegmentCheck(log, file, -1 if following is None else following.base_offset)
        paths = {kind: found.path for kind in INDEXES if (found := self._files.get(kind, {}).get(base_offset))}
        check.run(paths)
        for kind in (OFFSET_INDEX, TIME_INDEX):
            if kind not in paths:
                name = file.label.removesuffix(LOG_SUFFIX) + f".{kind}"
                self.findings.note(name, "missing", "is not there; the next start builds it anew")
        self._check_aborted(file)
        log.producers.end_of_segment()

    def _hole(self, file: LogFile) -> None:
        """Offsets are missing between two segments."""
        log = self.log
        text = f"offsets {log.end_offset} to {file.base_offset - 1} before this segment are missing"
        log.tell_hole(file.label, text, is_lost=True)
        log.producers.has_gaps = True

    def _check_aborted(self, file: LogFile) -> None:
        """Whether the transaction index has what the segment's batches say, and no more."""
        index = self._files.get(TXN_INDEX, {}).get(file.base_offset)
        producers = self.log.producers
        label = index.label if index else file.label.removesuffix(LOG_SUFFIX) + ".txnindex"
        try:
            entries = self._settled(lambda: list(txn_index_rows(index))) if index else []
        except CorruptRecordError as error:
            self.findings.damaged(label, "txnindex", str(error))
            return
        known = {(entry["producer_id"], entry["last_offset"]): entry for entry in entries}
        previous = -1
        for entry in entries:
            what = f"the aborted transaction of producer {entry['producer_id']} up to offset {entry['last_offset']}"
            if entry["version"] != 0:
                self.findings.damaged(label, "txnindex", f"an entry of version {entry['version']}, which nobody knows")
            elif not 0 <= entry["first_offset"] < entry["last_offset"] or entry["last_offset"] <= previous:
                self.findings.damaged(label, "txnindex", f"{what} does not follow the one before")
            elif entry["last_offset"] >= self.log.end_offset and self.is_live:
                pass  # it was aborted after we had read the segment
            elif (entry["producer_id"], entry["last_offset"]) not in producers.abort_markers:
                self.findings.damaged(label, "txnindex", f"{what} has no marker in the log")
            previous = max(previous, entry["last_offset"])
        for aborted in producers.aborted:
            found = known.get((aborted.producer_id, aborted.last_offset))
            what = (
                f"the transaction of producer {aborted.producer_id} from offset {aborted.first_offset} was aborted at"
            )
            if found is None:
                text = f"{what} {aborted.last_offset}, and is not in the index: its records are read as committed"
                self.findings.damaged(label, "txnindex", text)
            elif not self._is_beginning(found["first_offset"], aborted.first_offset):
                text = f"{what} {aborted.last_offset}, the index says that it began at {found['first_offset']}"
                self.findings.damaged(label, "txnindex", text)
        self.findings.end_of_file(label)

    def _is_beginning(self, said: int, found: int) -> bool:
        """Whether a transaction can have begun at `said` that is found in the log from `found` on: what came first may
        have been deleted or compacted."""
        if self.log.has_holes or self.log.producers.has_gaps:
            return said <= found
        return said == found or said < self.log.first_offset

    # --- producer snapshots ---

    def _snapshot(self, file: LogFile) -> None:
        """A snapshot at the offset that the segments have been read up to."""
        self.findings.checked["snapshots"] += 1
        entries = self._read_snapshot(file)
        if entries is None:
            return
        for entry in entries:
            if max(entry.last_offset, entry.current_txn_first_offset) >= file.base_offset:
                self.findings.damaged(
                    file.label, "snapshot", f"producer {entry.producer_id} is beyond the snapshot's own offset"
                )
        self.log.producers.check_snapshot(file.label, file.base_offset, entries, is_compacted=self.log.has_holes)

    def _read_snapshot(self, file: LogFile) -> list[ProducerEntry] | None:
        try:
            return self._settled(lambda: decode_snapshot(read_small_file(file.path)))
        except CorruptRecordError as error:
            text = f"{error}; an older one serves, delete it while no broker runs"
            self.findings.damaged(file.label, "snapshot", text)
            return None

    def _late_snapshot(self, file: LogFile) -> None:
        """A snapshot that no segment begins at: the one at the end of the log, or one that is left over."""
        if self.is_live:
            self._read_snapshot(file)  # it may be of a segment that is newer than our list of them
        elif file.base_offset == self.log.end_offset:
            self._snapshot(file)
        elif file.base_offset > self.log.end_offset:
            tell = self.findings.damaged if self.situation.is_clean else self.findings.note
            tell(file.label, "snapshot", f"is of an offset behind the end of the log, {self.log.end_offset}")
        else:
            self._read_snapshot(file)

    def _settled(self, read: Callable[[], T]) -> T:
        """What `read` gives. A file that a running broker is just writing gets a second to become whole."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                return read()
            except CorruptRecordError:
                if not self.is_live or time.monotonic() > deadline:
                    raise
            time.sleep(SETTLE_STEP)

    # --- leader epochs ---

    def _check_epochs(self) -> None:
        file = self._files.get(LEADER_EPOCHS, {}).get(-1)
        runs = self.log.epochs
        if file is None:
            if runs:
                text = "is not there; the next start reads the epochs from the log"
                self.findings.note(os.path.join(self.label, "leader-epoch-checkpoint"), "missing", text)
            return
        try:
            lines = parse_entries(read_small_file(file.path), "the file")
            entries = [parse_numbers(line, (INT_MAX, LONG_MAX), "the file") for line in lines]
        except CorruptRecordError as error:
            self.findings.damaged(file.label, "epochs", f"{error}; delete it while no broker runs")
            return
        self._compare_epochs(file.label, [(epoch, start) for epoch, start in entries])
        self.findings.end_of_file(file.label)

    def _compare_epochs(self, label: str, entries: list[tuple[int, int]]) -> None:
        findings = self.findings
        for before, after in pairwise(entries):
            if after[0] <= before[0] or after[1] <= before[1]:
                text = f"epoch {after[0]} from offset {after[1]} does not rise above {before[0]} from {before[1]}"
                findings.damaged(label, "epochs", text)
                return
        if entries and entries[-1][1] > self.log.end_offset >= 0 and not self.is_live:
            tell = findings.damaged if self.situation.is_clean else findings.note
            tell(
                label,
                "epochs",
                f"epoch {entries[-1][0]} begins at offset {entries[-1][1]}, behind the end of the log,"
                f" {self.log.end_offset}",
            )
        start_offset = max(self.first_base_offset, self.situation.log_start_offset)
        if self.situation.is_clean and entries and self.log.epochs and entries[0][1] > start_offset:
            text = f"the epochs begin at offset {entries[0][1]}, the log at {start_offset}"
            findings.damaged(label, "epochs", text)
        for run in self.log.epochs:
            # Of records that are deleted logically the epochs may be forgotten before the segment is gone.
            first = max(run.first_offset, entries[0][1] if entries else 0)
            if first > run.last_offset:
                continue
            known = {max((e for e in entries if e[1] <= at), default=(-1, 0))[0] for at in (first, run.last_offset)}
            if known != {run.epoch}:
                said = " and ".join(f"epoch {epoch}" if epoch >= 0 else "no epoch" for epoch in sorted(known))
                findings.damaged(
                    label,
                    "epochs",
                    f"the batches from offset {run.first_offset} to {run.last_offset} are of epoch {run.epoch},"
                    f" the file says {said} there",
                )

    # --- the rest ---

    def _check_stray_files(self, segments: list[LogFile]) -> None:
        known = {file.base_offset for file in segments}
        for kind in INDEXES:
            for base_offset, file in sorted(self._files.get(kind, {}).items()):
                if base_offset not in known and (not self.is_live or os.path.exists(file.path)):
                    self.findings.note(file.label, "stray", "an index without a segment; the next start removes it")

    def _check_topic_id(self) -> None:
        path = os.path.join(self.path, PARTITION_METADATA)
        label = os.path.join(self.label, PARTITION_METADATA)
        try:
            content = read_small_file(path)
        except FileNotFoundError:
            return
        self.topic_id = parse_partition_metadata(content)
        if self.topic_id is None:
            self.findings.damaged(label, "topic-id", f"holds {content[:60]!r}, no topic id")

    def files_now(self) -> set[tuple[str, int]]:
        """The segments and indexes that there are, as files of their own: a rewrite gives them others' names."""
        names = (name for name in os.listdir(self.path) if name.endswith((LOG_SUFFIX, "index")))
        return {(name, os.stat(os.path.join(self.path, name)).st_ino) for name in names}

    @property
    def topic_id_text(self) -> str:
        return "none" if self.topic_id is None else uuid_to_text(self.topic_id)


def check_partition(
    path: str, label: str, findings: Findings, progress: Progress, situation: Situation
) -> PartitionCheck:
    """Checks a partition. Damage beside a running broker counts only where no file was replaced meanwhile: compaction
    puts a segment's files in place one after the other, and we may have read some of before and some of after it.

    Raises OSError.
    """
    for _ in range(ATTEMPTS if situation.is_live else 0):
        held, told = findings.held_back()
        check = PartitionCheck(path, label, held, progress, situation)
        try:
            before = check.files_now()
            check.run()
            if not held.damage or check.files_now() == before:
                findings.take(held, told.getvalue())
                return check
        except FileNotFoundError:
            if not os.path.isdir(path):
                raise
        time.sleep(SETTLE_STEP)
    check = PartitionCheck(path, label, findings, progress, situation)
    check.run()
    return check
