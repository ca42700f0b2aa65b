"""What a batch must be before a leader stores it, and what it becomes.

Kafka's order of checks is kept, for clients see its results: offsets and size of the batch, CRC, counts and flags, then
the records (UnifiedLog.analyzeAndValidateRecords, LogValidator.java; KIP-467 for the errors of single records). A batch
is changed in place, for base offset and leader epoch lie outside the CRC; it is built anew only when its codec is not
the topic's (rule 32).
"""

from typing import TYPE_CHECKING

from kstore._native.batch import LOG_OVERHEAD, RecordBatch
from kstore._native.builder import BatchBuilder
from kstore.errors import (
    CorruptRecordError,
    InvalidProduceError,
    InvalidRecordError,
    InvalidTimestampError,
    MessageTooLargeError,
    UnsupportedForMessageFormatError,
)
from kstore.log.config import LOG_APPEND_TIME, LONG_MAX, PRODUCER_COMPRESSION, LogConfig
from kstore.model import NO_PARTITION_LEADER_EPOCH, NO_TIMESTAMP, TopicPartition

if TYPE_CHECKING:
    from typing_extensions import Buffer

CLIENT = "client"
COORDINATOR = "coordinator"
REPLICATION = "replication"
RAFT_LEADER = "raft_leader"  # a metadata log's own records: nothing is asked of their base offset

# The smallest record of any format, after its length; a smaller length is damage (LegacyRecord.java).
MIN_LENGTH = 14

# Bounds what one batch may grow to when it is decompressed: a bomb of 1 MiB must not become 1 GiB.
MIN_DECOMPRESSED_BYTES = 64 * 1024 * 1024
DECOMPRESSION_RATIO = 64

# How many bad records of a batch are told: a compressed one of 1 MiB holds a million of them.
MAX_RECORD_ERRORS = 1000


class LogAppendInfo:
    """What an append did. For a duplicate the offsets are those of the batch that is already there.

    `first_offset` is -1 when there was nothing to append; `log_append_time` is -1 on a CreateTime topic.
    """

    __slots__ = (
        "first_offset",
        "is_duplicate",
        "last_leader_epoch",
        "last_offset",
        "log_append_time",
        "log_start_offset",
        "max_timestamp",
        "record_count",
        "size_in_bytes",
    )

    def __init__(
        self,
        first_offset: int,
        last_offset: int,
        log_append_time: int,
        log_start_offset: int,
        size_in_bytes: int,
        max_timestamp: int,
        record_count: int,
        is_duplicate: bool = False,
        last_leader_epoch: int = NO_PARTITION_LEADER_EPOCH,
    ) -> None:
        self.first_offset = first_offset
        self.last_offset = last_offset
        self.log_append_time = log_append_time
        self.log_start_offset = log_start_offset
        self.size_in_bytes = size_in_bytes
        self.max_timestamp = max_timestamp
        self.record_count = record_count
        self.is_duplicate = is_duplicate
        self.last_leader_epoch = last_leader_epoch


class AppendRules:
    """What a partition's configuration asks of a batch, laid out for the append."""

    __slots__ = (
        "compact",
        "compression_level",
        "log_append_time",
        "max_decompressed_bytes",
        "max_message_bytes",
        "target_compression",
        "timestamp_after_max_ms",
        "timestamp_before_max_ms",
        "timestamp_type",
        "topic_partition",
    )

    def __init__(self, topic_partition: TopicPartition, config: LogConfig) -> None:
        self.topic_partition = topic_partition
        self.max_message_bytes = config.max_message_bytes
        self.max_decompressed_bytes = max(MIN_DECOMPRESSED_BYTES, DECOMPRESSION_RATIO * config.max_message_bytes)
        self.compact = config.compact
        self.timestamp_type = config.timestamp_type
        self.log_append_time = self.timestamp_type == LOG_APPEND_TIME
        self.timestamp_before_max_ms = config.timestamp_before_max_ms
        self.timestamp_after_max_ms = config.timestamp_after_max_ms
        self.target_compression = config.target_compression
        self.compression_level = config.compression_level


def single_batch(buffer: "Buffer", position: int, size: int) -> RecordBatch:
    """The one batch of a produce request; a torn second one is left out, a whole one refused.

    Raises InvalidProduceError where no whole batch of format 2 lies, CorruptRecordError for one that lies.
    """
    if size <= 0:
        raise InvalidProduceError("there is no record batch for this partition")
    limit = position + size
    try:
        batch = RecordBatch(buffer, position, limit)
    except UnsupportedForMessageFormatError as error:
        raise InvalidProduceError(f"only message format 2 is taken: {error}") from error
    except CorruptRecordError as error:
        if _is_cut(buffer, position, size):
            raise InvalidProduceError(f"there is no whole record batch in {size} bytes") from error
        raise
    end = position + batch.size_in_bytes
    if end != limit:
        try:
            RecordBatch(buffer, end, limit)
        except CorruptRecordError:
            return batch
        raise InvalidProduceError("a produce request may hold only one record batch for each partition")
    return batch


def _is_cut(buffer: "Buffer", position: int, size: int) -> bool:
    """Whether a batch may begin here that is longer than what came (ByteBufferLogInputStream.java)."""
    if size <= LOG_OVERHEAD:
        return True
    length = int.from_bytes(memoryview(buffer)[position + 8 : position + LOG_OVERHEAD], "big", signed=True)
    return length >= MIN_LENGTH and LOG_OVERHEAD + length > size


def validate(
    batch: RecordBatch, rules: AppendRules, *, base_offset: int, leader_epoch: int, now_ms: int, origin: str
) -> RecordBatch:
    """Checks a batch and stamps it with offset, epoch and timestamps; returns it, or the one that takes its
    place.

    Raises MessageTooLargeError, CorruptRecordError, InvalidRecordError, InvalidTimestampError.
    """
    client = origin == CLIENT
    if client and batch.base_offset != 0:
        raise InvalidRecordError(
            f"{rules.topic_partition}: a client's batch begins at offset 0, this one at {batch.base_offset}"
        )
    if batch.size_in_bytes > rules.max_message_bytes:
        raise MessageTooLargeError(
            f"{rules.topic_partition} takes batches of up to {rules.max_message_bytes} bytes,"
            f" this one has {batch.size_in_bytes}"
        )
    if not batch.is_crc_valid():
        raise CorruptRecordError(
            f"the batch for {rules.topic_partition} is damaged: its CRC says {batch.crc:#010x}, its bytes do not"
        )
    if client:
        _check_header(batch, rules)
    compression = batch.compression
    target = rules.target_compression
    in_place = target in (PRODUCER_COMPRESSION, compression) or (not compression and batch.is_control)
    # Records that are not numbered 0, 1, 2 ... are refused; Kafka numbers some anew, for clients older than format 2.
    summary = batch.check_records(rules.max_decompressed_bytes)
    if (
        (rules.compact and summary.has_null_key)
        or batch.timestamp_type == LOG_APPEND_TIME
        or summary.max_timestamp - now_ms > rules.timestamp_after_max_ms
        or (
            rules.timestamp_before_max_ms != LONG_MAX and now_ms - summary.min_timestamp > rules.timestamp_before_max_ms
        )
    ):
        _check_each_record(batch, rules, now_ms)
    if not in_place:
        return _rebuild(batch, rules, base_offset=base_offset, leader_epoch=leader_epoch, now_ms=now_ms)

    batch.stamp(base_offset, leader_epoch)
    # Recomputes the CRC only where it changes something.
    batch.set_timestamps(rules.timestamp_type, now_ms if rules.log_append_time else summary.max_timestamp)
    return batch


def _check_header(batch: RecordBatch, rules: AppendRules) -> None:
    count = batch.count
    if count <= 0 or batch.last_offset_delta < 0:
        raise InvalidRecordError(
            f"the batch for {rules.topic_partition} claims {count} records and the last offset delta"
            f" {batch.last_offset_delta}"
        )
    if batch.last_offset_delta + 1 != count:
        raise InvalidRecordError(
            f"the batch for {rules.topic_partition} claims {count} records, and offsets for"
            f" {batch.last_offset_delta + 1}"
        )
    if batch.is_control:
        raise InvalidRecordError(
            f"the batch for {rules.topic_partition} is a control batch, which only a broker writes"
        )
    if batch.producer_id >= 0 and batch.base_sequence < 0:
        raise InvalidRecordError(
            f"the batch for {rules.topic_partition} has producer id {batch.producer_id}, but the sequence"
            f" {batch.base_sequence}"
        )


def _check_each_record(batch: RecordBatch, rules: AppendRules, now_ms: int) -> None:
    """Raises with the index and the fault of the records that break a rule, the first thousand of them (KIP-467)."""
    errors: list[tuple[int, str]] = []
    bad_timestamp = False
    earliest = now_ms - rules.timestamp_before_max_ms
    latest = now_ms + rules.timestamp_after_max_ms
    for index, record in enumerate(batch.records(rules.max_decompressed_bytes)):
        if len(errors) == MAX_RECORD_ERRORS:
            break
        if rules.compact and record.key is None:
            errors.append(
                (
                    index,
                    f"{rules.topic_partition} is compacted: each record needs a key",
                )
            )
        elif not rules.log_append_time and record.timestamp != NO_TIMESTAMP:
            if not earliest <= record.timestamp <= latest:
                bad_timestamp = True
                errors.append(
                    (
                        index,
                        f"record {index} has the timestamp {record.timestamp}, not in [{earliest}, {latest}]",
                    )
                )
        elif batch.timestamp_type == LOG_APPEND_TIME:
            bad_timestamp = True
            errors.append(
                (
                    index,
                    f"record {index} claims to have its timestamp from a broker (LogAppendTime)",
                )
            )
    if not errors:
        return
    error: InvalidTimestampError | InvalidRecordError
    if bad_timestamp:
        error = InvalidTimestampError(f"records refused, some for their timestamps: {_some(errors)}")
    else:
        error = InvalidRecordError(f"records refused: {_some(errors)}")
    error.record_errors = errors
    raise error


def _some(errors: list[tuple[int, str]]) -> str:
    """The first faults, for a message that people read."""
    more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
    return "; ".join(text for _, text in errors[:3]) + more


def _rebuild(
    batch: RecordBatch, rules: AppendRules, *, base_offset: int, leader_epoch: int, now_ms: int
) -> RecordBatch:
    """The same records in a batch with the topic's codec and fresh offsets."""
    compression = batch.compression if rules.target_compression == PRODUCER_COMPRESSION else rules.target_compression
    builder = BatchBuilder(
        base_offset=base_offset,
        compression=compression,
        level=rules.compression_level,
        timestamp_type=rules.timestamp_type,
        log_append_time=now_ms,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        partition_leader_epoch=leader_epoch,
        is_transactional=batch.is_transactional,
    )
    for record in batch.records(rules.max_decompressed_bytes):
        builder.append(record.timestamp, record.key, record.value, record.headers)
    rebuilt = RecordBatch(builder.build())
    if rebuilt.size_in_bytes > rules.max_message_bytes:
        raise MessageTooLargeError(
            f"{rules.topic_partition} takes batches of up to {rules.max_message_bytes} bytes, this one has"
            f" {rebuilt.size_in_bytes} after it was compressed anew"
        )
    return rebuilt
