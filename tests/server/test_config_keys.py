"""The table of broker and topic keys is what the real Kafka defines; kstore's differences are named here."""

import subprocess
from functools import cache
from typing import NamedTuple

import pytest

from kstore.config_def import ConfigKey
from kstore.log.topic_keys import BROKER_SYNONYMS, TOPIC_KEYS
from kstore.server.broker_keys import REASONS, SECTIONS
from kstore.server.config_keys import OWN_DEFAULTS, broker_key, broker_key_names, closest_key
from tests.judge import home
from tests.judge.java import java_command

MODES = {"read-only": "ro", "per-broker": "broker", "cluster-wide": "cluster"}

# Kafka keeps these for itself; they can only be set at run time, and no ConfigDef of the broker lists them.
DYNAMIC_ONLY = {
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
}
# 4.3's own way to segments below its minimum of 1 MiB.
NOT_FOR_USERS = {"internal.segment.bytes"}


class RealKey(NamedTuple):
    kind: str
    name: str
    type: str
    default: str
    mode: str
    internal: bool
    validator: str


@cache
def real_keys(version: str) -> dict[tuple[str, str], RealKey]:
    source = home.REPOSITORY / "tests" / "server" / "KafkaKeys.java"
    command = [*java_command(version, heap="256m"), str(source)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    keys = {}
    for line in printed.splitlines():
        kind, name, type_, default, mode, internal, validator = line.split("\t")
        keys[kind, name] = RealKey(kind, name, type_.lower(), default, mode, internal == "true", validator)
    return keys


@pytest.mark.kafka
@pytest.mark.parametrize("version", home.VERSIONS)
def test_every_key_of_kafka_is_in_the_tables_and_no_other(version: str) -> None:
    real = real_keys(version)
    assert len(real) > 300
    assert {name for kind, name in real if kind == "broker"} <= set(broker_key_names())
    assert {name for kind, name in real if kind == "topic"} - NOT_FOR_USERS <= set(TOPIC_KEYS)
    both = real_keys("3.9.1").keys() | real_keys("4.3.0").keys()
    assert set(broker_key_names()) - DYNAMIC_ONLY <= {name for kind, name in both if kind == "broker"}
    assert set(TOPIC_KEYS) <= {name for kind, name in both if kind == "topic"}


@pytest.mark.kafka
def test_types_defaults_and_modes_are_those_of_39_and_of_43_for_what_is_newer() -> None:
    for (kind, name), real in {**real_keys("4.3.0"), **real_keys("3.9.1")}.items():
        key = TOPIC_KEYS.get(name) if kind == "topic" else broker_key(name)
        if name in NOT_FOR_USERS:
            continue
        assert key is not None
        assert key.type == real.type, name
        assert key.internal == real.internal, name
        if name not in OWN_DEFAULTS:
            assert ("-" if key.default is None else key.default) == real.default, name
        if kind == "broker" and name != "config.providers":
            modes = {all_[kind, name].mode for all_ in map(real_keys, home.VERSIONS) if (kind, name) in all_}
            assert key.mode in {MODES[mode] for mode in modes}, name


@pytest.mark.kafka
@pytest.mark.parametrize("version", home.VERSIONS)
def test_a_bound_of_kafka_is_a_bound_here(version: str) -> None:
    bounded = 0
    for (kind, name), real in real_keys(version).items():
        key = TOPIC_KEYS.get(name) if kind == "topic" else broker_key(name)
        other = next(all_ for all_ in map(real_keys, home.VERSIONS) if all_ is not real_keys(version))
        twin = other.get((kind, name))
        if key is None or not real.validator.startswith("[") or (twin and twin.validator != real.validator):
            continue  # where the two versions differ, what either takes is taken
        bounded += 1
        assert key.valid, name
        if key.valid == "@throttled":
            assert "[partitionId]:[brokerId]" in real.validator, name
        elif ",..." in real.validator:
            low = real.validator[1:].partition(",")[0]
            assert key.valid.removeprefix("-1|").partition("..")[0] == low, name
        elif key.valid == "@version":
            assert "3.9-IV0" in real.validator, name
        else:
            assert set(key.valid.split("|")) == set(real.validator.strip("[]").split(", ")), name
    assert bounded > 150


def all_broker_keys() -> list[ConfigKey]:
    keys = [broker_key(name) for name in broker_key_names()]
    return [key for key in keys if key is not None]


def test_every_default_is_valid() -> None:
    for key in [*all_broker_keys(), *TOPIC_KEYS.values()]:
        assert key.format(key.parse(key.default)) == key.default


def test_every_key_is_honoured_or_refused_or_has_its_reason() -> None:
    assert set(SECTIONS) == {"honoured", "refused", *REASONS}
    assert {key.effect for key in TOPIC_KEYS.values()} <= set(SECTIONS)


def test_every_broker_synonym_of_a_topic_key_is_a_broker_key() -> None:
    for name, synonyms in BROKER_SYNONYMS.items():
        for synonym, _ in synonyms:
            key = broker_key(synonym)
            assert key is not None
            assert key.effect == TOPIC_KEYS[name].effect, f"{name} and {synonym} say different things"


def test_unlimited_defaults_of_kafka_are_finite_here() -> None:
    assert set(OWN_DEFAULTS) == {
        "log.cleaner.dedupe.buffer.size",
        "max.connections",
        "max.connections.per.ip",
        "queued.max.request.bytes",
    }
    for name in OWN_DEFAULTS:
        key = broker_key(name)
        assert key is not None
        assert 0 < int(key.default or 0) < 2**31 - 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("log.retention.horus", "log.retention.hours"),
        ("num.partition", "num.partitions"),
        ("lisneters", "listeners"),
    ],
)
def test_a_misspelt_key_has_a_suggestion(written: str, meant: str) -> None:
    assert closest_key(written) == meant
