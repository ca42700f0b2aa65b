"""ControlledShutdown

API 7, version 3
KIP-380 broker epochs
Kafka: KafkaController.doControlledShutdown, ControlledShutdownRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import KafkaError, NotControllerError, StaleControllerEpochError
from kstore.protocol.messages.controlled_shutdown import ControlledShutdownRequest, ControlledShutdownResponse
from kstore.server.context import Context
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = ControlledShutdownRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, answer(context, asked))


async def answer(context: Context, asked: Any) -> Any:
    try:
        left = await context.cluster.controller.requests.shutdown_asked(asked.broker_id, asked.broker_epoch)
    except NotControllerError:
        # What a Kafka that does not control says to this request.
        return ControlledShutdownResponse(error_code=StaleControllerEpochError.code)
    except KafkaError as error:
        return ControlledShutdownResponse(error_code=error.code)
    return ControlledShutdownResponse(
        remaining_partitions=[
            ControlledShutdownResponse.RemainingPartition(topic_name=key.topic, partition_index=key.partition)
            for key in left
        ]
    )
