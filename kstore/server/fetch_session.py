"""Fetch sessions: a fetcher names its partitions once and then only what changes (KIP-227).

A session remembers what each partition was last asked with and what it was last told. Its epoch counts the
requests, so that a repeated or lost one is noticed. Kafka: FetchSession.scala.
"""

import os
from typing import NamedTuple

from kstore.errors import (
    FetchSessionIdNotFoundError,
    FetchSessionTopicIdError,
    InvalidFetchSessionEpochError,
)

NO_SESSION = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1
MAX_INT32 = 2**31 - 1

# A session younger than this is not evicted for a larger one; one unused for longer makes room for any
# (FetchSession.scala).
EVICTION_MS = 120_000


class Wanted:
    """One partition that a fetch asks for, and in a session what was last said of it."""

    __slots__ = (
        "current_leader_epoch",
        "fetch_offset",
        "last_fetched_epoch",
        "log_start_offset",
        "max_bytes",
        "partition",
        "told_high_watermark",
        "told_log_start",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str | None, topic_id: bytes | None, request: tuple[int, int, int, int, int, int]) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.told_high_watermark = -1
        self.told_log_start = -1
        self.ask(request)

    def ask(self, request: tuple[int, int, int, int, int, int]) -> None:
        """(partition, current leader epoch, fetch offset, last fetched epoch, follower's log start, max
        bytes)"""
        (
            self.partition,
            self.current_leader_epoch,
            self.fetch_offset,
            self.last_fetched_epoch,
            self.log_start_offset,
            self.max_bytes,
        ) = request

    def has_news(
        self, *, error_code: int, diverges: bool, high_watermark: int, log_start_offset: int, told_anyway: bool
    ) -> bool:
        """True if this partition belongs into the answer; notes what it is told then. A follower that `diverges` takes
        nothing else from the answer (rule 5)."""
        news = (
            told_anyway
            or diverges
            or error_code != 0
            or high_watermark != self.told_high_watermark
            or log_start_offset != self.told_log_start
        )
        # After an error the partition is told of again even if nothing else has changed.
        is_taken = error_code == 0 and not diverges
        self.told_high_watermark = high_watermark if is_taken else -1
        self.told_log_start = log_start_offset if is_taken else -1
        return news


# A topic's id where the session uses ids, else its name, and the partition.
Key = tuple[str | bytes | None, int]


class Session:
    __slots__ = ("created_ms", "epoch", "id", "is_followers", "partitions", "used_ms", "uses_topic_ids")

    def __init__(
        self, id: int, partitions: dict[Key, Wanted], *, uses_topic_ids: bool, is_followers: bool, now_ms: int
    ) -> None:
        self.id = id
        self.is_followers = is_followers
        self.partitions = partitions
        self.uses_topic_ids = uses_topic_ids
        self.epoch = next_epoch(INITIAL_EPOCH)
        self.created_ms = now_ms
        self.used_ms = now_ms

    def moved_to_end(self, key: Key) -> None:
        """A partition that has given data comes last next time, so that none is starved by a byte limit."""
        self.partitions[key] = self.partitions.pop(key)


class Opened(NamedTuple):
    """How a fetch is served: all its partitions, and the session if there is one already."""

    wanted: dict[Key, Wanted]
    session: Session | None
    # The answer may found a session.
    may_found: bool


def next_epoch(epoch: int) -> int:
    return 1 if epoch == MAX_INT32 else epoch + 1


class FetchSessionCache:
    def __init__(self, max_sessions: int) -> None:
        self.max_sessions = max_sessions
        self.sessions: dict[int, Session] = {}

    def open(
        self,
        *,
        session_id: int,
        epoch: int,
        topics: list[tuple[str | None, bytes | None, list[tuple[int, int, int, int, int, int]]]],
        forgotten: list[tuple[str | None, bytes | None, list[int]]],
        uses_topic_ids: bool,
        now_ms: int,
    ) -> Opened:
        """Raises the KafkaError that the whole answer carries when the session is not what the client
        believes."""
        if epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self.sessions.pop(session_id, None)
            wanted = {
                (topic_id if uses_topic_ids else topic, request[0]): Wanted(topic, topic_id, request)
                for topic, topic_id, requests in topics
                for request in requests
            }
            return Opened(wanted, None, may_found=epoch == INITIAL_EPOCH)
        session = self._session(session_id, epoch, uses_topic_ids=uses_topic_ids)
        for topic, topic_id, requests in topics:
            name = topic_id if uses_topic_ids else topic
            for request in requests:
                known = session.partitions.get((name, request[0]))
                if known is None:
                    session.partitions[(name, request[0])] = Wanted(topic, topic_id, request)
                else:
                    known.ask(request)
        for topic, topic_id, partitions in forgotten:
            for partition in partitions:
                session.partitions.pop((topic_id if uses_topic_ids else topic, partition), None)
        if not session.partitions:
            del self.sessions[session_id]
            return Opened({}, None, may_found=False)
        session.epoch = next_epoch(session.epoch)
        session.used_ms = now_ms
        return Opened(session.partitions, session, may_found=False)

    def _session(self, session_id: int, epoch: int, *, uses_topic_ids: bool) -> Session:
        session = self.sessions.get(session_id)
        if session is None:
            raise FetchSessionIdNotFoundError(f"there is no fetch session {session_id}")
        if session.epoch != epoch:
            raise InvalidFetchSessionEpochError(
                f"fetch session {session_id} is at epoch {session.epoch}, the request at {epoch}"
            )
        if session.uses_topic_ids != uses_topic_ids:
            raise FetchSessionTopicIdError(f"fetch session {session_id} began with another use of topic ids")
        return session

    def found(self, wanted: dict[Key, Wanted], *, uses_topic_ids: bool, is_followers: bool = False, now_ms: int) -> int:
        """Id of a new session for these partitions, or 0 if there is no room for it."""
        if not wanted or not self._make_room(len(wanted), is_followers, now_ms):
            return NO_SESSION
        session_id = NO_SESSION
        while session_id == NO_SESSION or session_id in self.sessions:
            session_id = int.from_bytes(os.urandom(4), "big") & MAX_INT32
        self.sessions[session_id] = Session(
            session_id, wanted, uses_topic_ids=uses_topic_ids, is_followers=is_followers, now_ms=now_ms
        )
        return session_id

    def _make_room(self, size: int, is_followers: bool, now_ms: int) -> bool:
        """Evicts the session unused for longest if it is stale, else a smaller one that is no longer new. A follower's
        takes the place of a consumer's of any age and size, and never gives it up to one."""
        if len(self.sessions) < self.max_sessions:
            return True
        if not self.sessions:
            return False
        victim = min(self.sessions.values(), key=lambda session: session.used_ms)
        if now_ms - victim.used_ms <= EVICTION_MS:
            found = self._victim(size, is_followers, now_ms)
            if found is None:
                return False
            victim = found
        del self.sessions[victim.id]
        return True

    def _victim(self, size: int, is_followers: bool, now_ms: int) -> Session | None:
        consumers = [session for session in self.sessions.values() if not session.is_followers]
        if is_followers and consumers:
            return min(consumers, key=lambda session: len(session.partitions))
        candidates = self.sessions.values() if is_followers else consumers
        settled = [session for session in candidates if now_ms - session.created_ms > EVICTION_MS]
        victim = min(settled, key=lambda session: len(session.partitions), default=None)
        return None if victim is None or len(victim.partitions) > size else victim
