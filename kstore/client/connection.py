"""One connection to a broker, without its socket: requests to bytes, bytes to answers. Sans-io.

Answers come in the order of their requests, each with its request's number; anything else ends the connection.
"""

from collections import deque
from typing import Any, NamedTuple

from kstore.errors import InvalidRequestError
from kstore.protocol.framing import FrameReader
from kstore.protocol.headers import encode_request_header, has_tagged_response_header
from kstore.protocol.messages import schema

# Answers to fetches are as large as `replica.fetch.response.max.bytes`, or one batch if that is larger.
MAX_FRAME = 512 * 1024 * 1024


class Sent(NamedTuple):
    correlation_id: int
    api_key: int
    version: int


class ClientConnection:
    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self._frames = FrameReader(MAX_FRAME)
        self._sent: deque[Sent] = deque()
        self._last = 0

    def request(self, request: Any, version: int) -> bytes:
        """The frame that asks."""
        self._last = (self._last + 1) & 0x7FFFFFFF
        api_key = type(request).api_key
        self._sent.append(Sent(self._last, api_key, version))
        payload: bytes = encode_request_header(api_key, version, self._last, self.client_id) + request.encode(version)
        return len(payload).to_bytes(4, "big") + payload

    def received(self, data: bytes) -> list[Any]:
        """The answers that `data` completes. Raises InvalidRequestError for what is none."""
        return [self._answer(frame) for frame in self._frames.feed(data)]

    def _answer(self, frame: bytearray) -> Any:
        if not self._sent:
            raise InvalidRequestError("an answer came to no request")
        sent = self._sent.popleft()
        correlation_id = int.from_bytes(frame[:4], "big", signed=True)
        if correlation_id != sent.correlation_id:
            raise InvalidRequestError(f"the answer to request {correlation_id} came, {sent.correlation_id} was due")
        position = 5 if has_tagged_response_header(sent.api_key, sent.version) else 4
        return schema(sent.api_key)[1].decode(frame, position, len(frame), sent.version)
