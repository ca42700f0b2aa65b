"""What a partition's log knows of itself: its files, and the offsets that bound it.

    log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset        (rule 41)

The high watermark and the last stable offset are kept with the segment and the position where they lie, so that a
fetch at the tail needs no search (UnifiedLog.scala).
"""

from threading import Lock

from kstore.errors import InconsistentTopicIdError, OffsetOutOfRangeError
from kstore.log.append import AppendRules
from kstore.log.config import LogConfig
from kstore.log.directory import PARTITION_METADATA, format_partition_metadata
from kstore.log.files import Directory
from kstore.log.leader_epoch import EpochEndOffset
from kstore.log.loading import LoadedLog
from kstore.log.log_dir import LogDir
from kstore.log.refused_appends import RefusedAppends
from kstore.log.segment import Segment
from kstore.model import TopicPartition, uuid_to_text


class LogState:
    __slots__ = (
        "_active",
        "_flush_lock",
        "_flush_messages",
        "_has_aborted",
        "_hw_position",
        "_hw_segment",
        "_lso_position",
        "_lso_segment",
        "_name_number",
        "_names_unsynced",
        "_refused",
        "_rules",
        "_sealed",
        "_tail_offset",
        "_tail_position",
        "_tail_segment",
        "_truncations",
        "_unsynced",
        "config",
        "directory",
        "first_dirty_offset",
        "first_unstable_offset",
        "high_watermark",
        "last_flush_ms",
        "leader_epoch_cache",
        "log_dir",
        "log_end_offset",
        "log_start_offset",
        "producer_state",
        "recovered_from_crash",
        "recovery_point",
        "rewrite_lock",
        "segments",
        "topic_id",
        "topic_partition",
    )

    def __init__(
        self,
        directory: Directory,
        log_dir: LogDir,
        topic_partition: TopicPartition,
        config: LogConfig,
        loaded: LoadedLog,
        *,
        now_ms: int,
        topic_id: bytes | None,
    ) -> None:
        self.directory = directory
        self.log_dir = log_dir
        self.topic_partition = topic_partition
        self.segments = loaded.segments
        self._active = loaded.segments.active
        self.leader_epoch_cache = loaded.leader_epochs
        self.producer_state = loaded.producer_state
        self.log_start_offset = loaded.log_start_offset
        self.log_end_offset = loaded.log_end_offset
        self.recovery_point = loaded.recovery_point
        self.recovered_from_crash = loaded.recovered_from_crash
        self.last_flush_ms = now_ms
        self.high_watermark = loaded.log_start_offset
        self._hw_segment: Segment | None = None
        self._hw_position = 0
        # Where the cleaner goes on; -1 for a log that it has never cleaned.
        self.first_dirty_offset = -1
        self.first_unstable_offset = -1
        self._lso_segment: Segment | None = None
        self._lso_position = 0
        # Where a reader that has read all will go on: it costs no search.
        self._tail_offset = -1
        self._tail_segment: Segment | None = None
        self._tail_position = 0
        self._has_aborted = any(segment.txn_index.exists for segment in loaded.segments)
        self._truncations = 0
        self._flush_lock = Lock()
        # Held while a cleaning makes known that it has a segment ready, and while a cut takes that back.
        self.rewrite_lock = Lock()
        self._sealed: list[Segment] = []  # since the last flush
        self._refused = RefusedAppends()
        # Names and contents that must be durable before the first append.
        self._unsynced = self._names_unsynced = loaded.is_new
        self._name_number = 0
        if loaded.is_new:
            log_dir.names_made += 1
            self._name_number = log_dir.names_made
            log_dir.made.append(topic_partition)
        self.topic_id = loaded.topic_id
        self.update_config(config)
        if topic_id is not None:
            self.assign_topic_id(topic_id)
        self._update_first_unstable_offset()

    # --- configuration and identity ---

    def update_config(self, config: LogConfig) -> None:
        self.config = config
        self._rules = AppendRules(self.topic_partition, config)
        self._active.set_roll_limits(config.segment_bytes, config.max_segment_ms)
        self._flush_messages = config.flush_messages

    def assign_topic_id(self, topic_id: bytes) -> None:
        """Raises InconsistentTopicIdError when the log belongs to another topic of the same name."""
        if self.topic_id == topic_id:
            return
        if self.topic_id is not None:
            raise InconsistentTopicIdError(
                f"the log of {self.topic_partition} belongs to the topic with id {uuid_to_text(self.topic_id)},"
                f" not to {uuid_to_text(topic_id)}"
            )
        self.topic_id = topic_id
        content = format_partition_metadata(uuid_to_text(topic_id))
        try:
            # The first append makes it durable; behind records it must be at once, for a torn one is taken for damage.
            self.directory.replace_file(PARTITION_METADATA, content, sync=self.log_end_offset > 0)
        except OSError as error:
            raise self.log_dir.io_error(f"writing partition metadata of {self.topic_partition}", error) from error
        self._unsynced = self._names_unsynced = True

    @property
    def size_in_bytes(self) -> int:
        return self.segments.size_in_bytes

    @property
    def last_stable_offset(self) -> int:
        """The offset below which every transaction is decided and replicated; never above the high
        watermark."""
        unstable = self.first_unstable_offset
        return unstable if 0 <= unstable < self.high_watermark else self.high_watermark

    @property
    def truncations(self) -> int:
        """How often the log was cut: who reads it in another thread may have to begin again."""
        return self._truncations

    @property
    def unflushed_messages(self) -> int:
        return self.log_end_offset - self.recovery_point

    @property
    def must_flush(self) -> bool:
        """Whether `flush.messages` asks for a flush before what was appended is acknowledged."""
        return self.log_end_offset - self.recovery_point >= self._flush_messages

    def __repr__(self) -> str:
        return (
            f"PartitionLog({self.topic_partition}, start={self.log_start_offset},"
            f" high_watermark={self.high_watermark}, end={self.log_end_offset},"
            f" {len(self.segments)} segments)"
        )

    # --- offsets ---

    def maybe_increment_high_watermark(self, offset: int) -> bool:
        """The leader's way: only forward, never beyond the log end (rule 13). True if it moved."""
        if offset > self.log_end_offset:
            raise AssertionError(f"high watermark {offset} above the log's end, {self.log_end_offset}")
        if offset <= self.high_watermark:
            return False
        self._set_high_watermark(offset)
        return True

    def update_high_watermark(self, offset: int) -> int:
        """The follower's way, and that of a start: into [log start, log end], in either direction; returns
        it."""
        bounded = max(self.log_start_offset, min(offset, self.log_end_offset))
        if bounded != self.high_watermark:
            self._set_high_watermark(bounded)
        return bounded

    def _set_high_watermark(self, offset: int) -> None:
        self.high_watermark = offset
        if offset == self.log_end_offset:
            self._hw_segment = self._active
            self._hw_position = self._active.size
        else:
            self._hw_segment = None
        state = self.producer_state
        if state.unreplicated or self.first_unstable_offset >= 0:
            state.on_high_watermark(offset)
            self._update_first_unstable_offset()

    def _update_first_unstable_offset(self) -> None:
        txn = self.producer_state.first_unstable_txn()
        if txn is None:
            self.first_unstable_offset = -1
            self._lso_segment = None
        elif txn.first_offset < self.log_start_offset:
            self.first_unstable_offset = self.log_start_offset
            self._lso_segment = None
        elif txn.first_offset != self.first_unstable_offset:
            self.first_unstable_offset = txn.first_offset
            self._lso_segment = self.segments.get(txn.segment_base_offset) if txn.position >= 0 else None
            self._lso_position = txn.position

    def forget_positions(self) -> None:
        """Segments were cut or replaced: what was known to lie in them is searched again."""
        self._hw_segment = None
        self._lso_segment = None
        self._tail_offset = -1
        self._tail_segment = None

    def maybe_increment_log_start_offset(self, offset: int) -> bool:
        """Lets everything below `offset` go (DeleteRecords, or a leader's word to its follower); True if it
        moved.

        The segments go with the next retention run. Raises OffsetOutOfRangeError above the high watermark.
        """
        self.log_dir.check()
        if offset > self.high_watermark:
            raise OffsetOutOfRangeError(
                f"{self.topic_partition} cannot begin at offset {offset}, above its high watermark"
                f" {self.high_watermark}"
            )
        if offset <= self.log_start_offset:
            return False
        # The recovery point, unlike Kafka's, stays: neither the new start nor the bytes below it are on the disk yet,
        # and after a power loss nobody would look at what is missing there.
        self.log_start_offset = offset
        self.leader_epoch_cache.truncate_from_start(offset)
        self.producer_state.on_log_start_offset(offset)
        self._update_first_unstable_offset()
        return True

    def assign_epoch_start_offset(self, leader_epoch: int, offset: int) -> None:
        """A leader notes its epoch when it is elected, before any append (rule 4); durable before the first
        append."""
        if self.leader_epoch_cache.assign(leader_epoch, offset):
            self._unsynced = self._names_unsynced = True

    def take_over_epochs(self, other: "LogState") -> None:
        """Of a log with the same records, which may know of epochs that are in no batch."""
        if self.leader_epoch_cache.take_over(other.leader_epoch_cache.entries):
            self._unsynced = self._names_unsynced = True

    @property
    def latest_epoch(self) -> int:
        return self.leader_epoch_cache.latest_epoch

    def epoch_end_offset(self, leader_epoch: int) -> EpochEndOffset:
        """The largest epoch not above `leader_epoch` and where it ended; (-1, -1) where that is not known."""
        return self.leader_epoch_cache.end_offset_for(leader_epoch, self.log_end_offset)
