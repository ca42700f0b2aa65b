"""Heartbeat

API 12, versions 0-4
KIP-345 static members (3)
Kafka: KafkaApis.handleHeartbeatRequest, GroupCoordinator.handleHeartbeat, HeartbeatRequest.json
"""

from kstore._native.connection import Request
from kstore.errors import NONE, KafkaError
from kstore.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from kstore.server.context import Context
from kstore.server.respond import respond


def handle(context: Context, request: Request) -> object:
    asked = HeartbeatRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    error_code = NONE
    try:
        context.groups.ask(
            asked.group_id,
            lambda shard, monotonic_ms: shard.heartbeat(
                asked.group_id, asked.member_id, asked.generation_id, asked.group_instance_id, monotonic_ms
            ),
        )
    except KafkaError as error:
        error_code = error.code
    return respond(request, HeartbeatResponse(error_code=error_code))
