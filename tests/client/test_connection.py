"""Requests and answers of one connection, without a socket."""

from typing import Any

import pytest

from kstore.client.connection import BUFFER_SIZE, MAX_OTHER, ClientConnection
from kstore.errors import InvalidRequestError
from kstore.protocol.headers import decode_request_header, encode_response_header
from kstore.protocol.messages.controlled_shutdown import ControlledShutdownRequest, ControlledShutdownResponse
from kstore.protocol.messages.fetch import FetchRequest, FetchResponse

REQUEST = ControlledShutdownRequest(broker_id=1, broker_epoch=7)


def answer(correlation_id: int) -> bytes:
    body = encode_response_header(7, 3, correlation_id) + ControlledShutdownResponse(error_code=11).encode(3)
    return len(body).to_bytes(4, "big") + body


def test_an_answer_comes_in_pieces_and_belongs_to_its_request() -> None:
    connection = ClientConnection("me")
    frame = connection.request(REQUEST, 3)
    header = decode_request_header(frame, 4, len(frame))
    assert (header.api_key, header.api_version, header.client_id) == (7, 3, "me")
    data = answer(header.correlation_id)
    assert connection.received(data[:5]) == []
    (got,) = connection.received(data[5:])
    assert got.error_code == 11


def test_an_answer_to_nothing_or_to_another_request_ends_the_connection() -> None:
    connection = ClientConnection("me")
    with pytest.raises(InvalidRequestError):
        connection.received(answer(1))
    connection = ClientConnection("me")
    connection.request(REQUEST, 3)
    with pytest.raises(InvalidRequestError, match="2 came, 1 was due"):
        connection.received(answer(2))


def test_no_room_is_made_for_what_nobody_can_have_asked_for() -> None:
    """Four bytes of a stranger had half a gigabyte set aside."""
    connection = ClientConnection("me")
    with pytest.raises(InvalidRequestError, match="to no request"):
        connection.received((1 << 20).to_bytes(4, "big"))
    connection = ClientConnection("me")
    connection.request(REQUEST, 3)
    with pytest.raises(InvalidRequestError, match="is not in"):
        connection.received((MAX_OTHER + 1).to_bytes(4, "big"))
    connection = ClientConnection("me")
    connection.request(FetchRequest(), 17)
    assert connection.received((MAX_OTHER + 1).to_bytes(4, "big")) == []


def fetch_answer(connection: ClientConnection, records: bytes) -> bytes:
    """The answer to a fetch that is sent here."""
    frame = connection.request(FetchRequest(), 17)
    header = decode_request_header(frame, 4, len(frame))
    response = FetchResponse(
        responses=[
            FetchResponse.FetchableTopicResponse(
                partitions=[FetchResponse.PartitionData(partition_index=0, high_watermark=0, records=records)]
            )
        ]
    )
    body = encode_response_header(1, 17, header.correlation_id) + response.encode(17)
    return len(body).to_bytes(4, "big") + body


def records_of(answers: list[Any]) -> memoryview:
    (answered,) = answers
    records: memoryview = answered.responses[0].partitions[0].records
    return records


def owner(view: memoryview) -> int:
    """Which buffer is looked at."""
    return id(view.obj)


def test_a_large_answer_comes_into_the_buffer_of_the_one_before() -> None:
    """Each had fresh memory, cleared twice: a third of what a follower that catches up did."""
    connection = ClientConnection("me")
    first = records_of(connection.received(fetch_answer(connection, b"a" * 1_000_000)))
    used = owner(first)
    del first
    assert owner(connection.room()) == used
    again = records_of(connection.received(fetch_answer(connection, b"b" * 1_000_300)))
    assert (owner(again), bytes(again)) == (used, b"b" * 1_000_300)


def test_an_answer_that_somebody_looks_at_is_not_written_over() -> None:
    connection = ClientConnection("me")
    kept = [records_of(connection.received(fetch_answer(connection, bytes([n]) * 200_000))) for n in range(5)]
    assert [bytes(each) for each in kept] == [bytes([n]) * 200_000 for n in range(5)]


@pytest.mark.parametrize(("size", "room"), [(0, BUFFER_SIZE), (100_000, BUFFER_SIZE), (300_000, 16 * BUFFER_SIZE)])
def test_a_large_buffer_goes_with_the_first_answer_that_does_not_fill_a_quarter(size: int, room: int) -> None:
    """A follower that has caught up needs none for each of its leaders; it kept the largest that ever came."""
    connection = ClientConnection("me")
    connection.received(fetch_answer(connection, b"a" * 1_000_000))
    assert len(connection.room()) == 16 * BUFFER_SIZE
    connection.received(fetch_answer(connection, b"b" * size))
    assert len(connection.room()) == room


@pytest.mark.parametrize("size", range(5))
def test_an_answer_without_a_whole_header_ends_the_connection(size: int) -> None:
    connection = ClientConnection("me")
    connection.request(REQUEST, 3)
    with pytest.raises(InvalidRequestError, match=f"an answer of {size} bytes"):
        connection.received(size.to_bytes(4, "big") + bytes(size))
