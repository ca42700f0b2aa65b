"""Fetch sessions: a fetcher names its partitions once and then only what changes (KIP-227).

A session remembers what each partition was last asked with and what it was last told. Its epoch counts the
requests, so that a repeated or lost one is noticed. Kafka: FetchSession.scala.

A follower has all there is of most partitions, most of the time. In its session one that was found so rests until
there is news of it: the request names it, records or a watermark came, its leader or its log's start has changed. What
nobody tells of (retention has cut a log, a disk has failed) is found by a look at all of them every LOOK_AT_ALL_MS; so
often is noted, too, that a follower in sync has asked (rule 23). While a partition rests it tells nothing and is told
nothing: leader and follower may know of it late, but never wrongly.
"""

import os
from typing import Any, NamedTuple

from kstore.errors import (
    FetchSessionIdNotFoundError,
    FetchSessionTopicIdError,
    InvalidFetchSessionEpochError,
)
from kstore.model import TopicPartition

NO_SESSION = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1
MAX_INT32 = 2**31 - 1

# A session younger than this is not evicted for a larger one; one unused for longer makes room for any
# (FetchSession.scala).
EVICTION_MS = 120_000
# A follower's fetch waits for replica.fetch.wait.max.ms; a session that is not used for so long is none any more.
LET_GO_MS = 30_000

# A fetch that finds nothing waits as long by default (replica.fetch.wait.max.ms): what it does not wake for takes no
# longer than it would in a cluster that is idle.
LOOK_AT_ALL_MS = 500

# (broker id, broker epoch) of a follower that fetches.
Replica = tuple[int, int]
NO_REPLICA: Replica = (-1, -1)

NOT_COMPARED = -2


class Wanted:
    """One partition that a fetch asks for, and in a session what was last said of it."""

    __slots__ = (
        "agreed_epoch",
        "current_leader_epoch",
        "fetch_offset",
        "is_watched",
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
        # Whether its session hears of its news.
        self.is_watched = False
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
        # The leader's last epoch when its log was found to agree with the follower's (rule 5).
        self.agreed_epoch = NOT_COMPARED

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
    __slots__ = ("created_ms", "epoch", "id", "partitions", "used_ms", "uses_topic_ids")

    def __init__(self, id: int, partitions: dict[Key, Wanted], *, uses_topic_ids: bool, monotonic_ms: int) -> None:
        self.id = id
        self.partitions = partitions
        self.uses_topic_ids = uses_topic_ids
        self.epoch = next_epoch(INITIAL_EPOCH)
        self.created_ms = monotonic_ms
        self.used_ms = monotonic_ms

    def asked_by(self, replica: Replica, monotonic_ms: int) -> dict[Key, Wanted]:
        """What a request has to look at, whoever makes it; it is looked at again when the request has waited."""
        self.used_ms = monotonic_ms
        return self.partitions

    def ask(
        self, topic: str | None, topic_id: bytes | None, key: Key, request: tuple[int, int, int, int, int, int]
    ) -> None:
        known = self.partitions.get(key)
        if known is None:
            self.partitions[key] = Wanted(topic, topic_id, request)
        else:
            known.ask(request)

    def forget(self, key: Key) -> None:
        self.partitions.pop(key, None)

    def moved_to_end(self, key: Key) -> None:
        """A partition that has given data comes last next time, so that none is starved by a byte limit."""
        self.partitions[key] = self.partitions.pop(key)

    def close(self) -> None:
        """It is not in the cache any more."""


# The sessions that hear of a partition's news, and what each of them calls the partition.
Followers = dict[TopicPartition, dict["FollowerSession", Key]]


class FollowerSession(Session):
    """`stirred` are the partitions to be looked at, in the order of all; each that rests hears of its news through
    `followers`. `waiting` is its fetch that waits in purgatory (FetchWaiting, or None)."""

    __slots__ = ("_followers", "_looked_ms", "replica", "stirred", "waiting")

    def __init__(
        self,
        id: int,
        partitions: dict[Key, Wanted],
        *,
        replica: Replica,
        followers: Followers,
        uses_topic_ids: bool,
        monotonic_ms: int,
    ) -> None:
        super().__init__(id, partitions, uses_topic_ids=uses_topic_ids, monotonic_ms=monotonic_ms)
        self.stirred = dict(partitions)
        self.waiting: Any = None
        self._followers = followers
        self._looked_ms = monotonic_ms
        self.replica = replica

    def asked_by(self, replica: Replica, monotonic_ms: int) -> dict[Key, Wanted]:
        self.used_ms = monotonic_ms
        if replica != self.replica or monotonic_ms - self._looked_ms >= LOOK_AT_ALL_MS:
            self.replica = replica
            self._looked_ms = monotonic_ms
            self.stirred.clear()
            self.stirred.update(self.partitions)
        return self.stirred

    def ask(
        self, topic: str | None, topic_id: bytes | None, key: Key, request: tuple[int, int, int, int, int, int]
    ) -> None:
        super().ask(topic, topic_id, key, request)
        self.stir(key)

    def stir(self, key: Key) -> None:
        """There may be news of this partition."""
        self.stirred[key] = self.partitions[key]

    def rest(self, key: Key, want: Wanted) -> None:
        """There is nothing to tell of this partition until it is stirred."""
        self.watch(key, want)
        self.stirred.pop(key, None)

    def watch(self, key: Key, want: Wanted) -> None:
        if not want.is_watched:
            want.is_watched = True
            self._followers.setdefault(_place(want), {})[self] = key

    def want_of(self, topic_partition: TopicPartition) -> Wanted:
        """Of one that is watched."""
        return self.partitions[self._followers[topic_partition][self]]

    def forget(self, key: Key) -> None:
        want = self.partitions.get(key)
        if want is not None:
            self._unwatch(key, want)
            self.stirred.pop(key, None)
        super().forget(key)

    def moved_to_end(self, key: Key) -> None:
        super().moved_to_end(key)
        self.stirred.pop(key, None)
        self.stir(key)

    def close(self) -> None:
        for key, want in self.partitions.items():
            self._unwatch(key, want)
        # A fetch that still waits has nothing written where nobody would take it out, and is answered by its time-out.
        self._followers = {}
        self.waiting = None

    def _unwatch(self, key: Key, want: Wanted) -> None:
        place = _place(want)
        listeners = self._followers.get(place, {})
        # A topic that was made anew has another key, and may have come in the place of the one before it.
        if want.is_watched and listeners.get(self) == key:
            del listeners[self]
            if not listeners:
                del self._followers[place]
        want.is_watched = False


def _place(want: Wanted) -> TopicPartition:
    return TopicPartition(want.topic or "", want.partition)


class Opened(NamedTuple):
    """How a fetch is served: the partitions to look at, and the session if there is one already."""

    wanted: dict[Key, Wanted]
    session: Session | None
    # The answer may found a session.
    may_found: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is asked for."""
        return self.session is None and not self.wanted


def next_epoch(epoch: int) -> int:
    return 1 if epoch == MAX_INT32 else epoch + 1


class FetchSessionCache:
    def __init__(self, max_sessions: int) -> None:
        self.max_sessions = max_sessions
        self.sessions: dict[int, Session] = {}
        self.followers: Followers = {}

    def open(
        self,
        *,
        session_id: int,
        epoch: int,
        topics: list[tuple[str | None, bytes | None, list[tuple[int, int, int, int, int, int]]]],
        forgotten: list[tuple[str | None, bytes | None, list[int]]],
        uses_topic_ids: bool,
        replica: Replica = NO_REPLICA,
        monotonic_ms: int,
    ) -> Opened:
        """Raises the KafkaError that the whole answer carries when the session is not what the client
        believes."""
        if epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self._close(session_id)
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
                session.ask(topic, topic_id, (name, request[0]), request)
        for topic, topic_id, partitions in forgotten:
            for partition in partitions:
                session.forget((topic_id if uses_topic_ids else topic, partition))
        if not session.partitions:
            self._close(session_id)
            return Opened({}, None, may_found=False)
        session.epoch = next_epoch(session.epoch)
        return Opened(session.asked_by(replica, monotonic_ms), session, may_found=False)

    def _close(self, session_id: int) -> None:
        session = self.sessions.pop(session_id, None)
        if session is not None:
            session.close()

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

    def found(
        self, wanted: dict[Key, Wanted], *, uses_topic_ids: bool, replica: Replica = NO_REPLICA, monotonic_ms: int
    ) -> int:
        """Id of a new session for these partitions, or 0 if there is no room for it."""
        is_followers = replica != NO_REPLICA
        if is_followers:
            self._close_dead(replica, monotonic_ms)
        if not wanted or not self._make_room(len(wanted), is_followers, monotonic_ms):
            return NO_SESSION
        session_id = NO_SESSION
        while session_id == NO_SESSION or session_id in self.sessions:
            session_id = int.from_bytes(os.urandom(4), "big") & MAX_INT32
        self.sessions[session_id] = (
            FollowerSession(
                session_id,
                wanted,
                replica=replica,
                followers=self.followers,
                uses_topic_ids=uses_topic_ids,
                monotonic_ms=monotonic_ms,
            )
            if is_followers
            else Session(session_id, wanted, uses_topic_ids=uses_topic_ids, monotonic_ms=monotonic_ms)
        )
        return session_id

    def _close_dead(self, replica: Replica, monotonic_ms: int) -> None:
        """Those of an earlier life of a follower, and those that it let go of without a word: each costs every append
        a little."""
        for session in list(self.sessions.values()):
            if isinstance(session, FollowerSession) and session.replica[0] == replica[0]:
                is_of_before = session.replica[1] < replica[1]
                if is_of_before or monotonic_ms - session.used_ms > LET_GO_MS:
                    self._close(session.id)

    def _make_room(self, size: int, is_followers: bool, monotonic_ms: int) -> bool:
        """Evicts the session unused for longest if it is stale, else a smaller one that is no longer new. A follower's
        takes the place of a consumer's of any age and size, and never gives it up to one."""
        if len(self.sessions) < self.max_sessions:
            return True
        if not self.sessions:
            return False
        victim = min(self.sessions.values(), key=lambda session: session.used_ms)
        if monotonic_ms - victim.used_ms <= EVICTION_MS:
            found = self._victim(size, is_followers, monotonic_ms)
            if found is None:
                return False
            victim = found
        self._close(victim.id)
        return True

    def _victim(self, size: int, is_followers: bool, monotonic_ms: int) -> Session | None:
        consumers = [session for session in self.sessions.values() if not isinstance(session, FollowerSession)]
        if is_followers and consumers:
            return min(consumers, key=lambda session: len(session.partitions))
        candidates = self.sessions.values() if is_followers else consumers
        settled = [session for session in candidates if monotonic_ms - session.created_ms > EVICTION_MS]
        victim = min(settled, key=lambda session: len(session.partitions), default=None)
        return None if victim is None or len(victim.partitions) > size else victim
