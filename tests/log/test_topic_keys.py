"""What a topic may be configured with, and what the broker's own keys say for it."""

import pytest

from kstore.config_def import ConfigValue
from kstore.errors import InvalidConfigError
from kstore.log.topic_keys import broker_default, validate


def default(name: str, **broker: ConfigValue) -> ConfigValue:
    return broker_default(name, lambda key: broker.get(key.replace(".", "_")))


def test_the_first_broker_key_that_is_set_gives_the_default() -> None:
    assert default("retention.ms", log_retention_hours=168) == 604_800_000
    assert default("retention.ms", log_retention_minutes=2, log_retention_hours=168) == 120_000
    assert default("retention.ms", log_retention_ms=5, log_retention_minutes=2) == 5
    assert default("flush.ms", log_flush_scheduler_interval_ms=7) == 7


def test_a_negative_retention_means_for_ever() -> None:
    assert default("retention.ms", log_retention_hours=-1) == -1


def test_a_key_without_a_broker_key_has_kafkas_default() -> None:
    assert default("remote.storage.enable") is False


def test_valid_configurations_pass() -> None:
    validate({"retention.ms": "-1", "cleanup.policy": "compact,delete", "compression.zstd.level": "-5"})


@pytest.mark.parametrize(
    ("configs", "named"),
    [
        ({"retention.mss": "1"}, "retention.mss"),
        ({"retention.ms": "soon"}, "'soon'"),
        ({"retention.ms": None}, "null"),
        (
            {"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "4"},
            "5 is more than max.compaction.lag.ms, 4",
        ),
        ({"remote.storage.enable": "true"}, "remote storage"),
    ],
)
def test_invalid_configurations_are_refused_by_key_and_value(configs: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        validate(configs)
    assert named in str(caught.value)
    assert str(caught.value).startswith(next(iter(configs)))


def test_lags_are_compared_with_the_brokers_own() -> None:
    with pytest.raises(InvalidConfigError):
        validate({"max.compaction.lag.ms": "10"}, {"min.compaction.lag.ms": 20})
