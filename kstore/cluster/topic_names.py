"""Which names a topic may have: they become directory names (Topic.java)."""

from collections.abc import Iterable

from kstore.errors import InvalidTopicError

MAX_LENGTH = 249
LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state"})
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
    """The names that topics have; two that differ only in '.' and '_' would be one metric name in Kafka."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._folded: dict[str, str] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def collision(self, name: str) -> str | None:
        """The other topic that `name` would be confused with; None if there is none."""
        if "." not in name and "_" not in name:
            return None
        if self._folded is None:
            # Made when the first name needs it: most names have neither of the two characters.
            self._folded = {_fold(other): other for other in self._names if "." in other or "_" in other}
        other = self._folded.get(_fold(name))
        return None if other == name else other

    def add(self, name: str) -> None:
        self._names.add(name)
        if self._folded is not None:
            self._folded.setdefault(_fold(name), name)


def _fold(name: str) -> str:
    return name.replace(".", "_")
