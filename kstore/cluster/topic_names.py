"""Which names a topic may have: they become directory names (Topic.java)."""

from collections.abc import Collection

from kstore.errors import InvalidTopicError

MAX_LENGTH = 249
LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

GROUPS_TOPIC = "__consumer_offsets"
INTERNAL_TOPICS = frozenset({GROUPS_TOPIC, "__transaction_state"})
METADATA_TOPIC = "__cluster_metadata"


def validate_topic_name(name: str) -> None:
    """Raises InvalidTopicError with the rule that `name` breaks."""
    if not name:
        raise InvalidTopicError("a topic's name cannot be empty")
    if name in (".", ".."):
        raise InvalidTopicError(f"a topic cannot be called {name!r}")
    if len(name) > MAX_LENGTH:
        raise InvalidTopicError(f"a topic's name has at most {MAX_LENGTH} characters, {name[:32]!r}... has {len(name)}")
    if not LEGAL.issuperset(name):
        raise InvalidTopicError(
            f"topic name {name!r} has characters other than ASCII letters, digits, '.', '_' and '-'"
        )


class TakenNames:
    """The names that topics have, and those that one request gives to others.

    Two that differ only in '.' and '_' would be one metric name in Kafka. Names of the same request do not
    collide: Kafka compares with the topics that are there, and an application that makes all of its topics at
    once relies on it.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._there = names
        self._given: set[str] = set()
        self._folded: dict[str, str] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._there or name in self._given

    def collision(self, name: str) -> str | None:
        """The other topic that `name` would be confused with; None if there is none."""
        if "." not in name and "_" not in name:
            return None
        if self._folded is None:
            # Made when the first name needs it: most names have neither of the two characters.
            self._folded = {_fold(other): other for other in self._there if "." in other or "_" in other}
        other = self._folded.get(_fold(name))
        return None if other == name else other

    def add(self, name: str) -> None:
        """Takes a name that the request gives away."""
        self._given.add(name)


def _fold(name: str) -> str:
    return name.replace(".", "_")
