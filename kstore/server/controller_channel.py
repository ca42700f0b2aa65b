"""What a controller has to say to one broker, in order: one request in flight, asked again until it is answered.

Kafka: ControllerChannelManager.scala, RequestSendThread.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kstore.client.broker_client import BrokerClient
from kstore.cluster.image import BrokerEndpoint, BrokerImage
from kstore.cluster.notices import Notice
from kstore.errors import BrokerUnreachableError, InvalidRequestError

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

NOTICE_TIMEOUT_MS = 30_000
NOTICE_RETRY_S = 0.1


class Channel:
    """To one registration of a broker; `answered` is called with each answer."""

    def __init__(
        self,
        context: "Context",
        broker: BrokerImage,
        endpoint: BrokerEndpoint,
        answered: Callable[[int, Notice, Any], None],
    ) -> None:
        self.broker_epoch = broker.epoch
        self.endpoint = endpoint
        self._broker_id = broker.id
        self._answered = answered
        self._loop = context.loop
        self._client = BrokerClient(endpoint.host, endpoint.port, client_id=f"controller-{context.node_id}")
        self._queue: asyncio.Queue[tuple[Notice, asyncio.Future[Any]]] = asyncio.Queue()
        # What has no answer yet, in the order in which it was said.
        self.waiting: dict[asyncio.Future[Any], None] = {}
        self._stopped = False
        self._task = context.start_task(self._run())

    def send(self, notice: Notice) -> asyncio.Future[Any]:
        told: asyncio.Future[Any] = self._loop.create_future()
        self.waiting[told] = None
        self._queue.put_nowait((notice, told))
        return told

    def stop(self) -> None:
        # A cancellation alone is lost where an answer, or the end of the connection, comes in the same turn.
        self._stopped = True
        self._task.cancel()
        self._client.close()
        for told in self.waiting:
            told.cancel()
        self.waiting.clear()

    async def _run(self) -> None:
        while not self._stopped:
            notice, told = await self._queue.get()
            answer = await self._ask(notice)
            self.waiting.pop(told, None)
            if self._stopped:
                return
            if not told.done():
                told.set_result(answer)
            self._answered(self._broker_id, notice, answer)

    async def _ask(self, notice: Notice) -> Any:
        """The answer, in the end; None when this channel is stopped."""
        said = ""
        while not self._stopped:
            try:
                return await self._client.ask(notice.request, notice.version, timeout_ms=NOTICE_TIMEOUT_MS)
            except (BrokerUnreachableError, InvalidRequestError) as error:
                if str(error) != said and not self._stopped:
                    said = str(error)
                    log.info("broker %d: %s", self._broker_id, error)
                await asyncio.sleep(NOTICE_RETRY_S)
        return None
