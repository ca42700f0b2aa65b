"""How fast replicas are copied to other log directories, all of them together: how many at a time, and at what rate
(`replica.alter.log.dirs.io.max.bytes.per.second`; KIP-113, ReplicationQuotaManager.scala)."""

import asyncio
from typing import TYPE_CHECKING

from kstore.replica.throttle import UNLIMITED, ReplicationQuota

if TYPE_CHECKING:
    from kstore.server.context import Context

# Until the rate is looked at again.
RETRY_S = 0.05


class CopyPace:
    """`copiers` is held by who copies a replica; `stopping` ends all waiting."""

    def __init__(self, context: "Context") -> None:
        config = context.config
        self._context = context
        self.stopping = False
        # As many at a time as Kafka has threads for it (num.replica.alter.log.dirs.threads).
        self.copiers = asyncio.Semaphore(len(context.replicas.logs.dirs))
        self.quota = ReplicationQuota(
            windows=config.alter_log_dirs_replication_quota_window_num,
            window_ms=1000 * config.alter_log_dirs_replication_quota_window_size_seconds,
        )

    def count(self, size: int) -> None:
        """Counts bytes that were copied."""
        if self._rate() < UNLIMITED:
            self.quota.record(size, self._context.clock.monotonic_ms())

    async def allowance(self) -> None:
        """Returns when more may be copied."""
        clock = self._context.clock
        while not self.stopping:
            self.quota.rate = self._rate()  # which may be set meanwhile
            if not self.quota.is_exceeded(clock.monotonic_ms()):
                return
            await asyncio.sleep(RETRY_S)

    def _rate(self) -> int:
        return self._context.config.replica_alter_log_dirs_io_max_bytes_per_second
