"""Time, which enters at the top and is passed down: `now_ms` is the wall clock's, `monotonic_ms` the monotonic one's.

A wall clock may be set back and forward at any time. It dates records and files, and says how old they are; what lasts
or waits is measured with the monotonic one. Only a log's own delays (deletions, `flush.ms`, the cleaner's rests)
go by dates that it has noted.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch: what timestamps and retention are measured in."""

    def monotonic_ms(self) -> int:
        """Milliseconds since some start, never going back: what waits and time-outs are measured in."""


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance(self, milliseconds: int = 0, *, seconds: int = 0, hours: int = 0, days: int = 0) -> None:
        milliseconds += 1000 * (seconds + 3600 * (hours + 24 * days))
        self._now_ms += milliseconds
        self._monotonic_ms += milliseconds

    def step_wall(self, milliseconds: int) -> None:
        """As a machine that has slept, or whose clock was set: what waits notices nothing."""
        self._now_ms += milliseconds
