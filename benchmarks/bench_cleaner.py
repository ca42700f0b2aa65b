"""How fast are logs compacted: the whole of a cleaning, and its inner loops, by what the batches are like.

Bytes are those in the file: half of each value is zeros, so compressed ones stand for about twice as many.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kstore._native.builder import BatchBuilder, control_batch
from kstore._native.compaction import Compactor, OffsetMap, check_chunk
from kstore.log.cleaner.cleaner import LogCleaner
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.config import LogConfig
from tests.log.build import NOW, TP, crash, open_log

LOG_BYTES = 64 << 20
CHUNK_BYTES = 256 << 10
CONFIG = LogConfig(
    cleanup_policy=("compact",), min_cleanable_dirty_ratio=0.0, segment_bytes=32 << 20, max_message_bytes=1 << 24
)
TRANSACTIONS = -1
# Records in a batch, bytes of a value, codec; or batches of transactions, ten in each.
KINDS = {
    "1 record of 100 B a batch": (1, 92, 0),
    "150 records of 100 B": (150, 92, 0),
    "16 records of 1 KiB": (16, 1000, 0),
    "1 record of 100 B, transactions": (1, 92, TRANSACTIONS),
    "150 records of 100 B, lz4": (150, 92, 3),
    "150 records of 100 B, zstd": (150, 92, 4),
}
EACH = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
PLAIN = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if not kind[2]], ids=[name for name, kind in KINDS.items() if not kind[2]]
)


def batches(kind: tuple[int, int, int], size: int, keys: int) -> list[bytearray]:
    count, value_size, codec = kind
    choose = random.Random(7)
    noise = choose.randbytes(1 << 16)
    transactions = codec == TRANSACTIONS
    made: list[bytearray] = []
    offset = total = 0
    while total < size:
        if transactions and offset % 11 == 10:
            made.append(control_batch(1, base_offset=offset, timestamp=NOW, producer_id=7, producer_epoch=0))
            offset += 1
        options = {"producer_id": 7, "producer_epoch": 0, "base_sequence": offset} if transactions else {}
        builder = BatchBuilder(
            base_offset=offset,
            compression=0 if transactions else codec,
            partition_leader_epoch=0,
            is_transactional=transactions,
            **options,
        )
        for _ in range(count):
            start = choose.randrange(1 << 15)
            value = noise[start : start + value_size // 2] + bytes(value_size - value_size // 2)
            builder.append(NOW, b"key-%08d" % choose.randrange(keys), value)
        made.append(builder.build())
        total += len(made[-1])
        offset += count
    return made


@pytest.mark.benchmark(group="cleaner: a whole cleaning, bytes read once")
@EACH
def test_clean_a_log(measure: Callable[..., Any], tmp_path: Path, kind: tuple[int, int, int]) -> None:
    """64 MiB in two segments; of each key ten records or so."""
    data = batches(kind, LOG_BYTES, LOG_BYTES // 1000)
    log = open_log(tmp_path / "topic-0", CONFIG)
    for each in data:
        log.append_as_follower(each, leader_epoch=0, now_ms=NOW)
    log.roll(now_ms=NOW)
    log.flush(now_ms=NOW)
    size = log.size_in_bytes
    crash(log)
    saved = tmp_path / "saved"
    shutil.copytree(tmp_path / "topic-0", saved)

    def fresh() -> None:
        nonlocal log
        crash(log)
        shutil.rmtree(tmp_path / "topic-0")
        shutil.copytree(saved, tmp_path / "topic-0")
        log = open_log(tmp_path / "topic-0", CONFIG)
        log.maybe_increment_high_watermark(log.log_end_offset)

    def run() -> None:
        cleaner = LogCleaner({TP: log}, CleanerConfig())
        assert cleaner.run_due(NOW) == 1
        assert cleaner.stats is not None

    measure(run, "bytes", size, rounds=5, setup=fresh)


@pytest.mark.benchmark(group="cleaner: keys into the map")
@PLAIN
def test_index_a_chunk(measure: Callable[..., Any], kind: tuple[int, int, int]) -> None:
    chunk = b"".join(batches(kind, CHUNK_BYTES, 100_000))
    offset_map = OffsetMap(600_000)

    def run() -> None:
        offset_map.index_chunk(chunk, 0, 0)

    measure(run, "bytes", len(chunk), rounds=50)


@pytest.mark.benchmark(group="cleaner: records out of a chunk")
@PLAIN
def test_compact_a_chunk(measure: Callable[..., Any], kind: tuple[int, int, int]) -> None:
    chunk = b"".join(batches(kind, CHUNK_BYTES, 1000))
    offset_map = OffsetMap(600_000)
    offset_map.index_chunk(chunk, 0, 0)
    compactor = Compactor(offset_map, now_ms=NOW, delete_retention_ms=1, room=2 * CHUNK_BYTES)

    def run() -> None:
        position = 0
        while True:
            position, status = compactor.compact_chunk(chunk, position)
            compactor.finish()
            compactor.clear()
            if not status:
                break

    measure(run, "bytes", len(chunk), rounds=50)


@pytest.mark.benchmark(group="cleaner: CRCs of a chunk")
@EACH
def test_check_a_chunk(measure: Callable[..., Any], kind: tuple[int, int, int]) -> None:
    chunk = b"".join(batches(kind, CHUNK_BYTES, 1000))

    def run() -> None:
        check_chunk(chunk, 0)

    measure(run, "bytes", len(chunk), rounds=50)
