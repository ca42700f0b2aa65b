"""What a broker's `log.cleaner.*` keys say for all logs together; what each log may have for itself is in its LogConfig
(CleanerConfig.java)."""

from typing import NamedTuple

DEDUPE_BUFFER_SIZE = 16 * 1024 * 1024
UNLIMITED = 1.7976931348623157e308


class CleanerConfig(NamedTuple):
    """`dedupe_buffer_size` and `io_buffer_size` are shared by all threads."""

    enable: bool = True
    threads: int = 1
    dedupe_buffer_size: int = DEDUPE_BUFFER_SIZE
    load_factor: float = 0.9
    io_buffer_size: int = 512 * 1024
    io_max_bytes_per_second: float = UNLIMITED
    backoff_ms: int = 15_000

    @property
    def map_size(self) -> int:
        """Of one cleaning."""
        return self.dedupe_buffer_size // max(1, self.threads)

    @property
    def chunk_size(self) -> int:
        """What a cleaning reads at a time, and about what it writes: half of its buffer each."""
        return max(4096, self.io_buffer_size // max(1, self.threads) // 2)
