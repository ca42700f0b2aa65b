"""Where requests wait: a produce for an offset to be committed, a fetch for bytes to come.

A waiting request is looked at only when one of its own partitions has news, and answered exactly once: by the
news that completes it, by its time-out, or by the end of its leader's epoch (DelayedProduce.scala,
DelayedFetch.scala).
"""

from collections.abc import Callable
from typing import Any, Protocol

from kstore.model import TopicPartition


class Timer(Protocol):
    def cancel(self) -> object: ...


# (delay in ms, callback) -> the timer
CallLater = Callable[[int, Callable[[], None]], Timer]


class Waiting:
    """A request that waits on some partitions. `complete(timed_out)` answers it."""

    __slots__ = ("complete", "partitions", "timer")

    def __init__(self, partitions: dict[TopicPartition, int], complete: Callable[[bool], None]) -> None:
        # What each partition still has to bring: an offset for a produce, for a fetch the bytes that it
        # brought.
        self.partitions = partitions
        self.complete = complete
        self.timer: Timer | None = None


class Purgatory:
    """The waiting requests of one kind, by the partitions that they wait on."""

    def __init__(self, call_later: CallLater) -> None:
        self._call_later = call_later
        self.watched: dict[tuple[str, int], dict[int, Any]] = {}

    def __len__(self) -> int:
        return len({key for waiting in self.watched.values() for key in waiting})

    def watch(self, waiting: Waiting, *, timeout_ms: int) -> None:
        for topic_partition in waiting.partitions:
            self.watched.setdefault(topic_partition, {})[id(waiting)] = waiting
        waiting.timer = self._call_later(timeout_ms, lambda: self.finish(waiting, timed_out=True))

    def finish(self, waiting: Waiting, *, timed_out: bool = False) -> None:
        """Answers `waiting` and forgets it."""
        self.forget(waiting)
        waiting.complete(timed_out)

    def forget(self, waiting: Waiting) -> None:
        if waiting.timer is not None:
            waiting.timer.cancel()
            waiting.timer = None
        for topic_partition in waiting.partitions:
            self._unwatch(topic_partition, waiting)

    def _unwatch(self, topic_partition: TopicPartition, waiting: Waiting) -> None:
        others = self.watched.get(topic_partition)
        if others is not None:
            others.pop(id(waiting), None)
            if not others:
                del self.watched[topic_partition]

    def leadership_ended(self, topic_partition: TopicPartition) -> None:
        """Whoever waits on the partition is answered now; the answer finds out what has become of it."""
        for waiting in list(self.watched.get(topic_partition, {}).values()):
            self.finish(waiting)


class ProducePurgatory(Purgatory):
    """Produces with acks=all: `partitions` holds the offsets that the high watermarks have to reach."""

    def high_watermark_advanced(self, topic_partition: TopicPartition, high_watermark: int) -> None:
        for waiting in list(self.watched.get(topic_partition, {}).values()):
            if high_watermark >= waiting.partitions[topic_partition]:
                self._unwatch(topic_partition, waiting)
                del waiting.partitions[topic_partition]
                if not waiting.partitions:
                    self.finish(waiting)


class DeletePurgatory(Purgatory):
    """DeleteRecords: `partitions` holds the offsets that the low watermarks have to reach. `low_watermark` gives a
    partition's, or raises where nobody knows it any more: then there is nothing to wait for (DelayedDeleteRecords)."""

    def __init__(self, call_later: CallLater, low_watermark: Callable[[TopicPartition], int]) -> None:
        super().__init__(call_later)
        self._low_watermark = low_watermark

    def low_watermark_moved(self, topic_partition: TopicPartition) -> None:
        watching = self.watched.get(topic_partition)
        if not watching:
            return
        low_watermark = self._low_watermark(topic_partition)
        for waiting in list(watching.values()):
            if low_watermark >= waiting.partitions[topic_partition]:
                self._unwatch(topic_partition, waiting)
                del waiting.partitions[topic_partition]
                if not waiting.partitions:
                    self.finish(waiting)


class FetchWaiting(Waiting):
    """`available(partition)` says how many bytes could be read there now; `needed` is the request's
    min_bytes."""

    __slots__ = ("available", "gathered", "needed")

    def __init__(
        self,
        partitions: dict[TopicPartition, int],
        complete: Callable[[bool], None],
        *,
        needed: int,
        available: Callable[[TopicPartition], int],
    ) -> None:
        super().__init__(partitions, complete)
        self.needed = needed
        self.available = available
        self.gathered = sum(partitions.values())


class FetchPurgatory(Purgatory):
    """Fetches below their min_bytes: `partitions` holds the bytes that each partition could give when last
    asked."""

    def bytes_came(self, topic_partition: TopicPartition) -> None:
        for waiting in list(self.watched.get(topic_partition, {}).values()):
            now_there = waiting.available(topic_partition)
            waiting.gathered += now_there - waiting.partitions[topic_partition]
            waiting.partitions[topic_partition] = now_there
            if waiting.gathered >= waiting.needed:
                self.finish(waiting)
