"""LeaveGroup

API 13, versions 0-5
KIP-345 several members at once (3), KIP-800 reasons (5)
Kafka: KafkaApis.handleLeaveGroupRequest, LeaveGroupRequest.normalizedData, LeaveGroupResponse.java
"""

from typing import Any

from kstore._native.connection import Request
from kstore.coordinator.group.requests import LeavingMember
from kstore.errors import KafkaError
from kstore.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse
from kstore.server.context import Context
from kstore.server.ticket import Ticket

SEVERAL_FROM = 3


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    asked = LeaveGroupRequest.decode(request.buffer, request.position, request.limit, version)
    ticket = Ticket(request, lambda result: answer(result, version))
    if version >= SEVERAL_FROM:
        members = [LeavingMember(member.member_id, member.group_instance_id, member.reason) for member in asked.members]
    else:
        members = [LeavingMember(asked.member_id)]
    context.groups.decide(
        asked.group_id,
        ticket,
        lambda shard, monotonic_ms: shard.leave_group(ticket, asked.group_id, members, monotonic_ms),
    )
    return ticket.taken()


def answer(result: Any, version: int) -> Any:
    if isinstance(result, KafkaError):
        return LeaveGroupResponse(error_code=result.code)
    if version < SEVERAL_FROM:
        # The one member's refusal is the answer's.
        return LeaveGroupResponse(error_code=result.members[0].error_code)
    return LeaveGroupResponse(
        members=[
            LeaveGroupResponse.MemberResponse(
                member_id=member.member_id, group_instance_id=member.group_instance_id, error_code=member.error_code
            )
            for member in result.members
        ]
    )
