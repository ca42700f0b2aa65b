"""Answer frames for the APIs that are coded by tables."""

from collections.abc import Coroutine
from typing import Any

from kstore._native.connection import PENDING, Request
from kstore.protocol.headers import encode_response_header
from kstore.server.context import Context


def respond(request: Request, response: Any, *, version: int | None = None) -> bytes:
    """The whole frame: length, response header, body, in the request's version unless another one is given."""
    if version is None:
        version = request.api_version
    header = encode_response_header(request.api_key, version, request.correlation_id)
    body: bytes = response.encode(version)
    return (len(header) + len(body)).to_bytes(4, "big") + header + body


def respond_later(context: Context, request: Request, response: Coroutine[Any, Any, Any]) -> object:
    """Answers with what `response` gives in the end."""

    async def answer() -> None:
        try:
            request.complete(respond(request, await response))
        except BaseException:
            request.connection.close("the request failed")
            raise

    context.start_task(answer())
    return PENDING
