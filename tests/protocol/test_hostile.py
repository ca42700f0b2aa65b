"""Bytes that are no message, for every API and version: refused by name, and no memory for what has not come.

Kafka itself failed some of these until 4.2 (CVE-2026-111108: counts of arrays; CVE-2026-111115: counts of
tagged fields).
"""

import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from kstore.errors import InvalidRequestError
from kstore.protocol import messages
from kstore.protocol.messages.control_records import CONTROL_RECORD_TYPES
from kstore.protocol.messages.metadata_records import RECORD_TYPES
from kstore.protocol.schema import Message
from tests.protocol.slow_codec import Count, SlowEncoder, uvarint
from tests.protocol.values import fields_of, random_message

MESSAGES = [message for key in messages.declared_api_keys() for message in messages.schema(key)]
REQUESTS = MESSAGES[::2]
MESSAGES += [*RECORD_TYPES.values(), *CONTROL_RECORD_TYPES.values()]
every_message = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)

MIB = 1 << 20


def versions(message: type[Message]) -> range:
    return range(message.min_version, message.max_version + 1)


def rng_for(message: type[Message], version: int, what: str) -> random.Random:
    return random.Random(f"{message.__name__}/{version}/{what}")


def decode(message: type[Message], data: bytes, version: int) -> Message | None:
    """The message, or None when it was refused; a refusal says which message and version it was about."""
    try:
        return message.decode(data, 0, len(data), version)
    except InvalidRequestError as error:
        refusal = str(error)
    assert refusal.startswith(f"{message.__name__} v{version}: ")
    return None


@every_message
def test_an_encoder_in_plain_python_writes_the_same_bytes(message: type[Message]) -> None:
    for version in versions(message):
        rng = rng_for(message, version, "slow")
        for _ in range(20):
            value = random_message(message, version, rng)
            assert SlowEncoder(message, version).encode(value) == value.encode(version)


@every_message
def test_every_truncation_is_refused(message: type[Message]) -> None:
    for version in versions(message):
        data = random_message(message, version, rng_for(message, version, "cut")).encode(version)
        for size in range(len(data)):
            assert decode(message, data[:size], version) is None, f"{size} of {len(data)} bytes"


@every_message
def test_bytes_after_a_request_are_not_looked_at_and_after_an_answer_refused(message: type[Message]) -> None:
    """Kafka does not look either, and librdkafka 2.16 sends three bytes too many with Metadata version 12."""
    for version in versions(message):
        data = random_message(message, version, rng_for(message, version, "more")).encode(version)
        if message.__name__.endswith("Request"):
            assert message.decode(data + b"\0", 0, len(data) + 1, version).encode(version) == data
        else:
            with pytest.raises(InvalidRequestError, match=r"\(end\) .* 1 bytes after the last field"):
                message.decode(data + b"\0", 0, len(data) + 1, version)


@every_message
def test_mutated_bytes_are_refused_or_are_another_message(message: type[Message]) -> None:
    for version in versions(message):
        rng = rng_for(message, version, "mutate")
        data = random_message(message, version, rng).encode(version)
        for _ in range(150):
            mutated = mutate(data, rng)
            read = decode(message, mutated, version)
            if read is not None:
                again = read.encode(version)
                assert repr(message.decode(again, 0, len(again), version)) == repr(read)


def mutate(data: bytes, rng: random.Random) -> bytes:
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        where = rng.randrange(len(mutated) + 1)
        what = rng.randrange(4)
        if what == 0:
            mutated[where:where] = rng.randbytes(rng.choice((1, 4)))
        elif what == 1:
            del mutated[where : where + rng.choice((1, 4))]
        elif where < len(mutated):
            mutated[where] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(mutated)


def bombs(data: bytes, count: Count) -> Iterator[bytes]:
    """The same bytes with one count forged: as large as it gets, one more than the bytes left, negative."""
    before, after = data[: count.position], data[count.position + count.width :]
    if count.is_compact:
        for forged in (0xFFFFFFFF, 0x7FFFFFFF, len(after) + 3):
            yield before + uvarint(forged) + after
        yield before + b"\xff" * 4 + b"\x1f" + after  # more than 32 bits
        yield before + b"\xff" * 5 + b"\x01" + after  # more than 5 bytes
        return
    largest = (1 << (8 * count.width - 1)) - 1
    for forged in (largest, min(largest, len(after) + 1), -2, -largest - 1):
        yield before + forged.to_bytes(count.width, "big", signed=True) + after


@every_message
def test_every_forged_count_is_refused_before_anything_is_made_for_it(message: type[Message]) -> None:
    forged = set()
    tracemalloc.start()
    try:
        for version in versions(message):
            rng = rng_for(message, version, "bomb")
            for _ in range(4):
                value = random_message(message, version, rng)
                encoder = SlowEncoder(message, version)
                data = encoder.encode(value)
                for count in encoder.counts:
                    forged.add(count.path)
                    for bomb in bombs(data, count):
                        tracemalloc.reset_peak()
                        before = tracemalloc.get_traced_memory()[0]
                        assert decode(message, bomb, version) is None, count
                        peak = tracemalloc.get_traced_memory()[1] - before
                        assert peak < 20 * len(data) + 16384, (count, peak)
    finally:
        tracemalloc.stop()
    assert forged == countable_paths(message)


def countable_paths(message: type[Message]) -> set[str]:
    """Every field of every version that has a count or a size, and every tagged section."""
    found: set[str] = set()
    for version in versions(message):
        found |= _countable(message, version, "", "")
    return found


def _countable(message: type[Message], version: int, struct: str, path: str) -> set[str]:
    found = {f"{path}tags"} if version >= message.flexible_from else set()
    for field in fields_of(message, version, struct):
        where = f"{path}{field.name}"
        if field.is_array or field.type in ("string", "bytes", "records"):
            found.add(where)
        if field.tagged[0] <= version <= field.tagged[1]:
            found.add(f"{where} (tag's size)")
        if field.is_struct:
            found |= _countable(message, version, field.type, f"{where}.")
    return found


def crowds(message: type[Message], version: int, size: int) -> Iterator[tuple[str, Any]]:
    """Messages of about `size` bytes, each with one array crowded with the smallest elements."""
    for struct, path in struct_paths(message, version, "", ()):
        for field in fields_of(message, version, struct):
            if field.is_array:
                element = smallest_element(message, field.type)
                probe = len(build(message, version, path, field.name, [element]).encode(version))
                empty = len(build(message, version, path, field.name, []).encode(version))
                count = size // max(1, probe - empty)
                yield field.name, build(message, version, path, field.name, [element] * count)


def smallest_element(message: type[Message], kind: str) -> Any:
    plain = {"string": "", "int32": 1 << 20, "int64": 1 << 40, "int8": 0, "uuid": b"u" * 16}
    return plain[kind] if kind in plain else getattr(message, kind)()


def struct_paths(
    message: type[Message], version: int, struct: str, path: tuple[tuple[str, str, bool], ...]
) -> Iterator[tuple[str, tuple[tuple[str, str, bool], ...]]]:
    yield struct, path
    for field in fields_of(message, version, struct):
        if field.is_struct:
            step = (field.name, field.type, field.is_array)
            yield from struct_paths(message, version, field.type, (*path, step))


def build(
    message: type[Message],
    version: int,
    path: tuple[tuple[str, str, bool], ...],
    name: str,
    values: list[Any],
) -> Any:
    """A message of defaults, but with `values` in the field `name` at the end of `path`."""
    top = node = message()
    for step, struct, is_array in path:
        child = getattr(message, struct)()
        setattr(node, step, [child] if is_array else child)
        node = child
    setattr(node, name, values)
    return top


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: message.__name__)
def test_a_crowd_of_tiny_elements_stays_within_four_times_its_bytes_and_32_mib(
    message: type[Message],
) -> None:
    for version in {message.min_version, message.max_version}:
        for name, value in crowds(message, version, 2 * MIB):
            data = value.encode(version)
            del value
            tracemalloc.start()
            try:
                read = decode(message, data, version)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak <= 4 * len(data) + 32 * MIB + 65536, (version, name, len(data), peak)
            del read


def test_a_crowd_beyond_the_allowance_is_refused() -> None:
    request = messages.schema(3)[0]
    data = request(topics=[request.MetadataRequestTopic(name="")] * 2_000_000).encode(9)
    with pytest.raises(InvalidRequestError, match="grow beyond the memory allowed"):
        request.decode(data, 0, len(data), 9)


def test_an_answer_from_a_broker_may_be_as_large_as_the_cluster_is() -> None:
    response = messages.schema(3)[1]
    partition = response.MetadataResponsePartition(replica_nodes=[1, 2, 3], isr_nodes=[1, 2, 3])
    topic = response.MetadataResponseTopic(name="t", partitions=[partition] * 300_000)
    data = response(topics=[topic]).encode(12)
    assert len(response.decode(data, 0, len(data), 12).topics[0].partitions) == 300_000


def test_a_hundred_thousand_topics_are_no_crowd() -> None:
    request = messages.schema(3)[0]
    topics = [request.MetadataRequestTopic(name=f"orders-{number}") for number in range(100_000)]
    data = request(topics=topics).encode(9)
    assert len(request.decode(data, 0, len(data), 9).topics) == 100_000


def test_unknown_tagged_fields_are_kept_only_within_the_allowance() -> None:
    request = messages.schema(18)[0]
    body = request().encode(3)[:-1]
    for count in (80_000, 1_000_000):
        data = body + uvarint(count) + b"".join(uvarint(9 + index) + b"\x00" for index in range(count))
        tracemalloc.start()
        try:
            read = decode(request, data, 3)
            assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 33 * MIB
        finally:
            tracemalloc.stop()
        assert (read is None) == (count == 1_000_000)
