"""The configuration keys of a topic, and the broker's keys that give their defaults.

Names, types, defaults and valid values are those of Kafka 3.9 (LogConfig.java); a key that 4.3 knows as well
means the same there, though its `segment.bytes` begins at 1 MiB. A topic's own value wins over the broker's,
and of the broker's keys the first that is set (ServerTopicConfigSynonyms.java).
"""

from collections.abc import Callable, Mapping

from kstore.config_def import ConfigKey, ConfigValue
from kstore.errors import InvalidConfigError

SINGLE = "replication"
TIERS = "tiers"
MAGIC = "magic"

# fmt: off
_ROWS = (
    ("cleanup.policy", "list", "delete", "compact|delete"),
    ("compression.gzip.level", "int", "-1", "-1|1..9"),
    ("compression.lz4.level", "int", "9", "1..17"),
    ("compression.type", "string", "producer", "uncompressed|zstd|lz4|snappy|gzip|producer"),
    ("compression.zstd.level", "int", "3", "-131072..22"),
    ("delete.retention.ms", "long", "86400000", "0.."),
    ("file.delete.delay.ms", "long", "60000", "0.."),
    ("flush.messages", "long", "9223372036854775807", "1.."),
    ("flush.ms", "long", "9223372036854775807", "0.."),
    ("follower.replication.throttled.replicas", "list", "", "@throttled"),
    ("index.interval.bytes", "int", "4096", "0.."),
    ("leader.replication.throttled.replicas", "list", "", "@throttled"),
    ("local.retention.bytes", "long", "-2", "-2..", TIERS),
    ("local.retention.ms", "long", "-2", "-2..", TIERS),
    ("max.compaction.lag.ms", "long", "9223372036854775807", "1.."),
    ("max.message.bytes", "int", "1048588", "0.."),
    ("message.downconversion.enable", "boolean", "true", "", MAGIC),
    ("message.format.version", "string", "3.0-IV1", "@version", MAGIC),
    ("message.timestamp.after.max.ms", "long", "9223372036854775807", "0.."),
    ("message.timestamp.before.max.ms", "long", "9223372036854775807", "0.."),
    ("message.timestamp.difference.max.ms", "long", "9223372036854775807", "0.."),
    ("message.timestamp.type", "string", "CreateTime", "CreateTime|LogAppendTime"),
    ("min.cleanable.dirty.ratio", "double", "0.5", "0..1"),
    ("min.compaction.lag.ms", "long", "0", "0.."),
    ("min.insync.replicas", "int", "1", "1.."),
    ("preallocate", "boolean", "false", ""),
    ("remote.log.copy.disable", "boolean", "false", "", TIERS),
    ("remote.log.delete.on.disable", "boolean", "false", "", TIERS),
    ("remote.storage.enable", "boolean", "false", "", TIERS),
    ("retention.bytes", "long", "-1", ""),
    ("retention.ms", "long", "604800000", "-1.."),
    ("segment.bytes", "int", "1073741824", "14.."),
    ("segment.index.bytes", "int", "10485760", "4.."),
    ("segment.jitter.ms", "long", "0", "0.."),
    ("segment.ms", "long", "604800000", "1.."),
    ("unclean.leader.election.enable", "boolean", "false", "", "cluster"),
)
# fmt: on

TOPIC_KEYS: dict[str, ConfigKey] = {
    name: ConfigKey(name, kind, default, valid, "cluster", effect[0] if effect else "honoured")
    for name, kind, default, valid, *effect in _ROWS
}

HOUR_MS = 3_600_000
MINUTE_MS = 60_000

# Topic key -> the broker's keys that stand for it, in order, with what their value is multiplied by.
BROKER_SYNONYMS: dict[str, tuple[tuple[str, int], ...]] = {
    "cleanup.policy": (("log.cleanup.policy", 1),),
    "compression.gzip.level": (("compression.gzip.level", 1),),
    "compression.lz4.level": (("compression.lz4.level", 1),),
    "compression.type": (("compression.type", 1),),
    "compression.zstd.level": (("compression.zstd.level", 1),),
    "delete.retention.ms": (("log.cleaner.delete.retention.ms", 1),),
    "file.delete.delay.ms": (("log.segment.delete.delay.ms", 1),),
    "flush.messages": (("log.flush.interval.messages", 1),),
    "flush.ms": (("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)),
    "index.interval.bytes": (("log.index.interval.bytes", 1),),
    "local.retention.bytes": (("log.local.retention.bytes", 1),),
    "local.retention.ms": (("log.local.retention.ms", 1),),
    "max.compaction.lag.ms": (("log.cleaner.max.compaction.lag.ms", 1),),
    "max.message.bytes": (("message.max.bytes", 1),),
    "message.downconversion.enable": (("log.message.downconversion.enable", 1),),
    "message.format.version": (("log.message.format.version", 1),),
    "message.timestamp.after.max.ms": (("log.message.timestamp.after.max.ms", 1),),
    "message.timestamp.before.max.ms": (("log.message.timestamp.before.max.ms", 1),),
    "message.timestamp.difference.max.ms": (("log.message.timestamp.difference.max.ms", 1),),
    "message.timestamp.type": (("log.message.timestamp.type", 1),),
    "min.cleanable.dirty.ratio": (("log.cleaner.min.cleanable.ratio", 1),),
    "min.compaction.lag.ms": (("log.cleaner.min.compaction.lag.ms", 1),),
    "min.insync.replicas": (("min.insync.replicas", 1),),
    "preallocate": (("log.preallocate", 1),),
    "retention.bytes": (("log.retention.bytes", 1),),
    "retention.ms": (
        ("log.retention.ms", 1),
        ("log.retention.minutes", MINUTE_MS),
        ("log.retention.hours", HOUR_MS),
    ),
    "segment.bytes": (("log.segment.bytes", 1),),
    "segment.index.bytes": (("log.index.size.max.bytes", 1),),
    "segment.jitter.ms": (("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", HOUR_MS)),
    "segment.ms": (("log.roll.ms", 1), ("log.roll.hours", HOUR_MS)),
    "unclean.leader.election.enable": (("unclean.leader.election.enable", 1),),
}


def broker_default(name: str, broker_value: Callable[[str], ConfigValue]) -> ConfigValue:
    """What the broker's own keys say for the topic key `name`; `broker_value` gives a key's value or None."""
    for broker_key, factor in BROKER_SYNONYMS.get(name, ()):
        value = broker_value(broker_key)
        if value is not None:
            if isinstance(value, int) and not isinstance(value, bool):
                # A negative number of hours means for ever, as -1 milliseconds does.
                return max(-1, value * factor) if name == "retention.ms" else value * factor
            return value
    return TOPIC_KEYS[name].parse(TOPIC_KEYS[name].default)


def validate(configs: Mapping[str, str | None], defaults: Mapping[str, ConfigValue] | None = None) -> None:
    """Whether a topic may have `configs` over the broker's `defaults`. Raises InvalidConfigError."""
    values: dict[str, ConfigValue] = dict(defaults or {})
    for name, text in configs.items():
        key = TOPIC_KEYS.get(name)
        if key is None:
            raise InvalidConfigError(f"{name}: no topic has a configuration of this name")
        if text is None:
            raise InvalidConfigError(f"{name}: a topic's configuration cannot be null")
        values[name] = key.parse(text)
    least, most = values.get("min.compaction.lag.ms", 0), values.get("max.compaction.lag.ms", 1 << 63)
    if least > most:  # type: ignore[operator]
        raise InvalidConfigError(f"min.compaction.lag.ms: {least} is more than max.compaction.lag.ms, {most}")
    if values.get("remote.storage.enable"):
        raise InvalidConfigError("remote.storage.enable: 'true' is not possible, this broker has no remote storage")
