"""Fetch answers read by hand, held equal to the table."""

import random

import pytest

from kstore.client.connection import BUFFER_SIZE, ClientConnection
from kstore.client.fetch_answer import FetchAnswer, decode_fetch_answer
from kstore.errors import InvalidRequestError
from kstore.protocol.headers import decode_request_header, encode_response_header
from kstore.protocol.messages.fetch import FetchRequest, FetchResponse


def made(seed: int) -> FetchResponse:
    rng = random.Random(seed)

    def partition(index: int) -> FetchResponse.PartitionData:
        data = FetchResponse.PartitionData(
            partition_index=index,
            error_code=rng.choice((0, 0, 1, 74)),
            high_watermark=rng.randrange(-1, 2**62),
            last_stable_offset=rng.randrange(-1, 2**62),
            log_start_offset=rng.randrange(-1, 2**62),
            preferred_read_replica=rng.randrange(-1, 5),
            records=rng.randbytes(rng.choice((0, 1, 127, 128, 20_000, 70_000))) if rng.random() < 0.9 else None,
            aborted_transactions=None,
        )
        if rng.random() < 0.3:
            data.diverging_epoch.epoch, data.diverging_epoch.end_offset = rng.randrange(9), rng.randrange(2**40)
        if rng.random() < 0.3:
            data.current_leader.leader_id, data.current_leader.leader_epoch = 3, rng.randrange(9)
        if rng.random() < 0.3:
            data.aborted_transactions = [
                FetchResponse.AbortedTransaction(producer_id=number, first_offset=7)
                for number in range(rng.randrange(3))
            ]
        return data

    topics = [
        FetchResponse.FetchableTopicResponse(
            topic_id=rng.randbytes(16), partitions=[partition(index) for index in range(rng.randrange(1, 4))]
        )
        for _ in range(rng.randrange(4))
    ]
    endpoints = [FetchResponse.NodeEndpoint(node_id=1, host="here", port=9, rack=None)] if rng.random() < 0.3 else []
    return FetchResponse(
        error_code=rng.choice((0, 70)), session_id=rng.randrange(2**31), responses=topics, node_endpoints=endpoints
    )


def told(answer: object) -> list[object]:
    """What a follower looks at."""
    found: list[object] = [answer.error_code, answer.session_id]  # type: ignore[attr-defined]
    for topic in answer.responses:  # type: ignore[attr-defined]
        for part in topic.partitions:
            diverging = (part.diverging_epoch.epoch, part.diverging_epoch.end_offset)
            records = bytes(part.records or b"")
            place = topic.topic_id, part.partition_index, part.error_code
            found.append((*place, part.high_watermark, part.log_start_offset, diverging, records))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_the_same_is_read_as_by_the_table(seed: int) -> None:
    response = made(seed)
    data = response.encode(17)
    buffer = bytearray(b"before" + data + b"after")
    assert told(decode_fetch_answer(buffer, 6, 6 + len(data))) == told(response)


def test_what_is_torn_or_too_long_is_refused() -> None:
    data = made(3).encode(17)
    for end in range(len(data)):
        with pytest.raises(InvalidRequestError):
            decode_fetch_answer(bytearray(data[:end]), 0, end)
    with pytest.raises(InvalidRequestError, match="1 bytes too many"):
        decode_fetch_answer(bytearray(data + b"x"), 0, len(data) + 1)


def test_a_number_without_an_end_is_refused_where_it_is_too_long() -> None:
    """It was read to the end of the answer, and grew with each byte: minutes for a megabyte."""
    data = bytes(10) + b"\xff" * 1000
    with pytest.raises(InvalidRequestError, match="five bytes"):
        decode_fetch_answer(bytearray(data), 0, len(data))


@pytest.mark.parametrize("piece", [1, 3, 1000, 70_000])
def test_answers_come_whole_however_they_are_cut(piece: int) -> None:
    """Records are views of the buffer they came in: what follows must not be written over them."""
    connection = ClientConnection("me")
    responses = [made(seed) for seed in range(30)]
    stream = b""
    for response in responses:
        frame = connection.request(FetchRequest(replica_state=FetchRequest.ReplicaState(replica_id=1)), 17)
        header = decode_request_header(frame, 4, len(frame))
        body = encode_response_header(1, 17, header.correlation_id) + response.encode(17)
        stream += len(body).to_bytes(4, "big") + body
    assert len(stream) > 2 * BUFFER_SIZE
    answers: list[object] = []
    position = 0
    while position < len(stream):
        room = connection.room()
        taken = min(piece, len(room), len(stream) - position)
        room[:taken] = stream[position : position + taken]
        position += taken
        answers += connection.came(taken)
    assert all(type(answer) is FetchAnswer for answer in answers)
    assert [told(answer) for answer in answers] == [told(response) for response in responses]
