"""ListGroups

API 16, versions 0-5
KIP-518 by state (4), KIP-848 by type (5)
Kafka: KafkaApis.handleListGroupsRequest, GroupCoordinator.handleListGroups, ListGroupsRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import NONE, KafkaError
from kstore.protocol.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from kstore.server.context import Context
from kstore.server.respond import respond


def handle(context: Context, request: Request) -> object:
    asked = ListGroupsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    groups: list[Any] = []
    error_code = NONE
    for group in context.groups.listed(asked.states_filter, asked.types_filter):
        if isinstance(group, KafkaError):
            # Those of the other shards are told all the same.
            error_code = group.code
            continue
        groups.append(
            ListGroupsResponse.ListedGroup(
                group_id=group.group_id,
                protocol_type=group.protocol_type,
                group_state=group.state,
                group_type=group.type,
            )
        )
    return respond(request, ListGroupsResponse(error_code=error_code, groups=groups))
