"""A broker that compacts all the time is killed with -9 again and again: the last value of each key is there."""

import random
import time

import pytest

from kstore._native.batch import iter_batches
from kstore._native.builder import BatchBuilder
from tests.fix_broker import Client
from tests.fix_kstore import StartKstore

ROUNDS = 5
KEYS = 40
QUICK = {
    "log.cleaner.backoff.ms": "5",
    "log.cleaner.min.cleanable.ratio": "0",
    "log.flush.offset.checkpoint.interval.ms": "200",  # only what is on the disk is compacted
    "log.segment.bytes": "20000",
    "log.index.interval.bytes": "500",
    "log.segment.delete.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "1100000",
    "log.cleaner.io.buffer.size": "20000",
}


def work(client: Client, chance: random.Random, first: int, acknowledged: dict[bytes, int], seconds: float) -> int:
    """Writes rising numbers under random keys for a while; returns the next number."""
    deadline = time.monotonic() + seconds
    number = first
    while time.monotonic() < deadline:
        builder = BatchBuilder(compression=chance.choice((0, 0, 3)))
        written = {}
        for _ in range(chance.randint(1, 30)):
            key = b"key-%d" % chance.randrange(KEYS)
            builder.append(1_000_000 + number, key, b"%d" % number)
            written[key] = number
            number += 1
        assert client.produce("table", bytes(builder.build())).error_code == 0
        acknowledged.update(written)
    return number


def table(client: Client) -> tuple[dict[bytes, int], int]:
    """The last number of each key, and how many records were read."""
    found: dict[bytes, int] = {}
    offset = count = 0
    while True:
        part = client.fetch("table", offset)
        assert part.error_code == 0
        batches = list(iter_batches(part.records, allow_partial_tail=True))
        if not batches:
            assert offset == part.high_watermark
            return found, count
        for each in batches:
            each.ensure_valid()
            for record in each.records():
                assert record.offset >= offset
                assert record.key is not None
                assert record.value is not None
                assert record.timestamp == 1_000_000 + int(record.value)
                assert found.get(record.key, -1) < int(record.value)
                found[record.key] = int(record.value)
                count += 1
        offset = batches[-1].next_offset


@pytest.mark.parametrize("seed", [1])
def test_the_last_value_of_each_key_survives_kill_9(start_kstore: StartKstore, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: dict[bytes, int] = {}
    server = start_kstore(overrides=QUICK)
    number = 0
    with Client(server.port) as client:
        client.create_topic("table", cleanup_policy="compact")
    for _ in range(ROUNDS):
        with Client(server.port) as client:
            number = work(client, chance, number, acknowledged, chance.uniform(0.4, 1.2))
        server.kill()
        server.start()
        with Client(server.port) as client:
            found, count = table(client)
        assert {key: found.get(key, -1) for key, last in acknowledged.items() if found.get(key, -1) < last} == {}
        acknowledged = found  # what was written and not acknowledged may be there too
    # Left alone it is compacted to little more than the segments that cannot be.
    deadline = time.monotonic() + 60
    while count > number / 4:
        assert time.monotonic() < deadline, f"{count} of {number} records are left"
        time.sleep(0.2)
        with Client(server.port) as client:
            assert table(client)[0] == found
            count = table(client)[1]
