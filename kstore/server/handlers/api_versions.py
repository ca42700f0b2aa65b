"""ApiVersions

API 18, versions 0-4
KIP-511: an unknown version is answered in version 0 with UNSUPPORTED_VERSION and this API's own range
Kafka: KafkaApis.handleApiVersionsRequest, ApiVersionsRequest.json
"""

import re

from kstore._native.connection import Request
from kstore.errors import InvalidRequestError, UnsupportedVersionError
from kstore.protocol.api_keys import API_VERSIONS
from kstore.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from kstore.server.context import Context
from kstore.server.dispatch import APIS, spoken
from kstore.server.respond import respond

# librdkafka uses compression only if version 0 of Produce is in the range (KAFKA-18659).
ADVERTISED_LOWEST = {0: 0}

SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def handle(context: Context, request: Request) -> object:
    _, lowest, highest = APIS[API_VERSIONS]
    if not lowest <= request.api_version <= highest:
        body = ApiVersionsResponse(
            error_code=UnsupportedVersionError.code, api_keys=[range_of(API_VERSIONS, lowest, highest)]
        )
        return respond(request, body, version=0)
    asked = ApiVersionsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    if request.api_version >= 3 and not (
        SOFTWARE.fullmatch(asked.client_software_name) and SOFTWARE.fullmatch(asked.client_software_version)
    ):
        return respond(request, ApiVersionsResponse(error_code=InvalidRequestError.code))
    ranges = [range_of(key, lowest, highest) for key, (_, lowest, highest) in sorted(spoken(context).items())]
    return respond(request, ApiVersionsResponse(api_keys=ranges))


def range_of(api_key: int, lowest: int, highest: int) -> object:
    return ApiVersionsResponse.ApiVersion(
        api_key=api_key, min_version=ADVERTISED_LOWEST.get(api_key, lowest), max_version=highest
    )
