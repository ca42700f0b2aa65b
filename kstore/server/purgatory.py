"""Where requests wait: a produce for an offset to be committed, a fetch for bytes to come.

A waiting request is looked at only when one of its own partitions has news, and answered exactly once: by the
news that completes it, by its time-out, or by the end of its leader's epoch (DelayedProduce.scala,
DelayedFetch.scala). A follower's session hears of its partitions as long as it lives, whether its fetch waits or not.
"""

from collections.abc import Callable
from typing import Any, Protocol

from kstore.model import TopicPartition
from kstore.server.fetch_session import Followers, FollowerSession


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

    def watch(self, waiting: Any, *, timeout_ms: int) -> None:
        self._enter(waiting)
        waiting.timer = self._call_later(timeout_ms, lambda: self.finish(waiting, timed_out=True))

    def finish(self, waiting: Any, *, timed_out: bool = False) -> None:
        """Answers `waiting` and forgets it."""
        self.forget(waiting)
        waiting.complete(timed_out)

    def forget(self, waiting: Any) -> None:
        if waiting.timer is not None:
            waiting.timer.cancel()
            waiting.timer = None
        self._leave(waiting)

    def _enter(self, waiting: Any) -> None:
        for topic_partition in waiting.partitions:
            self.watched.setdefault(topic_partition, {})[id(waiting)] = waiting

    def _leave(self, waiting: Any) -> None:
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
    """`available(partition)` says how many bytes could be read there now; `needed` is the request's min_bytes. With a
    `session` all its partitions are waited on."""

    __slots__ = ("available", "gathered", "needed", "session")

    def __init__(
        self,
        partitions: dict[TopicPartition, int],
        complete: Callable[[bool], None],
        *,
        needed: int,
        available: Callable[[TopicPartition], int],
        session: FollowerSession | None = None,
    ) -> None:
        super().__init__(partitions, complete)
        self.needed = needed
        self.available = available
        self.session = session
        self.gathered = sum(partitions.values())

    @property
    def is_forgotten(self) -> bool:
        return self.session is not None and self.session.waiting is not self

    def came(self, topic_partition: TopicPartition) -> bool:
        """Whether that is enough."""
        now_there = self.available(topic_partition)
        self.gathered += now_there - self.partitions.get(topic_partition, 0)
        self.partitions[topic_partition] = now_there
        return self.gathered >= self.needed


class FetchPurgatory(Purgatory):
    """Fetches below their min_bytes: `partitions` holds the bytes that each partition could give when last
    asked. `followers` are the sessions that hear of each partition."""

    def __init__(self, call_later: CallLater, followers: Followers | None = None) -> None:
        super().__init__(call_later)
        self.followers: Followers = {} if followers is None else followers

    def __len__(self) -> int:
        sessions = {session for listeners in self.followers.values() for session in listeners}
        return super().__len__() + sum(session.waiting is not None for session in sessions)

    def _enter(self, waiting: FetchWaiting) -> None:
        if waiting.session is None:
            super()._enter(waiting)
        else:
            waiting.session.waiting = waiting

    def _leave(self, waiting: FetchWaiting) -> None:
        if waiting.session is None:
            super()._leave(waiting)
        elif waiting.session.waiting is waiting:
            waiting.session.waiting = None

    def bytes_came(self, topic_partition: TopicPartition) -> None:
        others = self.watched.get(topic_partition)
        waiting = [] if others is None else list(others.values())
        for each in waiting + self.stir(topic_partition):
            # The answer to one before it may have taken the session of this one for another; its time-out answers it.
            if not each.is_forgotten and each.came(topic_partition):
                self.finish(each)

    def stir(self, topic_partition: TopicPartition) -> list[FetchWaiting]:
        """Has the partition looked at by the next fetch of each session. Returns those that wait."""
        waiting = []
        for session, key in self.followers.get(topic_partition, {}).items():
            session.stir(key)
            if session.waiting is not None:
                waiting.append(session.waiting)
        return waiting

    def leadership_ended(self, topic_partition: TopicPartition) -> None:
        super().leadership_ended(topic_partition)
        for waiting in self.stir(topic_partition):
            if not waiting.is_forgotten:
                self.finish(waiting)
