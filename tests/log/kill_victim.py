"""The process that `test_kill` kills: it appends, rolls and flushes at random, and tells on its standard output what it
has acknowledged: `partition first_offset count crc sequence`, one line an append.

    python -m tests.log.kill_victim DIRECTORY SEED
"""

import os
import random
import sys
import threading

from kstore._native.batch import RecordBatch
from kstore.log.config import LogConfig
from kstore.log.manager import LogManager
from kstore.model import TopicPartition
from tests.log.build import NOW, batch

PARTITIONS = 3
PRODUCER_ID = 77
CONFIG = LogConfig(segment_bytes=40_000, index_interval_bytes=500)


def config_for(topic: str) -> LogConfig:
    return CONFIG


def main(directory: str, seed: int) -> None:
    chance = random.Random(seed)
    manager = LogManager([directory], CONFIG, flush_checkpoint_ms=50, high_watermark_checkpoint_ms=20)
    manager.load_all(NOW, config_for)
    logs = [
        manager.get_or_create(TopicPartition("victim", number), config=CONFIG, topic_id=bytes(16), now_ms=NOW)
        for number in range(PARTITIONS)
    ]
    now_ms = NOW
    running: list[threading.Thread] = []
    print("ready", flush=True)
    while True:
        number = chance.randrange(PARTITIONS)
        log = logs[number]
        sequence = -1
        entry = log.producer_state.producers.get(PRODUCER_ID)
        if number == 0:
            sequence = 0 if entry is None else entry.last_sequence + 1
        records = batch(
            chance.randint(1, 20),
            value=chance.randbytes(chance.choice((10, 100, 1500))),
            producer_id=PRODUCER_ID if sequence >= 0 else -1,
            producer_epoch=0 if sequence >= 0 else -1,
            base_sequence=sequence,
            compression=chance.choice((0, 0, 4)),
        )
        info = log.append_as_leader(records, 0, len(records), leader_epoch=seed, now_ms=now_ms)
        log.maybe_increment_high_watermark(log.log_end_offset)
        crc = RecordBatch(records).crc
        os.write(1, f"{number} {info.first_offset} {info.record_count} {crc} {sequence}\n".encode())
        now_ms += chance.randint(0, 3)
        if chance.random() < 0.05:
            for thread in running:
                thread.join()
            work = manager.tick(now_ms, now_ms)
            running = [threading.Thread(target=piece.run) for piece in work]
            for thread in running:
                thread.start()
            for thread, piece in zip(running, work, strict=True):
                thread.join()
                piece.complete(now_ms)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
