"""The topics in a consumer's metadata: read out of every version, never beyond the bytes."""

import random

import pytest

from kstore.coordinator.group.subscription import subscribed_topics
from tests.fix_groups import subscription


@pytest.mark.parametrize("version", [0, 1, 2, 3, 99])
def test_topics_are_read_from_every_version(version: int) -> None:
    metadata = subscription("orders", "größe", version=version) + b"what later versions add"
    assert subscribed_topics(metadata) == {"orders", "größe"}


def test_a_subscription_to_nothing_has_no_topics() -> None:
    assert subscribed_topics(subscription()) == frozenset()


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"\x00\x00\x00",
        b"\xff\xff" + bytes(8),
        b"\x00\x00\xff\xff\xff\xff",
        b"\x00\x00\x7f\xff\xff\xff\x00\x01a",
        b"\x00\x00\x00\x00\x00\x01\xff\xff",
        b"\x00\x00\x00\x00\x00\x01\x00\x05abc",
        b"\x00\x00\x00\x00\x00\x01\x00\x02\xc3\x28",
        b"\x00\x00\x00\x00\x00\x02\x00\x01a\x00",
    ],
    ids=["empty", "short", "version", "negative", "many", "length", "cut", "utf-8", "cut-length"],
)
def test_what_is_no_subscription_is_refused(metadata: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of them means the same
        subscribed_topics(metadata)


def test_damage_is_a_refusal_or_other_topics_and_nothing_else() -> None:
    chance = random.Random(3)
    whole = subscription("a", "bb", "ccc")
    for _ in range(5000):
        damaged = bytearray(whole[: chance.randrange(len(whole) + 1)])
        for _ in range(chance.randrange(3)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            topics = subscribed_topics(bytes(damaged))
        except ValueError:
            continue
        assert all(isinstance(topic, str) for topic in topics)
