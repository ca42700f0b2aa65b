"""Power losses: what a flush has confirmed is there afterwards, and all that is derived from it fits."""

import errno
import random
from pathlib import Path

import pytest

from kstore.errors import KafkaStorageError
from kstore.log.checkpoint_file import LOG_START_OFFSET_CHECKPOINT
from kstore.log.checkpoints import Checkpoints
from kstore.log.config import LogConfig
from kstore.log.flush import FlushJob
from kstore.log.memory_directory import MemoryDirectory, MemoryFile
from kstore.log.memory_log import MemoryLog
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, TP, append, batch, batches_of, fill, marker, offsets_of

SIZE = len(batch())


def start_to_be_said(log: PartitionLog) -> int:
    """What log-start-offset-checkpoint is to say of the log; 0 where it says nothing."""
    work = Checkpoints().work(log.log_dir, LOG_START_OFFSET_CHECKPOINT, [log])
    return 0 if work is None else work.replacement.offsets.get(TP, 0)


def opened(directory: MemoryDirectory, config: LogConfig, log_start_offset: int, recovery_point: int) -> MemoryLog:
    return MemoryLog.open(
        directory,
        TP,
        config,
        log_start_offset=log_start_offset,
        recovery_point=recovery_point,
        clean_shutdown=False,
        now_ms=NOW,
    )


def test_aborted_transactions_below_the_recovery_point_survive() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    fill(log, 1)
    log.flush(now_ms=NOW)
    append(log, batch(producer_id=7, producer_epoch=0, base_sequence=0, transactional=True))
    append(log, marker(7), origin="coordinator")
    log.flush(now_ms=NOW)
    again = log.crash(now_ms=NOW)
    assert again.recovery_point == 3
    assert [txn.first_offset for txn in again.collect_aborted_transactions(0, 3)] == [1]


@pytest.mark.parametrize("flushed_again", [False, True])
def test_indexes_of_a_segment_that_was_sealed_where_a_flush_had_ended_survive(flushed_again: bool) -> None:
    config = LogConfig(segment_bytes=4 * SIZE, index_interval_bytes=1)
    log = MemoryLog.create(TP, config, now_ms=NOW)
    for number in range(4):
        append(log, batch(timestamp=NOW + number))
    log.flush(now_ms=NOW)
    append(log, batch(timestamp=NOW))  # the roll seals what is durable but for its indexes
    assert [s.base_offset for s in log.segments] == [0, 4]
    if flushed_again:
        log.flush(now_ms=NOW)
    again = log.crash(now_ms=NOW)
    first = again.segments.first
    assert first.load_max_timestamp() == NOW + 3
    assert first.time_index.last_entry == (NOW + 3, 3)
    assert first.offset_index.entries == 3
    found = again.offset_for_timestamp(NOW + 3)
    assert found is not None
    assert found.offset == 3


def test_time_index_that_lost_more_than_the_offset_index_is_made_up_for() -> None:
    config = LogConfig(index_interval_bytes=1)
    log = MemoryLog.create(TP, config, now_ms=NOW)
    for number in range(6):
        append(log, batch(timestamp=NOW + number))
    append(log, batch(timestamp=NOW - 1))
    log.flush(now_ms=NOW)
    for name in ("00000000000000000000.index", "00000000000000000000.timeindex"):
        file = log.memory.files[name]
        file.durable = bytes(file.data if name.endswith(".index") else file.data[:32])
    again = log.crash(now_ms=NOW)
    assert again.segments.first.load_max_timestamp() == NOW + 5


def test_snapshot_of_the_flush_before_goes_when_the_next_is_durable() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    append(log, batch(producer_id=7, producer_epoch=0, base_sequence=0))
    log.flush(now_ms=NOW)
    append(log, batch(producer_id=7, producer_epoch=0, base_sequence=1))
    job = log.begin_flush()
    assert job is not None
    assert log.producer_state.snapshots == [1, 2]
    job.run()
    log.complete_flush(job, now_ms=NOW)
    assert [name for name in log.memory.names() if name.endswith(".snapshot")] == ["00000000000000000002.snapshot"]


def test_epoch_that_found_no_room_is_durable_before_the_next_append() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    append(log, batch(), leader_epoch=1)
    log.memory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    with pytest.raises(KafkaStorageError):
        append(log, batch(), leader_epoch=2)
    log.memory.fault = None
    append(log, batch(), leader_epoch=2)
    assert log.memory.read_file("leader-epoch-checkpoint") == b"0\n2\n1 0\n2 1\n"


def test_flush_that_finds_a_segment_deleted_makes_that_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr("kstore.log.directory.fsync_directory", synced.append)
    (tmp_path / "topic-0").mkdir()
    log = PartitionLog.open(str(tmp_path / "topic-0"), TP, LogConfig(segment_bytes=2 * SIZE), now_ms=NOW)
    append(log, batch())
    log.flush(now_ms=NOW)
    append(log, batch())
    job = log.begin_flush()
    assert job is not None
    fill(log, 1)
    log.segments.first.records.release()
    log.maybe_increment_log_start_offset(2)
    assert log.delete_old_segments(NOW) == 1
    synced.clear()
    job.run()
    log.complete_flush(job, now_ms=NOW)
    assert log.recovery_point == 2
    assert synced == [str(tmp_path / "topic-0")]


def shortened(batches: int, name: str, size: int) -> MemoryDirectory:
    """What a power loss left of a log of six batches a segment, of which nothing had been flushed."""
    log = MemoryLog.create(TP, LogConfig(segment_bytes=6 * SIZE), now_ms=NOW)
    fill(log, batches)
    del log.memory.files[name].data[size:]
    log.memory.sync_all()
    return log.memory


def test_what_is_missing_below_the_log_start_takes_nothing_above_it_along() -> None:
    directory = shortened(15, "00000000000000000000.log", 2 * SIZE)
    log = opened(directory, LogConfig(segment_bytes=6 * SIZE), 7, 0)
    assert [segment.base_offset for segment in log.segments] == [6, 12]
    assert (log.log_start_offset, log.log_end_offset) == (7, 15)
    log = opened(shortened(15, "00000000000000000006.log", 2 * SIZE), LogConfig(segment_bytes=6 * SIZE), 7, 0)
    assert (log.log_start_offset, log.log_end_offset) == (7, 8)


def test_segments_behind_a_hole_do_not_come_back_beside_what_is_flushed_in_their_place() -> None:
    log = opened(shortened(9, "00000000000000000000.log", 4 * SIZE), LogConfig(), 0, 2)
    assert log.log_end_offset == 4
    fill(log, 4)
    log.flush(now_ms=NOW)
    log.memory.crash()
    assert [segment.base_offset for segment in opened(log.memory, LogConfig(), 0, log.recovery_point).segments] == [0]


# --- every moment, and whatever of what was not synced is there ---


class Moment:
    """What a power loss may find: for each name the file that is durable under it and the one that is not yet, for each
    file what is durable of it and what was written. `confirmed` is where the last flush ended."""

    def __init__(self, directory: MemoryDirectory, confirmed: int) -> None:
        self.confirmed = confirmed
        durable = directory._durable_names
        self.names = {name: (durable.get(name), directory.files.get(name)) for name in {*durable, *directory.files}}
        files = {id(file): file for pair in self.names.values() for file in pair if file is not None}
        self.contents = {key: (file.durable, bytes(file.data)) for key, file in files.items()}

    def after_power_loss(self, choose: random.Random, *, keeps_order: bool = False) -> MemoryDirectory:
        """`keeps_order`: of the names all are there or none, as a journal has it; else whichever."""
        directory = MemoryDirectory()
        kept = {key: self._kept(*content, choose) for key, content in self.contents.items()}
        all_or_none = choose.randrange(2)
        chosen = {
            name: bindings[all_or_none] if keeps_order else choose.choice(bindings)
            for name, bindings in sorted(self.names.items())
        }
        found = {id(file) for file in chosen.values()}
        renamed = {id(written) for _, written in self.names.values()} - found
        for name, (durable, _) in self.names.items():
            if id(durable) in renamed and durable is not None:
                chosen[name] = durable  # a file that was renamed has one of its names
        for name, file in chosen.items():
            if file is not None:
                directory.files[name] = MemoryFile()
                directory.files[name].data = bytearray(kept[id(file)])
                directory.files[name].sync()
        directory.sync()
        return directory

    @staticmethod
    def _kept(durable: bytes, written: bytes, choose: random.Random) -> bytes:
        """Of what was written since: nothing, all, the beginning, or the length without the bytes."""
        if durable == written:
            return written
        cut = choose.randint(min(len(durable), len(written)), len(written))
        return choose.choice([durable, written, written[:cut], written[:cut] + bytes(len(written) - cut)])


class Life:
    """A log under a seeded load; `moments` are before and after each of its syncs, `written` is what was appended:
    leader epoch and batch by offset."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.log = MemoryLog.create(
            TP, LogConfig(segment_bytes=6 * SIZE, index_interval_bytes=1, retention_ms=-1), now_ms=NOW
        )
        self.log.memory.fault = self.before
        self.written: list[tuple[int, bytes]] = []
        self.aborted: list[tuple[int, int]] = []
        self.moments: list[Moment] = []

    def before(self, kind: str, name: str) -> None:
        if kind in ("sync", "rename", "delete"):
            self.look()

    def look(self) -> None:
        self.moments.append(Moment(self.log.memory, self.log.recovery_point))

    def append(self, epoch: int, records: bytearray, **arguments: str) -> int:
        offset = append(self.log, records, leader_epoch=epoch, **arguments).first_offset
        self.written.append((epoch, bytes(records)))
        self.look()
        return offset

    def cut(self, offset: int) -> None:
        self.log.truncate_to(offset, now_ms=NOW)
        del self.written[offset:]
        self.moments.clear()
        self.look()

    def run(self, steps: int) -> None:
        sequence = epoch = 0
        for step in range(steps):
            what = self.choose.random()
            if what < 0.2:
                self.log.flush(now_ms=NOW)
            elif what < 0.3:
                epoch += 1
            elif what < 0.4:
                begin = self.append(
                    epoch, batch(producer_id=9, producer_epoch=0, base_sequence=sequence, transactional=True)
                )
                sequence += 1
                self.aborted.append((begin, self.append(epoch, marker(9), origin="coordinator")))
            else:
                self.append(epoch, batch(timestamp=NOW + self.choose.randint(-3, 3) + step))
            self.look()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_power_loss_leaves_is_a_log_with_all_that_was_confirmed(seed: int) -> None:
    life = Life(seed)
    life.run(30)
    assert any(moment.confirmed for moment in life.moments)
    for number, moment in enumerate(life.moments):
        where = f"moment {number} of {len(life.moments)}"
        log = opened(moment.after_power_loss(life.choose), life.log.config, 0, moment.confirmed)
        end = log.log_end_offset
        assert moment.confirmed <= end <= len(life.written), where
        assert offsets_of(batches_of(log)) == list(range(end)), where
        assert [item.to_bytes() for item in batches_of(log)] == [content for _, content in life.written[:end]], where
        assert [log.leader_epoch_cache.epoch_for_offset(n) for n in range(end)] == [
            epoch for epoch, _ in life.written[:end]
        ], where
        assert [(txn.first_offset, txn.last_offset) for txn in log.collect_aborted_transactions(0, end)] == [
            txn for txn in life.aborted if txn[1] < end
        ], where
        for segment, following in zip(log.segments, [*list(log.segments)[1:], None], strict=True):
            inside = [
                item.max_timestamp
                for item in batches_of(log)
                if segment.base_offset <= item.base_offset < (end if following is None else following.base_offset)
            ]
            assert segment.load_max_timestamp() == max(inside, default=-1), where
        log.update_high_watermark(end)
        assert append(log, batch(), leader_epoch=99).first_offset == end, where


@pytest.mark.parametrize("seed", range(20))
def test_what_was_cut_does_not_come_back_beside_what_was_flushed_in_its_place(seed: int) -> None:
    """Segments above the cut could come back, for nothing made it durable that they were gone."""
    life = Life(seed)
    for _ in range(20):
        life.append(0, batch())
    life.log.flush(now_ms=NOW)
    cut = life.choose.choice([offset for offset in range(1, 18) if offset % 6])
    life.cut(cut)
    for _ in range(-cut % 6):  # up to where the next segment had begun
        life.append(0, batch(timestamp=NOW + 1))
    life.log.flush(now_ms=NOW)
    life.look()
    moments = [moment for moment in life.moments if moment.confirmed > cut]
    assert moments
    for moment in [moment for moment in moments for _ in range(5)]:
        log = opened(moment.after_power_loss(life.choose), life.log.config, 0, moment.confirmed)
        assert [item.to_bytes() for item in batches_of(log)] == [content for _, content in life.written]
        assert log.log_end_offset == len(life.written)


class Deletions:
    """A log under a seeded load of appends, deletions, flushes and kills of its process; `moments` are before and after
    each of its syncs, with what the checkpoint files say then and how far flushes have confirmed."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.config = LogConfig(segment_bytes=6 * SIZE, index_interval_bytes=1, retention_ms=-1)
        self.log = MemoryLog.create(TP, self.config, now_ms=NOW)
        self.log.memory.fault = self.before
        self.written: list[bytes] = []
        self.job: FlushJob | None = None
        self.confirmed = 0
        # What the files say: log start, recovery point.
        self.said = (0, 0)
        self.highest_start = 0
        self.moments: list[tuple[Moment, tuple[int, int], int]] = []

    def before(self, kind: str, name: str) -> None:
        if kind in ("sync", "rename", "delete"):
            self.look()

    def look(self) -> None:
        self.highest_start = max(self.highest_start, self.log.log_start_offset)
        self.moments.append((Moment(self.log.memory, self.confirmed), self.said, self.highest_start))

    def step(self) -> None:
        log, what = self.log, self.choose.random()
        if what < 0.15:
            if self.job is None:
                self.job = log.begin_flush()
            else:
                self.job.run()
                log.complete_flush(self.job, now_ms=NOW)
                self.confirmed, self.job = max(self.confirmed, log.recovery_point), None
        elif what < 0.3:
            log.maybe_increment_log_start_offset(self.choose.randint(log.log_start_offset, log.high_watermark))
        elif what < 0.4:
            log.update_config(self.config._replace(retention_bytes=self.choose.choice([-1, 0])))
            log.delete_old_segments(NOW)
        elif what < 0.55:
            self.said = (start_to_be_said(log), log.recovery_point)
        elif what < 0.6:
            self.killed()
        else:
            records = batch(timestamp=NOW + len(self.written))
            append(log, records)
            self.written.append(bytes(records))
            log.maybe_increment_high_watermark(log.log_end_offset)
        self.look()

    def killed(self) -> None:
        """The process ends: what it had written is there, what it remembered is not."""
        self.log.memory.fault, self.job = None, None
        self.log = opened(self.log.memory, self.config, *self.said)
        self.log.memory.fault = self.before
        self.log.maybe_increment_high_watermark(self.log.log_end_offset)


@pytest.mark.parametrize("seed", range(60))
def test_a_log_of_which_segments_were_deleted_has_no_hole_and_all_that_was_confirmed_above_its_start(seed: int) -> None:
    """What is deleted need never have been flushed; yet a recovery point had passed it."""
    life = Deletions(seed)
    for _ in range(50):
        life.step()
    for number, (moment, (start, recovery_point), highest_start) in enumerate(life.moments):
        where = f"moment {number} of {len(life.moments)}"
        directory = moment.after_power_loss(life.choose, keeps_order=True)
        log = opened(directory, life.config, start, recovery_point)
        assert start <= log.log_start_offset <= max(highest_start, start), where
        assert moment.confirmed <= log.log_end_offset <= len(life.written), where
        held = [item.to_bytes() for item in batches_of(log)]
        assert held == life.written[log.log_start_offset : log.log_end_offset], where
