"""UpdateMetadata

API 6, version 8: what a controller at inter.broker.protocol.version 3.9 sends
KIP-380 broker epochs, KIP-516 topic ids
Kafka: KafkaApis.handleUpdateMetadataRequest, ZkMetadataCache.updateMetadata, UpdateMetadataRequest.json
"""

from kstore._native.connection import Request
from kstore.errors import StaleBrokerEpochError, StaleControllerEpochError
from kstore.protocol.messages.update_metadata import UpdateMetadataRequest, UpdateMetadataResponse
from kstore.server.context import Context
from kstore.server.respond import respond


def handle(context: Context, request: Request) -> object:
    asked = UpdateMetadataRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    try:
        context.cluster.check_sender(asked)
    except (StaleControllerEpochError, StaleBrokerEpochError) as error:
        return respond(request, UpdateMetadataResponse(error_code=error.code))
    context.cluster.know(asked)
    return respond(request, UpdateMetadataResponse())
