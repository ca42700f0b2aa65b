"""Many small appends become few large batches; each gets its offset, or hears why not."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import kstore


@pytest.fixture
def log(tmp_path: Path) -> Iterator[kstore.Log]:
    with kstore.Log.open(tmp_path / "events", compression="lz4", background=False) as log:
        yield log


def test_many_appends_are_few_batches(log: kstore.Log) -> None:
    with log.batch(linger_ms=60_000) as batch:
        pending = [batch.append(b"%d" % i, key=b"k", headers={"h": b""}) for i in range(10_000)]
    assert [each.result() for each in pending] == list(range(10_000))
    assert [record.value for record in log.read()] == [b"%d" % i for i in range(10_000)]
    assert 1 < len(list(log.read_batches())) < 10


def test_a_record_waits_no_longer_than_linger(log: kstore.Log) -> None:
    with log.batch(linger_ms=1) as batch:
        assert batch.append(b"alone").result(30) == 0


def test_flush_does_not_wait_for_linger(log: kstore.Log) -> None:
    with log.batch(linger_ms=3_600_000) as batch:
        pending = batch.append(b"0")
        assert not pending.done()
        batch.flush()
        assert pending.done()
        assert log.end_offset == 1
        batch.flush()


def test_a_result_that_does_not_come_is_a_timeout(log: kstore.Log) -> None:
    with log.batch(linger_ms=3_600_000) as batch:
        pending = batch.append(b"0")
        with pytest.raises(TimeoutError):
            pending.result(0.01)
    assert pending.result() == 0


def test_the_order_of_each_thread_is_kept(log: kstore.Log) -> None:
    def work(number: int) -> None:
        for i in range(2000):
            batch.append(b"%d" % i, key=b"%d" % number)

    with log.batch(batch_bytes=1000, buffer_bytes=4000) as batch:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(4):
        own = [record.value for record in log.read() if record.key == b"%d" % number]
        assert own == [b"%d" % i for i in range(2000)]


def test_large_records_do_not_make_a_batch_of_others_too_large(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path, background=False, max_message_bytes=10_000) as log:
        with log.batch(linger_ms=60_000) as batch:
            for size in (100, 9_800, 100, 5_000, 5_000, 5_000):
                batch.append(bytes(size))
            with pytest.raises(kstore.MessageTooLargeError, match="batch of 10001 bytes, where 10000 are possible"):
                batch.append(bytes(9_929))
            batch.append(bytes(9_928))
        assert [len(record.value or b"") for record in log.read()] == [100, 9_800, 100, 5_000, 5_000, 5_000, 9_928]


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("size", [10, 100, 3_000, 9_000])
def test_no_batch_is_larger_than_its_log_takes(tmp_path: Path, compression: str, size: int) -> None:
    """Headers and what each record costs beside its key and value were not counted, nor what a codec adds to bytes that
    it cannot compress: the batch was refused with all that was in it."""
    count = 50_000 // size
    with kstore.Log.open(tmp_path, background=False, max_message_bytes=10_000, compression=compression) as log:
        with log.batch(linger_ms=60_000, batch_bytes=10_000) as batch:
            for i in range(count):
                name, half = "ü" * (size // 4), os.urandom(size // 2)
                batch.append(half, headers={name: b""} if i % 2 else [("h", os.urandom(size // 2)), ("null", None)])
        assert log.end_offset == count
        assert max(len(each) for each in log.read_batches()) > min(size, 5_000)


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_record_with_headers_that_are_too_large_is_refused_alone(tmp_path: Path, compression: str) -> None:
    """It was taken, and what stood beside it in the batch was lost with it."""
    with kstore.Log.open(tmp_path, background=False, max_message_bytes=10_000, compression=compression) as log:
        with log.batch(linger_ms=60_000) as batch:
            pending = [batch.append(b"before")]
            with pytest.raises(kstore.MessageTooLargeError):
                batch.append(b"value", headers=[("h", os.urandom(10_000))])
            with pytest.raises(kstore.MessageTooLargeError):
                batch.append(b"value", headers={"h" * 4_000_000: None})
            pending.append(batch.append(b"after"))
        assert [each.result() for each in pending] == [0, 1]


def test_what_compression_makes_small_enough_is_taken(tmp_path: Path) -> None:
    with (
        kstore.Log.open(tmp_path, background=False, max_message_bytes=10_000, compression="zstd") as log,
        log.batch() as batch,
    ):
        assert batch.append(bytes(1_000_000)).result(30) == 0


def test_a_refused_record_leaves_the_others_alone(log: kstore.Log) -> None:
    with log.batch() as batch:
        with pytest.raises(TypeError):
            batch.append("text")  # type: ignore[arg-type]
        batch.flush()
        assert batch.append(b"good").result(30) == 0


def test_a_batch_that_cannot_be_written_tells_everybody(log: kstore.Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise kstore.KafkaStorageError("the disk is full")

    monkeypatch.setattr(log._host, "append", fail)
    batch = log.batch(linger_ms=60_000)
    pending = batch.append(b"0")
    with pytest.raises(kstore.KstoreError, match="could not be written: the disk is full"):
        batch.flush()
    monkeypatch.undo()
    with pytest.raises(kstore.KafkaStorageError, match="the disk is full"):
        pending.result()
    with pytest.raises(kstore.KstoreError, match="the disk is full"):
        batch.append(b"out of order")
    with pytest.raises(kstore.KstoreError, match="the disk is full"):
        batch.close()
    assert log.end_offset == 0


def test_a_loop_that_is_closed_early_does_not_end_the_writer(log: kstore.Log) -> None:
    """Telling a closed loop raised in the writer, which ended: later results never came, and close hung."""
    batch = log.batch(linger_ms=200)

    async def give_up() -> None:
        waiting = asyncio.ensure_future(wait(batch.append(b"0")))
        await asyncio.wait([waiting], timeout=0.01)

    async def leave_behind() -> None:
        waiting = wait(batch.append(b"1"))
        waiting.send(None)
        left.append(waiting)  # nobody goes on with it, nor ends it

    async def wait(pending: kstore.Pending) -> int:
        return await pending

    left: list[Coroutine[Any, Any, int]] = []
    asyncio.run(give_up())
    asyncio.run(leave_behind())
    assert batch.append(b"2").result(30) == 2
    assert batch.append(b"3").result(30) == 3
    left[0].close()
    batch.close()


def test_who_fails_when_told_keeps_nobody_else_waiting(log: kstore.Log, caplog: pytest.LogCaptureFixture) -> None:
    with log.batch(linger_ms=60_000) as batch:
        pending = batch.append(b"0")
        told: list[int] = []
        batch._call_when_done(pending._filling, lambda: 1 // 0)
        batch._call_when_done(pending._filling, lambda: told.append(1))
        batch.flush()
        assert told == [1]
        assert batch.append(b"1")._filling is not pending._filling
    assert "ZeroDivisionError" in caplog.text


def test_who_no_longer_awaits_a_record_is_forgotten(log: kstore.Log) -> None:
    """Whoever had stopped waiting was kept until the batch was written."""

    async def main() -> None:
        with log.batch(linger_ms=60_000) as batch:
            pending = batch.append(b"0")
            for _ in range(3):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(wait(pending), 0.001)
            assert not pending._filling.callbacks

    async def wait(pending: kstore.Pending) -> int:
        return await pending

    asyncio.run(main())


def test_a_record_that_no_thread_would_write_is_not_taken(log: kstore.Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch held a writer that had never started, and waited for it with all that was appended later."""
    with log.batch(linger_ms=1) as batch:
        monkeypatch.setattr(threading.Thread, "start", refuse_threads)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                batch.append(b"refused")
        batch.flush()
        monkeypatch.undo()
        assert batch.append(b"taken").result(30) == 0
    assert log.end_offset == 1


def refuse_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_closing_the_log_writes_what_its_batches_hold(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path) as log:
        batch = log.batch(linger_ms=60_000)
        batch.append(b"value")
    with kstore.Log.open(tmp_path) as log:
        assert [record.value for record in log.read()] == [b"value"]
    with pytest.raises(kstore.ClosedError, match="is closed"):
        batch.append(b"too late")


def test_a_body_that_fails_keeps_what_it_appended(log: kstore.Log) -> None:
    def fail() -> None:
        with log.batch(linger_ms=60_000) as batch:
            batch.append(b"before")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert log.end_offset == 1


def test_an_unused_batch_starts_no_thread(log: kstore.Log) -> None:
    before = threading.active_count()
    with log.batch():
        assert threading.active_count() == before
