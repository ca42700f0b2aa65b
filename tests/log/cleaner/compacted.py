"""Compacted logs for tests: written record by record, cleaned at once, read as consumers read them."""

from collections.abc import Iterable, Mapping

from kstore._native.batch import iter_batches
from kstore._native.builder import BatchBuilder
from kstore._native.record import Record
from kstore.log.cleaner.cleaner import LogCleaner
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.config import LogConfig
from kstore.log.partition_log import TXN_COMMITTED, PartitionLog
from tests.log.build import NOW, append, batches_of, content

COMPACT = LogConfig(
    cleanup_policy=("compact",), min_cleanable_dirty_ratio=0.0, segment_bytes=1 << 20, file_delete_delay_ms=0
)

Item = tuple[bytes | None, bytes | None]


def write(
    log: PartitionLog,
    items: Iterable[Item],
    *,
    timestamp: int = NOW,
    together: bool = False,
    origin: str = "client",
    **options: object,
) -> None:
    """Appends records, a batch each or all in one, and commits them."""
    builders = []
    for key, value in items:
        if not builders or not together:
            builders.append(BatchBuilder(**options))  # type: ignore[arg-type]
        builders[-1].append(timestamp, key, value)
    for builder in builders:
        append(log, builder.build(), now_ms=timestamp, origin=origin)
    log.maybe_increment_high_watermark(log.log_end_offset)


def roll(log: PartitionLog, *, now_ms: int = NOW) -> None:
    """Ends the segment that is written to, and makes it durable."""
    log.roll(now_ms=now_ms)
    log.flush(now_ms=now_ms)


def cleaner_of(log: PartitionLog, **options: object) -> LogCleaner:
    return LogCleaner({log.topic_partition: log}, CleanerConfig(**options))  # type: ignore[arg-type]


def clean(log: PartitionLog, *, now_ms: int = NOW, **options: object) -> LogCleaner:
    """Cleans what there is to clean, in this thread."""
    cleaner = cleaner_of(log, **{"backoff_ms": 0, **options})
    log.flush(now_ms=now_ms)
    cleaner.run_due(now_ms)
    return cleaner


def records_of(log: PartitionLog) -> list[Record]:
    """All that lie in the log but markers."""
    return [record for each in batches_of(log) if not each.is_control for record in each.records()]


def items_of(log: PartitionLog) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(record.offset, record.key, record.value) for record in records_of(log)]


def committed_records(log: PartitionLog) -> list[Record]:
    """What a consumer at read_committed is given, from the log's start to its last stable offset."""
    found: list[Record] = []
    offset = log.log_start_offset
    while offset < log.last_stable_offset:
        data = log.read(offset, max_bytes=1 << 20, upper_bound=TXN_COMMITTED)
        batches = list(iter_batches(content(data), allow_partial_tail=True))
        if not batches:
            break
        starts = sorted((txn.first_offset, txn.producer_id) for txn in data.aborted_transactions or [])
        aborted: set[int] = set()
        for each in batches:
            while starts and starts[0][0] <= each.last_offset:
                aborted.add(starts.pop(0)[1])
            if each.is_control:
                marker = each.control_record()
                if marker is not None and marker[0] == 0:
                    aborted.discard(each.producer_id)
            elif not (each.is_transactional and each.producer_id in aborted):
                found += [record for record in each.records() if record.offset >= offset]
        offset = batches[-1].next_offset
    return found


def latest(records: Iterable[Record]) -> Mapping[bytes | None, bytes]:
    """What a reader who keeps a table ends with."""
    table: dict[bytes | None, bytes] = {}
    for record in records:
        if record.value is None:
            table.pop(record.key, None)
        else:
            table[record.key] = record.value
    return table
