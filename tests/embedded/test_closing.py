"""What is closed while others are at it: they are told so and nothing else, and what they were told is kept."""

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
