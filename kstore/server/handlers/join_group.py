"""JoinGroup

API 11, versions 0-9
KIP-62 rebalance time-out (1), KIP-394 member ids are asked for before they count (4), KIP-345 static members (5),
KIP-559 protocol type (7), KIP-800 reasons (8), KIP-814 the leader of old need not assign again (9)
Kafka: KafkaApis.handleJoinGroupRequest, GroupCoordinatorAdapter.joinGroup, JoinGroupRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.coordinator.group.requests import JoinRequest
from kstore.errors import KafkaError, MemberIdRequiredError
from kstore.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from kstore.server.brokers import client_host
from kstore.server.context import Context
from kstore.server.ticket import Ticket

REBALANCE_TIMEOUT_FROM = 1
MEMBER_ID_REQUIRED_FROM = 4
NULL_PROTOCOL_FROM = 7
SKIP_ASSIGNMENT_FROM = 9

NO_GENERATION = -1


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    asked = JoinGroupRequest.decode(request.buffer, request.position, request.limit, version)
    ticket = Ticket(request, lambda result: answer(result, asked.member_id, version))
    join = JoinRequest(
        group_id=asked.group_id,
        member_id=asked.member_id,
        group_instance_id=asked.group_instance_id,
        client_id=request.client_id or "",
        client_host=client_host(request),
        session_timeout_ms=asked.session_timeout_ms,
        rebalance_timeout_ms=(
            asked.rebalance_timeout_ms if version >= REBALANCE_TIMEOUT_FROM else asked.session_timeout_ms
        ),
        protocol_type=asked.protocol_type,
        protocols=[(protocol.name, protocol.metadata) for protocol in asked.protocols],
        reason=asked.reason,
        requires_known_member_id=version >= MEMBER_ID_REQUIRED_FROM,
        supports_skip_assignment=version >= SKIP_ASSIGNMENT_FROM,
    )
    context.groups.decide(
        join.group_id, ticket, lambda shard, monotonic_ms: shard.join_group(ticket, join, monotonic_ms)
    )
    return ticket.taken()


def answer(result: Any, member_id: str, version: int) -> Any:
    no_protocol = None if version >= NULL_PROTOCOL_FROM else ""
    if isinstance(result, KafkaError):
        if isinstance(result, MemberIdRequiredError):
            member_id = result.member_id
        return JoinGroupResponse(
            error_code=result.code, generation_id=NO_GENERATION, protocol_name=no_protocol, member_id=member_id
        )
    return JoinGroupResponse(
        generation_id=result.generation_id,
        protocol_type=result.protocol_type,
        protocol_name=no_protocol if result.protocol_name is None else result.protocol_name,
        leader=result.leader,
        # A version that cannot say so is not told to.
        skip_assignment=result.skip_assignment and version >= SKIP_ASSIGNMENT_FROM,
        member_id=result.member_id,
        members=[
            JoinGroupResponse.JoinGroupResponseMember(
                member_id=member.member_id, group_instance_id=member.group_instance_id, metadata=member.metadata
            )
            for member in result.members
        ],
    )
