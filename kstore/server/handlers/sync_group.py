"""SyncGroup

API 14, versions 0-5
KIP-345 static members (3), KIP-559 the protocol is named and must be the group's (5)
Kafka: KafkaApis.handleSyncGroupRequest, GroupCoordinatorAdapter.syncGroup, SyncGroupRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.coordinator.group.requests import SyncRequest
from kstore.errors import InconsistentGroupProtocolError, KafkaError
from kstore.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from kstore.server.context import Context
from kstore.server.ticket import Ticket

PROTOCOL_FROM = 5


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    asked = SyncGroupRequest.decode(request.buffer, request.position, request.limit, version)
    ticket = Ticket(request, answer)
    if version >= PROTOCOL_FROM and (asked.protocol_type is None or asked.protocol_name is None):
        ticket.answer(InconsistentGroupProtocolError("protocol type and name have to be there"))
        return ticket.taken()
    sync = SyncRequest(
        group_id=asked.group_id,
        member_id=asked.member_id,
        group_instance_id=asked.group_instance_id,
        generation_id=asked.generation_id,
        protocol_type=asked.protocol_type,
        protocol_name=asked.protocol_name,
        assignments=[(assignment.member_id, assignment.assignment) for assignment in asked.assignments],
    )
    context.groups.decide(
        sync.group_id, ticket, lambda shard, monotonic_ms: shard.sync_group(ticket, sync, monotonic_ms)
    )
    return ticket.taken()


def answer(result: Any) -> Any:
    if isinstance(result, KafkaError):
        return SyncGroupResponse(error_code=result.code)
    return SyncGroupResponse(
        protocol_type=result.protocol_type, protocol_name=result.protocol_name, assignment=result.assignment
    )
