"""Kafka's own batches, damaged at random by the thousand: refused or read, never worse.

Made for the sanitizers: fast rather than thorough. KSTORE_MUTATIONS=1000000 for a long search, a failure prints its
seed.
"""

import os
import random
from functools import cache

import pytest

from kstore._native.batch import RecordBatch, iter_batches
from kstore._native.records import FileRecords
from kstore.errors import KafkaError
from tests.golden.golden import GOLDEN, KRAFT

MUTATIONS = int(os.environ.get("KSTORE_MUTATIONS", "40000"))
MAX_BYTES = 1 << 20


@cache
def golden_batches() -> list[bytes]:
    paths = [path for name in KRAFT for path in sorted((GOLDEN / name).rglob("*.log"))]
    batches = {batch.to_bytes() for path in paths for batch in FileRecords(path, writable=False).scan()}
    return sorted(batch for batch in batches if len(batch) < 4000)


def damaged(data: bytes, chance: random.Random) -> bytearray:
    out = bytearray(data)
    # Half of the accidents happen among the records, where every byte is a length or next to one.
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(61, len(out)) if chance.random() < 0.5 and len(out) > 61 else chance.randrange(len(out))
        kind = chance.randrange(5)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.choice((0, 1, 2, 0x7E, 0x7F, 0x80, 0xFE, 0xFF))
        elif kind == 2:
            out[at:at] = chance.randbytes(chance.randrange(1, 5))
        elif kind == 3:
            del out[at : at + chance.randrange(1, 5)]
        else:
            out[at : at + 5] = b"\xff\xff\xff\xff\x0f"  # the largest of lengths
        if len(out) < 62:
            break
    if chance.random() < 0.8 and len(out) >= 12:  # let the length be right, so that the records are reached
        out[8:12] = (len(out) - 12).to_bytes(4, "big")
    return out


def use(data: bytearray) -> None:
    """Asks everything that can be asked of a batch."""
    batch = RecordBatch(data)
    batch.is_crc_valid()
    for consecutive in (True, False):
        try:
            summary = batch.check_records(MAX_BYTES, consecutive)
            assert summary.size_in_bytes <= MAX_BYTES
        except KafkaError:
            pass
    batch.stamp(batch.last_offset, 7)
    batch.set_timestamps(1, batch.max_timestamp)
    batch.ensure_valid()
    try:
        for record in batch.records(MAX_BYTES):
            repr(record)
    finally:
        list(iter_batches(data, allow_partial_tail=True))


@pytest.mark.parametrize("seed", range(8))
def test_damaged_batches_are_refused_or_read(seed: int) -> None:
    chance = random.Random(f"mutations {seed}")
    batches = golden_batches()
    read = refused = 0
    for _ in range(MUTATIONS // 8):
        data = damaged(chance.choice(batches), chance)
        try:
            use(data)
            read += 1
        except KafkaError:
            refused += 1
    assert read > 0
    assert refused > 0
