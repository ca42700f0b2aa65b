"""Batches, logs and managers for the tests of `kstore.log`."""

from collections.abc import Callable, Iterable
from pathlib import Path

from kstore._native.batch import RecordBatch, iter_batches
from kstore._native.builder import BatchBuilder, control_batch
from kstore.log.append import LogAppendInfo
from kstore.log.checkpoint_file import read_offsets
from kstore.log.config import LogConfig
from kstore.log.manager import LogManager
from kstore.log.partition_log import LOG_END, FetchData, PartitionLog
from kstore.model import TopicPartition

TP = TopicPartition("topic", 0)
NOW = 1_700_000_000_000


def batch(
    count: int = 1,
    *,
    timestamp: int = NOW,
    key: bytes | None = b"key",
    value: bytes | None = b"value",
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    compression: int = 0,
    transactional: bool = False,
    base_offset: int = 0,
    leader_epoch: int = -1,
) -> bytearray:
    """One batch as a producer sends it (or, with offset and epoch, as a leader does)."""
    builder = BatchBuilder(
        base_offset=base_offset,
        compression=compression,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        is_transactional=transactional,
        partition_leader_epoch=leader_epoch,
    )
    for _ in range(count):
        builder.append(timestamp, key, value)
    return builder.build()


def marker(
    producer_id: int,
    producer_epoch: int = 0,
    *,
    commit: bool = False,
    coordinator_epoch: int = 0,
    timestamp: int = NOW,
    base_offset: int = 0,
    leader_epoch: int = -1,
) -> bytearray:
    return control_batch(
        1 if commit else 0,
        base_offset=base_offset,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        coordinator_epoch=coordinator_epoch,
        timestamp=timestamp,
        partition_leader_epoch=leader_epoch,
    )


def open_log(directory: Path | str, config: LogConfig | None = None, **arguments: object) -> PartitionLog:
    path = Path(directory)
    path.mkdir(exist_ok=True)
    return PartitionLog.open(str(path), TP, config or LogConfig(), **{"now_ms": NOW, **arguments})  # type: ignore[arg-type]


def append(
    log: PartitionLog, records: bytearray, *, leader_epoch: int = 0, now_ms: int = NOW, origin: str = "client"
) -> LogAppendInfo:
    return log.append_as_leader(records, 0, len(records), leader_epoch=leader_epoch, now_ms=now_ms, origin=origin)


def fill(log: PartitionLog, count: int, **arguments: object) -> None:
    """Appends `count` batches of one record and commits them."""
    for _ in range(count):
        append(log, batch(**arguments))  # type: ignore[arg-type]
    log.maybe_increment_high_watermark(log.log_end_offset)


def content(data: FetchData) -> bytes:
    """The bytes of a read, from a file or from memory."""
    return data.records if isinstance(data.records, bytes) else data.records.read()


def batches_of(log: PartitionLog, offset: int | None = None) -> list[RecordBatch]:
    """All batches from `offset` on, read as a consumer reads them."""
    position = log.log_start_offset if offset is None else offset
    found: list[RecordBatch] = []
    while position < log.log_end_offset:
        data = log.read(position, max_bytes=1 << 20, upper_bound=LOG_END)
        if not content(data):
            break
        for item in iter_batches(content(data), allow_partial_tail=True):
            item.ensure_valid()
            found.append(item)
        position = found[-1].next_offset
    return found


def offsets_of(batches: Iterable[RecordBatch]) -> list[int]:
    return [offset for item in batches for offset in range(item.base_offset, item.next_offset)]


def crash(log: PartitionLog) -> None:
    """Lets go of the files as a killed process does: what is in memory only is lost."""
    for segment in log.segments:
        segment.drop_handles()


def create(manager: LogManager, partition: int = 0, **config: object) -> PartitionLog:
    return manager.get_or_create(
        TopicPartition("topic", partition),
        config=LogConfig(**config),  # type: ignore[arg-type]
        now_ms=NOW,
    )


def loaded(managers: Callable[..., LogManager], path: Path) -> PartitionLog:
    log = managers(path).get(TP)
    assert log is not None
    return log


def checkpoint(root: Path, name: str) -> dict[int, int]:
    """What a checkpoint file says of each partition."""
    return {tp.partition: offset for tp, offset in read_offsets(str(root / name)).items()}
