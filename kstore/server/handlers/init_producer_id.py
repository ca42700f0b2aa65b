"""InitProducerId

API 22, versions 0-5 KIP-98 idempotence, KIP-360 (3: the producer's own id and epoch, which count for
transactions only) Kafka: KafkaApis.handleInitProducerIdRequest, TransactionCoordinator.handleInitProducerId,
InitProducerIdRequest.json
"""

import logging

from kstore._native.connection import Request
from kstore.errors import (
    CoordinatorLoadInProgressError,
    InvalidRequestError,
    KafkaError,
    TransactionalIdAuthorizationError,
)
from kstore.log.rarely import Rarely
from kstore.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from kstore.server.context import Context
from kstore.server.respond import respond, respond_later

# A refused producer asks again ten times a second.
rarely = Rarely(logging.getLogger(__name__))


def handle(context: Context, request: Request) -> object:
    asked = InitProducerIdRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    if (asked.producer_id == -1) != (asked.producer_epoch == -1):
        return respond(request, refused(InvalidRequestError.code))
    if asked.transactional_id is not None:
        return respond(request, refused(TransactionalIdAuthorizationError.code))
    producer_id = context.producer_ids.take()
    if producer_id is not None:
        return respond(request, InitProducerIdResponse(producer_id=producer_id, producer_epoch=0))

    async def answer() -> object:
        try:
            producer_id = await context.producer_ids.next()
        except KafkaError as error:
            # What ails the disk is none of the producer's business; this code has it try again.
            rarely.log("claim", logging.ERROR, "no block of producer ids could be claimed: %s", error)
            return InitProducerIdResponse(error_code=CoordinatorLoadInProgressError.code)
        return InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)

    return respond_later(context, request, answer())


def refused(error_code: int) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=error_code, producer_id=-1, producer_epoch=-1)
