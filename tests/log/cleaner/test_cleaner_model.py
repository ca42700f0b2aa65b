"""Whatever is written, cleaned, cut and crashed: readers who keep a table end with the same one.

The log is compared with a list of all that was ever appended. After each step: what is left of the list lies in the log
as it was written; the last committed value of each key is there; tombstones and markers went only after their time; the
end of the log and the state of its producers are what they would be without cleaning.
"""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kstore._native.builder import BatchBuilder
from kstore._native.record import Record
from kstore.log.cleaner.cleaner import LogCleaner
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.memory_log import MemoryLog
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, TP, append, batches_of, crash, marker, open_log
from tests.log.cleaner.compacted import COMPACT, committed_records, latest, records_of

RETENTION_MS = 1000
CONFIG = COMPACT._replace(segment_bytes=400, index_interval_bytes=100, delete_retention_ms=RETENTION_MS)
KEYS = [b"a", b"b", b"c", b"d"]
items = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from([None, b"x", b"y", bytes(40)])), min_size=1, max_size=4
)


class CleanedLogMachine(RuleBasedStateMachine):
    on_disk = False

    @initialize()
    def begin(self) -> None:
        self.log: PartitionLog
        if self.on_disk:
            self.root = tempfile.TemporaryDirectory()
            self.log = open_log(Path(self.root.name) / "topic-0", CONFIG)
        else:
            self.log = MemoryLog.create(TP, CONFIG, now_ms=NOW)
        self.now = NOW
        self.written: dict[int, Record] = {}
        self.aborted: set[int] = set()  # offsets
        self.open: dict[int, list[int]] = {}  # producer id -> offsets of its transaction
        self.sequences: dict[int, int] = {}
        # When a tombstone was first met by a cleaning, from which its time counts.
        self.met: dict[int, int] = {}

    def teardown(self) -> None:
        if self.on_disk and hasattr(self, "root"):
            crash(self.log)
            self.root.cleanup()

    def commit(self) -> None:
        self.log.maybe_increment_high_watermark(self.log.log_end_offset)

    # --- writing ---

    def write(self, records: list[tuple[bytes, bytes | None]], **options: int | bool) -> list[int]:
        builder = BatchBuilder(**options)  # type: ignore[arg-type]
        for key, value in records:
            builder.append(self.now, key, value)
        first = append(self.log, builder.build(), now_ms=self.now).first_offset
        offsets = list(range(first, first + len(records)))
        for offset, (key, value) in zip(offsets, records, strict=True):
            self.written[offset] = Record(offset, self.now, key, value)
        self.commit()
        return offsets

    @rule(records=items, compression=st.sampled_from([0, 0, 3, 4]))
    def append(self, records: list[tuple[bytes, bytes | None]], compression: int) -> None:
        self.write(records, compression=compression)

    @rule(records=items, producer_id=st.integers(1, 2))
    def append_idempotently(self, records: list[tuple[bytes, bytes | None]], producer_id: int) -> None:
        sequence = self.sequences.get(producer_id, 0)
        self.sequences[producer_id] = sequence + len(records)
        self.write(records, producer_id=producer_id, producer_epoch=0, base_sequence=sequence)

    @rule(records=items, producer_id=st.integers(3, 4))
    def append_in_a_transaction(self, records: list[tuple[bytes, bytes | None]], producer_id: int) -> None:
        sequence = self.sequences.get(producer_id, 0)
        self.sequences[producer_id] = sequence + len(records)
        offsets = self.write(
            records, producer_id=producer_id, producer_epoch=0, base_sequence=sequence, is_transactional=True
        )
        self.open.setdefault(producer_id, []).extend(offsets)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), commits=st.booleans())
    def end_a_transaction(self, data: st.DataObject, commits: bool) -> None:
        producer_id = data.draw(st.sampled_from(sorted(self.open)))
        offsets = self.open.pop(producer_id)
        if not commits:
            self.aborted |= set(offsets)
        append(self.log, marker(producer_id, commit=commits, timestamp=self.now), origin="coordinator", now_ms=self.now)
        self.commit()

    @rule(ms=st.sampled_from([1, RETENTION_MS // 2, RETENTION_MS]))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    # --- cleaning and restarts ---

    @rule(
        slots=st.sampled_from([3, 6, 10_000]),
        io_buffer_size=st.sampled_from([1, 1 << 20]),
        max_slices=st.sampled_from([2, 5, 1 << 30]),
        rolls=st.booleans(),
    )
    def clean(self, slots: int, io_buffer_size: int, max_slices: int, rolls: bool) -> None:
        if rolls and self.log.segments.active.size:
            self.log.roll(now_ms=self.now)
        self.log.flush(now_ms=self.now)
        config = CleanerConfig(dedupe_buffer_size=24 * slots, io_buffer_size=io_buffer_size)
        cleaner = LogCleaner({TP: self.log}, config)
        work = cleaner.take(self.now)
        if work is None:
            return
        for _ in range(max_slices):
            if work.done:
                break
            work.run()
            work.complete(self.now)
        cleaner.stop()
        while not work.done:
            work.run()
            work.complete(self.now)
        assert not cleaner.uncleanable
        for offset, record in self.written.items():
            if record.value is None and offset < work.cleaning.part.end_offset:
                self.met.setdefault(offset, self.now)

    @rule(clean_stop=st.booleans())
    def restart(self, clean_stop: bool) -> None:
        old = self.log
        if isinstance(old, MemoryLog) and not clean_stop:
            old.flush(now_ms=self.now)
            self.log = old.crash(now_ms=self.now)
        elif clean_stop:
            job = old.begin_close()
            assert job is not None
            job.run()
            old.complete_flush(job, now_ms=self.now)
            old.close()
            self.log = type(old).open(
                old.directory, TP, CONFIG, log_start_offset=old.log_start_offset, clean_shutdown=True, now_ms=self.now
            )
        else:
            crash(old)
            self.log = open_log(
                Path(old.directory.path),
                CONFIG,
                clean_shutdown=False,
                recovery_point=old.recovery_point,
                now_ms=self.now,
            )
        self.log.first_dirty_offset = old.first_dirty_offset
        self.commit()

    # --- what holds ---

    @invariant()
    def what_is_left_lies_as_it_was_written(self) -> None:
        if not hasattr(self, "log"):
            return
        found = records_of(self.log)
        offsets = [record.offset for record in found]
        assert offsets == sorted(set(offsets))
        assert all(self.written[record.offset] == record for record in found)
        assert [each.base_offset for each in batches_of(self.log)] == sorted(
            each.base_offset for each in batches_of(self.log)
        )

    @invariant()
    def nothing_is_missing_that_counts(self) -> None:
        if not hasattr(self, "log"):
            return
        left = {record.offset for record in records_of(self.log)}
        last: dict[bytes | None, int] = {}
        undecided = {offset for offsets in self.open.values() for offset in offsets}
        for offset, record in self.written.items():
            if offset not in self.aborted and offset not in undecided:
                last[record.key] = offset
        for offset, record in self.written.items():
            if offset in left or offset in self.aborted or last.get(record.key, -1) > offset:
                continue
            assert record.value is None, f"{record} is lost"
            assert self.now >= self.met[offset] + RETENTION_MS, f"{record} went too early"

    @invariant()
    def readers_end_with_the_same_table(self) -> None:
        if not hasattr(self, "log"):
            return
        stable = self.log.last_stable_offset
        decided = [r for offset, r in self.written.items() if offset < stable and offset not in self.aborted]
        assert latest(committed_records(self.log)) == latest(decided)

    @invariant()
    def producers_go_on_where_they_were(self) -> None:
        if not hasattr(self, "log"):
            return
        producers = self.log.producer_state.producers
        for producer_id, sequence in self.sequences.items():
            assert producers[producer_id].last_sequence == sequence - 1
        assert {entry.producer_id for entry in producers.values() if entry.current_txn_first_offset >= 0} == set(
            self.open
        )


class CleanedLogOnDiskMachine(CleanedLogMachine):
    on_disk = True


TestCleanedLog = CleanedLogMachine.TestCase
TestCleanedLog.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestCleanedLogOnDisk = CleanedLogOnDiskMachine.TestCase
TestCleanedLogOnDisk.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
