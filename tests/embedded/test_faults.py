"""Disks that are full, broken or slow: what a program is told, what is kept, and who waits."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kstore
from kstore.errors import NotCachedError
from kstore.log.flush import FlushJob
from kstore.log.partition_log import PartitionLog
from kstore.log.segment import Segment


@pytest.fixture
def log(tmp_path: Path) -> Iterator[kstore.Log]:
    with kstore.Log.open(tmp_path / "events", background=False) as log:
        log.append(b"0")
        log.flush()
        yield log


def fail(job: FlushJob) -> None:
    """As FlushJob.run when the disk says that the pages are lost."""
    job.error = OSError(errno.EIO, "lost")
    job.log_dir.fail("flushing", job.error)


def test_a_full_disk_refuses_the_append_and_nothing_else(log: kstore.Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Segment, "append", full)
    with pytest.raises(kstore.KafkaStorageError, match="no space left"):
        log.append(b"1")
    assert [record.value for record in log.read()] == [b"0"]
    monkeypatch.undo()
    assert log.append(b"1") == 1


def test_a_failed_flush_is_told_to_all_who_wait_and_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = kstore.Log.open(tmp_path, background=False)
    log.append(b"0")
    log.flush()
    log.append(b"1")
    entered, release = threading.Event(), threading.Event()

    def run(job: FlushJob) -> None:
        entered.set()
        assert release.wait(30)
        fail(job)

    told: list[BaseException] = []

    def flush() -> None:
        try:
            log.flush()
        except kstore.KafkaStorageError as error:
            told.append(error)

    monkeypatch.setattr(FlushJob, "run", run)
    threads = [threading.Thread(target=flush) for _ in range(3)]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert len(told) == 3
    for use in (lambda: log.append(b"2"), log.flush, lambda: list(log.read())):
        with pytest.raises(kstore.KafkaStorageError, match="offline"):
            use()
    with pytest.raises(kstore.KafkaStorageError, match=r"log-0 could not be made durable: flushing: .*lost"):
        log.close()
    with kstore.Log.open(tmp_path) as again:
        assert [record.value for record in again.read()] == [b"0", b"1"]


def test_a_store_that_cannot_be_closed_well_says_which_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = kstore.LogStore.open(tmp_path, background=False)
    store.create("orders", partitions=2)
    store.log("orders", 1).append(b"value")
    monkeypatch.setattr(FlushJob, "run", fail)
    with pytest.raises(kstore.KafkaStorageError, match="orders-1 could not be made durable"):
        store.close()
    monkeypatch.undo()
    with kstore.LogStore.open(tmp_path) as again:
        assert [record.value for record in again.log("orders", 1).read()] == [b"value"]


def test_an_append_needs_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It raised that no thread could be started, and the record was in the log all the same."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with kstore.Log.open(tmp_path) as log:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert [log.append(b"%d" % i) for i in range(3)] == [0, 1, 2]
        assert caplog.text.count("can't start new thread") == 1
        assert log._host._tender is None  # type: ignore[attr-defined]
        monkeypatch.undo()
        assert log.append(b"3") == 3
        assert log._host._tender is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize("use", ["read", "offset_for_timestamp"])
def test_who_waits_for_the_disk_keeps_nobody_else_waiting(
    log: kstore.Log, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    real = getattr(PartitionLog, use)
    looked_up: list[int] = []

    def look_up() -> None:
        looked_up.append(log.append(b"meanwhile"))

    def cold(partition_log: PartitionLog, *arguments: Any, wait: bool = True, **options: Any) -> Any:
        if not wait and not looked_up:
            error = NotCachedError("cold")
            error.look_up = look_up
            raise error
        return real(partition_log, *arguments, wait=wait, **options)

    monkeypatch.setattr(PartitionLog, use, cold)
    if use == "read":
        assert next(log.read()).value == b"0"
    else:
        assert log.offset_for_timestamp(0) == 0
    assert looked_up == [1]


def test_pages_that_never_stay_are_waited_for_in_the_end(log: kstore.Log, monkeypatch: pytest.MonkeyPatch) -> None:
    real = PartitionLog.read
    attempts: list[bool] = []

    def cold(partition_log: PartitionLog, *arguments: Any, wait: bool = True, **options: Any) -> Any:
        attempts.append(wait)
        if not wait:
            raise NotCachedError("cold")
        return real(partition_log, *arguments, wait=wait, **options)

    monkeypatch.setattr(PartitionLog, "read", cold)
    assert next(log.read()).value == b"0"
    assert attempts == [False, False, True]


def test_a_cut_that_cannot_look_up_its_offset_is_refused_as_the_disks_fault(
    log: kstore.Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program saw the bare OSError."""

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(Segment, "translate_offset", broken)
    with pytest.raises(kstore.KafkaStorageError, match=r"looking up offset 0 of log-0: .*broken"):
        log.truncate_to(0)
