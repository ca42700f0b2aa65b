"""A broker that goes away just when it is asked."""

import asyncio

import pytest
import uvloop

from kstore.client.broker_client import _Link
from kstore.errors import BrokerUnreachableError
from kstore.protocol.messages.api_versions import ApiVersionsRequest


def test_a_connection_that_ended_before_its_first_request_is_a_broker_that_cannot_be_reached() -> None:
    async def story() -> None:
        def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, link = await asyncio.get_running_loop().create_connection(lambda: _Link("test"), "127.0.0.1", port)
        while link.is_open:
            await asyncio.sleep(0.001)
        with pytest.raises(BrokerUnreachableError):
            link.ask(ApiVersionsRequest(), 0)
        server.close()

    uvloop.run(story())
