"""IncrementalAlterConfigs

API 44, versions 0-1
KIP-339: sets, deletes, appends to and subtracts from single keys; the others stay as they are
Kafka: ConfigAdminManager.preprocess, ConfigurationControlManager.incrementalAlterConfigs,
IncrementalAlterConfigsRequest.json
"""

from collections.abc import Mapping
from typing import Any

from kstore._native.connection import Request
from kstore.errors import NONE
from kstore.protocol.messages.incremental_alter_configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from kstore.server.config_changes import FindKey, Wish, change_configs
from kstore.server.context import Context
from kstore.server.dynamic_config import Operation, after_operations
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = IncrementalAlterConfigsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, alter(context, asked))


async def alter(context: Context, asked: Any) -> Any:
    wishes = [wish_for(resource) for resource in asked.resources]
    refusals = await change_configs(context, wishes, validate_only=asked.validate_only)
    return IncrementalAlterConfigsResponse(
        responses=[
            IncrementalAlterConfigsResponse.AlterConfigsResourceResponse(
                error_code=NONE if refusal is None else refusal.code,
                error_message=None if refusal is None else str(refusal),
                resource_type=wish.resource_type,
                resource_name=wish.name,
            )
            for wish, refusal in zip(wishes, refusals, strict=True)
        ]
    )


def wish_for(resource: Any) -> Wish:
    operations = [Operation(each.name, each.config_operation, each.value) for each in resource.configs]

    def after(stored: Mapping[str, str], find_key: FindKey) -> dict[str, str]:
        return after_operations(stored, operations, find_key)

    return Wish(resource.resource_type, resource.resource_name, after)
