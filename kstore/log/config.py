"""The configuration of one partition's log, in Kafka's words, units and defaults.

A `LogConfig` is a value: a change makes a new one, and `PartitionLog.update_config` takes it. Field
`retention_ms` is Kafka's topic key `retention.ms`; `topic_keys` holds their types and valid values
(LogConfig.java, release 3.9).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kstore.config_def import ConfigValue

LONG_MAX = 2**63 - 1

CREATE_TIME = 0
LOG_APPEND_TIME = 1

# Ids as in a batch's attributes; -1 keeps what the producer chose (BrokerCompressionType.java).
PRODUCER_COMPRESSION = -1
COMPRESSION_IDS = {
    "producer": PRODUCER_COMPRESSION,
    "uncompressed": 0,
    "gzip": 1,
    "snappy": 2,
    "lz4": 3,
    "zstd": 4,
}


class LogConfig(NamedTuple):
    segment_bytes: int = 1024 * 1024 * 1024
    segment_ms: int = 7 * 24 * 60 * 60 * 1000
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10 * 1024 * 1024
    flush_messages: int = LONG_MAX
    flush_ms: int = LONG_MAX
    retention_bytes: int = -1
    retention_ms: int = 7 * 24 * 60 * 60 * 1000
    max_message_bytes: int = 1024 * 1024 + 12
    index_interval_bytes: int = 4096
    delete_retention_ms: int = 24 * 60 * 60 * 1000
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = LONG_MAX
    file_delete_delay_ms: int = 60 * 1000
    min_cleanable_dirty_ratio: float = 0.5
    cleanup_policy: tuple[str, ...] = ("delete",)
    unclean_leader_election_enable: bool = False
    min_insync_replicas: int = 1
    compression_type: str = "producer"
    compression_gzip_level: int = -1
    compression_lz4_level: int = 9
    compression_zstd_level: int = 3
    preallocate: bool = False
    message_format_version: str = "3.0-IV1"
    message_timestamp_type: str = "CreateTime"
    message_timestamp_difference_max_ms: int = LONG_MAX
    message_timestamp_before_max_ms: int = LONG_MAX
    message_timestamp_after_max_ms: int = LONG_MAX
    leader_replication_throttled_replicas: tuple[str, ...] = ()
    follower_replication_throttled_replicas: tuple[str, ...] = ()
    message_downconversion_enable: bool = True
    remote_storage_enable: bool = False
    local_retention_ms: int = -2
    local_retention_bytes: int = -2
    remote_log_copy_disable: bool = False
    remote_log_delete_on_disable: bool = False

    @property
    def compact(self) -> bool:
        return "compact" in self.cleanup_policy

    @property
    def delete(self) -> bool:
        return "delete" in self.cleanup_policy

    @property
    def max_segment_ms(self) -> int:
        """A segment that is appended to is not compacted, so it ends when its records have to be (KIP-354)."""
        if self.compact and self.max_compaction_lag_ms > 0:
            return min(self.max_compaction_lag_ms, self.segment_ms)
        return self.segment_ms

    @property
    def timestamp_type(self) -> int:
        return LOG_APPEND_TIME if self.message_timestamp_type == "LogAppendTime" else CREATE_TIME

    @property
    def target_compression(self) -> int:
        """The codec that stored batches have, or PRODUCER_COMPRESSION."""
        return COMPRESSION_IDS[self.compression_type]

    @property
    def compression_level(self) -> int | None:
        """The level for `target_compression`, or None where the codec has none."""
        levels = {
            "gzip": self.compression_gzip_level,
            "lz4": self.compression_lz4_level,
            "zstd": self.compression_zstd_level,
        }
        return levels.get(self.compression_type)

    # The deprecated difference.max counts only where before.max or after.max were left alone.
    @property
    def timestamp_before_max_ms(self) -> int:
        if self.message_timestamp_before_max_ms != LONG_MAX:
            return self.message_timestamp_before_max_ms
        return self.message_timestamp_difference_max_ms

    @property
    def timestamp_after_max_ms(self) -> int:
        if self.message_timestamp_after_max_ms != LONG_MAX:
            return self.message_timestamp_after_max_ms
        return self.message_timestamp_difference_max_ms

    @classmethod
    def from_values(cls, values: "Mapping[str, ConfigValue]") -> "LogConfig":
        """Of parsed values by Kafka's topic keys (`topic_keys`), with Kafka's defaults for those that are
        missing."""
        fields: dict[str, Any] = {
            name.replace(".", "_"): tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**fields)
