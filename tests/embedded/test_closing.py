"""What is closed while others are at it: they are told so and nothing else, and what they were told is kept."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import kstore


def open_log(path: Path) -> tuple[kstore.Log, Callable[[], None]]:
    log = kstore.Log.open(path, segment_bytes=10_000)
    return log, log.close


def open_store(path: Path) -> tuple[kstore.Log, Callable[[], None]]:
    store = kstore.LogStore.open(path)
    store.create("log", exist_ok=True, segment_bytes=10_000)
    return store.log("log"), store.close


def open_broker(path: Path) -> tuple[kstore.Log, Callable[[], None]]:
    broker = kstore.Broker(path)
    broker.create("log", exist_ok=True, segment_bytes=10_000)
    return broker.log("log"), broker.close


@pytest.mark.parametrize("opened", [open_log, open_store, open_broker])
def test_threads_at_work_are_told_that_it_is_closed(
    opened: Callable[[Path], tuple[kstore.Log, Callable[[], None]]], tmp_path: Path
) -> None:
    log, close = opened(tmp_path)
    acknowledged: list[int] = []
    told: list[BaseException] = []
    begun = threading.Barrier(6, timeout=30)

    def until_closed(work: Callable[[], object]) -> None:
        begun.wait()
        try:
            while True:
                work()
        except BaseException as error:
            told.append(error)

    work = [
        lambda: acknowledged.append(log.append(b"value")),
        lambda: acknowledged.append(log.append(b"value")),
        log.flush,
        lambda: sum(1 for _ in log.read()),
        lambda: list(log.follow(timeout_s=0.001)),
    ]
    threads = [threading.Thread(target=until_closed, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    begun.wait()
    while len(acknowledged) < 500:
        assert len(told) == 0, told
    close()
    for thread in threads:
        thread.join()
    assert [type(error) for error in told] == [kstore.ClosedError] * 5, told

    log, close = opened(tmp_path)
    assert log.end_offset == max(acknowledged) + 1 == len(acknowledged)
    close()


def poison(batch: kstore.Batch) -> None:
    """Lets the writing of a batch that holds a record fail."""

    def fail(_: object) -> int:
        raise kstore.KafkaStorageError("the disk is full")

    batch._write = fail
    batch.append(b"lost")


@pytest.mark.parametrize("opened", [open_log, open_store, open_broker])
def test_one_batch_that_fails_keeps_no_other_from_being_written(
    opened: Callable[[Path], tuple[kstore.Log, Callable[[], None]]], tmp_path: Path
) -> None:
    """Closing stopped at the first batch that failed: what the others held was gone, and their threads were left."""
    log, close = opened(tmp_path)
    for number in range(3):
        batch = log.batch(linger_ms=3_600_000)
        if number == 1:
            kept = batch.append(b"kept")
        else:
            poison(batch)
    with pytest.raises(kstore.KstoreError, match="the disk is full") as told:
        close()
    assert "the disk is full" in "".join(told.value.__notes__)
    assert kept.result() == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "kstore-batch"]
    close()
    with pytest.raises(kstore.ClosedError):
        log.append(b"late")
    log, close = opened(tmp_path)
    assert [record.value for record in log.read()] == [b"kept"]
    close()


@pytest.mark.parametrize("opened", [kstore.LogStore.open, kstore.Broker])
def test_one_log_that_fails_keeps_no_other_from_being_closed(
    opened: Callable[[Path], kstore.LogStore | kstore.Broker], tmp_path: Path
) -> None:
    """Closing stopped at the first log that failed: the others were lost with what their batches held."""
    owner = opened(tmp_path)
    owner.create("orders", partitions=2)
    logs = [owner.log("orders", partition) for partition in range(2)]
    poison(logs[0].batch(linger_ms=3_600_000))
    kept = logs[1].batch(linger_ms=3_600_000).append(b"kept")
    with pytest.raises(kstore.KstoreError, match="the disk is full"):
        owner.close()
    assert kept.result() == 0
    assert [log.is_closed for log in logs] == [True, True]
    with kstore.LogStore.open(tmp_path) as again:
        assert [record.value for record in again.log("orders", 1).read()] == [b"kept"]


@pytest.mark.parametrize("opened", [kstore.LogStore.open, kstore.Broker])
def test_who_follows_a_log_is_told_that_it_is_closed_and_its_namesake_goes_on(
    opened: Callable[[None], kstore.LogStore | kstore.Broker],
) -> None:
    """Closing a log of a store or a broker woke nobody: its followers waited on."""
    with opened(None) as owner:
        owner.create("orders")
        log, other = owner.log("orders"), owner.log("orders")
        news = other.follow(timeout_s=30)
        found: list[bytes | None] = []
        following = threading.Thread(target=lambda: found.append(next(news).value))
        following.start()
        threading.Timer(0.05, log.close).start()
        with pytest.raises(kstore.ClosedError, match="the log orders-0 is closed"):
            next(log.follow(timeout_s=20))
        other.append(b"news")
        following.join()
        assert found == [b"news"]


@pytest.mark.parametrize("opened", [kstore.LogStore.open, kstore.Broker])
def test_a_task_that_follows_a_log_is_told_that_it_is_closed(
    opened: Callable[[None], kstore.LogStore | kstore.Broker],
) -> None:
    async def main() -> None:
        with opened(None) as owner:
            owner.create("orders")
            log = kstore.AsyncLog(owner.log("orders"))
            coming = asyncio.ensure_future(anext(log.follow()))
            await asyncio.sleep(0.05)
            await log.close()
            with pytest.raises(kstore.ClosedError, match="the log orders-0 is closed"):
                await asyncio.wait_for(coming, 20)

    asyncio.run(main())
