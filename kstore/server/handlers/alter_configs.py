"""AlterConfigs

API 33, versions 0-2
KIP-133: what is not in the request goes back to its default
Kafka: ConfigAdminManager.preprocess, ConfigurationControlManager.legacyAlterConfigs, AlterConfigsRequest.json
"""

from collections.abc import Mapping
from typing import Any

from kstore._native.connection import Request
from kstore.errors import NONE
from kstore.protocol.messages.alter_configs import AlterConfigsRequest, AlterConfigsResponse
from kstore.server.config_changes import FindKey, Wish, change_configs
from kstore.server.context import Context
from kstore.server.dynamic_config import after_replacement
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = AlterConfigsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, alter(context, asked))


async def alter(context: Context, asked: Any) -> Any:
    wishes = [wish_for(resource) for resource in asked.resources]
    refusals = await change_configs(context, wishes, validate_only=asked.validate_only)
    return AlterConfigsResponse(
        responses=[
            AlterConfigsResponse.AlterConfigsResourceResponse(
                error_code=NONE if refusal is None else refusal.code,
                error_message=None if refusal is None else str(refusal),
                resource_type=wish.resource_type,
                resource_name=wish.name,
            )
            for wish, refusal in zip(wishes, refusals, strict=True)
        ]
    )


def wish_for(resource: Any) -> Wish:
    def after(_stored: Mapping[str, str], _find_key: FindKey) -> dict[str, str]:
        return after_replacement([(config.name, config.value) for config in resource.configs])

    return Wish(resource.resource_type, resource.resource_name, after)
