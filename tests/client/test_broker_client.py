"""A broker that goes away just when it is asked."""

import asyncio

import pytest
import uvloop

from kstore.client.broker_client import BrokerClient
from kstore.errors import BrokerUnreachableError
from kstore.protocol.messages.api_versions import ApiVersionsRequest


def test_a_socket_that_closed_in_this_turn_of_the_loop_cannot_be_asked() -> None:
    async def story() -> None:
        accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

        async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await accepted.put(writer)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = BrokerClient("127.0.0.1", port, client_id="test")
        first = asyncio.ensure_future(client.ask(ApiVersionsRequest(), 0, timeout_ms=10_000))
        writer = await accepted.get()
        while (link := client._link) is None:
            await asyncio.sleep(0)
        assert link._transport is not None
        link._transport.abort()
        assert link.is_open, "nobody has told the link yet"
        with pytest.raises(BrokerUnreachableError):
            await client.ask(ApiVersionsRequest(), 0, timeout_ms=10_000)
        with pytest.raises(BrokerUnreachableError):
            await first
        writer.transport.abort()
        server.close()

    uvloop.run(story())
