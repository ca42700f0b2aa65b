"""Keeps reading and writing below a rate, by telling how long to pause (Throttler.java).

All cleanings share one throttle, so that the rate is theirs together.
"""

CHECK_MS = 300


class Throttle:
    __slots__ = ("_observed", "_since_ms", "bytes_per_second")

    def __init__(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._since_ms = -1
        self._observed = 0

    def slice_size(self, most: int) -> int:
        """How much to do before asking again: what may go in the time of one check."""
        return int(min(most, max(1.0, self.bytes_per_second * CHECK_MS / 1000)))

    def pause_ms(self, done: int, now_ms: int) -> int:
        """How long to wait after `done` more bytes."""
        if self._since_ms < 0 or now_ms < self._since_ms:
            self._since_ms = now_ms
        self._observed += done
        elapsed = now_ms - self._since_ms
        wanted = self._observed * 1000 / max(1.0, self.bytes_per_second)
        if elapsed < CHECK_MS and wanted < CHECK_MS:
            return 0
        pause = max(0, round(wanted - elapsed))
        self._since_ms = now_ms + pause
        self._observed = 0
        return pause
