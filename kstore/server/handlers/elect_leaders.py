"""ElectLeaders

API 43, versions 0-2
KIP-183 preferred leaders, KIP-460 unclean ones (1)
Kafka: KafkaApis.handleElectLeaders, KafkaController.processReplicaLeaderElection, ElectLeadersRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.cluster.controller import PREFERRED, UNCLEAN
from kstore.errors import NONE, ElectionNotNeededError, InvalidRequestError, KafkaError
from kstore.model import TopicPartition
from kstore.protocol.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse
from kstore.server.context import Context
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = ElectLeadersRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, elect(context, asked, request.api_version))


async def elect(context: Context, asked: Any, version: int) -> Any:
    keys = None
    if asked.topic_partitions is not None:
        keys = [TopicPartition(topic.topic, index) for topic in asked.topic_partitions for index in topic.partitions]
    results: dict[TopicPartition, KafkaError | None] = {}
    error_code = NONE
    try:
        if asked.election_type not in (PREFERRED, UNCLEAN):
            raise InvalidRequestError(f"elections are preferred (0) or unclean (1), not {asked.election_type}")
        results = await context.cluster.controller.requests.elect_leaders(asked.election_type, keys)
    except KafkaError as error:
        # Kafka's clients look at the partitions, those of version 0 at nothing else.
        results = dict.fromkeys(keys or (), error)
        error_code = error.code if version >= 1 else NONE
    if keys is None:
        # Of all partitions only those are told that something was done about, or should have been.
        results = {key: error for key, error in results.items() if not isinstance(error, ElectionNotNeededError)}
    by_topic: dict[str, list[Any]] = {}
    for key, refusal in results.items():
        by_topic.setdefault(key.topic, []).append(
            ElectLeadersResponse.PartitionResult(
                partition_id=key.partition,
                error_code=NONE if refusal is None else refusal.code,
                error_message=None if refusal is None else str(refusal),
            )
        )
    return ElectLeadersResponse(
        error_code=error_code,
        replica_election_results=[
            ElectLeadersResponse.ReplicaElectionResult(topic=name, partition_result=found)
            for name, found in by_topic.items()
        ],
    )
