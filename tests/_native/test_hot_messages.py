"""The hand-written codec of Produce and Fetch says what the tables say: equal values, bytes and refusals."""

import random
import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from kstore._native import hot_messages
from kstore.errors import InvalidRequestError, UnsupportedVersionError
from kstore.protocol.api_keys import APIS
from kstore.protocol.headers import encode_request_header, encode_response_header
from kstore.protocol.messages.fetch import FetchRequest, FetchResponse
from kstore.protocol.messages.produce import ProduceRequest, ProduceResponse
from kstore.protocol.schema import Message
from tests.protocol.slow_codec import SlowEncoder, uvarint
from tests.protocol.test_hostile import bombs, mutate
from tests.protocol.values import random_message

PRODUCE_VERSIONS = range(3, 12)
FETCH_VERSIONS = range(4, 18)
CASES = [(ProduceRequest, version) for version in PRODUCE_VERSIONS]
CASES += [(FetchRequest, version) for version in FETCH_VERSIONS]
every_request = pytest.mark.parametrize(
    ("request_class", "version"), CASES, ids=lambda value: getattr(value, "__name__", str(value))
)
MIB = 1 << 20


def by_hand(request_class: type[Message], data: bytes, version: int, position: int = 0) -> dict[str, Any]:
    """What the hand-written decoder says, records as bytes."""
    if request_class is FetchRequest:
        fetch = hot_messages.decode_fetch(data, position, len(data), version)
        names = [name for name in dir(fetch) if not name.startswith("_")]
        return {name: getattr(fetch, name) for name in names}
    produce = hot_messages.decode_produce(data, position, len(data), version)
    topics = [
        (
            name,
            [(index, data[start : start + size] if size >= 0 else None) for index, start, size in partitions],
        )
        for name, partitions in produce.topics
    ]
    return {
        "transactional_id": produce.transactional_id,
        "acks": produce.acks,
        "timeout_ms": produce.timeout_ms,
        "topics": topics,
    }


def by_table(request: Any, version: int) -> dict[str, Any]:
    """The same, from the message that the table decoded."""
    if type(request) is ProduceRequest:
        return {
            "transactional_id": request.transactional_id,
            "acks": request.acks,
            "timeout_ms": request.timeout_ms,
            "topics": [
                (topic.name, [(partition.index, partition.records) for partition in topic.partition_data])
                for topic in request.topic_data
            ],
        }
    has_state = version >= 15
    return {
        "cluster_id": request.cluster_id,
        "replica_id": request.replica_state.replica_id if has_state else request.replica_id,
        "replica_epoch": request.replica_state.replica_epoch if has_state else -1,
        "max_wait_ms": request.max_wait_ms,
        "min_bytes": request.min_bytes,
        "max_bytes": request.max_bytes,
        "isolation_level": request.isolation_level,
        "session_id": request.session_id,
        "session_epoch": request.session_epoch,
        "rack_id": request.rack_id,
        "topics": [
            (
                *named(topic, version),
                [
                    (
                        partition.partition,
                        partition.current_leader_epoch,
                        partition.fetch_offset,
                        partition.last_fetched_epoch,
                        partition.log_start_offset,
                        partition.partition_max_bytes,
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ],
        "forgotten": [(*named(topic, version), topic.partitions) for topic in request.forgotten_topics_data],
    }


def named(topic: Any, version: int) -> tuple[str | None, bytes | None]:
    return (None, topic.topic_id) if version >= 13 else (topic.topic, None)


@every_request
def test_requests_are_read_as_the_tables_read_them(request_class: type[Message], version: int) -> None:
    rng = random.Random(f"{request_class.__name__}{version}")
    for _ in range(100):
        request = random_message(request_class, version, rng)
        data = rng.randbytes(3) + request.encode(version)
        assert by_hand(request_class, data, version, 3) == by_table(request, version)


@every_request
def test_refusals_are_those_of_the_tables(request_class: type[Message], version: int) -> None:
    rng = random.Random(f"{request_class.__name__}{version}")
    verdicts = set()
    for _ in range(25):
        data = random_message(request_class, version, rng).encode(version)
        for damaged in [
            *(data[:size] for size in range(len(data))),
            *(mutate(data, rng) for _ in range(100)),
        ]:
            try:
                expected = by_table(request_class.decode(damaged, 0, len(damaged), version), version)
            except InvalidRequestError:
                with pytest.raises(InvalidRequestError, match=f"^{request_class.__name__} v{version}: "):
                    by_hand(request_class, damaged, version)
                verdicts.add("refused")
            else:
                assert by_hand(request_class, damaged, version) == expected
                verdicts.add("read")
    assert verdicts == {"refused", "read"}


@every_request
def test_a_forged_count_is_refused_before_anything_is_made_for_it(request_class: type[Message], version: int) -> None:
    rng = random.Random(f"{request_class.__name__}{version}")
    tracemalloc.start()
    try:
        for _ in range(10):
            encoder = SlowEncoder(request_class, version)
            data = encoder.encode(random_message(request_class, version, rng))
            for count in encoder.counts:
                for bomb in bombs(data, count):
                    tracemalloc.reset_peak()
                    before = tracemalloc.get_traced_memory()[0]
                    with pytest.raises(InvalidRequestError):
                        by_hand(request_class, bomb, version)
                    assert tracemalloc.get_traced_memory()[1] - before < 20 * len(data) + 16384
    finally:
        tracemalloc.stop()


def crowded_requests() -> list[tuple[str, bytes, int]]:
    fetch_partitions = [FetchRequest.FetchPartition(partition_max_bytes=1 << 20)] * 500_000
    fetch_topics = [FetchRequest.FetchTopic(topic="", topic_id=b"u" * 16)] * 400_000
    forgotten = [FetchRequest.ForgottenTopic(topic="t", partitions=[1 << 20] * 2_000_000)]
    one_topic = FetchRequest.FetchTopic(topic="t", partitions=fetch_partitions)
    partitions = [ProduceRequest.PartitionProduceData(index=1 << 20)] * 600_000
    topic = ProduceRequest.TopicProduceData(name="t", partition_data=partitions)
    produce_topics = [ProduceRequest.TopicProduceData(name="")] * 1_000_000
    return [
        ("fetch", FetchRequest(topics=[one_topic]).encode(4), 4),
        ("fetch", FetchRequest(topics=[one_topic]).encode(17), 17),
        ("fetch", FetchRequest(topics=fetch_topics).encode(4), 4),
        ("fetch", FetchRequest(topics=fetch_topics).encode(17), 17),
        ("fetch", FetchRequest(forgotten_topics_data=forgotten).encode(7), 7),
        ("produce", ProduceRequest(topic_data=[topic]).encode(3), 3),
        ("produce", ProduceRequest(topic_data=[topic]).encode(11), 11),
        ("produce", ProduceRequest(topic_data=produce_topics).encode(3), 3),
        ("produce", ProduceRequest(topic_data=produce_topics).encode(11), 11),
    ]


def test_a_crowd_of_tiny_elements_stays_within_four_times_its_bytes_and_32_mib() -> None:
    for what, data, version in crowded_requests():
        decode = hot_messages.decode_fetch if what == "fetch" else hot_messages.decode_produce
        tracemalloc.start()
        try:
            with pytest.raises(InvalidRequestError, match="grow beyond the memory allowed"):
                decode(data, 0, len(data), version)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak <= 4 * len(data) + 33 * MIB, (what, version, len(data), peak)


def test_a_fetch_of_ten_thousand_partitions_is_no_crowd() -> None:
    partitions = [FetchRequest.FetchPartition(partition=index, partition_max_bytes=1 << 20) for index in range(100)]
    topics = [FetchRequest.FetchTopic(topic=f"orders-{index}", partitions=partitions) for index in range(100)]
    data = FetchRequest(topics=topics).encode(12)
    assert sum(len(topic[2]) for topic in hot_messages.decode_fetch(data, 0, len(data), 12).topics) == 10_000


# --- answers


def pair(struct_value: Any, first: str, second: str) -> tuple[int, int]:
    return getattr(struct_value, first), getattr(struct_value, second)


def endpoints_of(response: Any) -> list[tuple[int, str, int, str | None]]:
    return [(node.node_id, node.host, node.port, node.rack) for node in response.node_endpoints]


def produce_frame(response: Any, correlation_id: int, version: int) -> bytes:
    topics = [
        (
            topic.name,
            [
                (
                    partition.index,
                    partition.error_code,
                    partition.base_offset,
                    partition.log_append_time_ms,
                    partition.log_start_offset,
                    [(error.batch_index, error.batch_index_error_message) for error in partition.record_errors],
                    partition.error_message,
                    pair(partition.current_leader, "leader_id", "leader_epoch"),
                )
                for partition in topic.partition_responses
            ],
        )
        for topic in response.responses
    ]
    return hot_messages.encode_produce_response(
        correlation_id, version, topics, response.throttle_time_ms, endpoints_of(response)
    )


class Slice:
    """Records that lie somewhere else, such as in a file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)


def fetch_parts(response: Any, correlation_id: int, version: int, wrap: Any) -> list[Any]:
    topics = [
        (
            topic.topic,
            topic.topic_id,
            [
                (
                    partition.partition_index,
                    partition.error_code,
                    partition.high_watermark,
                    partition.last_stable_offset,
                    partition.log_start_offset,
                    None
                    if partition.aborted_transactions is None
                    else [(txn.producer_id, txn.first_offset) for txn in partition.aborted_transactions],
                    partition.preferred_read_replica,
                    wrap(partition.records),
                    pair(partition.diverging_epoch, "epoch", "end_offset"),
                    pair(partition.current_leader, "leader_id", "leader_epoch"),
                    pair(partition.snapshot_id, "end_offset", "epoch"),
                )
                for partition in topic.partitions
            ],
        )
        for topic in response.responses
    ]
    return hot_messages.encode_fetch_response(
        correlation_id,
        version,
        response.throttle_time_ms,
        response.error_code,
        response.session_id,
        topics,
        endpoints_of(response),
    )


def joined(parts: list[Any]) -> bytes:
    return b"".join(part.data if isinstance(part, Slice) else bytes(part) for part in parts)


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
def test_produce_answers_are_the_bytes_of_the_tables(version: int) -> None:
    rng = random.Random(version)
    for correlation_id in (0, -1, 1 << 30) * 30:
        response = random_message(ProduceResponse, version, rng)
        expected = response.encode_frame(version, encode_response_header(0, version, correlation_id))
        assert produce_frame(response, correlation_id, version) == expected


@pytest.mark.parametrize("version", FETCH_VERSIONS)
@pytest.mark.parametrize("wrap", [Slice, bytes, bytearray, memoryview])
def test_fetch_answers_are_the_bytes_of_the_tables(version: int, wrap: Any) -> None:
    rng = random.Random(version)
    for correlation_id in (0, -1, 1 << 30) * 30:
        response = random_message(FetchResponse, version, rng)
        for topic in response.responses:
            for partition in topic.partitions:
                partition.records = rng.randbytes(rng.choice((0, 1, 1024, 1025, 9000)))
        expected = response.encode_frame(version, encode_response_header(1, version, correlation_id))
        assert joined(fetch_parts(response, correlation_id, version, wrap)) == expected


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_missing_records_are_sent_as_empty_never_as_null(version: int) -> None:
    result = (0, 3, -1, -1, -1, None, -1, None, None, None, None)
    (frame,) = hot_messages.encode_fetch_response(1, version, 0, 0, 0, [("t", bytes(16), [result])])
    body = FetchResponse.decode(frame, 8 + (version >= 12), len(frame), version)
    assert body.responses[0].partitions[0].records == b""


def test_large_records_are_parts_of_their_own_and_the_first_part_counts_them() -> None:
    big, small = Slice(b"x" * 100_000), b"y" * 10
    results = [(index, 0, 1, 1, 0, None, -1, records, None, None, None) for index, records in enumerate((big, small))]
    parts = hot_messages.encode_fetch_response(1, 11, 0, 0, 0, [("t", None, results)])
    assert parts[1] is big
    assert len(parts) == 3
    assert struct.unpack(">i", parts[0][:4]) == (len(parts[0]) + 100_000 + len(parts[2]) - 4,)


def test_an_answer_of_two_gib_or_more_is_refused() -> None:
    class Huge:
        size = 0x7FFFFFFE

    result = (0, 0, 1, 1, 0, None, -1, Huge(), None, None, None)
    with pytest.raises(OverflowError):
        hot_messages.encode_fetch_response(1, 11, 0, 0, 0, [("t", None, [result, result])])


def test_leader_hints_are_left_out_where_the_version_has_no_room() -> None:
    produced = [("t", [(0, 6, -1, -1, -1, None, None, (2, 7))])]
    nodes = [(2, "host", 9092, None)]
    assert hot_messages.encode_produce_response(1, 9, produced, 0, nodes) == hot_messages.encode_produce_response(
        1, 9, [("t", [(0, 6, -1, -1, -1, None, None, None)])]
    )
    assert len(hot_messages.encode_produce_response(1, 10, produced, 0, nodes)) > 60


@pytest.mark.parametrize("version", [-1, 0, 1, 2, 12])
def test_versions_of_produce_that_are_not_spoken_are_refused(version: int) -> None:
    with pytest.raises(UnsupportedVersionError):
        hot_messages.decode_produce(bytes(64), 0, 64, version)
    with pytest.raises(UnsupportedVersionError):
        hot_messages.encode_produce_response(0, version, [])


@pytest.mark.parametrize("version", [-1, 0, 3, 18])
def test_versions_of_fetch_that_are_not_spoken_are_refused(version: int) -> None:
    with pytest.raises(UnsupportedVersionError):
        hot_messages.decode_fetch(bytes(64), 0, 64, version)
    with pytest.raises(UnsupportedVersionError):
        hot_messages.encode_fetch_response(0, version, 0, 0, 0, [])


@pytest.mark.parametrize("wrong", [(0,), (0,) * 9, ("x", 0, 0, 0, 0, None, None, None), 5])
def test_a_result_of_the_wrong_shape_is_an_error_not_an_answer(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        hot_messages.encode_produce_response(0, 9, [("t", [wrong])])


# --- names that come again


def test_a_topic_name_that_comes_again_is_the_same_str() -> None:
    data = ProduceRequest(topic_data=[ProduceRequest.TopicProduceData(name="orders")]).encode(9)
    names = {id(hot_messages.decode_produce(data, 0, len(data), 9).topics[0][0]) for _ in range(10)}
    assert len(names) == 1


def test_names_that_meet_in_the_table_of_known_names_stay_apart() -> None:
    rng = random.Random(1)
    alphabet = "ab\u00e9\u65e5"
    for _ in range(20_000):
        name = "".join(rng.choices(alphabet, k=rng.choice((0, 1, 2, 7, 8, 9, 20, 260))))
        data = ProduceRequest(topic_data=[ProduceRequest.TopicProduceData(name=name)]).encode(9)
        assert hot_messages.decode_produce(data, 0, len(data), 9).topics[0][0] == name


# --- request headers


@pytest.mark.parametrize("api_key", APIS)
def test_a_request_header_is_read_to_the_beginning_of_the_body(api_key: int) -> None:
    for version in range(19):
        for client_id in (None, "", "rdkafka", "Grüße"):
            header = encode_request_header(api_key, version, -5, client_id)
            read = hot_messages.decode_request_header(b"junk" + header + b"body", 4, 8 + len(header))
            assert read.body_position == 4 + len(header)
            assert (read.api_key, read.api_version, read.correlation_id) == (api_key, version, -5)
            assert read.client_id == (None if (api_key, version) == (7, 0) else client_id)


def test_tagged_fields_in_a_request_header_are_stepped_over() -> None:
    plain = encode_request_header(3, 12, 1, "c")
    tagged = plain[:-1] + uvarint(2) + b"\x00\x03abc" + b"\x63\x00"
    assert hot_messages.decode_request_header(tagged + b"body", 0, len(tagged) + 4).body_position == len(tagged)


def test_a_bomb_of_tagged_fields_in_a_request_header_takes_no_memory() -> None:
    """CVE-2026-111115: before authentication, some tens of MB that Kafka made objects of."""
    start = encode_request_header(3, 12, 1, "c")[:-1]
    count = 5_000_000
    whole = start + uvarint(count) + b"\x05\x00" * count
    forged = start + uvarint(0xFFFFFFFF) + b"\x05\x00" * 10
    tracemalloc.start()
    try:
        assert hot_messages.decode_request_header(whole, 0, len(whole)).body_position == len(whole)
        with pytest.raises(InvalidRequestError, match="4294967295 tagged fields"):
            hot_messages.decode_request_header(forged, 0, len(forged))
        assert tracemalloc.get_traced_memory()[1] < 65536
    finally:
        tracemalloc.stop()


def test_every_truncation_of_a_request_header_is_refused() -> None:
    header = encode_request_header(3, 12, 1, "client")
    for size in range(len(header)):
        with pytest.raises(InvalidRequestError, match=r"^RequestHeader: "):
            hot_messages.decode_request_header(header, 0, size)


@pytest.mark.parametrize("api_key", [-1, 88, 999, 32767, -32768])
def test_a_key_that_no_api_has_is_refused(api_key: int) -> None:
    header = struct.pack(">hhih", api_key, 0, 1, -1)
    with pytest.raises(InvalidRequestError, match=f"no API has the key {api_key}"):
        hot_messages.decode_request_header(header, 0, len(header))


def test_a_client_name_that_is_not_utf8_does_not_turn_the_client_away() -> None:
    header = struct.pack(">hhih", 18, 0, 1, 3) + b"a\xffb"
    assert hot_messages.decode_request_header(header, 0, len(header)).client_id == "a\ufffdb"


@pytest.mark.parametrize(("position", "limit"), [(-1, 4), (5, 4), (0, 65), (65, 65)])
def test_a_range_outside_the_buffer_is_the_callers_error(position: int, limit: int) -> None:
    for decode in (hot_messages.decode_produce, hot_messages.decode_fetch):
        with pytest.raises(ValueError, match="not within a buffer of 64 bytes"):
            decode(bytes(64), position, limit, 9)
    with pytest.raises(ValueError, match="not within a buffer of 64 bytes"):
        hot_messages.decode_request_header(bytes(64), position, limit)


def test_nothing_is_kept_of_what_was_decoded_or_refused() -> None:
    request = random_message(FetchRequest, 12, random.Random(5))
    data = request.encode(12)

    def work() -> None:
        for _ in range(300):
            hot_messages.decode_fetch(data, 0, len(data), 12)
            with suppress(InvalidRequestError):
                hot_messages.decode_fetch(data, 0, len(data) - 1, 12)
            hot_messages.encode_produce_response(1, 9, [("t" * 300, [(0, 0, 1 << 40, -1, 0, None, "e", None)] * 50)])

    work()
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        work()
        assert tracemalloc.get_traced_memory()[0] - before < 4096
    finally:
        tracemalloc.stop()
