"""Reading the metadata log when a broker starts: the newest snapshot, then the records behind it.

A torn end is what a crash leaves, and it goes: it was never acknowledged. Damage anywhere else stops the
start, for what a recovery would cut off has been agreed on (KafkaMetadataLog.scala, LogLoader.scala).
"""

import os

from kstore._native.batch import HEADER_SIZE, LOG_OVERHEAD, iter_batches
from kstore._native.records import FileRecords
from kstore.cluster.replay import Replay
from kstore.cluster.snapshot import find_snapshots, read_batches
from kstore.errors import CorruptRecordError
from kstore.log.partition_log import PartitionLog

READ_BYTES = 1024 * 1024
MAGIC_AT = 16  # where a batch has its magic byte, 2


def load(log: PartitionLog, replay: Replay, *, now_ms: int) -> int:
    """Reads the newest snapshot and the log behind it; returns the bytes of log that no snapshot has.

    Raises CorruptRecordError, UnsupportedVersionError, ConfigError, KafkaStorageError.
    """
    snapshots = find_snapshots(log.directory.path)
    offset = 0
    if snapshots:
        newest = snapshots[-1]
        offset = newest.offset
        for batch in read_batches(os.path.join(log.directory.path, newest.name)):
            replay.batch(batch)
        replay.offset, replay.epoch = newest.offset - 1, newest.epoch
        if newest > (max(0, log.latest_epoch), log.log_end_offset):
            # The log was to be replaced by the snapshot, and a crash came between (KafkaMetadataLog.scala).
            log.truncate_fully_and_start_at(newest.offset, now_ms=now_ms)
    if offset < log.log_start_offset:
        raise CorruptRecordError(
            f"{log.directory.path}: the log begins at {log.log_start_offset}, its newest snapshot ends at {offset}"
        )
    size = 0
    while offset < log.log_end_offset:
        found = log.read(offset, max_bytes=READ_BYTES)
        data = found.records if isinstance(found.records, bytes) else found.records.read()
        for batch in iter_batches(data, allow_partial_tail=True):
            if batch.last_offset >= offset:
                batch.ensure_valid()
                replay.batch(batch)
                offset = batch.next_offset
                size += batch.size_in_bytes
    log.update_high_watermark(log.log_end_offset)
    return size


def refuse_damage(directory: str) -> None:
    """A torn end is what a crash leaves and goes; bad bytes with good batches behind them are damage.

    So is an offset that does not follow the one before, or an epoch below it: both lie outside the CRC. Raises
    CorruptRecordError naming file and position, so that no recovery cuts off what was agreed on.
    """
    names = sorted(name for name in os.listdir(directory) if name.endswith(".log") and name[:-4].isdecimal())
    offset, epoch = int(names[0][:-4]) if names else 0, 0
    for name in names:
        path = os.path.join(directory, name)
        records = FileRecords(path, writable=False)
        try:
            checked = records.check()
            for batch in checked:
                if batch.base_offset != offset or batch.partition_leader_epoch < epoch:
                    raise CorruptRecordError(
                        f"{path} is damaged: the batch that ends at position {checked.valid_bytes} has offset"
                        f" {batch.base_offset} and epoch {batch.partition_leader_epoch}, not {offset} and {epoch}"
                        " or above"
                    )
                offset, epoch = batch.next_offset, batch.partition_leader_epoch
            if checked.error is None:
                continue
            position = checked.valid_bytes
            if name != names[-1] or has_batch_behind(records, position):
                raise CorruptRecordError(f"{path} is damaged at position {position}: {checked.error}")
        finally:
            records.close()


def has_batch_behind(records: FileRecords, position: int) -> bool:
    """Whether a whole, valid batch lies somewhere behind `position`."""
    size = records.size_in_bytes
    for start in range(position + 1, size, READ_BYTES):
        window = records.read(start, READ_BYTES + MAGIC_AT)
        at = window.find(b"\x02", MAGIC_AT)
        while at >= 0:
            begin = start + at - MAGIC_AT
            length = int.from_bytes(window[at - 8 : at - 4], "big")
            is_possible = HEADER_SIZE <= LOG_OVERHEAD + length <= size - begin
            if is_possible and any(records.check(begin, chunk_size=READ_BYTES)):
                return True
            at = window.find(b"\x02", at + 1)
    return False
