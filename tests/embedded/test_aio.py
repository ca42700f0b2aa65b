"""Logs in an event loop: what waits does not hold the loop up, and tasks share what threads share."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

import kstore
from kstore._native.batch import iter_batches
from kstore.log.flush import FlushJob

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    runner = asyncio.run if request.param == "asyncio" else uvloop.run
    return lambda coroutine: runner(asyncio.wait_for(coroutine, 30))  # type: ignore[operator]


async def values(log: kstore.AsyncReadonlyLog, *where: int) -> list[bytes | None]:
    return [record.value async for record in log.read(*where)]


def test_a_log_is_written_and_read_with_await(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with await kstore.AsyncLog.open(tmp_path, compression="lz4") as log:
            assert await log.append(b"0", key=b"k", headers={"h": b""}) == 0
            assert await log.extend([b"1", b"2"]) == range(1, 3)
            await log.flush()
            assert log.flushed_offset == 3
            assert await values(log) == [b"0", b"1", b"2"]
            assert await values(log, 1, 2) == [b"1"]
            assert [batch.count async for batch in log.read_batches()] == [1, 2]
            assert await log.offset_for_timestamp(0) == 0
            with pytest.raises(kstore.OffsetConflictError):
                await log.append(b"", expected_offset=1)
        with pytest.raises(kstore.ClosedError):
            await log.append(b"")

    run(main())


def test_each_append_is_durable_where_the_log_says_so(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with await kstore.AsyncLog.open(tmp_path, flush_messages=1) as log:
            await log.append(b"value")
            assert log.flushed_offset == 1

    run(main())


def test_tasks_that_flush_together_share_an_fsync(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    runs = []
    real = FlushJob.run

    def slow(job: FlushJob) -> None:
        runs.append(job.offset)
        assert release.wait(30)
        real(job)

    async def main() -> None:
        async with await kstore.AsyncLog.open(tmp_path, background=False) as log:
            monkeypatch.setattr(FlushJob, "run", slow)
            await log.append(b"0")
            flushes = [asyncio.create_task(log.flush())]
            await asyncio.sleep(0)
            for _ in range(5):
                await log.append(b"more")
                flushes.append(asyncio.create_task(log.flush()))
            while not runs:
                await asyncio.sleep(0)
            flushes[0].cancel()
            assert await values(log, 5) == [b"more"]  # the loop goes on
            release.set()
            await asyncio.gather(*flushes[1:])
            assert log.flushed_offset == 6
            assert len(runs) <= 2
            monkeypatch.undo()

    run(main())


def test_follow_hears_of_appends_of_tasks_and_threads(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with kstore.Log.open(tmp_path) as log:
            following = kstore.AsyncLog(log).follow()
            first = asyncio.ensure_future(anext(following))
            await asyncio.sleep(0)
            await kstore.AsyncLog(log).append(b"task")
            assert (await first).value == b"task"
            second = asyncio.ensure_future(anext(following))
            threading.Thread(target=log.append, args=(b"thread",)).start()
            assert (await second).value == b"thread"
            third = asyncio.ensure_future(anext(following))
            await asyncio.sleep(0)
            log.close()
            with pytest.raises(kstore.ClosedError):
                await third

    run(main())


def test_follow_can_be_cancelled_and_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with kstore.Log.open(tmp_path) as log:
            waiting = asyncio.create_task(kstore.AsyncLog(log).wait(0))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not any(log._host._watchers.values())  # type: ignore[attr-defined]

    run(main())


def test_somebody_elses_log_is_followed(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with kstore.Log.open(tmp_path) as log:
            log.append(b"0")
            async with kstore.AsyncReadonlyLog(kstore.Log.open(tmp_path, readonly=True)) as reader:
                assert await values(reader) == [b"0"]
                following = reader.follow(0)
                assert (await anext(following)).value == b"0"
                coming = asyncio.ensure_future(anext(following))
                await asyncio.sleep(0)
                log.append(b"1")
                assert (await coming).value == b"1"

    run(main())


def test_a_broker_is_followed_and_appended_to(run: Run) -> None:
    async def main() -> None:
        with kstore.Broker() as broker:
            log = kstore.AsyncLog(broker.log("orders"))
            following = log.follow()
            coming = asyncio.ensure_future(anext(following))
            await asyncio.sleep(0)
            assert await log.append(b"value") == 0
            assert (await coming).value == b"value"
            await log.flush()
            waiting = asyncio.ensure_future(anext(following))
            await asyncio.sleep(0)
            broker.delete("orders")
            with pytest.raises(kstore.UnknownTopicOrPartitionError):
                await waiting

    run(main())


def test_records_of_a_batch_can_be_awaited(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with await kstore.AsyncLog.open(tmp_path) as log:
            async with log.batch(linger_ms=1) as batch:
                pending = [batch.append(b"%d" % i) for i in range(100)]
                assert await asyncio.gather(*(wait(each) for each in pending)) == list(range(100))
                last = batch.append(b"last")
                await batch.flush()
                assert await last == 100
            assert len(await values(log)) == 101

    async def wait(pending: kstore.Pending) -> int:
        return await pending

    run(main())


def test_slices_are_sent_while_the_loop_goes_on(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            async with await kstore.AsyncLog.open(tmp_path) as log:
                for _ in range(4):
                    await log.extend(bytes(100_000) for _ in range(10))
                sending = asyncio.create_task(log.send_slice(ours, 0, 1 << 30))
                received = b""
                size = 0
                async for batch in log.read_batches():
                    size += len(batch)
                while len(received) < size:
                    received += await loop.sock_recv(theirs, 1 << 20)
                assert await sending == (size, 40)
                assert sum(batch.count for batch in iter_batches(received)) == 40
                ours.setblocking(True)
                with pytest.raises(ValueError, match="must not block"):
                    await log.send_slice(ours, 0, 1)

    run(main())
