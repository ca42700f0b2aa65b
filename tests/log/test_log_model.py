"""A log on disk, one in memory and a list agree after any sequence of appends, reads, cuts, deletions and crashes.

A crash of the log on disk is a kill: all that was written is there. One of the log in memory is a power loss: what was
flushed is there. After each the other log begins again from the same files.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kstore._native.batch import iter_batches
from kstore.errors import InvalidProducerEpochError, OffsetOutOfRangeError, OutOfOrderSequenceError
from kstore.log.append import COORDINATOR
from kstore.log.config import LogConfig
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.memory_log import MemoryLog
from kstore.log.partition_log import HIGH_WATERMARK, LOG_END, TXN_COMMITTED, PartitionLog
from kstore.log.segment import Segment
from tests.log.build import NOW, TP, append, batch, content, crash, marker, open_log

SIZE = len(batch())
CONFIG = LogConfig(segment_bytes=6 * SIZE, index_interval_bytes=2 * SIZE, retention_bytes=20 * SIZE)


class LogMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.root = tempfile.mkdtemp()
        self.path = Path(self.root) / "topic-0"
        self.disk: PartitionLog = open_log(self.path, CONFIG)
        self.memory = MemoryLog.create(TP, CONFIG, now_ms=NOW)
        self.batches: list[tuple[int, int, bytes]] = []  # first offset, next offset, bytes
        self.end = 0
        self.start = 0
        self.high_watermark = 0
        self.flushed = 0
        self.epoch = 0
        self.clock = NOW
        self.sequences: dict[int, int] = {}
        self.open_transactions: set[int] = set()

    def teardown(self) -> None:
        if hasattr(self, "root"):
            crash(self.disk)
            shutil.rmtree(self.root)

    def both(self) -> tuple[PartitionLog, PartitionLog]:
        return self.disk, self.memory

    def stored(self, records: bytearray, count: int) -> None:
        self.batches.append((self.end, self.end + count, bytes(records)))
        self.end += count

    # --- writing ---

    @rule(count=st.integers(1, 4), size=st.integers(0, 60), step=st.integers(-2, 5), new_epoch=st.booleans())
    def append(self, count: int, size: int, step: int, new_epoch: bool) -> None:
        self.epoch += new_epoch
        self.clock += step
        records = batch(count, value=bytes(size), timestamp=self.clock)
        twin = bytearray(records)
        for log, buffer in zip(self.both(), (records, twin), strict=True):
            info = append(log, buffer, leader_epoch=self.epoch, now_ms=self.clock)
            assert (info.first_offset, info.last_offset) == (self.end, self.end + count - 1)
        assert records == twin
        self.stored(records, count)

    @rule(producer_id=st.integers(1, 2), gap=st.integers(0, 1), count=st.integers(1, 3))
    def append_idempotently(self, producer_id: int, gap: int, count: int) -> None:
        known = self.disk.producer_state.producers.get(producer_id)
        other = self.memory.producer_state.producers.get(producer_id)
        assert (known is None) == (other is None)
        sequence = (known.last_sequence + 1 if known is not None else 0) + gap
        transactional = producer_id in self.open_transactions
        records = batch(
            count,
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=sequence,
            timestamp=self.clock,
            transactional=transactional,
        )
        twin = bytearray(records)
        for log, buffer in zip(self.both(), (records, twin), strict=True):
            if known is not None and gap:
                with pytest.raises((OutOfOrderSequenceError, InvalidProducerEpochError)):
                    append(log, buffer, leader_epoch=self.epoch)
            else:
                append(log, buffer, leader_epoch=self.epoch)
        if known is None or not gap:
            self.stored(records, count)
            repeated = batch(
                count,
                producer_id=producer_id,
                producer_epoch=0,
                base_sequence=sequence,
                timestamp=self.clock,
                transactional=transactional,
            )
            for log in self.both():
                assert append(log, bytearray(repeated), leader_epoch=self.epoch).is_duplicate

    @rule(producer_id=st.integers(3, 4), commit=st.booleans())
    def write_transaction_or_end_it(self, producer_id: int, commit: bool) -> None:
        entry = self.disk.producer_state.producers.get(producer_id)
        if entry is not None and entry.current_txn_first_offset >= 0:
            records = marker(producer_id, commit=commit, timestamp=self.clock)
        else:
            sequence = entry.last_sequence + 1 if entry is not None else 0
            records = batch(
                producer_id=producer_id,
                producer_epoch=0,
                base_sequence=sequence,
                timestamp=self.clock,
                transactional=True,
            )
        twin = bytearray(records)
        for log, buffer in zip(self.both(), (records, twin), strict=True):
            append(log, buffer, leader_epoch=self.epoch, origin=COORDINATOR)
        self.stored(records, 1)

    @rule()
    def roll(self) -> None:
        for log in self.both():
            log.roll(now_ms=self.clock)

    # --- offsets ---

    @rule(part=st.floats(0, 1))
    def commit(self, part: float) -> None:
        offset = self.high_watermark + int((self.end - self.high_watermark) * part)
        for log in self.both():
            log.maybe_increment_high_watermark(offset)
        self.high_watermark = offset

    @rule(part=st.floats(0, 1))
    def delete_records(self, part: float) -> None:
        offset = self.start + int((self.high_watermark - self.start) * part)
        for log in self.both():
            log.maybe_increment_log_start_offset(offset)
        self.start = offset
        self.flushed = max(self.flushed, offset)

    @rule()
    def delete_old_segments(self) -> None:
        removed = [log.delete_old_segments(self.clock) for log in self.both()]
        assert removed[0] == removed[1]
        self.memory.memory.sync_all()
        self.flushed = self.end
        self.start = self.disk.log_start_offset

    @rule(part=st.floats(0, 1))
    def truncate(self, part: float) -> None:
        # Between batches: what follows a cut inside one depends on whether the log was restarted before.
        ends = [self.start, *(entry[1] for entry in self.batches if entry[1] > self.start)]
        self.cut(ends[int((len(ends) - 1) * part)])

    def cut(self, offset: int) -> None:
        for log in self.both():
            log.truncate_to(offset, now_ms=self.clock)
        # A cut is not durable by itself: after a power loss what was cut might be there again.
        self.memory.memory.sync_all()
        self.forget(offset)
        self.flushed = self.end

    def forget(self, offset: int) -> None:
        self.end = min(self.end, offset)
        self.batches = [entry for entry in self.batches if entry[1] <= self.end]
        self.high_watermark = min(self.high_watermark, self.end)
        self.flushed = min(self.flushed, self.end)
        self.epoch += 1

    # --- durability ---

    @rule()
    def flush(self) -> None:
        for log in self.both():
            log.flush(now_ms=self.clock)
            assert log.recovery_point == log.log_end_offset
        self.flushed = self.end

    @rule()
    def restart(self) -> None:
        job = self.disk.begin_close()
        assert job is not None
        job.run()
        self.disk.complete_flush(job, now_ms=self.clock)
        self.disk.close()
        self.disk = self.opened(str(self.path), clean_shutdown=True)
        # Where the start lies inside a batch that was cut, the log begins anew.
        assert not self.disk.recovered_from_crash or self.start == self.end
        self.memory_as_disk(clean_shutdown=True)

    @rule(trust=st.booleans())
    def kill(self, trust: bool) -> None:
        recovery_point = self.disk.recovery_point if trust else 0
        crash(self.disk)
        self.disk = self.opened(str(self.path), clean_shutdown=False, recovery_point=recovery_point)
        self.memory_as_disk(clean_shutdown=False, recovery_point=recovery_point)

    @rule()
    def lose_power(self) -> None:
        self.memory = self.memory.crash(now_ms=self.clock)
        self.memory.update_high_watermark(self.high_watermark)
        end = self.memory.log_end_offset
        whole = max([self.start, *(entry[1] for entry in self.batches if entry[1] <= self.flushed)])
        assert whole <= end <= self.end
        self.forget(end)
        self.disk_as_memory()

    def opened(self, directory: str | MemoryDirectory, **arguments: object) -> PartitionLog:
        kind = PartitionLog if isinstance(directory, str) else MemoryLog
        log = kind.open(
            directory,
            TP,
            CONFIG,
            log_start_offset=self.start,
            now_ms=self.clock,
            **arguments,  # type: ignore[arg-type]
        )
        log.update_high_watermark(self.high_watermark)
        return log

    def memory_as_disk(self, **arguments: object) -> None:
        """A restart forgets what the files do not tell: both logs begin again from the same files."""
        directory = MemoryDirectory()
        for path in self.path.iterdir():
            if path.suffix not in (".index", ".timeindex"):
                directory.write_file(path.name, path.read_bytes())
        directory.sync_all()
        self.memory = self.opened(directory, **arguments)  # type: ignore[assignment]
        directory.sync_all()
        self.flushed = self.end

    def disk_as_memory(self) -> None:
        crash(self.disk)
        shutil.rmtree(self.path)
        self.path.mkdir()
        for name, file in self.memory.memory.files.items():
            if not name.endswith((".index", ".timeindex")):
                (self.path / name).write_bytes(file.data)
        self.disk = self.opened(str(self.path), clean_shutdown=False, recovery_point=self.memory.recovery_point)

    # --- reading ---

    @precondition(lambda self: self.batches)
    @rule(part=st.floats(0, 1), max_bytes=st.integers(0, 1000), bound=st.sampled_from([LOG_END, HIGH_WATERMARK]))
    def read(self, part: float, max_bytes: int, bound: str) -> None:
        offset = self.start + int((self.end - self.start) * part)
        limit = self.end if bound == LOG_END else self.high_watermark
        wanted = [entry for entry in self.batches if entry[1] > offset and (bound == LOG_END or entry[1] <= limit)]
        for log in self.both():
            data = log.read(offset, max_bytes=max_bytes, upper_bound=bound)
            got = content(data)
            if not wanted or offset >= limit:
                assert got == b""
                continue
            expected = b"".join(entry[2] for entry in wanted)
            assert expected.startswith(got)
            assert len(got) >= min(len(wanted[0][2]), len(expected))

    @rule(beyond=st.integers(1, 3))
    def read_out_of_range(self, beyond: int) -> None:
        for log in self.both():
            for offset in (self.end + beyond, self.start - beyond):
                with pytest.raises(OffsetOutOfRangeError):
                    log.read(offset, max_bytes=1)

    @rule(back=st.integers(-3, 30))
    def search_timestamp(self, back: int) -> None:
        found = [log.offset_for_timestamp(self.clock - back) for log in self.both()]
        expected = None
        for _, _, stored in self.batches:
            for item in iter_batches(stored):
                for record in item.records():
                    if record.timestamp >= self.clock - back and record.offset >= self.start and expected is None:
                        expected = record.offset
        for one in found:
            assert (None if one is None else one.offset) == expected

    # --- always ---

    @invariant()
    def offsets_agree(self) -> None:
        if not hasattr(self, "root"):
            return
        for log in self.both():
            assert log.log_start_offset == self.start
            assert log.log_end_offset == self.end
            assert log.high_watermark == self.high_watermark
            assert self.start <= log.last_stable_offset <= self.high_watermark
            assert log.recovery_point <= self.end
        if self.high_watermark == self.end:
            # A restart forgets which decided transactions are not replicated.
            assert self.disk.last_stable_offset == self.memory.last_stable_offset
        # A restart forgets an epoch that has no record.
        epochs = [[e for e in log.leader_epoch_cache.entries if e.start_offset < self.end] for log in self.both()]
        assert epochs[0] == epochs[1]

    @invariant()
    def everything_can_be_read(self) -> None:
        if not hasattr(self, "root"):
            return
        expected = [entry[2] for entry in self.batches if entry[1] > self.start]
        for log in self.both():
            offset, seen = self.start, []
            while offset < self.end:
                got = content(log.read(offset, max_bytes=1 << 20, upper_bound=LOG_END))
                if not got:
                    break
                items = list(iter_batches(got))
                seen += [item.to_bytes() for item in items]
                offset = items[-1].next_offset
            assert seen == expected

    @invariant()
    def aborted_transactions_agree(self) -> None:
        if not hasattr(self, "root") or self.start == self.end or self.high_watermark < self.end:
            return
        told = [log.read(self.start, max_bytes=1 << 20, upper_bound=TXN_COMMITTED) for log in self.both()]
        assert told[0].aborted_transactions == told[1].aborted_transactions

    @invariant()
    def indexes_lead_to_their_batches(self) -> None:
        if not hasattr(self, "root"):
            return
        for segment in self.disk.segments:
            assert_index_fits(segment)


def assert_index_fits(segment: Segment) -> None:
    by_offset = {header.last_offset: header for header in segment.records.batch_headers(0, segment.size)}
    for n in range(segment.offset_index.entries):
        offset, position = segment.offset_index.entry(n)
        assert by_offset[offset].position == position
    for n in range(segment.time_index.entries):
        timestamp, offset = segment.time_index.entry(n)
        assert by_offset[offset].max_timestamp == timestamp
    largest = max((header.max_timestamp for header in by_offset.values()), default=-1)
    assert segment.load_max_timestamp() == largest


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLogModel = LogMachine.TestCase
