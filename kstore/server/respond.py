"""Answer frames for the APIs that are coded by tables."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from kstore._native.connection import PENDING, Request
from kstore.errors import InvalidRequestError
from kstore.protocol.api_keys import api_name
from kstore.protocol.headers import encode_response_header
from kstore.server.context import Context

log = logging.getLogger(__name__)

MAX_SIZE = 2**31 - 1


def respond(request: Request, response: Any, *, version: int | None = None) -> bytes:
    """The whole frame: length, response header, body, in the request's version unless another one is given."""
    if version is None:
        version = request.api_version
    header = encode_response_header(request.api_key, version, request.correlation_id)
    body: bytes = response.encode(version)
    if len(header) + len(body) > MAX_SIZE:
        name = api_name(request.api_key)
        raise InvalidRequestError(f"an answer to {name} of {len(body)} bytes is longer than a frame can be")
    return (len(header) + len(body)).to_bytes(4, "big") + header + body


def respond_later(context: Context, request: Request, response: Coroutine[Any, Any, Any]) -> object:
    """Answers with what `response` gives in the end."""

    async def answer() -> None:
        request.complete(respond(request, await response))

    run_for(context, request, answer())
    return PENDING


def run_for(context: Context, request: Request, work: Coroutine[Any, Any, None]) -> None:
    """Runs `work`, which answers `request` in the end. A failure closes the connection: nobody waits for ever."""

    async def guarded() -> None:
        try:
            await work
        except BaseException:
            request.connection.close("the request failed")
            raise

    context.start_task(guarded())


def completion(request: Request, answer: Callable[[], object]) -> Callable[[bool], None]:
    """What answers a request that waits in purgatory, or has it wait for something else (PENDING). It does not raise:
    others hear of the same news after it."""

    def complete(_timed_out: bool) -> None:
        try:
            answered = answer()
            if answered is not PENDING:
                request.complete(answered)
        except Exception as error:
            log.exception("a request that waited could not be answered")
            request.connection.close(f"internal error: {error}")

    return complete
