"""DescribeGroups

API 15, versions 0-5
KIP-430 authorized operations (3), KIP-345 static members (4)
Kafka: KafkaApis.handleDescribeGroupsRequest, GroupCoordinator.handleDescribeGroup, DescribeGroupsRequest.json

A group that nobody knows is described as Dead, without an error.
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import KafkaError
from kstore.protocol.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from kstore.server.brokers import GROUP_OPERATIONS, OPERATIONS_NOT_ASKED
from kstore.server.context import Context
from kstore.server.respond import respond


def handle(context: Context, request: Request) -> object:
    asked = DescribeGroupsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    operations = GROUP_OPERATIONS if asked.include_authorized_operations else OPERATIONS_NOT_ASKED
    groups = [describe(context, group_id, operations) for group_id in dict.fromkeys(asked.groups)]
    return respond(request, DescribeGroupsResponse(groups=groups))


def describe(context: Context, group_id: str, operations: int) -> Any:
    try:
        found = context.groups.ask(group_id, lambda shard, _: shard.describe_group(group_id))
    except KafkaError as error:
        return DescribeGroupsResponse.DescribedGroup(
            group_id=group_id, error_code=error.code, authorized_operations=OPERATIONS_NOT_ASKED
        )
    return DescribeGroupsResponse.DescribedGroup(
        group_id=group_id,
        group_state=found.state,
        protocol_type=found.protocol_type,
        protocol_data=found.protocol,
        members=[
            DescribeGroupsResponse.DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata,
                member_assignment=member.assignment,
            )
            for member in found.members
        ],
        authorized_operations=operations,
    )
