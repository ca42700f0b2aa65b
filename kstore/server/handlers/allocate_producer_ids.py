"""AllocateProducerIds

API 67, version 0
KIP-730
Kafka: KafkaController.allocateProducerIds, AllocateProducerIdsRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.cluster.zk.store import PRODUCER_ID_BLOCK
from kstore.errors import KafkaError
from kstore.protocol.messages.allocate_producer_ids import AllocateProducerIdsRequest, AllocateProducerIdsResponse
from kstore.server.context import Context
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = AllocateProducerIdsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, answer(context, asked))


async def answer(context: Context, asked: Any) -> Any:
    try:
        start = await context.cluster.controller.requests.claim_producer_ids(asked.broker_id)
    except KafkaError as error:
        return AllocateProducerIdsResponse(error_code=error.code)
    return AllocateProducerIdsResponse(producer_id_start=start, producer_id_len=PRODUCER_ID_BLOCK)
