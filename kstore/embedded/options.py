"""The options of a log in Python's words: Kafka's topic keys with `_` for `.`, and values of Python's own types.

    retention_ms=60_000, cleanup_policy=["compact", "delete"], preallocate=True

What a key means, and what it may be, stands in `kstore.log.topic_keys`.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from kstore._native.batch import COMPRESSION_NAMES
from kstore.errors import InvalidConfigError
from kstore.log.config import LogConfig
from kstore.log.topic_keys import TOPIC_KEYS, validate

# A log that a program keeps for itself loses nothing unless it is told to; Kafka's default is seven days.
KEEP = "-1"

OptionValue = str | int | float | bool | Sequence[str]


class LogOptions(TypedDict, total=False):
    """The keys that matter to a log without replicas; the others of Kafka are taken as well."""

    cleanup_policy: str | Sequence[str]
    compression_type: str
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    index_interval_bytes: int
    max_compaction_lag_ms: int
    max_message_bytes: int
    message_timestamp_type: str
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    preallocate: bool
    retention_bytes: int
    retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    segment_ms: int


def topic_configs(options: Mapping[str, OptionValue], *, keep: bool = True) -> dict[str, str]:
    """The options as Kafka's texts by Kafka's keys; with `keep` those of a log that nothing is deleted from, unless it
    says so. Raises InvalidConfigError."""
    configs = {"retention.ms": KEEP} if keep else {}
    for name, value in options.items():
        key = name.replace("_", ".")
        if key not in TOPIC_KEYS:
            raise InvalidConfigError(f"{name}: no log has an option of this name{_suggestion(name)}")
        if isinstance(value, bool):
            configs[key] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            configs[key] = str(value)
        else:
            configs[key] = ",".join(value)
    validate(configs)
    return configs


def log_config(configs: Mapping[str, str]) -> LogConfig:
    return LogConfig.from_values({key: TOPIC_KEYS[key].parse(text) for key, text in configs.items()})


def codec(name: str) -> int:
    """The id of a codec, none for `none`. Raises InvalidConfigError."""
    if name not in COMPRESSION_NAMES:
        raise InvalidConfigError(f"compression: {name!r} is not one of {', '.join(COMPRESSION_NAMES)}")
    return COMPRESSION_NAMES.index(name)


def _suggestion(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name.replace("_", "."), TOPIC_KEYS, n=1)
    return f"; did you mean {close[0].replace('.', '_')}?" if close else ""
