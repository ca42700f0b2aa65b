"""How fast is the library: appends by one thread and by four, in batches, with an fsync each, reads, a broker's start.

Everything is as a user calls it; "bare" rows are what the same bytes cost without kstore.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kstore

APPENDS = 5000
VALUE = os.urandom(100)
READ = 200_000

COMPRESSION = pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])


@pytest.fixture
def log(tmp_path: Path) -> Iterator[kstore.Log]:
    with kstore.Log.open(tmp_path / "log", background=False) as log:
        log.append(b"")
        yield log


# Append


@pytest.mark.benchmark(group="library: append, records of 100 B")
def test_append(measure: Callable[..., Any], log: kstore.Log) -> None:
    def run() -> None:
        log.truncate_to(1)
        for _ in range(APPENDS):
            log.append(VALUE)

    measure(run, "records", APPENDS)


@pytest.mark.benchmark(group="library: append, records of 100 B")
def test_append_with_key_and_headers(measure: Callable[..., Any], log: kstore.Log) -> None:
    headers = [("trace", b"0123456789abcdef")]

    def run() -> None:
        log.truncate_to(1)
        for _ in range(APPENDS):
            log.append(VALUE, key=b"customer-17", headers=headers)

    measure(run, "records", APPENDS)


@pytest.mark.benchmark(group="library: append, records of 100 B")
def test_append_by_four_threads(measure: Callable[..., Any], log: kstore.Log) -> None:
    def work() -> None:
        for _ in range(APPENDS):
            log.append(VALUE)

    def run() -> None:
        log.truncate_to(1)
        in_threads(work)

    measure(run, "records", 4 * APPENDS, rounds=5)


@pytest.mark.benchmark(group="library: append, records of 100 B")
def test_extend_by_100(measure: Callable[..., Any], log: kstore.Log) -> None:
    values = [VALUE] * 100

    def run() -> None:
        log.truncate_to(1)
        for _ in range(APPENDS // 100):
            log.extend(values)

    measure(run, "records", APPENDS)


@pytest.mark.benchmark(group="library: append, records of 100 B")
@COMPRESSION
def test_batch(measure: Callable[..., Any], tmp_path: Path, compression: str) -> None:
    with kstore.Log.open(tmp_path / "log", compression=compression, background=False) as log:
        log.append(b"")

        def run() -> None:
            log.truncate_to(1)
            with log.batch() as batch:
                for _ in range(4 * APPENDS):
                    batch.append(VALUE)

        measure(run, "records", 4 * APPENDS, rounds=10)


@pytest.mark.benchmark(group="library: append, records of 100 B")
def test_batch_by_four_threads(measure: Callable[..., Any], log: kstore.Log) -> None:
    def run() -> None:
        log.truncate_to(1)
        with log.batch() as batch:

            def work() -> None:
                for _ in range(APPENDS):
                    batch.append(VALUE)

            in_threads(work)

    measure(run, "records", 4 * APPENDS, rounds=5)


@pytest.mark.benchmark(group="library: append, records of 100 B")
def test_bare_write(measure: Callable[..., Any], tmp_path: Path) -> None:
    """What the system takes for as many bytes, without anything around them."""
    descriptor = os.open(tmp_path / "bare", os.O_RDWR | os.O_CREAT)
    data = bytes(170)

    def run() -> None:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        for _ in range(APPENDS):
            os.write(descriptor, data)

    measure(run, "writes", APPENDS)
    os.close(descriptor)


# Flush


@pytest.mark.benchmark(group="library: append and flush")
@pytest.mark.parametrize("threads", [1, 8])
def test_durable_append(measure: Callable[..., Any], log: kstore.Log, threads: int) -> None:
    def work() -> None:
        for _ in range(50):
            log.append(VALUE)
            log.flush()

    measure(lambda: in_threads(work, threads), "durable records", 50 * threads, rounds=5)


# Read


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, kstore.Log]]:
    logs = {}
    for compression in ("none", "lz4", "zstd"):
        log = logs[compression] = kstore.Log.open(
            tmp_path_factory.mktemp("read") / compression, compression=compression, background=False
        )
        with log.batch() as batch:
            for _ in range(READ):
                batch.append(VALUE)
    yield logs
    for log in logs.values():
        log.close()


@pytest.mark.benchmark(group="library: read records of 100 B")
@COMPRESSION
def test_read(measure: Callable[..., Any], written: dict[str, kstore.Log], compression: str) -> None:
    def run() -> None:
        assert sum(1 for _ in written[compression].read()) == READ

    measure(run, "records", READ, rounds=5)


@pytest.mark.benchmark(group="library: read records of 100 B")
def test_read_of_somebody_elses(measure: Callable[..., Any], written: dict[str, kstore.Log]) -> None:
    reader = kstore.Log.open(written["none"].path, readonly=True)

    def run() -> None:
        assert sum(1 for _ in reader.read()) == READ

    measure(run, "records", READ, rounds=5)


@pytest.mark.benchmark(group="library: read records of 100 B")
def test_read_batches(measure: Callable[..., Any], written: dict[str, kstore.Log]) -> None:
    def run() -> None:
        assert sum(batch.count for batch in written["none"].read_batches()) == READ

    measure(run, "records", READ, rounds=5)


@pytest.mark.benchmark(group="library: read records of 100 B")
def test_read_one_anywhere(measure: Callable[..., Any], written: dict[str, kstore.Log]) -> None:
    log = written["none"]
    offsets = range(7, READ, READ // 200)

    def run() -> None:
        for offset in offsets:
            assert next(log.read(offset)).offset == offset

    measure(run, "look-ups", len(offsets), rounds=5)


# Broker


@pytest.mark.benchmark(group="library: a broker in this process")
def test_start_and_stop(measure: Callable[..., Any]) -> None:
    measure(lambda: kstore.Broker().close(), "brokers", 1)


@pytest.mark.benchmark(group="library: a broker in this process")
def test_append_to_a_broker(measure: Callable[..., Any]) -> None:
    with kstore.Broker() as broker:
        log = broker.log("orders")

        def run() -> None:
            for _ in range(1000):
                log.append(VALUE)

        measure(run, "records", 1000)


def in_threads(work: Callable[[], None], count: int = 4) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
