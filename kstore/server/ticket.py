"""A request whose answer may be known at once, or much later when others have acted."""

import logging
from collections.abc import Callable
from typing import Any

from kstore._native.connection import PENDING, Request
from kstore.server.respond import respond

log = logging.getLogger(__name__)


class Ticket:
    """Answered exactly once, with what `to_response` makes of a result or of the KafkaError that refuses."""

    __slots__ = ("_frame", "_is_parked", "_request", "_to_response")

    def __init__(self, request: Request, to_response: Callable[[Any], Any]) -> None:
        self._request = request
        self._to_response = to_response
        self._frame: bytes | None = None
        self._is_parked = False

    def answer(self, result: Any) -> None:
        """Does not raise: others are answered after it."""
        try:
            frame = respond(self._request, self._to_response(result))
        except Exception as error:
            log.exception("a request that waited could not be answered")
            self._request.connection.close(f"internal error: {error}")
            return
        if self._is_parked:
            self._request.complete(frame)
        else:
            self._frame = frame

    def taken(self) -> object:
        """What the handler returns: the answer, or that it comes later."""
        if self._frame is not None:
            return self._frame
        self._is_parked = True
        return PENDING
