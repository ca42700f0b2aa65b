"""A process that appends is killed with -9 at random instants: what it acknowledged is there, and all that is derived
fits.

20 rounds in a normal run; `make kill-test` does 1,000 (KSTORE_KILL_ROUNDS).
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from kstore.log.manager import LogManager
from kstore.log.partition_log import PartitionLog
from kstore.log.segment import Segment
from kstore.model import TopicPartition
from tests.log.build import NOW, append, batch, batches_of
from tests.log.kill_victim import CONFIG, PARTITIONS, PRODUCER_ID, config_for

ROUNDS = int(os.environ.get("KSTORE_KILL_ROUNDS", "20"))
ROUNDS_PER_DIRECTORY = 10

Acknowledged = dict[tuple[int, int], tuple[int, int, int]]


def kill_one(directory: Path, seed: int, chance: random.Random, acknowledged: Acknowledged) -> None:
    """Lets a victim work for a moment, kills it, and takes down what it had acknowledged by then."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.log.kill_victim", str(directory), str(seed)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"ready\n"
    # A victim that waits for us to read is as good as dead already: read on while it works.
    deadline = time.monotonic() + chance.uniform(0.0, 0.15)
    os.set_blocking(victim.stdout.fileno(), False)
    heard = bytearray()
    while time.monotonic() < deadline:
        heard += victim.stdout.read() or b""
    victim.kill()
    victim.wait()
    os.set_blocking(victim.stdout.fileno(), True)
    heard += victim.stdout.read()
    victim.stdout.close()
    for line in heard.splitlines(keepends=True):
        if line.endswith(b"\n"):
            partition, offset, count, crc, sequence = map(int, line.split())
            acknowledged[partition, offset] = count, crc, sequence


def check_segment(segment: Segment) -> None:
    """Every index entry leads to its batch."""
    by_offset = {header.last_offset: header for header in segment.records.batch_headers(0, segment.size)}
    for n in range(segment.offset_index.entries):
        offset, position = segment.offset_index.entry(n)
        assert by_offset[offset].position == position
    for n in range(segment.time_index.entries):
        timestamp, offset = segment.time_index.entry(n)
        assert by_offset[offset].max_timestamp == timestamp


def check_log(log: PartitionLog, acknowledged: Acknowledged) -> None:
    number = log.topic_partition.partition
    found = {item.base_offset: (item.count, item.crc) for item in batches_of(log)}
    for (partition, offset), (count, crc, _) in acknowledged.items():
        if partition == number:
            assert found.get(offset) == (count, crc), f"partition {partition}, offset {offset}"
    end = 0
    for offset in sorted(found):
        assert offset == end
        end += found[offset][0]
    assert log.log_end_offset == end
    for segment in log.segments:
        check_segment(segment)


def check_all(directory: Path, acknowledged: Acknowledged) -> None:
    manager = LogManager([str(directory)], CONFIG)
    manager.load_all(NOW, config_for)
    assert manager.offline == {}
    for number in range(PARTITIONS):
        log = manager.get(TopicPartition("victim", number))
        assert log is not None
        assert log.topic_id == bytes(16)
        check_log(log, acknowledged)
    first = manager.logs[TopicPartition("victim", 0)]
    last = max((offset for partition, offset in acknowledged if partition == 0), default=-1)
    entry = first.producer_state.producers.get(PRODUCER_ID)
    if last >= 0:
        assert entry is not None
        count, _, sequence = acknowledged[0, last]
        assert entry.last_sequence >= sequence + count - 1
        again = batch(
            entry.last_offset_delta + 1,
            producer_id=PRODUCER_ID,
            producer_epoch=0,
            base_sequence=entry.last_sequence - entry.last_offset_delta,
        )
        assert append(first, again).is_duplicate
    manager.close_handles()


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    chance = random.Random(ROUNDS)
    acknowledged: Acknowledged = {}
    directory = tmp_path
    total = 0
    for number in range(ROUNDS):
        if number % ROUNDS_PER_DIRECTORY == 0:
            total += len(acknowledged)
            acknowledged = {}
            directory = tmp_path / str(number)
        kill_one(directory, number, chance, acknowledged)
        check_all(directory, acknowledged)
    assert total + len(acknowledged) > ROUNDS  # the victims did work
