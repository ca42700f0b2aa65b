"""A crash, a power loss and a failing disk at each file operation of a cleaning: the log says the same afterwards."""

import errno
import random
import shutil
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kstore.log.cleaner.cleaner import LogCleaner
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.directory import DiskDirectory
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.memory_log import MemoryLog
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, TP, append, batch, batches_of, crash, marker, open_log
from tests.log.cleaner.compacted import COMPACT, clean, committed_records, latest, records_of, roll, write
from tests.log.test_log_faults import FailNth
from tests.log.test_power_loss import Moment

Log = TypeVar("Log", bound=PartitionLog)
DAY = 24 * 60 * 60 * 1000
CONFIG = COMPACT._replace(segment_bytes=450, index_interval_bytes=1)


def dirty_log() -> MemoryLog:
    return make_dirty(MemoryLog.create(TP, CONFIG, now_ms=NOW))


def make_dirty(log: Log) -> Log:
    """Several segments, with a clean part, producers, an aborted transaction over two of them, and tombstones."""
    for number in range(8):
        write(log, [(b"k%d" % (number % 3), b"%d" % number)])
    roll(log)
    clean(log)
    for number in range(3):
        write(log, [(b"p", b"%d" % number)], producer_id=7, producer_epoch=0, base_sequence=number)
    write(log, [(b"k0", None), (b"gone", None)])
    for number in range(4):
        key = b"k%d" % number
        write(log, [(key, b"no")], producer_id=8, producer_epoch=0, base_sequence=number, is_transactional=True)
    append(log, marker(8), origin="coordinator")
    log.maybe_increment_high_watermark(log.log_end_offset)
    write(log, [(b"k1", b"last"), (b"p", b"last")])
    roll(log)
    write(log, [(b"k2", b"active")])
    log.flush(now_ms=NOW)
    assert len(log.segments) >= 5
    return log


def say(log: PartitionLog) -> object:
    """What readers and producers learn from a log."""
    producers = log.producer_state.producers
    return (
        latest(committed_records(log)),
        log.log_end_offset,
        {each: (producers[each].last_sequence, producers[each].epoch) for each in producers},
    )


def cleaning(log: PartitionLog) -> LogCleaner:
    cleaner = LogCleaner({TP: log}, CleanerConfig(backoff_ms=0, io_buffer_size=1))
    work = cleaner.take(NOW + 1)
    assert work is not None
    while not work.done:
        work.run()
        work.complete(NOW + 1)
    return cleaner


def is_sound(log: PartitionLog, before: object, where: str) -> None:
    assert say(log) == before, where
    offsets = [record.offset for record in records_of(log)]
    assert offsets == sorted(set(offsets)), where
    assert not [n for n in log.directory.names() if n.endswith((".cleaned", ".swap"))], where
    # Indexes lead where they should.
    for each in batches_of(log):
        found = log.segments.floor(each.base_offset)
        assert found is not None, where
        place = found.translate_offset(each.base_offset)
        assert place is not None, where
        assert place[0] == each.base_offset, where


def test_nothing_goes_wrong_when_nothing_fails() -> None:
    log = dirty_log()
    before = say(log)
    size = log.size_in_bytes
    cleaner = cleaning(log)
    assert cleaner.stats is not None
    is_sound(log, before, "")
    assert log.size_in_bytes < size


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("and_all_after", [False, True])
def test_whatever_operation_fails_the_log_says_the_same(code: int, and_all_after: bool) -> None:
    counted = FailNth(0, 0)
    log = dirty_log()
    before = say(log)
    log.memory.fault = counted
    cleaning(log)
    assert counted.seen > 60
    went_on = 0
    for nth in range(1, counted.seen + 1):
        log = dirty_log()
        fault = FailNth(nth, code, and_all_after=and_all_after)
        log.memory.fault = fault
        cleaner = cleaning(log)
        log.memory.fault = None
        where = f"operation {nth}: {fault.failed}"
        assert not cleaner.uncleanable, where
        if log.log_dir.failure is None:
            went_on += 1
            assert say(log) == before, where
            clean(log, now_ms=NOW + 2)
            is_sound(log, before, where)
            write(log, [(b"new", b"1")])
        else:
            assert code == errno.EIO or (fault.failed or "").startswith(("sync", "rename", "delete")), where
        again = log.crash(now_ms=NOW + 2)
        again.maybe_increment_high_watermark(again.log_end_offset)
        if log.log_dir.failure is not None:
            is_sound(again, before, where)
        clean(again, now_ms=NOW + 3)
        assert latest(committed_records(again)).items() >= before[0].items(), where  # type: ignore[index]
    assert went_on == 0 if code == errno.EIO else went_on > counted.seen // 4


def test_a_cleaning_that_finds_no_descriptor_takes_nothing_offline() -> None:
    counted = FailNth(0, 0)
    log = dirty_log()
    before = say(log)
    log.memory.fault = counted
    cleaning(log)
    refused = []
    for nth in range(1, counted.seen + 1):
        log = dirty_log()
        fault = FailNth(nth, errno.EMFILE)
        log.memory.fault = fault
        cleaner = cleaning(log)
        log.memory.fault = None
        where = f"operation {nth}: {fault.failed}"
        if (fault.failed or "").startswith(("rename", "delete")):
            continue  # these need no descriptor
        refused.append(fault.failed)
        assert log.log_dir.failure is None, where
        assert not cleaner.uncleanable, where
        assert say(log) == before, where
        clean(log, now_ms=NOW + 2)
        is_sound(log, before, where)
    assert sum((each or "").startswith("sync") for each in refused) > 5


def moments(log: MemoryLog) -> list[Moment]:
    """Before each sync, rename and deletion of a cleaning, and behind it."""
    found: list[Moment] = []

    def look(kind: str, name: str) -> None:
        if kind in ("write", "sync", "rename", "delete"):
            found.append(Moment(log.memory, log.recovery_point))

    log.memory.fault = look
    cleaning(log)
    log.memory.fault = None
    found.append(Moment(log.memory, log.recovery_point))
    return found


def opened(directory: MemoryDirectory, recovery_point: int) -> MemoryLog:
    log = MemoryLog.open(directory, TP, CONFIG, recovery_point=recovery_point, clean_shutdown=False, now_ms=NOW + 2)
    log.maybe_increment_high_watermark(log.log_end_offset)
    assert isinstance(log, MemoryLog)
    return log


@pytest.mark.parametrize("seed", range(10))
def test_whatever_a_power_loss_leaves_of_a_cleaning_says_the_same(seed: int) -> None:
    choose = random.Random(seed)
    log = dirty_log()
    before = say(log)
    all_moments = moments(log)
    assert len(all_moments) > 50
    for number, moment in enumerate(all_moments):
        where = f"moment {number} of {len(all_moments)}"
        again = opened(moment.after_power_loss(choose), moment.confirmed)
        is_sound(again, before, where)
        clean(again, now_ms=NOW + 2 * DAY)
        is_sound(again, before, where)


def test_a_kill_at_any_moment_leaves_what_was_written() -> None:
    """All that was written is there, whether or not it was synced."""
    log = dirty_log()
    before = say(log)
    for number, moment in enumerate(moments(log)):
        directory = MemoryDirectory()
        for name, (_, file) in sorted(moment.names.items()):
            if file is not None:
                directory.write_file(name, moment.contents[id(file)][1])
        directory.sync_all()
        again = opened(directory, moment.confirmed)
        is_sound(again, before, f"moment {number}")


class WatchedDirectory(DiskDirectory):
    """Copies itself before each operation that changes what lies in it."""

    __slots__ = ("copies",)

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.copies: list[Path] | None = None

    def look(self) -> None:
        if self.copies is not None:
            copy = Path(f"{self.path}-{len(self.copies)}") / "topic-0"
            shutil.copytree(self.path, copy)
            self.copies.append(copy)

    def rename(self, name: str, new_name: str) -> bool:
        self.look()
        return super().rename(name, new_name)

    def delete(self, name: str) -> bool:
        self.look()
        return super().delete(name)

    def sync(self) -> None:
        self.look()
        super().sync()

    def sync_file(self, name: str) -> None:
        self.look()
        super().sync_file(name)

    def append_file(self, name: str, content: bytes, position: int) -> None:
        self.look()
        super().append_file(name, content, position)

    def open_records(self, name: str, *, create: bool = False, preallocate: int = 0) -> Any:
        self.look()
        return super().open_records(name, create=create, preallocate=preallocate)

    def set_modified_ms(self, name: str, modified_ms: int) -> None:
        self.look()
        super().set_modified_ms(name, modified_ms)


def test_a_kill_at_any_moment_leaves_a_directory_that_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "topic-0").mkdir()
    directory = WatchedDirectory(str(tmp_path / "topic-0"))
    log = make_dirty(PartitionLog.open(directory, TP, CONFIG, now_ms=NOW))
    before = say(log)
    copies = directory.copies = []
    cleaning(log)
    directory.copies = None
    is_sound(log, before, "alive")
    crash(log)
    assert len(copies) > 50
    for number, copy in enumerate(copies):
        where = f"copy {number} of {len(copies)}"
        again = open_log(copy, CONFIG, recovery_point=log.recovery_point, clean_shutdown=False, now_ms=NOW + 2)
        again.maybe_increment_high_watermark(again.log_end_offset)
        is_sound(again, before, where)
        clean(again, now_ms=NOW + 2 * DAY)
        is_sound(again, before, where)
        crash(again)


def test_a_swap_without_its_log_is_no_swap() -> None:
    """A rename may be lost while another of the same cleaning was kept."""
    log = dirty_log()
    before = say(log)
    log.memory.write_file("00000000000000000000.index.swap", b"x" * 32)
    log.memory.write_file("00000000000000000000.timeindex.swap", b"x" * 32)
    log.memory.sync_all()
    again = log.crash(now_ms=NOW)
    again.maybe_increment_high_watermark(again.log_end_offset)
    is_sound(again, before, "")


def test_full_disk_gives_the_cleaning_up_until_there_is_room() -> None:
    log = dirty_log()
    before = say(log)
    log.memory.room = sum(len(file.data) for file in log.memory.files.values()) + len(batch())
    cleaner = LogCleaner({TP: log}, CleanerConfig(backoff_ms=1000))
    assert cleaner.run_due(NOW) == 1
    assert cleaner.stats is None
    assert log.log_dir.failure is None
    is_sound(log, before, "")
    log.memory.room = None
    assert cleaner.run_due(NOW + 999) == 0
    assert cleaner.run_due(NOW + 1000) == 1
    assert cleaner.stats is not None
    is_sound(log, before, "")
