"""kio, generated from Kafka's schemas by other people, writes the same bytes and reads the same values."""

import dataclasses
import datetime
import enum
import io
import random
import uuid
from typing import Any

import pytest
from kio.index import UnknownEntity, load_request_schema, load_response_schema
from kio.serial import entity_reader, entity_writer

from kstore.protocol import messages
from tests.protocol.values import plain, random_message

# API: lowest and highest version that kio judges. Versions below are older than what it knows.
JUDGED = {
    0: (3, 11),
    1: (4, 17),
    2: (1, 9),
    3: (0, 12),
    8: (2, 9),
    9: (1, 9),
    10: (0, 6),
    11: (0, 9),
    12: (0, 4),
    13: (0, 5),
    14: (0, 5),
    15: (0, 5),
    16: (0, 5),
    18: (0, 4),
    19: (2, 7),
    20: (1, 6),
    21: (0, 2),
    22: (0, 5),
    23: (2, 4),
    32: (1, 4),
    33: (0, 2),
    34: (1, 2),
    35: (1, 4),
    37: (0, 3),
    42: (0, 2),
    43: (0, 2),
    44: (0, 1),
    45: (0, 0),
    46: (0, 0),
    47: (0, 0),
    56: (2, 3),
    60: (0, 1),
    67: (0, 0),
    75: (0, 0),
}
# What brokers on ZooKeeper say to each other: Kafka 4 has it no more, and 3.9's own classes judge it (test_kafka.py).
GONE = {4, 5, 6, 7}
CASES = [(key, version) for key, (low, high) in JUDGED.items() for version in range(low, high + 1)]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)


def test_every_api_is_judged_in_every_version_that_kio_knows() -> None:
    assert set(JUDGED) == set(messages.declared_api_keys()) - GONE
    for key, (oldest, newest) in JUDGED.items():
        for message in messages.schema(key):
            assert message.max_version == newest
            assert message.min_version <= oldest
            for version in range(message.min_version, oldest):
                with pytest.raises(UnknownEntity):
                    load_request_schema(key, version)


def as_plain(value: Any) -> Any:
    """A kio value as `plain` would give it, with kio's own field names."""
    if dataclasses.is_dataclass(value):
        return [(field.name, as_plain(getattr(value, field.name))) for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        return [as_plain(element) for element in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime.timedelta):
        return round(value / MILLISECOND)
    if isinstance(value, datetime.datetime):
        return round((value - EPOCH) / MILLISECOND)
    if isinstance(value, uuid.UUID):
        return value.bytes
    return value


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    """Equal values in the same order under the same names.

    kio leaves `_ms` away, and has null for a zero id.
    """
    if isinstance(ours, list) and isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, where)
    elif isinstance(ours, tuple):
        assert ours[0] in (theirs[0], theirs[0] + "_ms"), where
        assert_same(ours[1], theirs[1], f"{where}.{ours[0]}")
    elif theirs is None:
        assert ours in (None, bytes(16)), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize(("api_key", "version"), CASES)
@pytest.mark.parametrize("direction", ["request", "response"])
def test_kio_reads_and_writes_the_same_bytes(api_key: int, version: int, direction: str) -> None:
    message = messages.schema(api_key)[direction == "response"]
    schema = (load_response_schema if direction == "response" else load_request_schema)(api_key, version)
    read, write = entity_reader(schema), entity_writer(schema)
    for seed in range(40):
        ours = random_message(message, version, random.Random(f"{api_key}/{version}/{direction}/{seed}"))
        data = ours.encode(version)
        theirs, size = read(data, 0)
        assert size == len(data), f"seed {seed}"
        assert_same(plain(message, ours, version), as_plain(theirs), f"seed {seed}")
        written = io.BytesIO()
        write(written, theirs)
        assert written.getvalue() == data, f"seed {seed}"
        assert message.decode(written.getvalue(), 0, len(data), version) == ours, f"seed {seed}"
