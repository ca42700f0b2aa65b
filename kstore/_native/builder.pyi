"""Record batches (message format v2) from records: what Java's MemoryRecordsBuilder writes, byte for byte,
apart from the codecs' own freedom."""

from collections.abc import Iterable, Sequence
from typing import final

from typing_extensions import Buffer

from kstore._native.record import Record

Headers = Sequence[tuple[str | Buffer, Buffer | None]]

@final
class BatchBuilder:
    """One batch in the making. Records lie in it as they will be written, so `build` copies nothing unless it
    compresses. A record that is refused leaves the batch as it was.

    `level` None is Kafka's default of the codec. With `timestamp_type` 1 the batch's max timestamp is
    `log_append_time`. With `delete_horizon_ms` the base timestamp is the horizon (KIP-534).
    """

    def __init__(
        self,
        *,
        base_offset: int = 0,
        compression: int = 0,
        level: int | None = None,
        timestamp_type: int = 0,
        log_append_time: int = -1,
        producer_id: int = -1,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        partition_leader_epoch: int = -1,
        is_transactional: bool = False,
        is_control: bool = False,
        delete_horizon_ms: int | None = None,
    ) -> None: ...
    def append(self, timestamp: int, key: Buffer | None, value: Buffer | None, headers: Headers = ()) -> None:
        """Gives the record the next offset. MessageTooLargeError when the batch would pass 2^31 - 1 bytes."""

    def append_with_offset(
        self, offset: int, timestamp: int, key: Buffer | None, value: Buffer | None, headers: Headers = ()
    ) -> None:
        """ValueError unless the offset is above the last one and within 2^31 of the base offset."""

    def extend(self, records: Iterable[Record | tuple[object, ...]]) -> None:
        """Appends Records, or (timestamp, key, value[, headers]) tuples, with the next offsets."""

    def override_last_offset(self, last_offset: int) -> None:
        """Lets the batch reach further than its records do: compaction keeps the last offset of the
        original."""

    @property
    def count(self) -> int: ...
    @property
    def estimated_size(self) -> int:
        """The size that the batch would have uncompressed."""

    @property
    def next_offset(self) -> int: ...
    @property
    def max_timestamp(self) -> int:
        """The largest timestamp so far, -1 without records."""

    def build(self) -> bytearray:
        """The finished batch; the builder is then used up. ValueError without records: see empty_batch."""

def empty_batch(
    *,
    base_offset: int,
    last_offset: int,
    timestamp: int = -1,
    timestamp_type: int = 0,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    partition_leader_epoch: int = -1,
    is_transactional: bool = False,
    is_control: bool = False,
) -> bytearray:
    """A header without records, kept by compaction for the producer's last sequence."""

def control_batch(
    control_type: int,
    *,
    base_offset: int = 0,
    timestamp: int,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int = 0,
    partition_leader_epoch: int = -1,
) -> bytearray:
    """A transaction marker: `control_type` is ABORT_MARKER or COMMIT_MARKER (EndTransactionMarker.java)."""
