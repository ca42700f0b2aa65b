"""kafka-python, another codec over Kafka's schemas, writes the same bytes and reads the same values."""

import random
import uuid
from importlib import import_module
from typing import Any

import pytest

from kstore.protocol import messages
from kstore.protocol.api_keys import API_VERSIONS, api_name
from tests.protocol.values import plain, random_message

pytestmark = pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")

MODULES = [f"kafka.protocol.{name}" for name in ("producer", "consumer", "metadata", "admin")]

# API: lowest and highest version that kafka-python judges. Versions below are older than what it knows.
JUDGED = {
    0: (3, 11),
    1: (4, 17),
    2: (1, 9),
    3: (0, 12),
    8: (0, 9),
    9: (0, 9),
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
    60: (0, 1),
    75: (0, 0),
}
# What brokers say to each other and a client has no use for: Kafka's own classes judge it (test_kafka.py).
OF_BROKERS = {4, 5, 6, 7, 56, 67}
CASES = [(key, version) for key, (low, high) in JUDGED.items() for version in range(low, high + 1)]


def test_every_api_is_judged_up_to_its_newest_version() -> None:
    assert set(JUDGED) == set(messages.declared_api_keys()) - OF_BROKERS
    for key, (_, newest) in JUDGED.items():
        request, response = messages.schema(key)
        assert (request.max_version, response.max_version) == (newest, newest)


def their_class(name: str) -> Any:
    for module_name in MODULES:
        module = import_module(module_name)
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(name)


def as_plain(name: str, value: Any) -> Any:
    """A value of kafka-python as `plain` gives it."""
    if name.endswith("authorized_operations") and (value is None or isinstance(value, set)):
        bits = {31} if value is None else value
        number = sum(1 << bit for bit in bits)
        return number - (1 << 32) if number >> 31 else number
    if isinstance(value, dict):
        return [(key, as_plain(key, element)) for key, element in value.items()]
    if isinstance(value, list | tuple):
        return [as_plain("", element) for element in value]
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, memoryview):
        return bytes(value)
    return value


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    """Equal values in the same order under the same names.

    kafka-python has null for a zero id and for a tagged struct that holds its defaults.
    """
    if isinstance(ours, list) and isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, where)
    elif isinstance(ours, tuple):
        short = ours[0].removeprefix("cluster_").removeprefix("topic_")
        assert theirs[0] in (ours[0], short), where
        assert_same(ours[1], theirs[1], f"{where}.{ours[0]}")
    elif theirs is None:
        assert ours in (None, bytes(16)) or all(value == -1 for _, value in ours), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize(("api_key", "version"), CASES)
@pytest.mark.parametrize("direction", ["Request", "Response"])
def test_kafka_python_reads_and_writes_the_same_bytes(api_key: int, version: int, direction: str) -> None:
    message = messages.schema(api_key)[direction == "Response"]
    theirs_class = their_class(api_name(api_key) + direction)
    for seed in range(40):
        ours = random_message(message, version, random.Random(f"{api_key}/{version}/{direction}/{seed}"))
        if api_key == API_VERSIONS and direction == "Response":
            ours.error_code = 0  # kafka-python reads an answer with an error as version 0
        data = ours.encode(version)
        theirs = theirs_class.decode(data, version=version)
        expected = plain(message, ours, version)
        assert_same(expected, as_plain("", theirs.to_dict(json=False)), f"seed {seed}")
        theirs._header = None  # decode() leaves it unset, encode() asks for it
        written = bytes(theirs.encode())
        assert written == data, f"seed {seed}"
        assert message.decode(written, 0, len(written), version) == ours, f"seed {seed}"
