"""A follower's side of an incremental fetch session: each request names only what has changed (KIP-227).

`asked` is what the session holds at the leader when the request in flight has arrived. The first request is full and
founds the session, if the leader has room for one; what goes wrong with it has the next request be full again and close
it (FetchSessionHandler.java).
"""

from collections.abc import Iterable
from typing import NamedTuple

from kstore.model import TopicPartition

NO_SESSION = 0
FULL = 0
MAX_EPOCH = 2**31 - 1

FETCH_SESSION_ID_NOT_FOUND = 70


class Asked(NamedTuple):
    """What the leader was last told of a partition."""

    topic_id: bytes
    leader_epoch: int
    offset: int
    last_fetched_epoch: int
    log_start_offset: int


class FetchSession:
    def __init__(self) -> None:
        self.id = NO_SESSION
        self.epoch = FULL
        self.asked: dict[TopicPartition, Asked] = {}

    @property
    def is_full(self) -> bool:
        """Whether the next request names all partitions."""
        return self.epoch == FULL

    def begin(self) -> None:
        """Before a full request."""
        self.asked = {}

    def ask(self, key: TopicPartition, wanted: Asked) -> tuple[bool, Asked | None]:
        """Notes what is to be asked. (whether the leader has to be told, what it is to forget)"""
        known = self.asked.get(key)
        if known == wanted:
            return False, None
        # A topic that was deleted and made anew has another id: to the leader it is another partition.
        forgotten = known if known is not None and known.topic_id != wanted.topic_id else None
        self.asked[key] = wanted
        return True, forgotten

    def forget(self, key: TopicPartition) -> Asked | None:
        """What the leader is to forget, if it knows the partition."""
        return self.asked.pop(key, None)

    def answered(self, session_id: int) -> None:
        """A request went well; `session_id` is the answer's."""
        if session_id == NO_SESSION:
            self.id, self.epoch = NO_SESSION, FULL
        elif self.is_full:
            self.id, self.epoch = session_id, 1
        else:
            self.epoch = 1 if self.epoch == MAX_EPOCH else self.epoch + 1

    def failed(self, error_code: int = -1) -> None:
        """No answer, or one that refuses all. The leader closes what it may still have of the session."""
        if error_code == FETCH_SESSION_ID_NOT_FOUND:
            self.id = NO_SESSION
        self.epoch = FULL

    def __contains__(self, key: object) -> bool:
        return key in self.asked

    def keys(self) -> Iterable[TopicPartition]:
        return self.asked.keys()
