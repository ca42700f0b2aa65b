"""FindCoordinator

API 10, versions 0-6 (version 0 must be in range, or librdkafka does not use LZ4)
KIP-699 many keys a request (4)
Kafka: KafkaApis.handleFindCoordinatorRequest, FindCoordinatorRequest.json

This broker coordinates neither groups nor transactions yet, and says so: a group's members may go on trying
(COORDINATOR_NOT_AVAILABLE), a transactional producer must not, as clients of one would try for ever.
"""

from kstore._native.connection import Request
from kstore.errors import (
    CoordinatorNotAvailableError,
    InvalidRequestError,
    KafkaError,
    TransactionalIdAuthorizationError,
)
from kstore.protocol.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from kstore.server.context import Context
from kstore.server.respond import respond

GROUP = 0
TRANSACTION = 1
BATCHED_FROM = 4


def handle(context: Context, request: Request) -> object:
    asked = FindCoordinatorRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    refusal = refusal_for(asked.key_type)
    if request.api_version < BATCHED_FROM:
        answer = FindCoordinatorResponse(
            error_code=refusal.code, error_message=str(refusal), node_id=-1, host="", port=-1
        )
    else:
        answer = FindCoordinatorResponse(
            coordinators=[
                FindCoordinatorResponse.Coordinator(
                    key=key, node_id=-1, host="", port=-1, error_code=refusal.code, error_message=str(refusal)
                )
                for key in asked.coordinator_keys
            ]
        )
    return respond(request, answer)


def refusal_for(key_type: int) -> KafkaError:
    if key_type == GROUP:
        return CoordinatorNotAvailableError("this broker has no consumer groups yet")
    if key_type == TRANSACTION:
        return TransactionalIdAuthorizationError("this broker has no transactions yet")
    return InvalidRequestError(f"there are no coordinators of type {key_type}")
