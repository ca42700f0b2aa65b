"""The hand-written codec of Produce and Fetch answers what the tables answer."""

import pytest

from kstore._native import hot_messages
from kstore.errors import InvalidRequestError, UnsupportedVersionError
from kstore.protocol.headers import encode_request_header, encode_response_header
from kstore.protocol.messages.produce import ProduceRequest, ProduceResponse


@pytest.mark.parametrize("version", range(3, 12))
def test_a_produce_request_is_read_where_it_lies(version: int) -> None:
    request = ProduceRequest(
        acks=-1,
        timeout_ms=3000,
        topic_data=[
            ProduceRequest.TopicProduceData(
                name="orders",
                partition_data=[ProduceRequest.PartitionProduceData(index=3, records=b"RECORDS")],
            )
        ],
    )
    frame = encode_request_header(0, version, 77, "rdkafka") + request.encode(version)
    header = hot_messages.decode_request_header(frame, 0, len(frame))
    assert (header.api_key, header.api_version, header.correlation_id, header.client_id) == (
        0,
        version,
        77,
        "rdkafka",
    )
    payload = hot_messages.decode_produce(frame, header.body_position, len(frame), version)
    ((topic, ((partition, position, size),)),) = payload.topics
    assert (payload.transactional_id, payload.acks, payload.timeout_ms) == (None, -1, 3000)
    assert (topic, partition, frame[position : position + size]) == ("orders", 3, b"RECORDS")


@pytest.mark.parametrize("version", range(3, 12))
def test_a_produce_answer_is_the_tables_answer(version: int) -> None:
    partition = ProduceResponse.PartitionProduceResponse(index=3, base_offset=1 << 40, log_start_offset=5)
    topic = ProduceResponse.TopicProduceResponse(name="orders", partition_responses=[partition])
    expected = ProduceResponse(responses=[topic], throttle_time_ms=7).encode_frame(
        version, encode_response_header(0, version, 77)
    )
    topics = [("orders", [(3, 0, 1 << 40, -1, 5, None, None, None)])]
    assert hot_messages.encode_produce_response(77, version, topics, 7) == expected


@pytest.mark.parametrize("version", [-1, 0, 1, 2, 12])
def test_versions_of_produce_that_are_not_spoken_are_refused(version: int) -> None:
    with pytest.raises(UnsupportedVersionError):
        hot_messages.decode_produce(b"\0" * 64, 0, 64, version)


def test_an_unknown_api_key_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no API has the key 999"):
        hot_messages.decode_request_header(b"\x03\xe7" + bytes(12), 0, 14)
