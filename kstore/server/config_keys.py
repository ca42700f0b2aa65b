"""Looking a broker's configuration key up in the table, listener prefixes and the keys of plugins included.

`listener.name.<listener>.<key>` is the key for one listener alone (KIP-103); its own checks are the key's.
Keys that Kafka hands to a plugin, such as an authorizer's `super.users`, are known by name or by prefix.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from kstore.config_def import ConfigKey
from kstore.server.broker_keys import REASONS, SECTIONS

MIB = 1024 * 1024

# Where Kafka has no bound, or a wide one, kstore has one, so that nobody can take the machine.
OWN_DEFAULTS = {
    # A map of 600,000 keys; Kafka's 128 MiB are more than the rest of a broker takes. A log with more keys takes more
    # cleanings.
    "log.cleaner.dedupe.buffer.size": str(16 * MIB),
    "max.connections": "10000",
    "max.connections.per.ip": "5000",
    "queued.max.request.bytes": str(128 * MIB),
}

# Keys that no ConfigDef of Kafka's lists but that Kafka's own plugins, tools or tiers read.
PLUGIN_KEYS = ("super.users", "allow.everyone.if.no.acl.found")
PLUGIN_PREFIXES = ("config.providers.", "kafka.csv.metrics.", "metrics.jmx.", "rlmm.config.", "rsm.config.")

# Keys that name somebody else's class; with one of them set, an unknown key may be that class's own.
CLASS_KEYS = (
    "alter.config.policy.class.name",
    "client.quota.callback.class",
    "create.topic.policy.class.name",
    "kafka.metrics.reporters",
    "metric.reporters",
    "principal.builder.class",
    "remote.log.metadata.manager.class.name",
    "remote.log.storage.manager.class.name",
    "replica.selector.class",
)


class ListenerKey(NamedTuple):
    """A key with a listener's prefix, taken apart; the listener is in lower case, as Kafka compares it."""

    listener: str
    name: str


@lru_cache(maxsize=1)
def _lines() -> dict[str, tuple[str, str]]:
    """Key name -> its line in the table and the section that the line stands in."""
    return {
        line.partition(" ")[0]: (line, section)
        for section, text in SECTIONS.items()
        for line in text.split("\n")
        if line
    }


@lru_cache(maxsize=512)
def broker_key(name: str) -> ConfigKey | None:
    """What Kafka and kstore know of the key `name`; None for a name that is in no Kafka."""
    entry = _lines().get(name)
    if entry is None:
        return None
    line, section = entry
    _, kind, default, mode, valid = [*line.split(" "), ""][:5]
    mode, *marks = mode.split(",")
    if name in OWN_DEFAULTS:
        default = OWN_DEFAULTS[name]
    shown_default = None if default == "-" else "" if default == "''" else default
    return ConfigKey(name, kind, shown_default, valid, mode, section, "i" in marks)


def broker_key_names() -> list[str]:
    """All names, in order."""
    return sorted(_lines())


def split_listener_prefix(name: str) -> ListenerKey | None:
    match = re.fullmatch(r"listener\.name\.([^.]+)\.(.+)", name)
    return ListenerKey(match[1].lower(), match[2]) if match else None


def is_plugin_key(name: str) -> bool:
    return name in PLUGIN_KEYS or name.startswith(PLUGIN_PREFIXES)


def closest_key(name: str, cutoff: float = 0.6) -> str | None:
    """The known key that `name` was probably meant to be."""
    from difflib import get_close_matches  # only a start that fails pays for it

    matches = get_close_matches(name, _lines(), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def reason_for(key: ConfigKey) -> str | None:
    """Why setting `key` changes nothing here, or None when it does."""
    return REASONS.get(key.effect)
