"""DescribeCluster

API 60, versions 0-1
KIP-700; KIP-919 endpoint type (1)
Kafka: KafkaApis.handleDescribeCluster, AuthHelper.computeDescribeClusterResponse, DescribeClusterRequest.json
"""

from kstore._native.connection import Request
from kstore.errors import MismatchedEndpointTypeError, UnsupportedEndpointTypeError
from kstore.protocol.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from kstore.server.brokers import CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, brokers, controller_id
from kstore.server.context import Context
from kstore.server.respond import respond

BROKERS = 1
CONTROLLERS = 2


def handle(context: Context, request: Request) -> object:
    asked = DescribeClusterRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    if asked.endpoint_type == CONTROLLERS:
        refusal = "the request was sent to a broker, and asks for controllers"
        answer = DescribeClusterResponse(error_code=MismatchedEndpointTypeError.code, error_message=refusal)
    elif asked.endpoint_type != BROKERS:
        refusal = f"there is no endpoint type {asked.endpoint_type}"
        answer = DescribeClusterResponse(error_code=UnsupportedEndpointTypeError.code, error_message=refusal)
    else:
        answer = DescribeClusterResponse(
            endpoint_type=BROKERS,
            cluster_id=context.cluster_id,
            controller_id=controller_id(context),
            brokers=[
                DescribeClusterResponse.DescribeClusterBroker(broker_id=id, host=host, port=port, rack=rack)
                for id, host, port, rack in brokers(context, request)
            ],
            cluster_authorized_operations=(
                CLUSTER_OPERATIONS if asked.include_cluster_authorized_operations else OPERATIONS_NOT_ASKED
            ),
        )
    return respond(request, answer)
