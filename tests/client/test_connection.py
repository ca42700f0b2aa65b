"""Requests and answers of one connection, without a socket."""

import pytest

from kstore.client.connection import MAX_OTHER, ClientConnection
from kstore.errors import InvalidRequestError
from kstore.protocol.headers import decode_request_header, encode_response_header
from kstore.protocol.messages.controlled_shutdown import ControlledShutdownRequest, ControlledShutdownResponse
from kstore.protocol.messages.fetch import FetchRequest

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
