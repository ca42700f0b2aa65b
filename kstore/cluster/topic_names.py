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
        raise InvalidTopicError(
            f"a topic's name has at most {MAX_LENGTH} characters, {name[:32]!r}... has {len(name)}"
        )
    if not LEGAL.issuperset(name):
        raise InvalidTopicError(
            f"topic name {name!r} has characters other than ASCII letters, digits, '.', '_' and '-'"
        )


def collision(name: str, others: Iterable[str]) -> str | None:
    """The topic that would share a metric name with `name`, where Kafka writes '_' for '.'; None if there is
    none."""
    folded = name.replace(".", "_")
    if folded == name and "_" not in name:
        return None
    return next((other for other in others if other != name and other.replace(".", "_") == folded), None)
