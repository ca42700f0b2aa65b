"""What is closed while others are at it: they are told so and nothing else, and what they were told is kept."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import kstore
from kstore.cluster.metadata_log import MetadataWrite


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


@pytest.mark.parametrize("what", ["flush", "create", "delete", "tend"])
def test_calls_of_a_broker_that_is_closed_end_or_are_told(what: str) -> None:
    """They raised AssertionError, RuntimeError or ValueError: what they worked on was closed under them."""
    for _ in range(5):
        told = close_under_calls(what)
        assert [type(error) for error in told] == [kstore.ClosedError] * 3, told


def close_under_calls(what: str) -> list[BaseException]:
    """What three threads are told that use a broker until it is closed."""
    broker = kstore.Broker()
    log = broker.log("orders")
    told: list[BaseException] = []
    begun = threading.Barrier(4, timeout=30)

    def use(name: str) -> None:
        if what == "flush":
            log.append(b"value")
            log.flush()
        elif what == "tend":
            broker.tend()
        else:
            broker.create(name)
            if what == "delete":
                broker.delete(name)

    def until_closed(number: int) -> None:
        begun.wait()
        try:
            for count in range(1_000_000):
                use(f"topic-{number}-{count}")
        except BaseException as error:
            told.append(error)

    threads = [threading.Thread(target=until_closed, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    begun.wait()
    threading.Event().wait(0.03)
    broker.close()
    for thread in threads:
        thread.join(30)
    return told


def test_calls_that_began_before_the_broker_was_closed_end_as_they_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metadata log was closed under a change that was being written, and under those that waited for it."""
    entered, release = threading.Event(), threading.Event()
    run = MetadataWrite.run

    def slow(write: MetadataWrite) -> None:
        entered.set()
        assert release.wait(30)
        run(write)

    told: list[object] = []
    broker = kstore.Broker(tmp_path)

    def create(topic: str) -> None:
        try:
            broker.create(topic)
            told.append(None)
        except BaseException as error:
            told.append(error)

    monkeypatch.setattr(MetadataWrite, "run", slow)
    threads = [threading.Thread(target=create, args=(topic,)) for topic in ("first", "second")]
    for thread in threads:
        thread.start()
    assert entered.wait(30)
    threading.Event().wait(0.05)  # so that the second waits for the first
    threading.Timer(0.1, release.set).start()
    broker.close()
    for thread in threads:
        thread.join()
    assert told == [None, None]
    with kstore.LogStore.open(tmp_path) as store:
        assert list(store) == ["first", "second"]


def test_a_call_that_does_not_end_is_told_that_the_broker_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kstore.embedded.broker.CALLS_END_S", 0.05)
    broker = kstore.Broker()
    told: list[BaseException] = []

    def call() -> None:
        try:
            broker._host.run(asyncio.sleep(3600))
        except BaseException as error:
            told.append(error)

    calling = threading.Thread(target=call)
    calling.start()
    while not broker._host._calls:
        calling.join(0.001)
    broker.close()
    calling.join(30)
    assert [type(error) for error in told] == [kstore.ClosedError]
