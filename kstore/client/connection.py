"""One connection to a broker, without its socket: requests to bytes, bytes to answers. Sans-io.

Answers come in the order of their requests, each with its request's number; anything else ends the connection. What is
received lies in one buffer: whoever has the socket writes into `room` and says how much `came`. A large answer gets a
buffer of its size, so that it is not copied once more, and the next one comes into the same if nobody looks at it any
more: an answer may hold views of its buffer, and keeps it for as long as it does.
"""

from collections import deque
from typing import Any, NamedTuple

from kstore._native.receive_buffer import ReceiveBuffer
from kstore.client.fetch_answer import VERSION as FETCH_VERSION
from kstore.client.fetch_answer import FetchAnswer, decode_fetch_answer
from kstore.errors import InvalidRequestError
from kstore.protocol.api_keys import FETCH
from kstore.protocol.framing import LENGTH_SIZE, frame_size
from kstore.protocol.headers import encode_request_header, has_tagged_response_header
from kstore.protocol.messages import schema

# Answers to fetches are as large as `replica.fetch.response.max.bytes`, or one batch if that is larger.
MAX_FETCH = 512 * 1024 * 1024
# Others tell some 30 bytes of each partition.
MAX_OTHER = 64 * 1024 * 1024
# Of which most answers take a part.
BUFFER_SIZE = 64 * 1024


class Sent(NamedTuple):
    correlation_id: int
    api_key: int
    version: int


class ClientConnection:
    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self._buffer = ReceiveBuffer(BUFFER_SIZE)
        self._filled = 0
        # Whether answers that were given away may still look at the buffer.
        self._is_lent = False
        self._sent: deque[Sent] = deque()
        self._last = 0

    def request(self, request: Any, version: int) -> bytes:
        """The frame that asks."""
        self._last = (self._last + 1) & 0x7FFFFFFF
        api_key = type(request).api_key
        self._sent.append(Sent(self._last, api_key, version))
        header = encode_request_header(api_key, version, self._last, self.client_id)
        frame: bytes = request.encode_frame(version, header)
        return frame

    def room(self) -> memoryview:
        """Where what comes next is to be written; never empty."""
        if self._is_lent:
            self._is_lent = False
            if self._buffer.has_views:
                self._buffer = ReceiveBuffer(self._buffer.size)
        return memoryview(self._buffer)[self._filled :]

    def came(self, count: int) -> list[Any]:
        """The answers that the next `count` bytes complete. Raises InvalidRequestError for what is none."""
        self._filled += count
        answers: list[Any] = []
        position = 0
        wanted = BUFFER_SIZE
        data = memoryview(self._buffer)
        while self._filled - position >= LENGTH_SIZE:
            size = frame_size(data[position : position + LENGTH_SIZE], self._largest)
            end = position + LENGTH_SIZE + size
            if end > self._filled:
                wanted = max(wanted, _rounded(LENGTH_SIZE + size))
                break
            answers.append(self._answer(position + LENGTH_SIZE, end))
            position = end
        if position or wanted > self._buffer.size:
            self._begin_buffer(position, wanted, holds_views=any(type(each) is FetchAnswer for each in answers))
        return answers

    def received(self, data: bytes) -> list[Any]:
        """As `came`, for bytes that lie elsewhere."""
        answers: list[Any] = []
        left = memoryview(data)
        while left:
            with self.room() as room:
                taken = min(len(room), len(left))
                room[:taken] = left[:taken]
            left = left[taken:]
            answers += self.came(taken)
        return answers

    def _begin_buffer(self, position: int, wanted: int, *, holds_views: bool) -> None:
        """What was read goes; what follows it moves to the front. A large buffer stays for as long as answers fill a
        quarter of it."""
        if 4 * position >= self._buffer.size:
            wanted = max(wanted, self._buffer.size)
        rest = memoryview(self._buffer)[position : self._filled]
        self._filled = len(rest)
        if self._buffer.size != wanted or (holds_views and rest):
            self._buffer = ReceiveBuffer(wanted)
        else:
            self._is_lent = holds_views
        memoryview(self._buffer)[: len(rest)] = rest

    @property
    def _largest(self) -> int:
        """Of the answer that is due, for which room is made before it has come. Raises InvalidRequestError."""
        if not self._sent:
            raise InvalidRequestError("an answer came to no request")
        return MAX_FETCH if self._sent[0].api_key == FETCH else MAX_OTHER

    def _answer(self, position: int, limit: int) -> Any:
        sent = self._sent.popleft()
        header_end = position + (5 if has_tagged_response_header(sent.api_key, sent.version) else 4)
        if header_end > limit:
            raise InvalidRequestError(f"an answer of {limit - position} bytes to request {sent.correlation_id}")
        correlation_id = int.from_bytes(memoryview(self._buffer)[position : position + 4], "big", signed=True)
        if correlation_id != sent.correlation_id:
            raise InvalidRequestError(f"the answer to request {correlation_id} came, {sent.correlation_id} was due")
        if (sent.api_key, sent.version) == (FETCH, FETCH_VERSION):
            return decode_fetch_answer(self._buffer, header_end, limit)
        return schema(sent.api_key)[1].decode(self._buffer, header_end, limit, sent.version)


def _rounded(size: int) -> int:
    """Up to whole BUFFER_SIZE: the next answer, a little larger, has room too."""
    return -(-size // BUFFER_SIZE) * BUFFER_SIZE
