"""What a topic or this broker is configured with, and where each value comes from.

A value's synonyms are all places that could give it, the one in effect first: the topic's own, then the
broker's key that stands for it, dynamic for this broker, dynamic for all, in the file, by default
(KIP-226; ConfigHelper.scala, DynamicBrokerConfig.brokerConfigSynonyms).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from kstore.config_def import ConfigKey
from kstore.log.topic_keys import BROKER_SYNONYMS, TOPIC_KEYS
from kstore.server.config import ServerConfig
from kstore.server.config_keys import broker_key, broker_key_names, split_listener_prefix

# DescribeConfigsResponse.ConfigSource
DYNAMIC_TOPIC_CONFIG = 1
DYNAMIC_BROKER_CONFIG = 2
DYNAMIC_DEFAULT_BROKER_CONFIG = 3
STATIC_BROKER_CONFIG = 4
DEFAULT_CONFIG = 5

# DescribeConfigsResponse.ConfigType; 0 is unknown.
TYPE_IDS = {
    name: number
    for number, name in enumerate(
        ("boolean", "string", "int", "short", "long", "double", "list", "class", "password"), start=1
    )
}

# Broker keys that say the same in other units, the finest first.
BROKER_KEY_SYNONYMS = {names[0][0]: [name for name, _ in names] for names in BROKER_SYNONYMS.values() if len(names) > 1}


class Synonym(NamedTuple):
    name: str
    value: str | None
    source: int


class ConfigEntry(NamedTuple):
    name: str
    value: str | None
    source: int
    read_only: bool
    is_sensitive: bool
    type_id: int
    synonyms: tuple[Synonym, ...]

    @property
    def is_default(self) -> bool:
        return self.source == DEFAULT_CONFIG


def describe_topic(
    configs: Mapping[str, str], config: ServerConfig, names: Collection[str] | None = None
) -> list[ConfigEntry]:
    """The entries of a topic whose own configuration is `configs`; `names` None or empty asks for all."""
    return [_topic_entry(key, configs, config) for key in TOPIC_KEYS.values() if not names or key.name in names]


def _topic_entry(key: ConfigKey, configs: Mapping[str, str], config: ServerConfig) -> ConfigEntry:
    synonyms: list[Synonym] = []
    value = config.topic_defaults[key.name]
    if key.name in configs:
        value = key.parse(configs[key.name])
        synonyms.append(Synonym(key.name, key.format(value), DYNAMIC_TOPIC_CONFIG))
    if key.name in BROKER_SYNONYMS:
        synonyms += broker_synonyms(BROKER_SYNONYMS[key.name][0][0], config)
    return _entry(key, key.format(value), synonyms, read_only=False)


def describe_broker(config: ServerConfig, names: Collection[str] | None = None) -> list[ConfigEntry]:
    """The entries of this broker, with those of its keys that a file or an administrator gave a listener."""
    entries = []
    given = {*config.static, *config.cluster, *config.broker}
    listed = [*broker_key_names(), *sorted(name for name in given if broker_key(name) is None)]
    for name in listed:
        key = broker_key(name)
        if (names and name not in names) or (key is not None and key.internal and name not in given):
            continue
        if key is not None:
            value = key.format(key.parse(config.text_of(key)))
            read_only = key.mode == "ro"
        else:
            key, value = _foreign_key(name), next(_layers(name, config)).value
            read_only = True
        entries.append(_entry(key, value, broker_synonyms(name, config), read_only=read_only))
    return entries


def describe_cluster_default(config: ServerConfig, names: Collection[str] | None = None) -> list[ConfigEntry]:
    """The entries of the brokers' common dynamic configuration: only what was set there."""
    entries = []
    for name, value in config.cluster.items():
        if not names or name in names:
            key = broker_key(name) or _foreign_key(name)
            synonyms = [Synonym(name, value, DYNAMIC_DEFAULT_BROKER_CONFIG)]
            entries.append(_entry(key, value, synonyms, read_only=key.mode == "ro"))
    return entries


def _foreign_key(name: str) -> ConfigKey:
    """What stands for a key outside the table: a listener's is its base key, a plugin's may be a secret."""
    prefixed = split_listener_prefix(name)
    base = broker_key(prefixed.name) if prefixed else None
    return base._replace(name=name) if base else ConfigKey(name, "unknown", None)


def broker_synonyms(name: str, config: ServerConfig) -> list[Synonym]:
    """All places that may give the broker key `name`, the one in effect first."""
    names = next((group for group in BROKER_KEY_SYNONYMS.values() if name in group), [name])
    if name == "log.flush.scheduler.interval.ms":
        names = [name]  # it stands in for log.flush.interval.ms, and not the other way round
    found = [synonym for layer in _by_layer(names, config) for synonym in layer]
    # What is set in other units only is no synonym of a key that is not set itself.
    while found and found[0].name != name:
        del found[0]
    return found


def _by_layer(names: list[str], config: ServerConfig) -> Iterator[list[Synonym]]:
    for layer, source in (
        (config.broker, DYNAMIC_BROKER_CONFIG),
        (config.cluster, DYNAMIC_DEFAULT_BROKER_CONFIG),
        (config.static, STATIC_BROKER_CONFIG),
    ):
        yield [Synonym(name, layer[name], source) for name in names if name in layer]
    defaults = [(name, config.default_of(key)) for name in names if (key := broker_key(name))]
    yield [Synonym(name, value, DEFAULT_CONFIG) for name, value in defaults if value is not None]


def _layers(name: str, config: ServerConfig) -> Iterator[Synonym]:
    return (synonym for layer in _by_layer([name], config) for synonym in layer)


def _entry(key: ConfigKey, value: str | None, synonyms: list[Synonym], *, read_only: bool) -> ConfigEntry:
    # A key of unknown type may hold a secret (KafkaConfig.maybeSensitive).
    hidden = key.is_sensitive or key.type not in TYPE_IDS
    if hidden:
        value, synonyms = None, [synonym._replace(value=None) for synonym in synonyms]
    source = synonyms[0].source if synonyms else DEFAULT_CONFIG
    return ConfigEntry(key.name, value, source, read_only, hidden, TYPE_IDS.get(key.type, 0), tuple(synonyms))
