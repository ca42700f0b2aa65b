"""A log directory to be damaged: files of every kind, what its log holds, and what a reader makes of it afterwards."""

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kstore._native.batch import RecordBatch, iter_batches
from kstore.errors import CorruptRecordError, OffsetOutOfRangeError, UnsupportedForMessageFormatError
from kstore.log.config import LogConfig
from kstore.log.manager import LogManager
from kstore.log.partition_log import LOG_END, PartitionLog
from tests.log.build import NOW, TP, append, batch, content, marker

CONFIG = LogConfig(segment_bytes=2500, index_interval_bytes=100)
TOPIC_ID = bytes(range(16))
CLUSTER = "qRstUvWxYz0123456789Ab"
BATCHES = 34
# Base offset and leader epoch lie outside the CRC of a batch (DefaultRecordBatch.java).
BASE_OFFSET, LEADER_EPOCH = range(8), range(12, 16)

# Damaged bytes may look like a message of format 0 or 1.
REFUSALS = (CorruptRecordError, UnsupportedForMessageFormatError)

Files = Mapping[str, bytes]


class Batch(NamedTuple):
    """A batch as it was written: in which file, where, and its bytes."""

    file: str
    position: int
    data: bytes
    base_offset: int
    next_offset: int


def read_files(root: Path) -> dict[str, bytes]:
    """What lies under `root`, by its path from there."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
    return found


class Original:
    """A directory as a stop left it: `files` after an orderly one, or in the middle of its work after a crash."""

    def __init__(self, root: Path, seed: int, *, clean: bool) -> None:
        root.mkdir(parents=True)
        self.clean = clean
        manager = LogManager([str(root)], CONFIG, flush_checkpoint_ms=1, high_watermark_checkpoint_ms=1)
        manager.write_owner(CLUSTER, 1)
        manager.load_all(NOW)
        log = manager.get_or_create(TP, config=CONFIG, topic_id=TOPIC_ID, now_ms=NOW)
        manager.run_due(NOW)
        fill(log, manager, random.Random(seed))
        self.recovery_point = log.recovery_point
        self.producers = producers_of(log)
        self.epochs = list(log.leader_epoch_cache.entries)
        self.aborted = log.collect_aborted_transactions(0, log.log_end_offset)
        self.times = [(timestamp, found_by(log, timestamp)) for timestamp in range(NOW - 1, NOW + 2 * BATCHES + 2, 5)]
        if clean:
            manager.close(NOW)
        else:
            manager.close_handles()
        self.files: Files = {name: data for name, data in read_files(root).items() if name != ".lock"}
        self.batches = list(batches_in(self.files))
        self.end_offset = self.batches[-1].next_offset
        self.by_offset = {each.base_offset: each for each in self.batches}

    def batch_at(self, file: str, position: int) -> Batch:
        """The batch that the byte at `position` of a file belongs to."""
        return next(b for b in reversed(self.batches) if b.file == file and b.position <= position)


def fill(log: PartitionLog, manager: LogManager, rng: random.Random) -> None:
    """Batches of all codecs, of several epochs, some of idempotent and transactional producers; a flush amid."""
    sequences = {7: 0, 8: 0}
    for number in range(BATCHES):
        timestamp = NOW + 2 * number
        if number % 10 in (3, 6):
            # A transaction, the first of two aborted.
            records = batch(2, value=rng.randbytes(30), producer_id=9, producer_epoch=0, timestamp=timestamp,
                            base_sequence=sequences.setdefault(9, 0), transactional=True)  # fmt: skip
            sequences[9] += 2
        elif number % 10 in (5, 8):
            outcome = marker(9, commit=number % 10 == 8, timestamp=timestamp)
            append(log, outcome, leader_epoch=number // 8, origin="coordinator")
            continue
        elif number % 3 == 0:
            producer = rng.choice((7, 8))
            records = batch(2, value=rng.randbytes(20), producer_id=producer, producer_epoch=1, timestamp=timestamp,
                            base_sequence=sequences[producer], compression=number % 5)  # fmt: skip
            sequences[producer] += 2
        else:
            records = batch(
                rng.randint(1, 5), value=rng.randbytes(rng.randint(5, 60)), timestamp=timestamp, compression=number % 5
            )
        append(log, records, leader_epoch=number // 8)
        log.maybe_increment_high_watermark(log.log_end_offset)
        if number == BATCHES // 2:
            log.flush(now_ms=NOW)
            manager.run_due(NOW + 1000)
            manager.run_due(NOW + 2000)


def batches_in(files: Files) -> Iterator[Batch]:
    for name in sorted(files):
        if name.endswith(".log"):
            for each in iter_batches(files[name]):
                data = files[name][each.position : each.position + each.size_in_bytes]
                yield Batch(name, each.position, data, each.base_offset, each.next_offset)


def producers_of(log: PartitionLog) -> dict[int, tuple[int, int, int, int, int]]:
    """What duplicates and gaps are found by."""
    return {
        entry.producer_id: (
            entry.epoch,
            entry.last_sequence,
            entry.last_offset,
            entry.coordinator_epoch,
            entry.current_txn_first_offset,
        )
        for entry in log.producer_state.producers.values()
    }


def found_by(log: PartitionLog, timestamp: int) -> tuple[int, int, int] | None:
    found = log.offset_for_timestamp(timestamp)
    return None if found is None else (found.timestamp, found.offset, found.leader_epoch)


class Scratch:
    """A directory that is damaged, opened, and put back as it was, again and again."""

    def __init__(self, root: Path, files: Files) -> None:
        self.root = str(root)
        self.files = {os.path.join(self.root, name): data for name, data in files.items()}
        for path in self.files:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        self.directories = {self.root, *(os.path.dirname(path) for path in self.files)}
        self.restore()

    def restore(self) -> None:
        known = set()
        for directory in self.directories:
            for name in os.listdir(directory):
                path = os.path.join(directory, name)
                data = self.files.get(path)
                if data is not None:
                    known.add(path)
                    if read(path, len(data) + 1) != data:
                        write(path, data)
                elif path not in self.directories and name != ".lock":
                    os.unlink(path)
        for path in self.files.keys() - known:
            write(path, self.files[path])

    def damage(self, name: str, data: bytes) -> None:
        write(os.path.join(self.root, name), data)

    def open(self) -> LogManager:
        """Raises what the start of a broker raises."""
        manager = LogManager([self.root], CONFIG, recovery_threads=1)
        try:
            manager.load_all(NOW)
        except BaseException:
            manager.close_handles()
            raise
        return manager


def read(path: str, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


# --- what is read ---


class Seen:
    """What a reader got: `good` are the base offsets whose batch came whole and as it was, `refused` those of which it
    was told that they are damaged, `gone` those that are no more. `forged` are good by their CRC, but not what was
    written."""

    def __init__(self) -> None:
        self.good: set[int] = set()
        self.refused: set[int] = set()
        self.gone: set[int] = set()
        self.forged: list[str] = []

    def take(self, original: Original, offset: int, data: bytes) -> None:
        """The answer of a read that asked for `offset`, where a batch began."""
        wanted = original.by_offset[offset]
        try:
            first = next(iter_batches(data))
            first.ensure_valid()
        except REFUSALS:
            self.refused.add(offset)
            return
        if is_as_written(first, wanted.data):
            self.good.add(offset)
        else:
            self.forged.append(f"offset {offset}: a batch of {first.base_offset} to {first.last_offset}")


def is_as_written(found: RecordBatch, data: bytes) -> bool:
    """Whether the records and their offsets are the same; the leader epoch is the file's."""
    start = found.position
    raw = bytes(found.buffer[start : start + found.size_in_bytes])
    return raw[:12] == data[:12] and raw[16:] == data[16:]


def look(log: PartitionLog, original: Original) -> Seen:
    """Asks for each batch by its offset."""
    seen = Seen()
    for offset in original.by_offset:
        try:
            data = content(log.read(offset, max_bytes=1, upper_bound=LOG_END))
        except OffsetOutOfRangeError:
            seen.gone.add(offset)
        except REFUSALS:
            seen.refused.add(offset)
        else:
            if data:
                seen.take(original, offset, data)
            else:
                seen.gone.add(offset)
    return seen


def walk(log: PartitionLog, original: Original) -> Seen:
    """Reads on from the start as a consumer does, up to the first damage."""
    seen = Seen()
    expected = log.log_start_offset
    with suppress(*REFUSALS):
        while expected < log.log_end_offset:
            data = content(log.read(expected, max_bytes=1 << 20, upper_bound=LOG_END))
            if not data:
                seen.forged.append(f"nothing is read at {expected}, the log ends at {log.log_end_offset}")
                break
            for each in iter_batches(data, allow_partial_tail=True):
                each.ensure_valid()
                wanted = original.by_offset.get(each.base_offset)
                if each.base_offset != expected or wanted is None or not is_as_written(each, wanted.data):
                    seen.forged.append(f"{each.base_offset} to {each.last_offset} came where {expected} was due")
                    return seen
                seen.good.add(expected)
                expected = each.next_offset
    return seen
