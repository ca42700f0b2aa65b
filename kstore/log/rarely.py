"""Log lines that would come again and again: the first is written, and then one in a while with how many there were.

A full disk or a process without descriptors refuses thousands of requests a second; the log that tells of it must not
fill the disk.
"""

import logging
import time


class Rarely:
    """`seconds` is how long a line about the same thing is held back."""

    __slots__ = ("_held_back", "_logger", "_said", "_seconds")

    def __init__(self, logger: logging.Logger, seconds: float = 10) -> None:
        self._logger = logger
        self._seconds = seconds
        self._said: dict[object, float] = {}
        self._held_back: dict[object, int] = {}

    def log(self, about: object, level: int, message: str, *arguments: object) -> None:
        """Says `message` unless something was said `about` the same a short time ago; may be called in any thread."""
        now = time.monotonic()
        if now - self._said.get(about, -self._seconds) < self._seconds:
            self._held_back[about] = self._held_back.get(about, 0) + 1
            return
        self._said[about] = now
        more = self._held_back.pop(about, 0)
        self._logger.log(level, message + (f" ({more} more like it since the last one)" if more else ""), *arguments)
