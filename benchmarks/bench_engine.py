"""How fast is the engine below the log: build, check, append, read, search, each codec, scan.

Every row says in `unit` how much one call does, and in `per_second` how much that makes in a second at the best time:
the noise of a shared machine only ever adds. `bare write()` is what an append is to be measured against.
"""

import os
import random
import socket
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kstore._native.batch import COMPRESSION_NAMES, RecordBatch
from kstore._native.builder import BatchBuilder
from kstore._native.index import OffsetIndex, TimeIndex
from kstore._native.records import FileRecords

NO_LIMIT = 1 << 30
VALUE = random.Random(1).randbytes(92)
RECORDS = 150  # of 100 B make a batch of 16 KiB
APPENDS = 2000
INDEX_BYTES = 10 << 20

CODECS = pytest.mark.parametrize("codec", range(5), ids=COMPRESSION_NAMES)


def batch_of(count: int, value: bytes = VALUE, **options: Any) -> bytearray:
    builder = BatchBuilder(**options)
    for i in range(count):
        builder.append(1_700_000_000_000 + i, b"k", value)
    return builder.build()


def json_like(seed: int) -> bytes:
    """100 B that compress as records do, not as zeros do."""
    numbers = random.Random(seed)
    return b'{"user":%07d,"action":"%s","amount":%05d.%02d,"currency":"EUR","session":"%08x"}' % (
        numbers.randrange(10**7),
        numbers.choice([b"view", b"click", b"basket", b"order"]),
        numbers.randrange(10**5),
        numbers.randrange(100),
        numbers.getrandbits(32),
    )


# Building


@pytest.mark.benchmark(group="engine: records of 100 B into batches of 16 KiB")
def test_build_by_append(measure: Callable[..., Any]) -> None:
    measure(lambda: batch_of(RECORDS), "records", RECORDS, rounds=200)


@pytest.mark.benchmark(group="engine: records of 100 B into batches of 16 KiB")
def test_build_by_extend(measure: Callable[..., Any]) -> None:
    records = [(1_700_000_000_000 + i, b"k", VALUE) for i in range(RECORDS)]

    def build() -> None:
        builder = BatchBuilder()
        builder.extend(records)
        builder.build()

    measure(build, "records", RECORDS, rounds=200)


@pytest.mark.benchmark(group="engine: records of 100 B into batches of 16 KiB")
def test_build_and_append_to_a_file(measure: Callable[..., Any], tmp_path: Path) -> None:
    log = FileRecords(tmp_path / "built.log", writable=True, create=True)

    def build() -> None:
        log.truncate_to(0)
        for _ in range(50):
            log.append(batch_of(RECORDS))

    measure(build, "records", 50 * RECORDS)


# Checking and reading


@pytest.mark.benchmark(group="engine: records of 100 B in batches of 16 KiB")
def test_walk_as_batches(measure: Callable[..., Any]) -> None:
    batch = RecordBatch(batch_of(RECORDS))
    measure(lambda: batch.check_records(NO_LIMIT), "records", RECORDS, rounds=500)


@pytest.mark.benchmark(group="engine: records of 100 B in batches of 16 KiB")
def test_read_as_objects(measure: Callable[..., Any]) -> None:
    batch = RecordBatch(batch_of(RECORDS))

    def read() -> None:
        for _ in batch.records():
            pass

    measure(read, "records", RECORDS, rounds=500)


@pytest.mark.benchmark(group="engine: what a produced batch goes through, without the write")
@pytest.mark.parametrize("records", [1, RECORDS])
def test_view_checksum_check_and_stamp(measure: Callable[..., Any], records: int) -> None:
    data = batch_of(records)

    def accept() -> None:
        for _ in range(100):
            batch = RecordBatch(data, 0, len(data))
            batch.ensure_valid()
            batch.check_records(NO_LIMIT)
            batch.stamp(7, 1)

    measure(accept, "batches", 100, rounds=100)


@pytest.mark.benchmark(group="engine: codecs, 150 records of JSON")
@CODECS
def test_compress(measure: Callable[..., Any], codec: int) -> None:
    values = [json_like(i) for i in range(RECORDS)]

    def build() -> None:
        builder = BatchBuilder(compression=codec)
        for i, value in enumerate(values):
            builder.append(i, b"k", value)
        builder.build()

    measure(build, "bytes of records", sum(map(len, values)), rounds=100)


@pytest.mark.benchmark(group="engine: codecs, 150 records of JSON")
@CODECS
def test_check_compressed(measure: Callable[..., Any], codec: int) -> None:
    builder = BatchBuilder(compression=codec)
    for i in range(RECORDS):
        builder.append(i, b"k", json_like(i))
    batch = RecordBatch(builder.build())
    size = batch.check_records(NO_LIMIT).size_in_bytes
    measure(lambda: batch.check_records(NO_LIMIT), "bytes of records", size, rounds=300)


# Files


def bare_write(path: Path, data: bytes) -> Callable[[], None]:
    """A loop of write() on a file that is begun anew each time."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)

    def write() -> None:
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        for _ in range(APPENDS):
            os.write(fd, data)

    return write


def engine_append(path: Path, data: bytes) -> Callable[[], None]:
    log = FileRecords(path, writable=True, create=True)

    def append() -> None:
        log.truncate_to(0)
        for _ in range(APPENDS):
            log.append(data)

    return append


@pytest.mark.benchmark(group="engine: append ready batches of 16 KiB")
@pytest.mark.parametrize("way", [engine_append, bare_write], ids=["engine", "bare write()"])
def test_append(measure: Callable[..., Any], tmp_path: Path, way: Callable[..., Any]) -> None:
    data = batch_of(RECORDS)
    measure(way(tmp_path / "0.log", data), "bytes", APPENDS * len(data), rounds=15)


@pytest.mark.benchmark(group="engine: append ready batches of 16 KiB")
def test_append_beside_bare_write(benchmark: Any, tmp_path: Path) -> None:
    """Both by turns, so that a busy disk or neighbour meets both: the ratio is what counts."""
    data = batch_of(RECORDS)
    ways = [bare_write(tmp_path / "bare.log", data), engine_append(tmp_path / "engine.log", data)]
    times: list[list[float]] = [[], []]

    def both() -> None:
        for way, taken in zip(ways, times, strict=True):
            start = time.perf_counter()
            way()
            taken.append(time.perf_counter() - start)

    benchmark.pedantic(both, rounds=15, warmup_rounds=2)
    bare, ours = (statistics.median(taken[2:]) for taken in times)
    benchmark.extra_info.update(unit="of a bare write() loop", per_second=f"{bare / ours:.2f}")


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> FileRecords:
    """128 MiB of batches of 16 KiB, in the page cache."""
    log = FileRecords(tmp_path_factory.mktemp("segment") / "0.log", writable=True, create=True)
    data = batch_of(RECORDS)
    for i in range((128 << 20) // len(data)):
        RecordBatch(data).stamp(i * RECORDS, 0)
        log.append(data)
    return log


@pytest.mark.benchmark(group="engine: a segment of 128 MiB in the page cache")
@pytest.mark.parametrize("check_crc", [True, False], ids=["with CRC", "without CRC"])
def test_scan(measure: Callable[..., Any], segment: FileRecords, check_crc: bool) -> None:
    def scan() -> None:
        for _ in segment.scan(check_crc=check_crc):
            pass

    measure(scan, "bytes", segment.size_in_bytes, rounds=5)


@pytest.mark.benchmark(group="engine: a segment of 128 MiB in the page cache")
def test_walk_headers(measure: Callable[..., Any], segment: FileRecords) -> None:
    def walk() -> None:
        for _ in segment.batch_headers():
            pass

    measure(walk, "headers", segment.size_in_bytes / len(batch_of(RECORDS)), rounds=5)


@pytest.mark.benchmark(group="engine: a segment of 128 MiB in the page cache")
def test_send_slices_of_1_mib(measure: Callable[..., Any], segment: FileRecords) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        ours.setblocking(False)
        into = bytearray(1 << 20)

        def send() -> None:
            for position in range(0, 32 << 20, 1 << 20):
                piece = segment.slice(position, 1 << 20)
                sent = received = 0
                while received < piece.size:
                    sent += piece.send_to(ours.fileno(), sent)
                    received += theirs.recv_into(into)

        measure(send, "bytes", 32 << 20, rounds=10)


@pytest.mark.benchmark(group="engine: a segment of 128 MiB in the page cache")
def test_search_for_offset(measure: Callable[..., Any], segment: FileRecords) -> None:
    size = len(batch_of(RECORDS))
    numbers = random.Random(2)
    places = [numbers.randrange(8000) for _ in range(1000)]

    def search() -> None:
        for place in places:
            segment.search_for_offset(place * RECORDS + 5, place * size)

    measure(search, "searches", len(places))


# Indexes of a segment of 1 GiB with an entry every 4 KiB


@pytest.fixture(scope="module")
def offset_index(tmp_path_factory: pytest.TempPathFactory) -> OffsetIndex:
    index = OffsetIndex(tmp_path_factory.mktemp("index") / "0.index", 0, INDEX_BYTES)
    for i in range(1 << 18):
        index.append(40 * i + 40, 4096 * i)
    index.flush()
    return index


@pytest.fixture(scope="module")
def time_index(tmp_path_factory: pytest.TempPathFactory) -> TimeIndex:
    index = TimeIndex(tmp_path_factory.mktemp("index") / "0.timeindex", 0, INDEX_BYTES)
    for i in range(1 << 18):
        index.maybe_append(100 * i, 40 * i)
    index.flush()
    return index


@pytest.mark.benchmark(group="engine: index look-ups, of 262,144 entries")
@pytest.mark.parametrize("entries_back", [2000, 1 << 18], ids=["near the end", "anywhere"])
def test_offset_look_up(measure: Callable[..., Any], offset_index: OffsetIndex, entries_back: int) -> None:
    numbers = random.Random(3)
    targets = [40 * ((1 << 18) - numbers.randrange(entries_back)) for _ in range(1000)]

    def look_up() -> None:
        lookup = offset_index.lookup
        for target in targets:
            lookup(target)

    measure(look_up, "look-ups", len(targets), rounds=100)


@pytest.mark.benchmark(group="engine: index look-ups, of 262,144 entries")
@pytest.mark.parametrize("entries_back", [2000, 1 << 18], ids=["near the end", "anywhere"])
def test_time_look_up(measure: Callable[..., Any], time_index: TimeIndex, entries_back: int) -> None:
    numbers = random.Random(4)
    targets = [100 * ((1 << 18) - numbers.randrange(entries_back)) for _ in range(1000)]

    def look_up() -> None:
        lookup = time_index.lookup
        for target in targets:
            lookup(target)

    measure(look_up, "look-ups", len(targets), rounds=100)


@pytest.mark.benchmark(group="engine: index appends")
def test_offset_index_append(measure: Callable[..., Any], tmp_path: Path) -> None:
    index = OffsetIndex(tmp_path / "0.index", 0, INDEX_BYTES)

    def append() -> None:
        index.reset()
        for i in range(10_000):
            index.append(40 * i + 40, 4096 * i)

    measure(append, "entries", 10_000)
