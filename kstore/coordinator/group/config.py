"""What an operator may set about groups, under the names and defaults of GroupCoordinatorConfig.java.

Beside each stands its broker key. A shard may be given a new GroupConfig at any time.
"""

from typing import NamedTuple

DAY_MS = 24 * 60 * 60 * 1000


class GroupConfig(NamedTuple):
    min_session_timeout_ms: int = 6000  # group.min.session.timeout.ms
    max_session_timeout_ms: int = 1_800_000  # group.max.session.timeout.ms
    initial_rebalance_delay_ms: int = 3000  # group.initial.rebalance.delay.ms
    max_size: int = 2**31 - 1  # group.max.size
    offset_metadata_max_bytes: int = 4096  # offset.metadata.max.bytes
    offsets_retention_ms: int = 7 * DAY_MS  # offsets.retention.minutes
    offsets_retention_check_interval_ms: int = 600_000  # offsets.retention.check.interval.ms
